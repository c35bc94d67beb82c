# SPDX-License-Identifier: GPL-2.0
"""What is measured, what is aimed at, and what the numbers say: no processes here."""
import csv
import statistics

KERNELS = ("mainline", "ours")
LIMIT = "off"           # the kernel without notifiers, or ours less what they take
EVEN = 0.001            # closer than this to mainline is neither better nor worse
FREE = 0.001            # as close to the limit is for nothing
STEADY = 0.05           # turns of one measure should not differ by more


class Measure:
    """One row of the table: less is better. AIM: the ratio that is asked for, if any, or
    LIMIT for what must be for nothing."""

    def __init__(self, key, text, aim=None):
        self.key, self.text, self.aim = key, text, aim


def rates(prefix, what):
    return [Measure(f"{prefix}.retries", f"{what}: faults that retry, of 1000", 0),
            Measure(f"{prefix}.flushes", f"{what}: secondary TLB flushes a page", 0.1)]


def guest(swap, aim):
    what = f"guest swapping to {'zram' if swap == 'zram' else 'a disk'}"
    return [
        Measure(f"guest.{swap}.instructions", f"{what}: host instructions a page", aim),
        Measure(f"guest.{swap}.faults", f"{what}: vCPU faults a page"),
        *rates(f"guest.{swap}", what),
    ]


CPUS = (2, 4)


def smp(cpus):
    what = f"guest swapping, {cpus} vCPUs on {cpus} CPUs"
    return [
        Measure(f"smp.{cpus}.work",
                f"{what}: instructions of all, with waits, a page that it reads", 1 / 1.2),
        Measure(f"smp.{cpus}.time", f"{what}: the same, a page swapped out"),
        *rates(f"smp.{cpus}", what),
    ]


HELD = (1, *CPUS)


def hold(cpus):
    """Of several CPUs the longest is as long as the emulator lets another one run."""
    what = "guest swapping, reclaim holds a page table's lock,"
    if cpus == 1:
        return [Measure("hold.1.mean", f"{what} mean: instructions", 1),
                Measure("hold.1.longest", f"{what} longest: instructions", 1)]
    return [Measure(f"hold.{cpus}.mean", f"{what} {cpus} CPUs, mean: instructions", 1),
            Measure(f"hold.{cpus}.stretched",
                    f"{what} {cpus} CPUs: over 1,000,000, of a million", 1)]


OPERATIONS = {"cow": "a copy-on-write fault", "munmap": "munmap of a page",
              "mprotect": "mprotect of a page", "dontneed": "MADV_DONTNEED of a page",
              "fork": "fork with 1024 pages"}


def process(key, text, aim=None):
    return [Measure(f"process.{key}.{name}", f"{what}, {text}: instructions", aim)
            for name, what in OPERATIONS.items()]


# What "pages costs" reports, in words, and the aim.
PAGES = {
    "pageout.4": ("a base page reclaimed", 0.5),
    "pageout.64": ("a page reclaimed with a folio of 64 KB", 1),
    "pageout.2048": ("a page reclaimed with a folio of 2 MB", 1),
    "migrate.4": ("a base page migrated", 1),
    "cow.4": ("a copy-on-write fault", 1),
    "age.4": ("a page aged by MGLRU", 1 / 3),
}
COUNTED = {"pageout": "reclaimed", "migrate": "migrated", "cow": "copied on write"}


def of_pages():
    return [*(Measure(f"pages.{key}", f"{text}: instructions that a VM adds", aim)
              for key, (text, aim) in PAGES.items()),
            *(Measure(f"pages.locks.{key}", f"mmu_lock taken for writing, a base page {text}", 0.5)
              for key, text in COUNTED.items())]


def intervals(count, aim):
    what = {"insert": "insert", "remove": "remove", "hit": "a section that hits one",
            "miss": "a section that hits none"}
    return [Measure(f"notifier.interval.{count}.{name}",
                    f"{count} intervals, {text}: instructions", aim)
            for name, text in what.items()]


PARALLEL = (10, 1000, 100000)


