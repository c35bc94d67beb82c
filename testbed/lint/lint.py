#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the kernel's own tools say of the series: lint.py BUILD [TOOL...]

A table: tool, how much it checked, findings in ours, and in what they replace of
mainline. A tool that checked nothing has failed. Ends with a line "N passed, N failed".
"""
import argparse
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "machine")]

import build_kernel  # noqa: E402
import source  # noqa: E402
from arch import ARCHES  # noqa: E402

# What our files replace: the peer of all figures.
MAINLINE = ["mm/mmu_notifier.c", "include/linux/mmu_notifier.h"]
CONFIG = os.path.join(ROOT, "testbed", "machine", "config")
OURS = ["base.config", "x86_64.config", "kunit.config"]
THEIRS = ["base.config", "x86_64.config"]

# checkpatch's types that are not for us, and why.
NEVER = {"FILE_PATH_CHANGES": "new files and MAINTAINERS are in different patches",
         "EMAIL_SUBJECT": "a subject may begin with checkpatch's own name",
         "MACRO_ARG_REUSE": "a loop names its variable more than once, as those of list.h do"}
TRACE = {name: "trace events are macros that are not C" for name in
         ("COMPLEX_MACRO", "MACRO_ARG_UNUSED", "TRAILING_SEMICOLON", "PARENTHESIS_ALIGNMENT",
          "OPEN_ENDED_LINE")}
# Words that codespell takes for others.
WORDS = {"damon": "is no daemon"}

# Functions without a lock annotation, and why.
MANY = "an array of locks, for which there is no expression"
PLAIN = {"mi_lock_tree": MANY, "mi_lock_rest": MANY, "mi_unlock_tree": MANY, "mi_unlock_rest": MANY,
         "kvm_walk_hva_slots": "takes mmu_lock if it finds a slot; the result says so",
         "kvm_walk_hva_end": "drops mmu_lock if the result says so"}

# Lines of a function: median, 95th percentile, and the longest.
LENGTH = (15, 60, 100)
# Bytes of stack: a callback runs below reclaim, which runs below anything.
STACK = 400
STACK_TESTS = 1024

# Debian's sparse does not know this word, and the kernel turns it off silently then.
SPARSE = "sparse -D__typeof_unqual__=__typeof__"
# It takes no __builtin_strlen() for constant, which these use.
NOT_CONSTANT = "error: bad constant expression"
STRLEN = ("MODULE_", "module_param")
PLANTED = """int planted(int __attribute__((noderef, address_space(1))) *p);
int planted(int __attribute__((noderef, address_space(1))) *p) { return *p; }
"""
# coccicheck's findings that are none, and why: file and text.
PARDONED = {("mm/mmu_interval_notifier.c", "preceding lock"): "mi_hit() has given it back"}
PLANTED_COCCI = """int planted(int a)
{
	if (a) {
		return 1;
	};
	return 0;
}
"""

Row = collections.namedtuple("Row", "what checked ours mainline good", defaults=["-", None])


class Fault(Exception):
    """One sentence for the person who called us."""


def is_good(row):
    some = str(row.checked).partition(" ")[0] not in ("", "0")
    return some and (row.ours == 0 if row.good is None else row.good)


class Lint:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.tree = os.path.join(self.build, "tree")
        self.mainline = os.path.join(self.build, "mainline")
        self.out = os.path.join(self.build, "lint")
        os.makedirs(self.out, exist_ok=True)
        # Debian's python3 has Debian's modules.
        self.env = dict(os.environ, PATH="/usr/bin:" + os.environ["PATH"], LC_ALL="C")
        if not self.git("rev-list", "removed..series"):
            raise Fault("The tree has no patch to check: run make tree.")
        self.paths = self.git("diff", "--name-only", "removed", "series").split()
        self.owned = self.git("diff", "--name-only", "--diff-filter=A", "removed",
                              "series").split()

    def run(self, *words, where=None, data=None):
        done = subprocess.run(words, cwd=where or self.tree, env=self.env, input=data, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              errors="replace")
        return done.stdout

    def git(self, *words):
        done = subprocess.run(["git", "-C", self.tree, *words], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise Fault(f"git {words[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def kernel(self, *endings, without=()):
        """Files of ours that the kernel is built from."""
        return [path for path in self.owned if path.endswith(endings)
                and not path.startswith(("tools/", *without))]

    def theirs(self):
        """Mainline's files, below a folder of their own."""
        top = os.path.join(self.out, "mainline-files")
        for path in MAINLINE:
            os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
            write(os.path.join(top, path), self.git("show", f"base:{path}"))
        return [os.path.join(top, path) for path in MAINLINE]

    def read(self, paths):
        return [read(os.path.join(self.tree, path)) for path in paths]


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def show(findings, most=20):
    """Print what was found; return how many."""
    findings = list(dict.fromkeys(findings))
    for line in findings[:most]:
        print(f"  {line}")
    if len(findings) > most:
        print(f"  and {len(findings) - most} more")
    return len(findings)


