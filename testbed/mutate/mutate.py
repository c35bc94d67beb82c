#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Take out each hook of the patches in turn: do the KUnit suites notice?

    mutate.py BUILD                     every hook, and every rule of rules.py
    mutate.py BUILD mm/rmap.c ...       those of these files, or below these folders, or
                                        of a kind: rule, start, end, page, young, ...
    mutate.py BUILD --sample changed    a sample: some of files that differ from --base,
                                        and a few of all

Without --base the sample is of what changed in the day before the last commit. Where
the history does not tell (a shallow clone, no repository), it is of all; the last
commit, or the date, decides which.

One kernel has all mutants: which hook is missing is chosen at run time. Ends with a
line "N mutants, K killed, S survived", and fails if one survives that equivalent.txt
does not name, or if one is killed that it names.
"""
import collections
import concurrent.futures
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
ROOT = os.path.dirname(BED)
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(BED, "machine"))

import build_kernel  # noqa: E402
import hooks  # noqa: E402
import source  # noqa: E402
import vm  # noqa: E402
import verdict  # noqa: E402

MACHINES = 2                        # at once; each needs one processor and 1 GB
SAMPLE = 12                         # hooks of --sample
MORE = 4                            # one in so many of them whatever changed
DAY = 24 * 60 * 60
PREFIX = "mmu_notifier_"
FLAGS = ["-static", "-O2", "-g0", "-Wall", "-Wextra", "-Werror"]
PROGRAM = ["judge.c", "../guest/report.c", "../guest/file.c"]
# A suite that hangs is ended by judge.c, a kernel that hangs by its silence.
MACHINE = ["--job", "exec", "--host-mb", "1024", "--swap", "none",
           "--quiet", "600", "--limit", "7200",
           "--kernel-arg", "kunit.enable=1", "--kernel-arg", "kunit.autorun=0",
           "--kernel-arg", "transparent_hugepage=always", "--kernel-arg", "loglevel=5",
           "--kernel-arg", "oops=panic", "--kernel-arg", "kunit.timeout=1500"]
STARTS = 3                          # of a machine that does not come to its first suite
KILLED = ("killed", "hung", "splat", "crash")


class MutateError(Exception):
    """One sentence for the person who called us."""


class Verdict(collections.namedtuple("Verdict", "hook word by")):
    """WORD: one of KILLED, or survived; BY: what failed, or how often it was passed."""

    @property
    def killed(self):
        return self.word in KILLED


def read_known(path, found):
    """{key: reason} of hooks whose absence changes nothing that a test could see."""
    known, keys = {}, {hook.key for hook in found}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            key, _, reason = (part.strip() for part in line.partition(":"))
            if key not in keys or not reason:
                raise MutateError(f"{os.path.basename(path)}: {key!r} is no hook, or has no reason "
                                  "behind a colon: correct the line, or remove it.")
            known[key] = reason
    return known


# Choosing.

def git(*words):
    """Output of git in the repository, None if it fails."""
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout if not done.returncode else None


def day_before():
    """The last commit that is a day older than HEAD; None if the history does not tell."""
    stamp = git("log", "-1", "--format=%ct")
    if not stamp:
        return None
    base = git("rev-list", "-1", f"--before={int(stamp) - DAY}", "HEAD")
    return (base or "").strip() or None


def changed_files(base):
    """Files of the kernel whose patches differ from BASE, None if that is no revision."""
    names = git("diff", "--name-only", base, "--") if base else None
    if names is None:
        return None
    return {name.removesuffix(".patch") for name in names.splitlines()}


def sample(found, files, seed, count=SAMPLE):
    """COUNT hooks, most of them in FILES if there are; the choice depends on SEED only."""
    def lot(hook):
        return hashlib.sha256(f"{seed} {hook.key}".encode()).digest()
    ranked = sorted(found, key=lot)
    chosen = [hook for hook in ranked if hook.file in (files or ())][:count - count // MORE]
    chosen += [hook for hook in ranked if hook not in chosen][:count - len(chosen)]
    return [hook for hook in found if hook in chosen]


def choose_sample(found, args):
    base = args.base or day_before()
    files = changed_files(base)
    if args.base and files is None:
        raise MutateError(f"BASE={args.base} is no revision of this repository: name another, or "
                          "leave it out.")
    seed = (git("rev-parse", "HEAD") or datetime.date.today().isoformat()).strip()
    print("sample of all: the history does not tell what changed in a day" if files is None else
          f"sample of what changed since {base[:12]}", flush=True)
    return sample(found, files, seed, args.count)


def is_at(hook, path):
    return path in (hook.file, hook.kind) or hook.file.startswith(path.rstrip("/") + "/")


def choose(found, args):
    if args.sample:
        return choose_sample(found, args)
    if not args.paths:
        return found
    chosen = [hook for hook in found if any(is_at(hook, path) for path in args.paths)]
    if not chosen:
        raise MutateError(f"No hook is in {' '.join(args.paths)}.")
    return chosen


# Machines.

def build_judge(out):
    path = os.path.join(out, "judge")
    log = path + ".log"
    with open(log, "w", encoding="utf-8") as file:
        code = subprocess.run(["gcc", *FLAGS, "-I", os.path.join(BED, "guest"), "-o", path,
                               *(os.path.join(HERE, name) for name in PROGRAM)],
                              stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        raise MutateError(f"The program for the machine did not build; see {log}.")
    return path


class Machine:
    """One of those that run at the same time, booted as often as it takes."""

    stop = threading.Event()            # another has failed

    def __init__(self, kernel, judge, out, name, suites=()):
        self.kernel, self.judge, self.out, self.name = kernel, judge, out, name
        self.command = ",".join(["/judge", "/sites", *(PREFIX + suite for suite in suites)])
        self.boots, self.shown = 0, None

    def boot(self, todo):
        """(values it reported, its console) when the machine ended."""
        for left in reversed(range(STARTS)):
            values, console, out = self.start(todo)
            if any(key.startswith("suite.") for key in values) or not left:
                break
            print(f"machine {self.name}: no suite ran, it is started again; see {out}",
                  flush=True)
        if error := values.get("error"):
            raise MutateError(f"{error}; see {out}.")
        if not any(key.startswith("begin.") for key in values):
            raise MutateError(f"The machine ended before the first hook; see {out}.")
        return values, console

    def start(self, todo):
        self.boots += 1
        out = os.path.join(self.out, self.name)
        kept = os.path.join(out, f"start-{self.boots}")
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(out, exist_ok=True)
        sites = os.path.join(out, "sites")
        with open(sites, "w", encoding="utf-8") as file:
            file.writelines(f"{hook.site:06x}\n" for hook in todo)
        words = [sys.executable, os.path.join(BED, "machine", "run.py"), "--kernel", self.kernel,
                 "--out", out, *MACHINE, "--file", f"{self.judge}:/judge", "--file",
                 f"{sites}:/sites", "--exec", self.command]
        with open(os.path.join(out, "run.log"), "w", encoding="utf-8") as log, \
                subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, errors="replace") as process:
            for line in process.stdout:
                log.write(line)
                if match := re.search(r": (\d+) s of usually .*: hook (\d+), \w+: (\w+)$", line):
                    self.show(match, len(todo))
        if process.returncode not in (0, 1):        # not run, or interrupted
            raise MutateError(f"The machine did not run; see {out}/run.log.")
        os.rename(os.path.join(out, "run-1"), kept)
        with open(os.path.join(kept, "results.json"), encoding="utf-8") as file:
            values = json.load(file)["values"]
        return values, vm.read_log(kept, "console"), kept

    def show(self, match, count):
        """Each hook once; a machine speaks every few seconds."""
        if self.shown != match[2]:
            self.shown = match[2]
            print(f"machine {self.name}, start {self.boots}: {match[1]} s: hook {match[2]} of "
                  f"{count}: {match[3]}", flush=True)

    def run(self, todo):
        """[Verdict] of the hooks; the other machines stop if this one fails."""
        try:
            return self.run_each(todo)
        except BaseException:
            self.stop.set()
            raise

    def run_each(self, todo):
        """A machine that is spoilt is followed by a fresh one."""
        done = []
        while todo and not self.stop.is_set():
            values, console = self.boot(todo)
            done += judged(todo, values, console)
            over = {entry.hook for entry in done}
            # The one that it ended at comes first: nothing else was taken out then.
            todo = sorted((hook for hook in todo if hook not in over),
                          key=lambda hook: f"begin.{hook.site:06x}" not in values)
        return done


def judged(todo, values, console):
    """Verdicts on what a machine had begun; none on the hook that may only have inherited."""
    done = []
    for number, hook in enumerate(todo):
        site = f"{hook.site:06x}"
        if f"begin.{site}" not in values:
            continue
        word, _, by = values.get(f"mutant.{site}", "crash").partition(" ")
        if word == "crash" and number or word == "spoilt":
            continue
        if word in ("crash", "splat"):
            splats = verdict.splats(console)
            by = re.sub(r"^\[ *[\d.]+\](\[ *[TC]\d+\])? *", "",
                        splats[0].strip() if splats else "the kernel says nothing")
        done.append(Verdict(hook, word, by))
    return done


def run_all(machines, todo):
    """Verdicts in the order of TODO; every machine has its share."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [pool.submit(machine.run, todo[number::len(machines)])
                for number, machine in enumerate(machines) if todo[number::len(machines)]]
        done = {entry.hook: entry for job in jobs for entry in job.result()}
    return [done[hook] for hook in todo]


