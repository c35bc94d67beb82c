# SPDX-License-Identifier: GPL-2.0
"""What a run says and whether it passed: parsing and judging, no processes."""
import re

# How the mirrors subscribe.
MIRRORS = ("page", "range", "sleepy", "interval")
# After the time stamp; "g0 " marks a line of guest 0's console.
STAMP = r"^(?:g\d+ )?(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? "
# Every pattern that fails a run when a console line has it.
SPLATS = [re.compile(pattern) for pattern in (
    STAMP + r"(?:[\w.-]+: )?(?:BUG|WARNING): ",
    STAMP + r"(?:rcu: |watchdog: )*INFO: .*(?:lock|rcu|RCU|hung|task|stall|non-static)",
    STAMP + r"rcu: .*(?:stall|detected|starved)",
    STAMP + r"(?:BUG: )?(?:KASAN|KCSAN|KFENCE|UBSAN|KMSAN)\b",
    STAMP + r"kernel BUG at ",
    STAMP + r"-+\[ cut here \]",
    STAMP + r"Oops\b",
    STAMP + r"Internal error: ",
    STAMP + r"SError Interrupt\b",
    STAMP + r".*Kernel panic",
    STAMP + r".*(?:general protection|[Uu]nable to handle|stack segment|double fault)",
    STAMP + r".*: page allocation failure",
    STAMP + r"pagealloc: (?:memory corruption|single bit error)",
    STAMP + r".*(?:oom-kill:|invoked oom-killer|Out of memory)",
    STAMP + r".*possible (?:recursive|circular|irq lock|deadlock)",
    STAMP + r".*(?:suspicious RCU|DEBUG_LOCKS_WARN_ON|inconsistent lock state)",
    STAMP + r".*(?:refcount_t: |list_(?:add|del) corruption|ODEBUG: )",
    STAMP + r".*(?:Bad swap|Write-error on swap-device|Read-error on swap-device)",
    STAMP + r"\S+\[\d+\]:? (?:segfault|bad frame)|" + STAMP + r"traps: ",
    STAMP + r"(?: ?<\w+>)? ?Call [Tt]race:",
    r"-- System halted",
)]
KTAP_LINE = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?( *)(ok|not ok) \d+(.*)$")
KTAP_PLAN = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?1\.\.(\d+)$")


class Results:
    """The second serial port: "key value" lines, of which the last is the verdict."""

    def __init__(self, text):
        complete, _, self.rest = text.rpartition("\n")
        lines = [line.rstrip("\r") for line in complete.split("\n") if line.strip()]
        self.values, self.verdicts, self.missing_events = {}, [], []
        self.progress, self.samples = "", []
        self.last = lines[-1] if lines else ""
        for line in lines:
            self._take(*line.partition(" ")[::2])

    def _take(self, key, value):
        if key == "verdict":
            self.verdicts.append(value)
        elif key == "progress":
            self.progress = value
        elif key.startswith("sample."):
            self.samples.append(tuple(int(word) for word in value.split()))
        elif key == "trace_missing":
            self.missing_events.append(value.split(" ")[0])
        else:
            self.values[key] = value

    def number(self, key):
        """The value as a number, None when it is absent or is not one."""
        try:
            return int(self.values[key])
        except (KeyError, ValueError):
            return None

    def fault(self):
        """Why the results alone are no pass; None when they are one."""
        if not self.verdicts:
            cut = " and its last line is cut off" if self.rest else ""
            return f"the machine gave no verdict{cut}"
        if len(self.verdicts) > 1:
            return "the machine gave more than one verdict"
        if self.rest or not self.last.startswith("verdict "):
            return "the machine spoke after its verdict"
        if self.verdicts[0] == "pass":
            return None
        return self.verdicts[0].removeprefix("fail ") or "the verdict is empty"


def splats(text):
    """Console lines that no run may show."""
    return [line for line in text.splitlines()
            if any(pattern.search(line) for pattern in SPLATS)]


def kunit_counts(console):
    """(suites planned, suites ok, cases ok, not ok) in a KTAP console log."""
    planned = suites = cases = bad = 0
    for line in console.splitlines():
        if match := KTAP_PLAN.match(line):
            planned += int(match[1])
        elif match := KTAP_LINE.match(line):
            if match[2] == "not ok":
                bad += 1
            elif match[1]:
                cases += "# SKIP" not in match[3]
            else:
                suites += 1
    return planned, suites, cases, bad


def kunit_faults(console):
    planned, suites, cases, bad = kunit_counts(console)
    faults = []
    if bad:
        faults.append(f"{bad} KUnit results are not ok")
    if not planned or suites + bad < planned:
        faults.append(f"{suites} of {planned} KUnit suites ended")
    if not cases:
        faults.append("no KUnit case ran")
    return faults


def swap_faults(results):
    return [f"no page was swapped {way} ({key} is {results.number(key)})"
            for way, key in (("out", "vmstat.pswpout"), ("in", "vmstat.pswpin"))
            if not results.number(key)]


def memory_faults(results):
    faults = []
    if not results.number("sum.pages_verified"):
        faults.append("no page was verified")
    if results.number("sum.mismatches") != 0:
        faults.append(f"mismatches: {results.values.get('sum.mismatches', 'not reported')}")
    return faults


def mirror_faults(results, finds, alone):
    """finds: the mirrors were broken on purpose; alone: only the first of them subscribed."""
    kinds = MIRRORS[:1] if alone else MIRRORS
    wanted = ["operations", "compared", "freed"] + ["deferred.page"] * alone
    wanted += [f"{what}.{kind}" for what in ("established", "dropped") for kind in kinds]
    faults = [f"{what} is {results.number(f'sum.{what}')}: nothing was tested"
              for what in wanted if not results.number(f"sum.{what}")]
    if bool(results.number("sum.stale")) != finds or results.number("sum.stale") is None:
        faults.append(f"stale translations: {results.values.get('sum.stale', 'not reported')}")
    return faults