def parallel(function, things):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, things))


# Those that read text.

def checkpatch(lint):
    """checkpatch --strict on each patch"""
    command = ["perl", "scripts/checkpatch.pl", "--strict", "--terse", "--no-summary",
               "--no-signoff", "--show-types"]
    commits = lint.git("rev-list", "--reverse", "removed..series").split()
    # A file at a time: it does not take a minute for the longest patch then.
    parts = [(commit, path) for commit in commits
             for path in lint.git("diff", "--name-only", f"{commit}^", commit).split()]

    def findings(part):
        events = part[1].startswith("include/trace/") or part[1].endswith("trace.h")
        ignored = {**NEVER, **TRACE} if events else NEVER
        patch = lint.git("show", "--format=email", "--patch", part[0], "--", part[1])
        said = lint.run(*command, "--ignore", ",".join(ignored), "-", data=patch)
        return [f"{part[1]}: {line}" for line in said.splitlines()]

    found = sum(parallel(findings, parts), [])
    theirs = lint.run(*command, "--ignore", ",".join(NEVER), "-f", *lint.theirs()).splitlines()
    yield Row("checkpatch --strict", f"{len(commits)} patches", show(found), len(theirs))


def codespell(lint):
    """codespell, with the dictionary that checkpatch --codespell takes"""
    # checkpatch reads it anew for each file, which takes 6 seconds.
    words = lint.run("python3", "-c", "import codespell_lib as c; print(c.__path__[0])").strip()
    text = read(os.path.join(words, "data", "dictionary.txt"))
    names = os.path.join(lint.out, "dictionary.txt")
    write(names, "".join(line for line in text.splitlines(True) if line.split("->")[0] not in WORDS))
    top = os.path.join(lint.out, "spelling")
    shutil.rmtree(top, ignore_errors=True)
    commits = lint.git("rev-list", "--reverse", "removed..series").split()
    for number, commit in enumerate(commits, 1):
        patch = lint.git("show", "--format=%B", "--patch", commit)
        message, _, changes = patch.partition("\ndiff ")
        added = [line[1:] for line in changes.splitlines() if re.match(r"\+(?!\+\+)", line)]
        write(os.path.join(top, f"{number:04}"), "\n".join([message, *added]))
    found = [line for line in lint.run("codespell", "-D", names, ".", where=top).splitlines()
             if "==>" in line]
    theirs = lint.run("codespell", "-D", names, *lint.theirs()).splitlines()
    yield Row("codespell", f"{len(commits)} patches", show(found), len(theirs))


def shellcheck(lint):
    """shellcheck on the scripts"""
    scripts = [path for path in (".ci/run", "testbed/deps", "testbed/machine/init",
                                 *glob.glob("testbed/**/*.sh", root_dir=ROOT, recursive=True))
               if os.path.exists(os.path.join(ROOT, path))]
    found = lint.run("shellcheck", "--format=gcc", *scripts, where=ROOT).splitlines()
    yield Row("shellcheck", f"{len(scripts)} scripts", show(found))