# The table.

def short(by, most=3):
    """'mmu_notifier_proc one_test two_test ...' for a reader."""
    suite, *cases = by.split()
    more = f" and {len(cases) - most} more" if len(cases) > most else ""
    return f"{suite.removeprefix(PREFIX)}: {' '.join(cases[:most])}{more}"


def text(entry, known):
    if entry.word == "killed":
        return short(entry.by)
    if entry.word == "hung":
        return f"hangs in {short(entry.by)}"
    if entry.killed:
        return f"{entry.word}: {entry.by[:60]}"
    if entry.hook.key in known:
        return f"known: {known[entry.hook.key]}"
    passed = int(entry.by)
    return f"missing {passed} times, and no test failed" if passed else "no test comes here"


def table(verdicts, known):
    rows = [("hook", "function", "kind", "", "by")]
    rows += [(f"{entry.hook.file}:{entry.hook.line}", entry.hook.function, entry.hook.kind,
              "killed" if entry.killed else "survived", text(entry, known)) for entry in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) + "  " + row[4]
            for row in rows]


def what(hook):
    return (f"it has {hook.instead!r}" if hook.kind == "rule" else f"{hook.name}() is missing")


def faults(verdicts, known):
    """A sentence for each verdict that is not as it should be."""
    found = [f"{entry.hook.file}:{entry.hook.line} {entry.hook.function}: no test notices that "
             f"{what(entry.hook)}" for entry in verdicts
             if not entry.killed and entry.hook.key not in known]
    return found + [f"{entry.hook.key}: equivalent.txt names it, but it is killed"
                    for entry in verdicts if entry.killed and entry.hook.key in known]


