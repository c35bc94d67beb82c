#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The kernel's own suites on mainline and on ours, side by side: peers.py BUILD [TEST...]

Both kernels are built with one configuration, and run the same programs, built
once, from mainline's tree. TEST is a pattern of the rows to run, by default all:
"mm/*", "kvm/*", "mm+sub/*" (the programs of mm, subscribed).
"""
import argparse
import concurrent.futures
import csv
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, os.path.join(BED, "machine"))

import build_kernel  # noqa: E402
import initramfs  # noqa: E402
from pair import KERNELS, PairError, build_kernels, call, module_files  # noqa: E402

SUITES = ["mm", "kvm"]
# Device-coherent memory of test_hmm: the end of the machine's memory, out of Linux' hands.
MEMORY_MB = 4608
COHERENT = ["0x100000000", "0x130000000"]
MODULES = ["kvm-amd", f"test_hmm:spm_addr_dev0={COHERENT[0]}:spm_addr_dev1={COHERENT[1]}"]
AGAIN = 1               # more runs of a row that differs
# And of one where ours lacks a case: some fail now and then on either kernel.
LESS_AGAIN = 9
SKIP = 4                # exit status of kselftest
OK = re.compile(r"^(?:# )*\s*(not )?ok \d+ ?(?:- )?(.*)$")
COUNT = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?%?")      # measured, not part of a case's name

# Rows of mm: a line of run_vmtests.sh each. What is run instead of a command,
# or why it is not run.
INSTEAD = {
    "bash ./test_hmm.sh smoke": "./hmm-tests",          # the module is loaded
}
LEFT_OUT = [
    (r"sudo|test_vmalloc|test_page_frag", "no sudo, no modules of the suite here"),
    (r"all:file", "needs a file system with large folios on a disk"),
    (r"soft-offline|read-hwpoison", "destructive"),
    (r"hugetlb-(soft|read)", "destructive"),
]
# Too slow under emulation: (pattern of the command, its options, what they become).
SCALED = [
    ("./ksm_tests -? -s 100", "-s 100", "-s 5 -l 280"),
    ("./demand_paging_test", "_test", "_test -b 64M"),
    ("./dirty_log_perf_test", "_test", "_test -b 64M"),
    ("./access_tracking_perf_test", "_test", "_test -b 64M"),
    ("./dirty_log_page_splitting_test", "_test", "_test -b 64M"),
    ("./memslot_modification_stress_test", "_test", "_test -b 64M -i 100"),
    ("./kvm_page_table_test", "_test", "_test -b 64M"),
    ("./dirty_log_test", "_test", "_test -i 4"),
    ("./memslot_perf_test", "_test", "_test -l 1"),
]
SECONDS = {"mm": 300, "kvm": 120}
# Rows that get another time, by pattern.
SLOW = [("*/folio_split_race_test", 900)]
# The thread that maps what is present would answer faults that these wait for.
PASSIVE = re.compile(r"uffd|hmm-tests")


class Row:
    def __init__(self, suite, command, folder, passive=False):
        self.suite, self.command, self.folder = suite, command, folder
        self.passive = passive
        self.name = f"{suite}/{re.sub(r'^(bash )?[.]/', '', command)}"

    def seconds(self):
        for pattern, seconds in SLOW:
            if fnmatch.fnmatch(self.name, pattern):
                return seconds
        return SECONDS[self.suite.split("+")[0]]

    def line(self, number):
        words = self.command
        if self.suite.endswith("+sub"):
            setting = "SUBSCRIBE_PASSIVE=1 " if self.passive else ""
            words = f"{setting}LD_PRELOAD=/suites/subscribe.so exec {words}"
        return f"test.{number}\t{self.seconds()}\t{self.folder}\t{words}\n"


def build_suites(build):
    """The programs of mainline's suites, once, stripped."""
    out, source = os.path.join(build, "peers", "selftests"), os.path.join(build, "mainline")
    root = os.path.join(build, "peers", "suites")
    if os.path.exists(os.path.join(root, "done")):
        return root
    print("peers: the suites (usually 100 s)", flush=True)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(out, exist_ok=True)
    call(build_kernel.make_command(source, out, "ARCH=x86_64", "headers"),
         os.path.join(out, "headers.log"), "Installing the kernel's headers")
    call(build_kernel.make_command(os.path.join(source, "tools/testing/selftests"), out,
                                   "ARCH=x86_64", f"TARGETS={' '.join(SUITES)}", "FORCE_TARGETS=1",
                                   f"INSTALL_PATH={root}", f"-j{os.cpu_count()}", "install"),
         os.path.join(out, "build.log"), "Building the suites")
    for suite in SUITES:
        for path in executables(os.path.join(root, suite)):
            subprocess.run(["strip", path], stderr=subprocess.DEVNULL, check=False)
    with open(os.path.join(root, "done"), "w", encoding="utf-8"):
        return root