def kernel_doc(lint):
    """kernel-doc"""
    command = ["scripts/kernel-doc", "-none", "-Wall", "-Werror"]
    said = re.compile(r"^(?:warning|error|info):|:\d+: ", re.I)

    def findings(paths):
        return [line for line in lint.run(*command, *paths).splitlines() if said.search(line)]

    ours = lint.kernel(".c", ".h")
    yield Row("kernel-doc -Wall -Werror", f"{len(ours)} files", show(findings(ours)),
              len(findings(lint.theirs())))
    texts, theirs = lint.read(ours), [read(path) for path in lint.theirs()]
    whole = "".join(texts)
    found = [f"{path}: {name}: exported without kernel-doc" for path, text in zip(ours, texts)
             for name in source.undocumented(text, whole)]
    exported = sum(len(source.EXPORT.findall(text)) for text in texts)
    yield Row("exported functions without kernel-doc", f"{exported} names", show(found),
              len(list(source.undocumented(theirs[0], theirs[1]))))


def maintainers(lint):
    """get_maintainer on every path"""
    def nobody(path):
        said = lint.run("perl", "scripts/get_maintainer.pl", "--nogit", "--nogit-fallback", "-f",
                        path)
        return not re.search(r"\((?:maintainer|supporter|reviewer)\b", said)

    # Those of mainline that have nobody in mainline either are its figure.
    lost = [path for path, lost in zip(lint.paths, parallel(nobody, lint.paths)) if lost]
    found = [f"{path}: get_maintainer names nobody" for path in lost if path in lint.owned]
    yield Row("get_maintainer", f"{len(lint.paths)} paths", show(found), len(lost) - len(found))


def code(lint):
    """Function lengths and lock annotations"""
    paths = lint.kernel(".c", without=("lib/tests/",))
    texts, theirs = lint.read(paths), [read(lint.theirs()[0])]
    for what, some in (("functions", texts),
                       ("functions of tests", lint.read(lint.kernel(".c", without=("mm/", "virt/", "samples/"))))):
        *sizes, name = source.lengths(some)
        count = sum(len(list(source.functions(text))) for text in some)
        yield Row(f"{what}: median / 95 % / longest", f"{count} functions",
                  " / ".join(map(str, sizes)) + f" {name}",
                  " / ".join(map(str, source.lengths(theirs)[:3])),
                  all(size <= most for size, most in zip(sizes, LENGTH)))
    found = [f"{path}: {name}: takes or leaves a lock without saying so"
             for path, text in zip(paths, texts) for name in source.without_annotation(text)
             if name not in PLAIN]
    yield Row("functions with a lock, not annotated", f"{len(paths)} files", show(found),
              len(list(source.without_annotation(theirs[0]))))


# Those that build.

class Kernel:
    """Objects of one tree, built to be looked at."""

    def __init__(self, lint, name, src, fragments, paths):
        self.lint, self.src, self.paths = lint, src, paths
        if not os.path.exists(os.path.join(src, "Kbuild")):
            raise Fault(f"{src} is missing: run make tree and make mainline.")
        self.out, self.log = (os.path.join(lint.out, name + end) for end in ("", ".log"))
        os.makedirs(self.out, exist_ok=True)
        self.env = build_kernel.environment(src, self.out, "x86_64")
        if not os.path.exists(os.path.join(self.out, ".config")):
            with open(self.log, "w", encoding="utf-8") as log:
                build_kernel.configure(src, self.out, ARCHES["x86_64"],
                                       [os.path.join(CONFIG, name) for name in fragments],
                                       self.env, log)
        self.make("prepare", "modules_prepare")

    def make(self, *words, must=True):
        command = build_kernel.make_command(self.src, self.out, f"-j{os.cpu_count()}", *words)
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False, errors="replace")
        write(self.log, done.stdout)
        if must and done.returncode:
            print("\n".join(build_kernel.first_errors(self.log)))
            raise Fault(f"{' '.join(words[:2])} failed; the whole log is {self.log}.")
        return done.stdout

    def objects(self):
        return [path[:-2] + ".o" for path in self.paths]

    def build(self, *words):
        """Compile anew what is looked at; the log."""
        for name in self.objects():
            path = os.path.join(self.out, name)
            if os.path.exists(path):
                os.unlink(path)
        return self.make(*words, *self.objects())

    def said(self, log, about):
        """Warnings of a log that are about these files."""
        for line in log.splitlines():
            match = re.match(r"(\S+?)(:\d+:\d+: (?:warning|error).*)", line)
            for path in about if match else []:
                if match[1].endswith("/" + path) or match[1] == path:
                    yield path + match[2]

    def line(self, finding):
        """The source that a finding is about."""
        path, number, _ = finding.split(":", 2)
        return read(os.path.join(self.src, path)).splitlines()[int(number) - 1]