SILENT = re.compile(r"guest \d+ was silent for \d+ seconds$")


def judge(results, consoles, promises, ended):
    """All reasons why a run failed; an empty list is a pass.

    consoles: {name: text}; promises: set of "swap", "memory", "kunit", "mirror", "finds",
    "alone", "hangs"; ended: None, or how the emulator ended other than by a power off.
    """
    faults = [fault] if (fault := results.fault()) else []
    silent = bool(fault and SILENT.match(fault))
    if "hangs" in promises:     # on purpose
        faults = [] if silent else ["the thread that was stopped was not noticed"]
    if ended:
        faults.append(ended)
    for name, text in consoles.items():
        if ended or silent:     # what follows is the answer to our own question
            text = text.split("sysrq: ")[0]
        if found := splats(text):
            faults.append(f"{len(found)} splat lines in the {name} log, first: {found[0].strip()}")
    if not consoles.get("console"):
        faults.append("the console is empty")
    if "kunit" in promises:
        faults += kunit_faults(consoles.get("console", ""))
    if results.fault() is None:
        if "swap" in promises:
            faults += swap_faults(results)
        if "memory" in promises:
            faults += memory_faults(results)
        if promises & {"mirror", "finds"}:
            faults += mirror_faults(results, "finds" in promises, "alone" in promises)
    return faults


# What KVM tells of notifications, in words.
COUNTERS = {
    "trace.kvmmmu/kvm_mmu_retry_fault.total": "KVM: faults retried",
    "trace.kvmmmu/kvm_mmu_retry_fault.0": "KVM: faults retried, count moved",
    "trace.kvmmmu/kvm_mmu_retry_fault.1": "KVM: faults retried, section open",
}
# What guests went through, told when it happened.
WENT_THROUGH = {
    "vmstat.thp_fault_alloc": "huge pages allocated",
    "vmstat.cow_ksm": "pages that KSM had merged, written again",
    "vmstat.workingset_refault_file": "pages of files read again",
    "guest0.limit_hit": "limit of the cgroup of guest 0 hit",
    "sum.churn_calls": "slots (or pages) taken away by the guests themselves",
    "sum.accesses_without_slot": "accesses of guests to where no slot was",
    "guest0.signal": "guest 0 killed by signal",
    "death.pswpout": "pages swapped out until then",
}
EVENTS = ["unmap", "clear", "protection-vma", "protection-page", "soft-dirty", "release",
          "migrate", "exclusive"]
# What the keys of our trace events mean.
CALLS = {
    "mmu_notifier_invalidate_page": [f"page, {event}" for event in EVENTS],
    "mmu_notifier_range_start": ["range", "range around one small folio"],
    "mmu_notifier_young": ["test_young", "clear_young", "clear_flush_young",
                           "test_young_pages", "clear_young_pages", "clear_young_list"],
}


def call_name(key):
    """'mmu_notifier/mmu_notifier_young.2' in words, unknown keys as they are."""
    event, _, value = key.rpartition("/")[2].partition(".")
    names = CALLS.get(event, [])
    return names[int(value)] if value.isdigit() and int(value) < len(names) else key


def megabytes(kilobytes):
    return None if kilobytes is None else f"{kilobytes / 1024:.0f} MB"


def rows(results, seconds):
    """[(what, value)] for a person; only what was measured."""
    number = results.number
    guest_mb = number("guest_mb")
    table = [
        ("host memory", megabytes(number("host_kb"))),
        ("guest memory", guest_mb and f"{guest_mb} MB"),
        ("pages swapped out", number("vmstat.pswpout")),
        ("pages swapped in", number("vmstat.pswpin")),
        ("pages verified", number("sum.pages_verified")),
        ("mismatches", number("sum.mismatches")),
        ("operations", number("sum.operations")),
        ("translations established", number("sum.established")),
        ("faults of mirrors retried", number("sum.retried")),
        ("translations compared with page tables", number("sum.compared")),
        ("freed pages compared with mirrors", number("sum.freed")),
        ("stale translations", number("sum.stale")),
        ("faults", number("kvm.pf_taken")),
        ("faults mapped", number("kvm.pf_fixed")),
        ("exits", number("kvm.exits")),
    ]
    table += [(words, number(key)) for key, words in WENT_THROUGH.items() if number(key)]
    table += [(COUNTERS.get(key, key), number(key)) for key in sorted(results.values)
              if key in COUNTERS]
    calls = [key for key in results.values if key.startswith("trace.") and key not in COUNTERS]
    table += [(f"calls: {call_name(key[6:])}", number(key)) for key in calls
              if not key.endswith((".total", ".dropped"))]
    table += [(f"calls: {key[6:-6].rpartition('/')[2]}", number(key)) for key in calls
              if key.endswith(".total")]
    table += [(f"calls not counted: {key[6:-8].rpartition('/')[2]}", number(key))
              for key in results.values
              if key.startswith("trace.") and key.endswith(".dropped") and number(key)]
    table += [(key[9:].replace(".", ": "), number(key)) for key in results.values
              if key.startswith("notifier.") and number(key)]
    table += [("event not there", name) for name in results.missing_events]
    table.append(("wall time", f"{seconds:.0f} s"))
    return [(what, value) for what, value in table if value is not None]


def table(results, seconds):
    lines = rows(results, seconds)
    width = max(len(what) for what, _ in lines)
    return "\n".join(f"  {what:<{width}}  {value:>14}" for what, value in lines)
