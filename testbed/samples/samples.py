#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The samples and their tests in the machine: samples.py [--kernel NAME] BUILD

What was waiting for MMU notifiers in 2008, and what shows that it works now. Some
tests run once more with a function of the sample taken away, and have to fail.
"""
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path[:0] = [os.path.join(BED, "machine"), os.path.join(BED, "peers")]

import arch as architectures  # noqa: E402
import build_kernel  # noqa: E402
import peers  # noqa: E402
from pair import PairError, call  # noqa: E402
from run import positive  # noqa: E402

MODULES = ["soft_mirror", "soft_gru", "soft_xpmem"]
LOADED = [f"/{name}.ko" for name in MODULES]
LOADING = ["--modules", ",".join(LOADED)]
TESTS = os.path.join("tools", "testing", "selftests", "mmu_notifier")
MUTE = "/sys/kernel/debug/mmu_notifier_inject/mute"
SECONDS = 600           # for one test, on a machine that does something else
# All on the process of a small guest: how often each read what did not change just then.
TOGETHER = {"mirror_loads": "sample: {} loads", "gru_loads": "GRU: {} loads",
            "xpmem_loads": "XPMEM: {} loads", "xpmem_messages": "XPMEM: {} messages",
            "pages_verified": "KVM: {} pages verified"}


@dataclasses.dataclass(frozen=True)
class Row:
    system: str
    needed: str         # in 2008
    program: str
    mute: tuple = ()    # functions of the sample to take away
    case: str = ""      # the test that has to fail then
    seconds: int = SECONDS

    def command(self):
        if not self.mute:
            return f"/tests/{self.program}"
        muting = "; ".join(f"printf {name} >{MUTE}" for name in self.mute)
        return (f"{muting}; /tests/{self.program} -t {self.case}; code=$?; echo >{MUTE}; "
                "exit $code")


ROWS = [
    Row("sample", "an example to copy from", "mirror_test"),
    Row("GRU", "pages without references, large ranges in one go", "gru_test"),
    Row("XPMEM", "callbacks that sleep, for any memory", "xpmem_test"),
]
BROKEN = [
    Row("sample", "without invalidate_page", "mirror_test", ("mirror_page_changed",),
        "copy_on_write"),
    Row("GRU", "without invalidate_page", "gru_test", ("gru_invalidate_page",), "copy_on_write"),
    Row("GRU", "without ranges", "gru_test", ("gru_range_start", "gru_range_end"), "moved_away"),
    Row("XPMEM", "without waiting for answers", "xpmem_test", ("xpmem_wait",), "late"),
]


def build(out, tree, kernel, arch):
    """{path in the machine: path here} of modules, tests and what runs them."""
    env = build_kernel.environment(tree, kernel, arch.name)
    log = os.path.join(out, "modules.log")
    with open(log, "w", encoding="utf-8") as file, build_kernel.locked(kernel):
        code = subprocess.run(build_kernel.make_command(tree, kernel, "modules",
                                                        f"-j{os.cpu_count()}",
                                                        prefix=arch.prefix),
                              stdout=file, stderr=subprocess.STDOUT, env=env,
                              check=False).returncode
    if code:
        raise PairError(f"The modules did not build; see {log}.")
    tests = os.path.join(out, "tests")
    os.makedirs(tests, exist_ok=True)
    call(["make", "-C", os.path.join(tree, TESTS), f"OUTPUT={tests}", "LDFLAGS=-static",
          f"CROSS_COMPILE={arch.prefix}"], os.path.join(out, "tests.log"), "Building the tests")
    files = {f"/tests/{row.program}": os.path.join(tests, row.program) for row in ROWS}
    return {"/suite": build_suite(out, arch.compiler[0]), **files, **module_files(kernel)}


def module_files(kernel):
    return {there: os.path.join(kernel, "samples", "mmu_notifier", there[1:])
            for there in LOADED}


def build_suite(out, compiler="gcc"):
    suite = os.path.join(out, "suite")
    call([compiler, "-static", "-O2", "-Wall", "-Werror", "-I", os.path.join(BED, "guest"),
          "-o", suite, os.path.join(BED, "peers", "suite.c"),
          os.path.join(BED, "guest", "report.c")], os.path.join(out, "suite.log"),
         "Building the program that runs the tests")
    return suite


def machine(out, kernel, files, *words, tests=0, label="samples"):
    """Results of one machine; TESTS: how many it will name."""
    words = [sys.executable, os.path.join(BED, "machine", "run.py"), "--kernel", kernel,
             "--out", out, *words]
    words += [word for there, here in files.items() for word in ("--file", f"{here}:{there}")]
    shutil.rmtree(os.path.join(out, "run-1"), ignore_errors=True)
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "run.log"), "w", encoding="utf-8") as log, \
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace") as process:
        for line in process.stdout:
            log.write(line)
            if match := re.search(r": (\d+) s of usually .*: test\.(\d+) ", line):
                print(f"{label}: {match[1]} s: test {match[2]} of {tests}", flush=True)
    results = os.path.join(out, "run-1", "results.json")
    if process.returncode not in (0, 1) or not os.path.exists(results):
        raise PairError(f"The machine did not run; see {out}/run.log.")
    with open(results, encoding="utf-8") as file:
        return json.load(file)


def run(out, kernel, files, rows, *words, label="samples"):
    """{number: (row, Outcome, what it printed)}, faults of the machine"""
    os.makedirs(out, exist_ok=True)
    listing = os.path.join(out, "list")
    with open(listing, "w", encoding="utf-8") as file:
        file.writelines(f"test.{number}\t{row.seconds}\t/\t{row.command()}\n"
                        for number, row in enumerate(rows, 1))
    files = {**files, "/list": listing}
    results = machine(out, kernel, files, "--job", "exec", "--exec", "/suite,/list", *words,
                      tests=len(rows), label=label)
    texts = peers.sections(out)
    return {number: (row, peers.Outcome(results["values"].get(f"test.{number}", "died 0 0").split(),
                                        texts.get(number, "")), texts.get(number, ""))
            for number, row in enumerate(rows, 1)}, results["faults"]


def sizes(kernel, passes):
    """Options for a host that has room, and time, beside what its kernel checks itself with."""
    with open(os.path.join(kernel, ".config"), encoding="utf-8") as file:
        config = build_kernel.parse_config(file.read())
    if not config.get("CONFIG_KASAN") and not config.get("CONFIG_KCSAN"):
        return ["--limit", str(1800 * passes)]
    return ["--host-mb", "256", "--guest-mb", "144", "--silence", "600",
            "--limit", str(7200 * passes)]


def run_together(out, kernel, files, name, passes=1, more=(), label="samples"):
    """Values and faults of a small guest whose process everybody subscribes to."""
    print(f"{label}: {name} (usually 60 s)", flush=True)
    results = machine(os.path.join(out, name), kernel, files, *LOADING, "--job", "small-guest",
                      "--subscribers", "1", "--passes", str(passes), *sizes(kernel, passes),
                      *more)
    return results["values"], results["faults"]


# How a load from a page that is gone shows, and in words.
NOTICED = {"read something else": "a load differs",
           "KASAN: use-after-free in gru_run": "a load of what was freed"}


def noticed(faults):
    for symptom, text in NOTICED.items():
        if any(symptom in fault for fault in faults):
            return text
    return None


def unnoticed(faults):
    return "FAILED: it was not noticed, but " + ("; ".join(faults) or "nothing was wrong")


def report_together(values, faults, broken):
    """Print two rows; (passed, failed)"""
    what = f"{'all':<8} {'at once on the process of a VM that swaps':<50}"
    print(f"{what} {'FAILED: ' + '; '.join(faults) if faults else 'all read the same'}")
    for key, text in TOGETHER.items():
        print(f"{'':<59} {text.format(values.get('guest0.' + key, 0))}")
    how = noticed(broken)
    print(f"{'all':<8} {'without invalidate_page of the GRU:':<50} "
          f"{how or unnoticed(broken)}")
    failed = bool(faults) + (not how)
    return 2 - failed, failed


def planned(text):
    found = re.search(r"^1\.\.(\d+)$", text, re.M)
    return int(found[1]) if found else 0


def fault(row, outcome, text):
    """Why a row is no pass; None when it is one."""
    results = list(outcome.cases.values())
    if row.mute:
        return None if outcome.word == "exit 1" and "not ok" in results else "it was not noticed"
    if outcome.word != "pass":
        bad = [name for name, result in outcome.cases.items() if result == "not ok"]
        return f"{outcome.word}: {', '.join(bad) or 'no test failed'}"
    if results.count("ok") != planned(text) or not results:
        return f"{results.count('ok')} of {planned(text)} tests passed"
    return None


def counts(text):
    """What the tests of a row counted, with the name of each."""
    found, name = [], ""
    for line in text.splitlines():
        if match := re.match(r"#  RUN +(\S+) \.\.\.", line):
            name = match[1]
        elif match := re.search(r":\w+:counts: (.*)$", line):
            found.append(f"{name}: {match[1]}")
    return found


def report(found, faults):
    """Print the table; (passed, failed)"""
    passed = 0
    print(f"\n{'system':<8} {'what it needed in 2008':<50} what shows that it works")
    for row, outcome, text in found.values():
        why = fault(row, outcome, text)
        passed += not why
        if row.mute:
            shows = f"{row.case} fails" if not why else f"FAILED: {why}"
            print(f"{row.system:<8} {row.needed + ':':<50} {shows}")
            continue
        shows = f"FAILED: {why}" if why else f"{planned(text)} tests pass"
        print(f"{row.system:<8} {row.needed:<50} {shows}")
        for line in counts(text):
            print(f"{'':<59} {line}")
    for line in faults:
        print(f"samples: {line}")
    return passed, len(found) - passed + len(faults)


def add_passes(parser):
    parser.add_argument("--passes", type=positive, default=1,
                        help="of the guest that all subscribe to (default 1)")


def main():
    parser = build_kernel.Parser(prog="samples.py", description=__doc__.splitlines()[0])
    parser.add_argument("--kernel", default="kernel", help="build directory below BUILD")
    add_passes(parser)
    parser.add_argument("build")
    args = parser.parse_args()
    build_dir = os.path.abspath(args.build)
    kernel, out = os.path.join(build_dir, args.kernel), os.path.join(build_dir, "samples")
    try:
        arch = architectures.of_build(kernel)
        if not arch:
            raise PairError(f"{kernel} is not a kernel build: build the kernel first.")
        os.makedirs(out, exist_ok=True)
        print("samples: modules and tests", flush=True)
        files = build(out, os.path.join(build_dir, "tree"), kernel, arch)
        found = run(out, kernel, files, ROWS + BROKEN, *LOADING, "--host-mb", "768",
                    "--expect-swap", "yes", "--limit", "1800")
        modules = module_files(kernel)
        together = run_together(out, kernel, modules, "together", args.passes)
        _, broken = run_together(out, kernel, modules, "together-broken",
                                 more=["--write", f"{MUTE}:gru_invalidate_page"])
        counts_of = [report(*found), report_together(*together, broken)]
        passed, failed = (sum(part) for part in zip(*counts_of))
    except (PairError, build_kernel.BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{passed} passed, {failed} failed")
    return int(failed != 0 or not passed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The samples were interrupted.")