def kernels(lint):
    """Ours and mainline's, of which the first file is compiled."""
    if not hasattr(lint, "kernels"):
        lint.kernels = (Kernel(lint, "ours", lint.tree, OURS, lint.kernel(".c")),
                        Kernel(lint, "theirs", lint.mainline, THEIRS, MAINLINE[:1]))
    return lint.kernels


def warnings(lint):
    """W=1"""
    ours, theirs = kernels(lint)
    about = lint.kernel(".c", ".h")
    found = [ours.said(ours.build("W=1"), about), theirs.said(theirs.build("W=1"), MAINLINE)]
    yield Row("W=1", f"{len(ours.paths)} files", show(found[0]), len(set(found[1])))


def sparse(lint):
    """sparse"""
    ours, theirs = kernels(lint)
    about = lint.kernel(".c", ".h")
    log = ours.build("C=2", f"CHECK={SPARSE}")
    checked = set(re.findall(r"^  CHECK +(\S+)$", log, re.M))
    ran = [path for path in ours.paths if any(name.endswith(path) for name in checked)]
    found = [line for line in ours.said(log, about)
             if not (NOT_CONSTANT in line and ours.line(line).startswith(STRLEN))]
    found += [f"{path}: sparse did not look at it" for path in set(ours.paths) - set(ran)]
    if not planted(ours):
        found.append("sparse did not find the error that was planted for it: it does not work")
    other = theirs.said(theirs.build("C=2", f"CHECK={SPARSE}"), MAINLINE)
    yield Row("sparse", f"{len(ran)} files", show(found), len(set(other)))


def planted(kernel):
    """Does sparse find a mistake, where and as it looks at our files?"""
    top = os.path.join(kernel.lint.out, "planted")
    shutil.rmtree(top, ignore_errors=True)
    write(os.path.join(top, "planted.c"), PLANTED)
    write(os.path.join(top, "Makefile"), "obj-m := planted.o\n")
    log = kernel.make(f"M={top}", "C=2", f"CHECK={SPARSE}", "planted.o", must=False)
    return re.search(r"planted\.c:2:.*: dereference of noderef expression", log)


def stack(lint):
    """Stack use"""
    def frames(kernel):
        for name in kernel.objects():
            dump = lint.run("objdump", "-d", os.path.join(kernel.out, name))
            for line in lint.run("perl", "scripts/checkstack.pl", "x86_64", "1",
                                 data=dump).splitlines():
                match = re.match(r"\S+ (\S+) \[.*\]:\s+(\d+)", line)
                if match and "init_module" not in match[1]:
                    yield int(match[2]), f"{name}: {match[1]}"

    ours, theirs = kernels(lint)
    ours.build(), theirs.build()
    sizes, other = sorted(frames(ours)), max(frames(theirs), default=(0, ""))
    tests = [size for size in sizes if size[1].startswith("lib/tests/")]
    core = [size for size in sizes if size not in tests]
    for what, some, limit in (("stack", core, STACK), ("stack of tests", tests, STACK_TESTS)):
        most = max(some, default=(0, "none"))
        show(f"{name}: {size} bytes of stack" for size, name in some if size > limit)
        yield Row(f"{what}, bytes (at most {limit})", f"{len(some)} frames",
                  f"{most[0]} {most[1].split()[-1]}", other[0], most[0] <= limit)