def parallel(cpus, count):
    """At the same time from several CPUs: waits for each other are counted in."""
    what = {"change": "insert and remove", "hit": "a section that hits one",
            "miss": "a section that hits none"}
    return [Measure(f"parallel.{cpus}.{count}.{name}",
                    f"{count} intervals, {cpus} CPUs at once, {text}: instructions",
                    1 if count == 10 else BETTER)
            for name, text in what.items()]


# Why a fault is repeated, and the aim. Other than these: one that waits for a swapped page.
CAUSES = {
    "section": ("in a section that is open", 0),
    "unrelated": ("as other memory went away", 0),
    "own": ("as its own lookup replaced the page", 0),
    "page": ("as its page was taken away", None),
    "other": ("for another reason", None),
}
COST = "cost.notifiers"
# What the guest does with the classic lists: in words, and how many passes are scattered.
CLASSIC = {"ordered": ("read in order", 0), "scattered": ("read in no order", 1)}
BETTER = 0.99           # the aim where it is just "better"


def costs():
    found = [Measure(COST, "guest swapping: instructions in the notifiers, a page"),
             Measure("cost.aging", "guest swapping: instructions of aging, a page", 1 / 3)]
    for order, (text, _) in CLASSIC.items():
        what = f"guest swapping, classic lists, {text}"
        found += [Measure(f"cost.{order}.aging", f"{what}: instructions of aging, a page", 1 / 3),
                  Measure(f"cost.{order}.calls", f"{what}: aging calls a page", 1 / 3)]
    return found


# In the order of the table. The aims are those that the project set itself;
# "not delayed" is a twentieth of the second that mainline waits.
MEASURES = [
    *guest("zram", 0.85),
    *guest("disk", 0.80),
    *(measure for cpus in CPUS for measure in smp(cpus)),
    *(Measure(f"work.{cpus}", f"guest swapping, {cpus} vCPUs, {cpus} CPUs with a thread each: "
                              "time a page that it reads", 1 / 1.2) for cpus in CPUS),
    *(measure for cpus in HELD for measure in hold(cpus)),
    *costs(),
    Measure("events.locks", "guest swapping: mmu_lock taken for writing, a page", 0.5),
    Measure("events.aging", "guest swapping: aging calls a page", 1 / 3),
    Measure("events.calls", "guest swapping: calls of the notifiers, a page"),
    *(Measure(f"events.retries.{key}", f"guest swapping: faults repeated {text}, of 1000", aim)
      for key, (text, aim) in CAUSES.items()),
    *of_pages(),
    *process("nobody", "nobody subscribed", LIMIT),
    *process("other", "another process subscribed", 1),
    *process("outside", "what a VM with other memory adds", 0.75),
    *process("inside", "what a VM with this memory adds"),
    Measure("vmas.create", "KVM_CREATE_VM, what 60,000 VMAs add: instructions", 0.25),
    Measure("vmas.small.create", "KVM_CREATE_VM in a small process: instructions"),
    Measure("vmas.destroy", "end of the VM in a process with 60,000 VMAs: instructions"),
    Measure("notifier.section.0", "MADV_DONTNEED of nothing, no subscriber: instructions", 1),
    Measure("notifier.section.1", "a section, what 1 subscriber adds: instructions", 0.75),
    Measure("notifier.section.8", "a section, what 8 subscribers add: instructions", 0.75),
    *intervals(10, 1),
    *intervals(1000, BETTER),
    *intervals(100000, BETTER),
    *(measure for cpus in CPUS for count in PARALLEL for measure in parallel(cpus, count)),
    Measure("notifier.unregister", "unregister while another's callback sleeps: virtual ms", 0.05),
    Measure("notifier.memory.mm", "struct mm_struct: bytes", 1),
    Measure("notifier.memory.subscription", "struct mmu_notifier: bytes", 1),
    Measure("notifier.memory.interval", "struct mmu_interval_notifier: bytes", 1),
    Measure("notifier.memory.with_subscription", "a process with a subscription: bytes more", 1),
    Measure("notifier.memory.with_interval", "a process with an interval: bytes more", 1),
]
SWAPPED = ["guest.zram.instructions", "guest.disk.instructions",
           *(f"smp.{cpus}.time" for cpus in CPUS)]