def executables(folder):
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]


def mm_commands(root):
    """What run_vmtests.sh runs by default, line by line."""
    with open(os.path.join(root, "mm", "run_vmtests.sh"), encoding="utf-8") as file:
        text = file.read()
    values = dict(re.findall(r"^(\w+)=(\./\S+)$", text, re.M))
    for words in re.findall(r'^\s*CATEGORY="?\w+"? run_test (.*)$', text, re.M):
        if "$test_cmd" in words or words.startswith("./gup_test \\"):
            continue                    # the matrix of "-a"
        words = re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], ""), words).strip()
        yield words


def kvm_commands(root):
    with open(os.path.join(root, "kselftest-list.txt"), encoding="utf-8") as file:
        return [f"./{line.split(':')[1].strip()}" for line in file if line.startswith("kvm:")]


def scaled(words):
    for pattern, old, new in SCALED:
        if fnmatch.fnmatch(words, pattern):
            words = words.replace(old, new)
    return words


def rows(root):
    """(rows, [(command, why it is left out)])"""
    found, left = [], []
    for words in dict.fromkeys(mm_commands(root)):
        why = next((why for pattern, why in LEFT_OUT if re.search(pattern, words)), None)
        program = re.sub(r"^bash ", "", words).split()[0]
        if not why and not os.path.exists(os.path.join(root, "mm", program)):
            why = "not built here"
        if why:
            left.append((f"mm/{words}", why))
            continue
        found.append(Row("mm", scaled(INSTEAD.get(words, words)), "/suites/mm"))
    held = [Row("mm+sub", row.command, row.folder, bool(PASSIVE.search(row.command)))
            for row in found]
    kvm = [Row("kvm", scaled(words), "/suites/kvm") for words in kvm_commands(root)]
    return found + held + kvm, left


def own_programs(build):
    """{path in the machine: path here} of ours."""
    out = os.path.join(build, "peers")
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-I", os.path.join(BED, "guest"),
             "-I", os.path.join(out, "selftests", "usr", "include")]
    suite, library = os.path.join(out, "suite"), os.path.join(out, "subscribe.so")
    subprocess.run(["gcc", *flags, "-static", "-o", suite, os.path.join(HERE, "suite.c"),
                    os.path.join(BED, "guest", "report.c")], check=True)
    subprocess.run(["gcc", *flags, "-shared", "-fPIC", "-pthread", "-o", library,
                    os.path.join(HERE, "subscribe.c")], check=True)
    return {"/suite": suite, "/suites/subscribe.so": library}


def machine_files(build, root, name):
    files = own_programs(build)
    for suite in SUITES:
        for path in executables(os.path.join(root, suite)):
            files[f"/suites/{suite}/{os.path.basename(path)}"] = path
    files["/bin/bash"] = initramfs.program("bash", "bash")
    unwinder = subprocess.run(["gcc", "-print-file-name=libgcc_s.so.1"], check=True,
                              capture_output=True, text=True).stdout.strip()
    files["/lib/x86_64-linux-gnu/libgcc_s.so.1"] = unwinder     # pthread_cancel loads it
    for path in list(files.values()):
        if is_dynamic(path):
            files.update((library, library) for library in initramfs.libraries(path))
    files.update(module_files(os.path.join(build, "peers", name)))
    return files