def elsewhere(others):
    """What this machine cannot run, one line a file."""
    counts = collections.Counter(hook.file for hook in others)
    return [f"not run, of another architecture: {path}, {count} hooks"
            for path, count in counts.items()]


def parts(verdicts):
    return (("hooks", [entry for entry in verdicts if entry.hook.kind != "rule"]),
            ("rules of the core and of KVM", [entry for entry in verdicts if entry.hook.kind == "rule"]))


def report(verdicts, known, others, out):
    """Print everything; the number of faults."""
    lines = table(verdicts, known) + elsewhere(others)
    killed, wrong = sum(entry.killed for entry in verdicts), faults(verdicts, known)
    lines += [f"fault: {line}" for line in wrong]
    lines += [f"{what}: {len(part)}, killed: {sum(entry.killed for entry in part)}"
              for what, part in parts(verdicts) if part]
    lines.append(f"{len(verdicts)} mutants, {killed} killed, {len(verdicts) - killed} survived")
    with open(os.path.join(out, "table.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines), flush=True)
    return len(wrong)


def arguments(argv):
    parser = build_kernel.Parser(prog="mutate.py", description=__doc__.splitlines()[0],
                                 allow_abbrev=False)
    parser.add_argument("build")
    parser.add_argument("paths", nargs="*", metavar="PATH")
    parser.add_argument("--sample", choices=["changed"])
    parser.add_argument("--base", help="revision of the repository (default: of a day before)")
    parser.add_argument("--suites", default="", metavar="NAME,...",
                        help="judge with these only: lifetime,order,...")
    parser.add_argument("--count", type=int, default=SAMPLE, help="of a sample")
    return parser.parse_intermixed_args(argv)


def main(argv=None):
    args = arguments(argv)
    tree = source.Source(os.path.abspath(args.build))
    out = os.path.dirname(tree.top)
    try:
        found, others = tree.mutate()
        known = read_known(os.path.join(HERE, "equivalent.txt"), found)
        chosen = choose(found, args)
        print(f"{len(chosen)} of {len(found)} hooks are taken out in turn", flush=True)
        if not tree.build_kernel():
            raise MutateError("The kernel with the mutants did not build.")
        judge = build_judge(out)
        suites = list(filter(None, args.suites.split(",")))
        machines = [Machine(tree.kernel, judge, out, str(number), suites)
                    for number in range(1, MACHINES + 1)]
        verdicts = run_all(machines, chosen)
    except (MutateError, hooks.HookError, source.tree.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("The run was interrupted.", file=sys.stderr)
        return 130
    return int(report(verdicts, known, others, out) != 0)


if __name__ == "__main__":
    sys.exit(main())