def coccicheck(lint):
    """coccicheck"""
    def findings(name, files):
        """Of a folder that has nothing else."""
        top = os.path.join(lint.out, "cocci", name)
        shutil.rmtree(top, ignore_errors=True)
        for path, text in [*files, ("planted.c", PLANTED_COCCI)]:
            write(os.path.join(top, path), text)
        log = lint.run("make", "-s", f"M={top}", "MODE=report", "coccicheck", f"J={os.cpu_count()}",
                       f"O={kernels(lint)[0].out}")
        write(os.path.join(lint.out, f"cocci-{name}.log"), log)
        if "coccicheck failed" in log or "Error" in log:
            raise Fault(f"coccicheck failed; see {lint.out}/cocci-{name}.log.")
        said = [line.removeprefix("./") for line in log.splitlines()
                if re.match(r"\S+:\d+:\d+-\d+: ", line)]
        if not any(line.startswith("planted.c:") for line in said):
            said.append("coccicheck did not find the error that was planted for it")
        return [line for line in said if not line.startswith("planted.c:")
                and not any(line.startswith(path) and text in line for path, text in PARDONED)]

    ours = lint.kernel(".c")
    found = findings("ours", zip(ours, lint.read(ours)))
    other = findings("mainline", zip(MAINLINE[:1], [read(lint.theirs()[0])]))
    rules = len(glob.glob(os.path.join(lint.tree, "scripts/coccinelle/**/*.cocci"), recursive=True))
    yield Row("coccicheck", f"{len(ours)} files, {rules} rules", show(found), len(set(other)))


def htmldocs(lint):
    """make htmldocs"""
    def page(name, src):
        out = os.path.join(lint.out, "docs-" + name)
        log = lint.run("make", "-C", src, f"O={out}", "SPHINXDIRS=mm", "htmldocs")
        write(os.path.join(lint.out, f"docs-{name}.log"), log)
        pages = glob.glob(os.path.join(out, "Documentation/output/**/mmu_notifier.html"),
                          recursive=True)
        return len(pages), [line for line in log.splitlines() if "mmu_notifier" in line and
                            re.search(r"warning|error|critical", line, re.I)]

    os.makedirs(os.path.join(lint.out, "docs-ours"), exist_ok=True)
    os.makedirs(os.path.join(lint.out, "docs-mainline"), exist_ok=True)
    pages, found = page("ours", lint.tree)
    _, other = page("mainline", lint.mainline)
    yield Row("htmldocs SPHINXDIRS=mm", f"{pages} page", show(found), len(set(other)))


# Tool and its usual seconds on two cores.
TOOLS = [(checkpatch, 30), (codespell, 5), (shellcheck, 1), (kernel_doc, 2), (maintainers, 20),
         (code, 1), (warnings, 180), (sparse, 60), (stack, 10), (coccicheck, 100), (htmldocs, 60)]


def table(rows):
    head = Row("tool", "checked", "ours", "mainline")
    widths = [max(len(str(row[n])) for row in [head, *rows]) for n in range(4)]
    for row in [head, *rows]:
        words = "  ".join(f"{str(cell):<{width}}" for cell, width in zip(row, widths))
        print((words + ("" if row is head or is_good(row) else "  FAILED")).rstrip())


def main():
    parser = argparse.ArgumentParser(prog="lint.py", allow_abbrev=False)
    parser.add_argument("build")
    parser.add_argument("tools", nargs="*", metavar="TOOL")
    args = parser.parse_args()
    tools = {tool.__name__: (tool, usual) for tool, usual in TOOLS}
    if unknown := set(args.tools) - set(tools):
        sys.exit(f"Unknown tool {', '.join(sorted(unknown))}; there are {', '.join(tools)}.")
    rows = []
    try:
        lint = Lint(args.build)
        for name, (tool, usual) in tools.items():
            if not args.tools or name in args.tools:
                start = time.monotonic()
                print(f"{tool.__doc__} (usually {usual} s)", flush=True)
                rows += tool(lint)
                print(f"  {time.monotonic() - start:.0f} s", flush=True)
    except (Fault, build_kernel.BuildError) as fault:
        sys.exit(str(fault))
    print()
    table(rows)
    failed = sum(not is_good(row) for row in rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    return int(failed != 0 or not rows)


if __name__ == "__main__":
    sys.exit(main())
