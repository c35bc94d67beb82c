#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""All tests, on what has been built already: check.py [--kernel NAME] BUILD [STEP...]

Ends with a line "N passed, N failed". A step that ran no test has failed.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path[:0] = [os.path.join(HERE, "machine"), os.path.join(HERE, "faults")]

import arch as architectures  # noqa: E402
import faults  # noqa: E402
import variant as variants  # noqa: E402
import verdict  # noqa: E402

# What is left of mainline's notifiers where none may be.
NAMES = r"\bmmu[_ ]notifier|mmu_interval|notifier_subscriptions|mm_take_all_locks"
SWEPT = ["mm", "kernel", "fs", "virt", "include/linux"]
# HMM is a client, and stays as it is.
CLIENTS = [":!mm/hmm.c", ":!include/linux/hmm.h", ":!mm/Kconfig"]
# What the hooks were taken out of.
BASELINE = ["mm/", "fs/proc/", "kernel/fork.o", "kernel/events/", "arch/x86/mm/"]
# Functions whose absence each race must notice, and the notifiers' part in it.
RANGES = "__mmu_notifier_range_start+__mmu_notifier_range_end"
MUTES = {"cow": "__mmu_notifier_invalidate_page", "zap": RANGES, "mremap": RANGES}
# KVM of arm64 looks at the VMA first.
MUTES_OF = {"arm64": {**MUTES, "vma": RANGES}}

# Runs of the mirror: how many operations, and what is broken in it on purpose so
# that it must find something.
MIRRORS = {"mirror": ["--operations", "50000"],
           "mirror-alone": ["--operations", "30000", "--page-alone", "1"],
           "mirror-broken-alone": ["--operations", "12000", "--page-alone", "1",
                                   "--broken", "100"],
           "mirror-broken": ["--operations", "12000", "--broken", "100"],
           "mirror-blind": ["--operations", "12000", "--blind", "1"],
           "mirror-stopped": ["--operations", "12000", "--stop", "99", "--silence", "30"]}
REPLAYED = ("mirror-broken", "mirror-blind")

# Mutants of the sample: a machine with all of them runs every suite once before.
MUTANTS = "6"

# Small guests: options of run.py, and the results that must not be 0.
PAGE = "mmu_notifier/mmu_notifier_invalidate_page"
RANGE = "mmu_notifier/mmu_notifier_range_start"
YOUNG = "mmu_notifier/mmu_notifier_young"
CALLED, COVERED = f"trace.{PAGE}.total", f"trace.{RANGE}.total"
# By the key of the event: clear_flush_young; and clear_young_list, which is for what is
# deactivated together. KVM of arm64 answers for one page at a time.
AGED, LISTED = f"trace.{YOUNG}.2", f"trace.{YOUNG}.5"
LISTED_OF = {"arm64": AGED}
GUESTS = {"anon": ([], [CALLED]),
          "thp": (["--memory", "thp"], [COVERED]),
          "shmem": (["--memory", "shmem", "--lru", "classic"], [CALLED, LISTED])}
GUESTS.update((name, (list(variant.words), [CALLED]))
              for name, variant in faults.VARIANTS.items() if variant.checked)


class Steps:
    def __init__(self, build, kernel):
        self.build, self.kernel = os.path.abspath(build), kernel
        self.out = os.path.join(self.build, "check")
        self.seen, self.faults = [], []     # repeated at the end, where a reader looks first
        os.makedirs(self.out, exist_ok=True)

    def fault(self, name, text):
        print(f"  fault: {text}")
        self.faults.append(f"{name}: {text}")

    def path(self, *parts):
        return os.path.join(self.build, *parts)

    def show(self, name, text, most=30):
        """What a tool that failed said: whole now, its last lines at the end."""
        print(text)
        lines = text.splitlines() or ["it said nothing"]
        self.seen += [f"{name}: {line}" for line in lines[-most:]]
        told = [line for line in lines if re.search(r"FAIL|[Ff]ault: |[Ee]rror: |Failures: ", line)]
        self.faults += [f"{name}: {line.strip()}" for line in (told or lines)[-5:]]

    def run(self, name, *words, show=False):
        """(exit code, output) of a command; its output goes to a log as well."""
        log = os.path.join(self.out, name + ".log")
        lines = []
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace") as process, \
                open(log, "w", encoding="utf-8") as file:
            for line in process.stdout:
                file.write(line)
                lines.append(line)
                if show:
                    print("  " + line, end="", flush=True)
        return process.returncode, "".join(lines)

    def machine(self, name, job, *words):
        """A job in the machine; its output directory beside the exit code."""
        out = os.path.join(self.out, name)
        code, text = self.run(name, sys.executable, os.path.join(HERE, "machine", "run.py"),
                              "--kernel", self.path(self.kernel), "--out", out, "--job", job,
                              *words, show=True)
        if code:
            said = re.findall(r"^  fault: (.*)$", text, re.M) or text.splitlines()[-1:]
            self.faults += [f"{name}: {line}" for line in said]
            self.seen += [f"{name}: {line}" for line in
                          console_end(os.path.join(out, "run-1", "console.log"))]
        return code, os.path.join(out, "run-1")