GROUPS = list(dict.fromkeys(measure.key.split(".")[0] for measure in MEASURES))


class Samples:
    """{measure: {kernel: [value of each turn]}}; turn N of both kernels is one pair."""

    def __init__(self):
        self.values = {}

    def add(self, kernel, found):
        for key, value in found.items():
            self.values.setdefault(key, {}).setdefault(kernel, []).append(value)

    def limit(self):
        """What a page swapped out would cost if the notifiers took nothing."""
        free = self.values.get(COST, {}).get(KERNELS[1])
        for key in SWAPPED:
            ours = self.values.get(key, {}).get(KERNELS[1])
            if free and ours:
                self.values[key][LIMIT] = [statistics.median(ours) - statistics.median(free)]

    def of(self, key):
        kernels = self.values.get(key, {})
        return [kernels.get(name, []) for name in (*KERNELS, LIMIT)]


def ratio(mainline, ours):
    """Ours by mainline; None when mainline has nothing to compare with."""
    return ours / mainline if mainline > 0 else None


class Row:
    """A measure and what its turns gave."""

    def __init__(self, measure, mainline, ours, limit=()):
        self.measure, self.turns = measure, min(len(mainline), len(ours))
        self.mainline = statistics.median(mainline) if mainline else None
        self.ours = statistics.median(ours) if ours else None
        self.limit = statistics.median(limit) if limit else None
        self.ratio = ratio(self.mainline, self.ours) if self.turns else None
        self.spread = self._spread(list(zip(mainline, ours)))

    def _spread(self, turns):
        """How far the ratio of one turn is from that of all, at most; None for one turn."""
        ratios = [ratio(*turn) for turn in turns]
        if len(ratios) < 2 or not self.ratio or None in ratios:
            return None
        return max(abs(one / self.ratio - 1) for one in ratios)

    def unsteady(self):
        return self.spread is not None and self.spread > STEADY

    def word(self):
        """Where ours stands; when turns may differ on that, neither ahead nor behind."""
        if not self.turns:
            return "not measured"
        if self.ratio is None:
            return "BEHIND" if self.ours > self.mainline else "even"
        spread = self.spread or 0
        if self.ratio * (1 - spread) > 1 + EVEN:
            return "BEHIND"
        if self.meets_aim():
            return "aim met"
        return "ahead" if self.ratio * (1 + spread) < 1 - EVEN else "even"

    def meets_aim(self):
        aim = self.measure.aim
        if aim == LIMIT:
            return self.limit is not None and self.ours <= self.limit * (1 + FREE)
        return aim is not None and self.ratio <= aim * (1 + EVEN)

    def cells(self):
        aim = self.measure.aim
        return [self.measure.text, number(self.mainline), number(self.ours),
                "-" if self.ratio is None else f"{self.ratio:.3f}",
                "-" if self.spread is None else f"{100 * self.spread:.1f}%",
                number(self.limit),
                "-" if aim is None else "limit" if aim == LIMIT else f"{aim:.3g}", self.word()]


def number(value):
    """At most four digits that count, no exponent."""
    if value is None:
        return "-"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.4g}"


HEAD = ["measure", *KERNELS, "ratio", "spread", "limit", "aim", ""]


def rows(samples, groups):
    return [Row(measure, *samples.of(measure.key)) for measure in MEASURES
            if measure.key.split(".")[0] in groups]


def table(found):
    """Lines of text in columns."""
    cells = [HEAD, *(row.cells() for row in found)]
    width = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return [("  ".join([line[0].ljust(width[0])] +
                       [line[column].rjust(width[column]) for column in range(1, 7)] +
                       [line[7]])).rstrip() for line in cells]


def write_csv(found, samples, path):
    with open(path, "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["key", *HEAD[:-1], "word", "turns",
                      *(f"all of {name}" for name in (*KERNELS, LIMIT))])
        for row in found:
            texts = [" ".join(f"{value:g}" for value in values)
                     for values in samples.of(row.measure.key)]
            out.writerow([row.measure.key, *row.cells(), row.turns, *texts])