def is_dynamic(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF" and b"/ld-linux" in file.read(4096)


def boot(build, root, name, todo, out):
    """Run TODO until the machine ends; {number: (kind, status, seconds)}, faults."""
    os.makedirs(out, exist_ok=True)
    listing = os.path.join(out, "list")
    with open(listing, "w", encoding="utf-8") as file:
        file.writelines(row.line(number) for number, row in todo)
    files = machine_files(build, root, name)
    files["/suites/list"] = listing
    half = MEMORY_MB // 2
    words = [sys.executable, os.path.join(BED, "machine", "run.py"),
             "--kernel", os.path.join(build, "peers", name), "--out", out, "--job", "exec",
             "--exec", f"/suite,/suites/list,{'+'.join(MODULES)}",
             "--host-mb", str(MEMORY_MB), "--qemu-arg=-smp", "--qemu-arg=4,sockets=2",
             "--kernel-arg", f"memmap=1536M${COHERENT[0]}",
             "--limit", str(120 + sum(row.seconds() for _, row in todo))]
    for node in (0, 1):
        words += [f"--qemu-arg={word}" for word in (
            "-object", f"memory-backend-ram,id=node{node},size={half}M",
            "-numa", f"node,memdev=node{node},cpus={2 * node}-{2 * node + 1}")]
    words += [word for there, here in files.items() for word in ("--file", f"{here}:{there}")]
    with open(os.path.join(out, "run.log"), "w", encoding="utf-8") as log, \
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace") as process:
        for line in process.stdout:
            log.write(line)
            if match := re.search(r": (\d+) s of usually .*: test\.(\d+) (.*)$", line):
                print(f"{name}: {match[1]} s: row {match[2]} of {len(todo)}: {match[3][:60]}",
                      flush=True)
    if process.returncode not in (0, 1):        # not run, or interrupted
        raise PairError(f"The machine {name} did not run; see {out}/run.log.")
    with open(os.path.join(out, "run-1", "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    ended = {int(key[5:]): value.split() for key, value in results["values"].items()
             if re.fullmatch(r"test\.\d+", key)}
    return ended, results["faults"]


def cases(text):
    """{case: "ok", "not ok" or "skip"} in the TAP of one program."""
    found = {}
    for line in text.splitlines():
        if match := OK.match(line.rstrip()):
            name, _, directive = match[2].partition("#")
            name = COUNT.sub("N", name.strip())
            while name in found:
                name += "'"
            found[name] = ("skip" if "SKIP" in directive.upper()
                           else "not ok" if match[1] else "ok")
    return found


class Outcome:
    def __init__(self, ended, text):
        kind, status, seconds = ended
        self.seconds = int(seconds)
        self.cases = cases(text)
        self.word = (f"{kind} {status}" if kind == "signal" else
                     "late" if kind == "late" else "died" if kind == "died" else
                     "pass" if status == "0" else
                     "skip" if int(status) == SKIP else f"exit {status}")

    def passes(self):
        """What must not become less: names of the cases, and the program itself."""
        good = {name for name, result in self.cases.items() if result == "ok"}
        return good | ({"(exit status)"} if self.word == "pass" else set())

    def text(self):
        count = list(self.cases.values()).count
        parts = f" {count('ok')}+{count('not ok')}-{count('skip')}s" if self.cases else ""
        return self.word + parts


def sections(out):
    """{number: what the program printed}"""
    path = os.path.join(out, "run-1", "guest.log")
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read().replace("\r", "")
    return {int(number): body for number, body in
            re.findall(r"^=== test\.(\d+) begins\n(.*?)(?=^=== test\.\d+ |\Z)", text, re.M | re.S)}


def run_all(build, root, name, wanted, label):
    """{number: Outcome}; a machine that dies goes on after the row it died in."""
    outcomes, faults, todo, boots = {}, [], list(wanted), 0
    while todo:
        boots += 1
        out = os.path.join(build, "peers", f"run-{name}", f"{label}-{boots}")
        ended, found = boot(build, root, name, todo, out)
        faults += found
        texts = sections(out)
        for number, _ in todo:
            if number in ended:
                outcomes[number] = Outcome(ended[number], texts.get(number, ""))
        rest = [(number, row) for number, row in todo if number not in outcomes]
        if rest:
            number, row = rest.pop(0)
            outcomes[number] = Outcome(("died", "0", "0"), texts.get(number, ""))
            print(f"{name}: the machine ended in {row.name}", flush=True)
        todo = rest
    return outcomes, faults


def run_both(build, root, wanted, label):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(run_all, build, root, name, wanted, label) for name in KERNELS}
        return {name: job.result() for name, job in jobs.items()}


class Comparison:
    """One row: what every run of it on either kernel gave."""

    def __init__(self, row):
        self.row, self.runs = row, {name: [] for name in KERNELS}

    def add(self, both, number):
        for name, (outcomes, _) in both.items():
            self.runs[name].append(outcomes[number])

    def passes(self, name):
        """{case: in how many runs it passed}"""
        counts = {}
        for outcome in self.runs[name]:
            for case in outcome.passes():
                counts[case] = counts.get(case, 0) + 1
        return counts

    def lost(self):
        """Cases that pass on mainline and never on ours."""
        return sorted(self.passes("mainline").keys() - self.passes("ours").keys())

    def word(self):
        theirs, ours = self.passes("mainline"), self.passes("ours")
        return ("less" if self.lost() else "same" if theirs == ours else
                "more" if all(ours.get(case, 0) >= count for case, count in theirs.items())
                else "varies")

    def cells(self):
        """Row, mainline, ours, verdict; of several runs the last, and how many passed whole."""
        cells = [self.row.name]
        for name, runs in self.runs.items():
            whole = sum(run.word == "pass" for run in runs)
            cells.append(runs[-1].text() + (f" ({whole}/{len(runs)})" if len(runs) > 1 else ""))
        return cells + [self.word()]


def compare(build, root, table):
    """Run all, and again what differs; comparisons, {kernel: faults of its machines}"""
    wanted = list(enumerate(table, 1))
    found = {number: Comparison(row) for number, row in wanted}
    faults = {name: [] for name in KERNELS}
    for turn in range(1 + AGAIN + LESS_AGAIN):
        both = run_both(build, root, wanted, f"turn-{turn + 1}")
        for number, _ in wanted:
            found[number].add(both, number)
        for name, (_, machine) in both.items():
            faults[name] += machine
        words = {"less", "more", "varies"} if turn < AGAIN else {"less"}
        wanted = [entry for entry in wanted if found[entry[0]].word() in words]
        if not wanted:
            break
        print(f"peers: {len(wanted)} rows differ and are run again", flush=True)
    return list(found.values()), faults


def report(build, comparisons, left, faults):
    """Print and write the table; True when ours lacks nothing."""
    table = [comparison.cells() for comparison in comparisons]
    with open(os.path.join(build, "peers", "peers.csv"), "w", encoding="utf-8",
              newline="") as file:
        csv.writer(file).writerows([["row", *KERNELS, "ours passes"], *table])
    width = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        print(f"{row[0]:<{width[0]}}  {row[1]:<{width[1]}}  {row[2]:<{width[2]}}  {row[3]}")
    print("\nLeft out:", *(f"  {name}: {why}" for name, why in left), sep="\n")
    print("Scaled:", *(f"  {pattern}: {old} -> {new}" for pattern, old, new in SCALED), sep="\n")
    for comparison in comparisons:
        for case in comparison.lost():
            print(f"only on mainline: {comparison.row.name}: {case}")
    for name, found in faults.items():
        for fault in found:
            print(f"{name}: {fault}")
    count = [comparison.word() for comparison in comparisons].count
    print(f"\n{len(table)} rows: {count('same')} same, {count('more')} where ours passes more, "
          f"{count('varies')} that vary from run to run on either, {count('less')} less")
    return bool(table) and not count("less") and not (faults["ours"] and not faults["mainline"])


def main():
    parser = build_kernel.Parser(prog="peers.py", description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("tests", nargs="*", help="patterns of rows")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    try:
        root = build_suites(build)
        table, left = rows(root)
        chosen = [row for row in table
                  if not args.tests or any(fnmatch.fnmatch(row.name, t) for t in args.tests)]
        if not chosen:
            raise PairError(f"No row is called {' or '.join(args.tests)}; see --list.")
        if args.list:
            print(*(row.name for row in chosen), sep="\n")
            return 0
        build_kernels(build)
        comparisons, faults = compare(build, root, chosen)
        return 0 if report(build, comparisons, left, faults) else 1
    except (PairError, initramfs.MissingError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("The suites were interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