def console_end(path, most=40):
    """The first splat of a console and what follows it, or its last lines.

    A splat that some runs may show is the first only where there is no other.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    lines = text.splitlines()
    first = (verdict.splats(variants.oom_reports(text)[0]) + verdict.splats(text))[:1]
    start = max(lines.index(first[0]) - 2, 0) if first else max(len(lines) - most // 4, 0)
    return lines[start:start + most]


def testbed(steps):
    """The tools of the test bed"""
    passed = failed = 0
    for folder in ("base", "tree", "machine", "model", "bench", "samples", "rdma", "mutate",
                   "faults", "lint"):
        code, text = steps.run("unittest-" + folder, sys.executable, "-m", "unittest", "discover",
                               "-s", os.path.join(HERE, folder), "-p", "test_*.py")
        ran = re.search(r"^Ran (\d+) test", text, re.M)
        bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", text))
        count = int(ran[1]) if ran else 0
        bad = max(bad, int(code != 0 or not count))
        if bad:
            steps.show("unittest-" + folder, text)
        passed += max(count - bad, 0)
        failed += bad
    return passed, failed


def conversion(steps):
    """Tree, repository, documentation and both mail series agree"""
    commands = {"check-refresh": ["tree/tree.py", "check-refresh", "--build", steps.build],
                "table": ["mutate/table.py", steps.build],
                "series": ["tree/mail.py", "--build", steps.build],
                "series-mainline": ["tree/mail.py", "--against", "mainline",
                                    "--build", steps.build]}
    bad = 0
    for name, (script, *words) in commands.items():
        code, text = steps.run(name, sys.executable, os.path.join(HERE, script), *words)
        if code:
            steps.show(name, text)
        bad += code != 0
    return len(commands) - bad, bad


def removal(steps):
    """Nothing of mainline's notifiers is left"""
    code, text = steps.run("removal", "git", "-C", steps.path("tree"), "grep", "-niE", NAMES,
                           "removed", "--", *SWEPT, *CLIENTS)
    # 1: nothing found, 0: something, else: the search failed.
    if code != 1:
        steps.show("removal", text)
    return int(code == 1), int(code != 1)


def lint(steps):
    """The kernel's own tools look at patches, code and pages"""
    code, text = steps.run("lint", sys.executable, os.path.join(HERE, "lint", "lint.py"),
                           steps.build, show=True)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", text, re.M)
    if code:
        steps.show("lint", text)
    if not counts:
        return 0, 1
    passed, failed = map(int, counts.groups())
    return passed, max(failed, int(code != 0))


def model(steps):
    """Models of the protocols, searched by spin"""
    code, text = steps.run("model", sys.executable, os.path.join(HERE, "model", "model.py"),
                           steps.build, show=True)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", text, re.M)
    for line in re.findall(r"^FAILED: (.*)$", text, re.M):
        steps.faults.append(f"model: {line}")
    if not counts:
        steps.show("model", text)
        return 0, 1
    passed, failed = map(int, counts.groups())
    return passed, max(failed, int(code != 0))


def baseline(steps):
    """The base without notifiers compiles with KVM off"""
    targets = [f"--target={name}" for name in BASELINE]
    code, _ = steps.run("baseline", sys.executable,
                           os.path.join(HERE, "machine", "build_kernel.py"), *targets,
                           steps.path("base"), steps.path("baseline"),
                           os.path.join(HERE, "machine", "config", "baseline.config"),
                           show=True)
    return int(code == 0), int(code != 0)


def kunit(steps):
    """KUnit, read by the kernel's own parser"""
    code, out = steps.machine("kunit", "kunit", "--kernel-arg", "kunit.filter_glob=mmu_notifier*",
                               "--kernel-arg", "transparent_hugepage=always")
    report = os.path.join(steps.out, "kunit.json")
    _, text = steps.run("kunit-parse", sys.executable,
                        steps.path("tree", "tools", "testing", "kunit", "kunit.py"), "parse",
                        "--json=" + report, os.path.join(out, "console.log"))
    counts = re.search(r"Ran (\d+) tests?: (.*)", text)
    found = dict((k, int(n)) for k, n in re.findall(r"(\w+): (\d+)", counts[2])) if counts else {}
    passed = found.get("passed", 0)
    failed = sum(found.get(k, 0) for k in ("failed", "crashed", "errors"))
    if not failed and (code or not passed):
        failed = 1
    if failed:
        steps.show("kunit", text)
    return passed, failed


def race_job(steps, name, words):
    command = "/race_guest" + "".join("," + word for word in words)
    return steps.machine(name, "exec", "--exec", command, "--cpus", "2")


def races(steps):
    """Faults stopped between lookup and lock"""
    arch = architectures.of_build(steps.path(steps.kernel))
    mutes = MUTES_OF.get(arch and arch.name, MUTES)
    results = [race_job(steps, "races", [])[0]]
    # The same with the notification taken away: the guest must read the old page.
    results += [race_job(steps, f"races-without-{race}",
                         ["--race", race, "--mute", name, "--stale"])[0]
                for race, name in mutes.items()]
    bad = sum(code != 0 for code in results)
    return len(results) - bad, bad


