#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Mainline against ours, measured: bench.py BUILD [GROUP...]

Both kernels are built with one configuration and one compiler, and run by turns
in machines whose nanoseconds are the instructions of their CPUs, so that neither
the load of this computer nor its speed counts (but for a guest that swaps to a
disk, and for what is timed). Writes a table, BUILD/bench/bench.csv and
BUILD/bench/bench.svg.
"""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(BED, "machine"))

import arch  # noqa: E402
import build_kernel  # noqa: E402
import gnuplot  # noqa: E402
import initramfs  # noqa: E402
import measures  # noqa: E402
import pair  # noqa: E402
import picture  # noqa: E402

FOLDER = os.path.join("bench", "kernel")        # where kernels are built, below BUILD
FRAGMENTS = [*pair.COMMON, "bench.config"]
# In the order of loading.
KVM = ["irqbypass.ko", "kvm.ko", "kvm-amd.ko"]
MODULE = "mn_bench.ko"
HOLD = "mn_hold.ko"
RETRY = "mn_retry.ko"
COST = "mn_cost.ko"
MODULES = (MODULE, HOLD, RETRY, COST)
# What a page table holds besides must not depend on where memory lies.
MACHINE = ["--limit", "1800", "--kernel-arg", "norandmaps"]
COUNTED = ["--icount"]
# A thread of the emulator for each CPU: what waits for another CPU takes time.
TIMED = ["--accel", "tcg,thread=multi"]
# With several threads QEMU 7.2 can run into a breakpoint of the kernel, of those that it
# patches itself with, when it is gone already; and what is left of a machine's own guest
# can be its state at reset. Mainline was seen with both; with one thread nobody was.
EMULATOR = {"Oops: int3": "the emulator lost a breakpoint",
            "unexpected exit 8 (suberror 0) at 0xfff0": "the emulator shut the guest down"}
ATTEMPTS = 4
GUEST = ["--job", "small-guest", "--host-mb", "160", "--guest-mb", "192", "--passes", "1",
         "--silence", "600"]
# Of what is counted and not compared with these: less to wait for.
SMALLER = ["--host-mb", "128", "--guest-mb", "152"]
SMALL = [*GUEST, *SMALLER]
# Turns of what is timed, for each of the others. Four CPUs are more than many computers have.
TIMES = {2: 2, 4: 1}
# What reclaim needs itself while pages wait for the disk.
SWAPS = {"zram": [], "disk": ["--write", "/proc/sys/vm/min_free_kbytes:8192"]}
PROGRAMS = {"process": ["process.c", "cost.c"], "pages": ["pages.c", "cost.c"],
            **{name: [name + ".c", "device.c", "cost.c"] for name in ("notifier", "parallel")}}
# For pages: a second node to migrate to, and swap space for whole huge pages.
NODES = ["-object", "memory-backend-ram,size=256M,id=m0", "-numa", "node,memdev=m0,cpus=0",
         "-object", "memory-backend-ram,size=256M,id=m1", "-numa", "node,memdev=m1"]
PAGES = ["--job", "exec", "--host-mb", "512", *(f"--qemu-arg={word}" for word in NODES)]
# As the kernel without notifiers, which is built without.
WITHOUT_ACPI = ["--kernel-arg", "acpi=off", "--kernel-arg", "mn.restart=1"]
SHARED = ["report.c", "file.c"]         # of testbed/guest
FLAGS = ["-static", "-O2", "-g0", "-Wall", "-Wextra", "-Werror"]
LOCK = "_raw_write_lock"
# Functions of either kernel or of both.
PROBES = {
    "sections": ["__mmu_notifier_invalidate_range_start", "__mmu_notifier_invalidate_range_end",
                 "__mmu_notifier_range_start", "__mmu_notifier_range_end",
                 "__mmu_notifier_invalidate_page", "__mmu_notifier_invalidate_page_batched",
                 "__mmu_notifier_flush_batch"],
    "aging": ["__mmu_notifier_clear_flush_young", "__mmu_notifier_clear_young",
              "__mmu_notifier_test_young", "__mmu_notifier_test_young_pages",
              "__mmu_notifier_clear_young_pages", "__mmu_notifier_clear_young_list"],
}
# Whom KVM's mmu_lock is taken by.
KVM_CALLER = re.compile(rf"trace\.mn_probe/{LOCK}\.\[\w+\]_\S*(?:\[kvm\]|kvm)\S*")

# What COST reads: instructions in a function and how often it was called.
SPENT = re.compile(r"read\.(__mmu_notifier_\w+)\.(total_ns|count)")


def modules(kernel, more):
    """Options of run.py that load KVM and the modules of {name: path} MORE."""
    there = {os.path.basename(path): here for path, here in pair.module_files(kernel).items()}
    missing = [name for name in KVM if name not in there]
    if missing:
        raise pair.PairError(f"{kernel} has no module {missing[0]}: build the pair again.")
    wanted = {**{name: there[name] for name in KVM}, **more}
    words = [word for name, path in wanted.items() for word in ("--file", f"{path}:/{name}")]
    return [*words, "--modules", ",".join("/" + name for name in wanted)]


def is_timed(words):
    return set(TIMED) <= set(words)


class Bench:
    """Both kernels, and where results go."""

    def __init__(self, build, kernels, turns):
        self.build, self.kernels, self.turns = build, kernels, turns
        # Of what hardly changes from turn to turn.
        self.fewer = max(1, turns // 2)
        self.out = os.path.join(build, "bench")
        self.samples = measures.Samples()
        self.waiting = []           # (parse, {kernel: machine's arguments}) of a turn
        self.log = []               # (run, load of this computer, seconds)
        self.repeated = []          # timed runs that the emulator spoiled
        self.faults = []

    def build_programs(self):
        """The programs once, and the module once for each kernel."""
        where = os.path.join(self.out, "programs")
        os.makedirs(where, exist_ok=True)
        common = os.path.join(BED, "guest")
        for name, sources in PROGRAMS.items():
            pair.call(["gcc", *FLAGS, "-I", common, "-o", os.path.join(where, name),
                       *(os.path.join(HERE, source) for source in sources),
                       *(os.path.join(common, source) for source in SHARED)],
                      os.path.join(where, name + ".log"), f"Compiling {name}")
        for kernel, built in self.kernels.items():
            where = os.path.dirname(self.module(kernel))
            os.makedirs(where, exist_ok=True)
            for name in ("mn_bench.h", *(name[:-3] + ".c" for name in MODULES)):
                shutil.copy(os.path.join(HERE, name), where)
            with open(os.path.join(where, "Makefile"), "w", encoding="utf-8") as file:
                file.write("obj-m := " + " ".join(name[:-3] + ".o" for name in MODULES) + "\n"
                           f"CFLAGS_{RETRY[:-3]}.o := -I$(srctree)/arch/x86/kvm\n")
            pair.call(["make", "-C", built, f"M={where}", "ARCH=x86_64", "modules"],
                      os.path.join(where, "build.log"), f"Building the modules for {kernel}")

    def module(self, kernel, name=MODULE):
        return os.path.join(self.out, "module", kernel, name)

    def machine(self, kernel, name, words, more):
        """Values that one run in the machine reports; MORE: modules beside KVM's."""
        for _ in range(ATTEMPTS):
            results, why = self.attempt(kernel, name, words, more)
            if not why:
                return results["values"]
            known = [text for symptom, text in EMULATOR.items() if symptom in why]
            if not known or not is_timed(words):
                break
            self.repeated.append(f"{kernel} {name}: {known[0]}")
            print(f"bench: {kernel}: {name}: {known[0]}, again", flush=True)
        raise pair.PairError(f"The run {name} of {kernel} failed ({why}); see "
                             f"{os.path.join(self.out, 'run', kernel, name)}/run.log.")

    def attempt(self, kernel, name, words, more):
        """One run: its results, and what went wrong."""
        more = {module: self.module(kernel, module) for module in more}
        loaded = [] if kernel == measures.LIMIT else modules(self.kernels[kernel], more)
        out = os.path.join(self.out, "run", kernel, name)
        os.makedirs(out, exist_ok=True)
        shutil.rmtree(os.path.join(out, "run-1"), ignore_errors=True)
        with open(os.path.join(out, "run.log"), "w", encoding="utf-8") as log:
            code = subprocess.run([sys.executable, os.path.join(BED, "machine", "run.py"),
                                   "--kernel", self.kernels[kernel], "--out", out,
                                   *MACHINE, *loaded, *words],
                                  stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        results = {}
        with contextlib.suppress(OSError, ValueError), \
                open(os.path.join(out, "run-1", "results.json"), encoding="utf-8") as file:
            results = json.load(file)
        if code or not results:
            why = results.get("values", {}).get("error") or "; ".join(results.get("faults", []))
            return results, why or f"it ended with {code}"
        self.log.append((f"{kernel} {name}", os.getloadavg()[0], results["seconds"]))
        print(f"bench: {kernel}: {name}: {results['seconds']:.0f} s", flush=True)
        return results, None

    def executing(self, *words):
        """Options of run.py that run a program of ours."""
        path = os.path.join(self.out, "programs", words[0])
        return ["--file", f"{path}:/{words[0]}", "--exec", ",".join(["/" + words[0], *words[1:]])]

    def program(self, name, parse, memory, *words, options=(), **other):
        """One turn of a program of ours, alone in the machine."""
        self.both(name, parse, "--job", "exec", "--host-mb", memory, "--swap", "none",
                  *options, *self.executing(*words), **other)

    def both(self, name, parse, *words, more=(), kernels=measures.KERNELS, clock=COUNTED):
        """One turn for run(): a machine for each of KERNELS, samples of what PARSE finds."""
        self.waiting.append((parse, {kernel: (name, [*clock, *words], more)
                                     for kernel in kernels}))

    def run(self):
        """The turns that wait, two machines at a time, or one if any is timed. A turn is
        whole or void."""
        turns, self.waiting = self.waiting, []
        alone = any(is_timed(words) for _, machines in turns for _, words, _ in machines.values())
        pool = concurrent.futures.ThreadPoolExecutor(1 if alone else len(measures.KERNELS))
        try:
            started = [(parse, {kernel: pool.submit(self.machine, kernel, *machine)
                                for kernel, machine in machines.items()})
                       for parse, machines in turns]
            for parse, jobs in started:
                self.collect(parse, jobs)
        finally:
            pool.shutdown(cancel_futures=True)

    def collect(self, parse, jobs):
        try:
            found = {kernel: parse(job.result()) for kernel, job in jobs.items()}
        except pair.PairError as error:
            print(f"bench: {error}", flush=True)
            self.faults.append(str(error))
            return
        for kernel, values in found.items():
            self.samples.add(kernel, values)

    def identity(self):
        """What the saved samples of other groups must have been measured on."""
        found = {}
        for kernel in measures.KERNELS:
            built = self.kernels[kernel]
            with open(initramfs.image(built, arch.ARCHES["x86_64"]), "rb") as file:
                found[kernel] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def load(self, groups):
        """Samples that an earlier run saved of groups that are not in GROUPS."""
        try:
            with open(os.path.join(self.out, "samples.json"), encoding="utf-8") as file:
                saved = json.load(file)
        except (OSError, ValueError):
            return
        if saved["kernels"] == self.identity():
            self.samples.values = {key: value for key, value in saved["samples"].items()
                                   if key.split(".")[0] not in groups}

    def save(self):
        with open(os.path.join(self.out, "samples.json"), "w", encoding="utf-8") as file:
            json.dump({"kernels": self.identity(), "samples": self.samples.values}, file, indent=1)


def numbers(values):
    number = {key: int(value) for key, value in values.items() if value.lstrip("-").isdigit()}
    for key, value in number.items():
        if key.startswith("trace.") and key.endswith(".dropped") and \
                value * 1000 > number[key.removesuffix("dropped") + "total"]:
            raise pair.PairError(f"The tracer did not count {value} events ({key}): run it again.")
    return number


def rates(prefix, number):
    faults = number["kvm.pf_taken"]
    return {f"{prefix}.retries": 1000 * (faults - number["kvm.pf_fixed"]) / faults,
            f"{prefix}.flushes": number["kvm.remote_tlb_flush_requests"] / number["vmstat.pswpout"]}


def guest_values(values, swap):
    number = numbers(values)
    swapped, faults = number["vmstat.pswpout"], number["kvm.pf_taken"]
    return {
        f"guest.{swap}.instructions":
            (number["time.elapsed_ns"] - number["time.idle_ns"]) / swapped,
        f"guest.{swap}.faults": faults / swapped,
        **rates(f"guest.{swap}", number),
    }


def guest(bench):
    """A KVM guest larger than its host swaps"""
    for turn in range(1, bench.turns + 1):
        for swap, words in SWAPS.items():
            bench.both(f"guest-{swap}-{turn}", lambda values, swap=swap: guest_values(values, swap),
                       *GUEST, "--swap", swap, "--seed", str(turn), *words)


def smp_values(values, cpus):
    """The CPUs take turns, and instructions of all of them pass the time."""
    number = numbers(values)
    return {f"smp.{cpus}.work": number["time.elapsed_ns"] / number["sum.pages_verified"],
            f"smp.{cpus}.time": number["time.elapsed_ns"] / number["vmstat.pswpout"],
            **rates(f"smp.{cpus}", number)}


def smp(bench):
    """The same with several CPUs, each with a vCPU"""
    for turn in range(1, bench.fewer + 1):
        for cpus in measures.CPUS:
            bench.both(f"smp-{cpus}-{turn}", lambda values, cpus=cpus: smp_values(values, cpus),
                       *GUEST, "--seed", str(turn), "--cpus", str(cpus), "--vcpus", str(cpus))


def work(bench):
    """The same with a thread of the emulator for each CPU, timed"""
    for turn in range(1, max(TIMES.values()) * bench.turns + 1):
        for cpus in (cpus for cpus, times in TIMES.items() if turn <= times * bench.turns):
            bench.both(f"work-{cpus}-{turn}", lambda values, cpus=cpus: {
                f"work.{cpus}": numbers(values)["time.elapsed_ns"] /
                                numbers(values)["sum.pages_verified"]},
                *SMALL, "--seed", str(turn), "--cpus", str(cpus), "--vcpus", str(cpus),
                kernels=measures.KERNELS[::1 if turn % 2 else -1], clock=TIMED)


def hold_values(values, cpus):
    number = numbers(values)
    if number["read.missed"] or number["read.interrupted"] * 1000 >= number["read.count"]:
        raise pair.PairError(f"Reclaim held {number['read.count']} locks of page tables, "
                             f"{number['read.interrupted']} while another CPU was emulated, "
                             f"{number['read.missed']} calls were missed.")
    found = {f"hold.{cpus}.mean": number["read.total_ns"] / number["read.count"]}
    if cpus == 1:
        return {**found, "hold.1.longest": number["read.longest_ns"]}
    return {**found, f"hold.{cpus}.stretched": 1e6 * number["read.interrupted"] /
                                               number["read.count"]}


def hold(bench):
    """The same with probes: how long reclaim holds the lock of a page table"""
    for cpus in measures.HELD:
        # With several, chance has a part: which of them the emulator runs, and when.
        for turn in range(1, (bench.fewer if cpus == 1 else bench.turns) + 1):
            bench.both(f"hold-{cpus}-{turn}", lambda values, cpus=cpus: hold_values(values, cpus),
                       *SMALL, "--seed", str(turn), "--cpus", str(cpus),
                       "--vcpus", str(max(cpus, 2)), "--read", "/sys/kernel/debug/mn_hold",
                       more=[HOLD])


def spent(values):
    """{function: {"total_ns": instructions, "count": calls}} a page swapped out."""
    number, found = numbers(values), {}
    for key, value in number.items():
        if match := SPENT.fullmatch(key):
            found.setdefault(match[1], {})[match[2]] = value / number["vmstat.pswpout"]
    called = [name for name, of in found.items() if of["count"]]
    if not set(called) & set(PROBES["aging"]) or number["read.missed"]:
        raise pair.PairError(f"The notifiers called are {', '.join(called) or 'none'}, "
                             f"{number['read.missed']} calls were missed.")
    return found


def cost_values(values):
    found = spent(values)
    return {measures.COST: sum(of["total_ns"] for of in found.values()),
            "cost.aging": aging(found, "total_ns")}


def aging(found, what):
    return sum(of[what] for name, of in found.items() if name in PROBES["aging"])


def classic_values(values, order):
    found = spent(values)
    return {f"cost.{order}.aging": aging(found, "total_ns"),
            f"cost.{order}.calls": aging(found, "count")}


def cost(bench):
    """The same with probes: what the notifiers take"""
    for turn in range(1, bench.fewer + 1):
        words = [*GUEST, "--seed", str(turn),
                 "--write", "/proc/sys/debug/kprobes-optimization:0",
                 "--read", "/sys/kernel/debug/mn_cost"]
        bench.both(f"cost-{turn}", cost_values, *words, more=[COST])
        for order, (_, scattered) in measures.CLASSIC.items():
            bench.both(f"cost-{order}-{turn}",
                       lambda values, order=order: classic_values(values, order),
                       *words, *SMALLER, "--lru", "classic", "--scattered", str(scattered),
                       more=[COST])


def event_values(values):
    """Counts a page swapped out, by probes, whose cost forbids counting instructions."""
    number = numbers(values)
    swapped = number["vmstat.pswpout"]
    count = {name: sum(number.get(f"trace.mn_probe/{function}.total", 0) for function in functions)
             for name, functions in PROBES.items()}
    if not all(count.values()):
        raise pair.PairError("None of the functions "
                             f"{', '.join(PROBES[min(count, key=count.get)])} was called.")
    return {"events.locks": locks(number) / swapped, "events.aging": count["aging"] / swapped,
            "events.calls": sum(count.values()) / swapped}


def locks(number):
    """How often KVM took mmu_lock for writing."""
    found = sum(value for key, value in number.items() if KVM_CALLER.fullmatch(key))
    if not found:
        raise pair.PairError(f"No caller of {LOCK} is KVM's: where is mmu_lock taken?")
    return found


def retry_values(values):
    """Why KVM repeats faults."""
    number = numbers(values)
    if not number["read.faults"] or number["read.missed"]:
        raise pair.PairError(f"The guest had {number['read.faults']} faults that look a page up, "
                             f"{number['read.missed']} calls were missed.")
    return {f"events.retries.{name}": 1000 * number[f"read.{name}"] / number["read.faults"]
            for name in measures.CAUSES}


def events(bench):
    """The same with probes: locks and calls are counted"""
    probes = ",".join([LOCK + ":caller", *(name for names in PROBES.values() for name in names)])
    for turn in range(1, bench.fewer + 1):
        bench.both(f"events-{turn}", lambda values: event_values(values) | retry_values(values),
                   *SMALL, "--seed", str(turn), "--probe", probes,
                   "--read", "/sys/kernel/debug/mn_retry", more=[RETRY])


def pages_values(values):
    """What a VM adds to an operation on its pages, in instructions a page."""
    number = numbers(values)
    return {f"pages.{name}": number[f"vm.{name}"] - number[f"alone.{name}"]
            for name in measures.PAGES}


def pages(bench):
    """Pages that a VM maps: reclaim, migration, copy-on-write, aging"""
    for turn in range(1, bench.fewer + 1):
        bench.both(f"pages-{turn}", pages_values, *PAGES, *bench.executing("pages", "costs"))
        for name in measures.COUNTED:
            bench.both(f"pages-{name}-{turn}", lambda values, name=name: {
                f"pages.locks.{name}": locks(numbers(values)) / numbers(values)[f"pages.{name}"]},
                *PAGES, "--probe", LOCK + ":caller", *bench.executing("pages", "count", name))


def process_values(values):
    """Costs without a subscription, and what one adds to them."""
    number, found = numbers(values), {}
    for name in measures.OPERATIONS:
        for who in ("nobody", "other"):
            found[f"process.{who}.{name}"] = number[f"{who}.{name}"]
        for who in ("outside", "inside"):
            found[f"process.{who}.{name}"] = number[f"{who}.{name}"] - number[f"other.{name}"]
    return found


def nobody_values(values):
    number = numbers(values)
    return {f"process.{who}.{name}": number[f"nobody.{name}"]
            for name in measures.OPERATIONS for who in ("nobody", "other")}


def process(bench):
    """What a process pays, with and without a subscription"""
    if measures.LIMIT not in bench.kernels:
        bench.kernels[measures.LIMIT] = pair.build_kernel_in(
            bench.build, measures.LIMIT, pair.KERNELS["ours"], "bzImage",
            fragments=[*FRAGMENTS, "off.config"], folder=FOLDER)
    for turn in range(1, bench.turns + 1):
        bench.program(f"process-{turn}", process_values, "256", "process", "costs",
                      options=WITHOUT_ACPI)
    # Counted instructions do not change: once is enough.
    bench.program("process-off", nobody_values, "256", "process", "nobody",
                  kernels=[measures.LIMIT], options=WITHOUT_ACPI)


def vmas_values(values):
    number = numbers(values)
    return {"vmas.create": number["large.create"] - number["small.create"],
            "vmas.small.create": number["small.create"], "vmas.destroy": number["large.destroy"]}


def vmas(bench):
    """Registration in a process with 60,000 VMAs"""
    for turn in range(1, bench.turns + 1):
        bench.program(f"vmas-{turn}", vmas_values, "1024", "process", "vmas")


def notifier_values(values):
    found = {f"notifier.{key}": value for key, value in numbers(values).items()
             if key.split(".")[0] in ("section", "interval", "memory")}
    return {**found, "notifier.unregister": int(values["unregister.elapsed"]) / 1e6}


def notifier(bench):
    """Sections, intervals and memory, with a module that subscribes"""
    for turn in range(1, bench.turns + 1):
        bench.program(f"notifier-{turn}", notifier_values, "768", "notifier",
                      more=[MODULE])


def parallel_values(values, cpus):
    number = numbers(values)
    return {f"parallel.{cpus}.{count}.{name}": number[f"parallel.{count}.{name}"]
            for count in measures.PARALLEL for name in ("change", "hit", "miss")}


def parallel(bench):
    """Intervals, from several CPUs at once"""
    counts = [str(count) for count in measures.PARALLEL]
    for turn in range(1, bench.turns + 1):
        for cpus in measures.CPUS:
            bench.program(f"parallel-{cpus}-{turn}",
                          lambda values, cpus=cpus: parallel_values(values, cpus),
                          "768", "parallel", str(turn), *counts, more=[MODULE],
                          options=["--cpus", str(cpus)])


# A group of measures each, and its usual minutes on two cores. The first time "process"
# builds a kernel.
GROUPS = [(guest, 4), (smp, 3), (work, 8), (hold, 5), (cost, 3), (events, 1), (pages, 2),
          (process, 1), (vmas, 1), (notifier, 1), (parallel, 2)]


def report(bench, groups):
    """The table of GROUPS and of what was measured before on the same kernels."""
    done = {key.split(".")[0] for key in bench.samples.values}
    bench.samples.limit()
    found = measures.rows(bench.samples, done | set(groups))
    lines = measures.table(found)
    words = [row.word() for row in found]
    count = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    print("\n" + "\n".join(lines) + f"\n\n{len(words)} measures: {count}")
    worst = max((load for _, load, _ in bench.log), default=0)
    print(f"{len(bench.log)} runs; load of this computer at most {worst:.1f}. It changes neither "
          "instructions nor counts, except of a guest that swaps to a disk; but times.")
    if unsteady := [row.measure.text for row in found if row.unsteady()]:
        print(f"Less steady than {100 * measures.STEADY:g} %: " + "; ".join(unsteady))
    for run in bench.repeated:
        print(f"repeated: {run}")
    for fault in bench.faults:
        print(f"fault: {fault}")
    measures.write_csv(found, bench.samples, os.path.join(bench.out, "bench.csv"))
    with open(os.path.join(bench.out, "bench.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(bench.out, "runs.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{name}: load {load:.1f}, {seconds:.0f} s\n"
                        for name, load, seconds in bench.log)
        file.writelines(f"{run}\n" for run in bench.repeated)
    picture.write(found, os.path.join(bench.out, "bench.svg"))
    print(f"bench: {bench.out}/bench.csv, {bench.out}/bench.svg")


def arguments():
    parser = build_kernel.Parser(prog="bench.py", description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("groups", nargs="*", metavar="GROUP",
                        help="of " + ", ".join(group.__name__ for group, _ in GROUPS))
    parser.add_argument("--turns", type=int, default=2,
                        help="runs of each kernel (default 2); fewer of what hardly changes, "
                             "more of what is timed")
    parser.add_argument("--mainline", metavar="DIR", help="a kernel that is built already")
    parser.add_argument("--ours", metavar="DIR", help="a kernel that is built already")
    args = parser.parse_args()
    names = [group.__name__ for group, _ in GROUPS]
    if unknown := set(args.groups) - set(names):
        parser.error(f"unknown group {', '.join(sorted(unknown))}, the groups are "
                     f"{', '.join(names)}")
    if bool(args.mainline) != bool(args.ours) or args.turns < 1:
        parser.error("--mainline and --ours go together, --turns is 1 or more")
    return args


def main():
    args = arguments()
    build = os.path.abspath(args.build)
    chosen = [(group, usual) for group, usual in GROUPS
              if not args.groups or group.__name__ in args.groups]
    kernels = {name: os.path.abspath(getattr(args, name) or os.path.join(build, FOLDER, name))
               for name in measures.KERNELS}
    bench = Bench(build, kernels, args.turns)
    os.makedirs(bench.out, exist_ok=True)
    try:
        if not args.mainline:
            pair.build_kernels(build, FRAGMENTS, FOLDER)
        bench.build_programs()
        names = [group.__name__ for group, _ in chosen]
        bench.load(names)
        for group, usual in chosen:
            print(f"bench: {group.__doc__} (usually {usual} min)", flush=True)
            group(bench)
            bench.run()
            bench.save()
        report(bench, names)
    except (pair.PairError, initramfs.MissingError, gnuplot.PictureError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("The measurement was interrupted.", file=sys.stderr)
        return 130
    return 1 if bench.faults else 0


if __name__ == "__main__":
    sys.exit(main())