def samples(steps):
    """Samples: GRU, XPMEM, and what a driver copies from"""
    code, text = steps.run("samples", sys.executable, os.path.join(HERE, "samples", "samples.py"),
                           "--kernel", steps.kernel, steps.build,
                           show=True)
    counts = re.search(r"^(\d+) passed, (\d+) failed$", text, re.M)
    if code:
        steps.show("samples", text)
    if not counts:
        return 0, 1
    passed, failed = map(int, counts.groups())
    return passed, max(failed, int(code != 0))


def mirror(steps):
    """Stale translations in mirrors, under random operations"""
    results = {name: steps.machine(name, "mirror", *words) for name, words in MIRRORS.items()}
    bad = sum(code != 0 for code, _ in results.values())
    if not bad:
        # The same seed and number of operations: the same choices.
        drawn = {values_of(results[name][1])["sum.sequence"] for name in REPLAYED}
        if len(drawn) != 1:
            steps.fault("mirror", "one seed gave two sequences of operations")
            return len(results) - 1, 1
    return len(results) - bad, bad


def values_of(out):
    with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
        return json.load(file)["values"]


def guests(steps):
    """Small guests larger than their host, some under faults"""
    arch, bad = architectures.of_build(steps.path(steps.kernel)), 0
    for kind, (words, wanted) in GUESTS.items():
        if arch and arch.name in LISTED_OF:
            wanted = [LISTED_OF[arch.name] if key == LISTED else key for key in wanted]
        code, out = steps.machine("guest-" + kind, "small-guest", *words,
                                  "--trace", f"{PAGE},{RANGE}:folio,{YOUNG}:op")
        missed = guest_faults(out, wanted) if code == 0 else []
        for fault in missed:
            steps.fault("guest-" + kind, fault)
        bad += bool(code or missed)
    return len(GUESTS) - bad, bad


def guest_faults(out, wanted):
    """What a run that passed should have done beside."""
    values = values_of(out)
    missed = [f"there was no {key}: the guest did not use what it was to test"
              for key in wanted if not int(values.get(key, 0))]
    # Key 1 of the event: a section around one small folio.
    if int(values.get(f"trace.{RANGE}.1", 0)):
        missed.append("reclaim opened sections around single pages of a KVM process")
    return missed


def mutation(steps):
    """A sample of hooks and rules taken out: tests notice"""
    code, text = steps.run("mutation", sys.executable, os.path.join(HERE, "mutate", "mutate.py"),
                           steps.build, "--sample", "changed", "--count", MUTANTS, show=True)
    counts = re.search(r"^(\d+) mutants, (\d+) killed", text, re.M)
    wrong = re.findall(r"^fault: (.*)$", text, re.M)
    steps.faults += [f"mutation: {line}" for line in wrong]
    if not counts:
        steps.show("mutation", text)
        return 0, 1
    failed = max(len(wrong), int(code != 0))
    return max(int(counts[1]) - failed, 0), failed


# Step and its usual seconds on two cores.
STEPS = [(testbed, 30), (conversion, 40), (removal, 5), (lint, 480), (model, 30), (baseline, 240),
         (kunit, 60), (races, 120), (samples, 150), (mirror, 120), (guests, 270),
         (mutation, 240)]


def main():
    parser = argparse.ArgumentParser(prog="check.py", allow_abbrev=False)
    parser.add_argument("--kernel", default="kernel", help="build directory below BUILD")
    parser.add_argument("build")
    parser.add_argument("steps", nargs="*", metavar="STEP")
    args = parser.parse_args()
    chosen = args.steps
    unknown = set(chosen) - {step.__name__ for step, _ in STEPS}
    if unknown:
        sys.exit(f"Unknown step {', '.join(sorted(unknown))}; the steps are "
                 f"{', '.join(step.__name__ for step, _ in STEPS)}.")
    if not os.path.isdir(os.path.join(args.build, args.kernel)):
        sys.exit(f"{args.build} has no {args.kernel}: run \"make\" for it, and name BUILD first.")
    steps, table = Steps(args.build, args.kernel), []
    todo = [(step, usual) for step, usual in STEPS if not chosen or step.__name__ in chosen]
    for number, (step, usual) in enumerate(todo, 1):
        print(f"[{number}/{len(todo)}] {step.__doc__} (usually {usual} s)", flush=True)
        start = time.monotonic()
        passed, failed = step(steps)
        if not passed and not failed:
            failed = 1
        table.append((step.__doc__, passed, failed, time.monotonic() - start))
    print()
    if steps.seen:
        print("What was seen:", *steps.seen, "", sep="\n")
    for what, passed, failed, seconds in table:
        print(f"{what:<52} {passed:>4} passed {failed:>3} failed {seconds:>6.0f} s")
    if steps.faults:
        print("\nWhat failed:", *(fault[:300] for fault in steps.faults), sep="\n")
    passed, failed = sum(row[1] for row in table), sum(row[2] for row in table)
    print(f"{passed} passed, {failed} failed", flush=True)
    return int(failed != 0 or not passed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The tests were interrupted.")
