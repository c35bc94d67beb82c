# SPDX-License-Identifier: GPL-2.0
"""The copy of the kernel's tree in which hooks can be taken out, and its kernel."""
import os
import re
import shutil
import subprocess
import sys

import hooks
import rules

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(BED, "tree"))

import tree  # noqa: E402

FRAGMENTS = ("base.config", "x86_64.config", "kunit.config")
ARCH = "arch/x86/"                  # of the machine
# Where the functions of a header with hooks may be called.
CALLERS = ("mm", "fs", "kernel", ARCH)


def all_files(top):
    """Paths below TOP, git's own left out."""
    for where, folders, names in os.walk(top):
        if where == top:
            folders[:] = [name for name in folders if name != ".git"]
        for name in names:
            yield os.path.relpath(os.path.join(where, name), top)


def same_file(one, other):
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False


def write_if_changed(path, text):
    """Never into a file that has another name elsewhere."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text and os.stat(path).st_nlink == 1:
                return
    except FileNotFoundError:
        pass
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def copy(origin, top, files):
    """Make TOP the tree ORIGIN with FILES {path: text} in the place of its own.

    All others are hard links: nothing is copied, and what make has built of a file
    that did not change stays.
    """
    wanted = set(all_files(origin))
    for path in set(all_files(top)) - wanted - set(files):
        os.unlink(os.path.join(top, path))
    for folder in {os.path.dirname(path) for path in wanted | set(files)}:
        os.makedirs(os.path.join(top, folder), exist_ok=True)
    for path in wanted - set(files):
        here, there = os.path.join(origin, path), os.path.join(top, path)
        if not same_file(here, there):
            if os.path.lexists(there):
                os.unlink(there)
            os.link(here, there, follow_symlinks=False)
    for path, text in files.items():
        write_if_changed(os.path.join(top, path), text)


def seed(built, kernel):
    """Begin the build directory KERNEL with BUILT, made of the same files: make finds them done.

    What make remembers of the commands names the directories, source and build.
    """
    if os.path.exists(os.path.join(kernel, "vmlinux")) or \
            not os.path.exists(os.path.join(built, "vmlinux")):
        return
    for part in (kernel, kernel + ".new"):
        shutil.rmtree(part, ignore_errors=True)
    with open(os.path.join(built, "Makefile"), encoding="utf-8") as file:
        was = re.search(r"^export KBUILD_OUTPUT = (.*)$", file.read(), re.M)
    top = os.path.join(os.path.dirname(kernel), "tree")
    tops = {os.readlink(os.path.join(built, "source")): top, was[1]: kernel}
    shutil.copytree(built, kernel + ".new", symlinks=True)
    for path in all_files(kernel + ".new"):
        if path.endswith(".cmd"):
            replace(os.path.join(kernel + ".new", path), tops)
    os.rename(kernel + ".new", kernel)


def replace(path, words):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    for word, other in words.items():
        text = re.sub(re.escape(word) + r"(?=[/\s=]|$)", other, text)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


class Source:
    """BUILD/tree as it is, unrefreshed changes included, and the mutated BUILD/mutate/tree."""

    def __init__(self, build):
        self.origin = os.path.join(build, "tree")
        self.top = os.path.join(build, "mutate", "tree")
        self.kernel = os.path.join(build, "mutate", "kernel")
        self.git = tree.Git(self.origin)

    def read(self, path):
        with open(os.path.join(self.origin, path), encoding="utf-8") as file:
            return file.read()

    def users(self, functions):
        """The files that call one of these functions of a header."""
        names = [word for name in sorted(functions) for word in ("-e", name)]
        found = self.git("grep", "-lw", *names, "--", *CALLERS)
        return [path for path in found.splitlines() if path.endswith(".c")]

    def touched(self):
        """Files of the kernel that the patches change."""
        return [path for path in self.git.lines("diff", "--name-only", "--no-renames",
                                                "--diff-filter=M", "removed")
                if hooks.in_scope(path)]

    def mutate(self):
        """([hook of this architecture], [hook of another])"""
        touched = self.touched()
        ours = [path for path in touched if not path.startswith("arch/") or path.startswith(ARCH)]
        files, found = hooks.mutate(self.read, ours, self.users, rules.RULES)
        files.update(hooks.support(self.read))
        copy(self.origin, self.top, files)
        others = [hook for path in sorted(set(touched) - set(ours))
                  for hook in hooks.find(path, self.read(path))]
        return found, others

    def build_kernel(self):
        """True when it was built; begins with what make kernel has built."""
        seed(os.path.join(os.path.dirname(self.origin), "kernel"), self.kernel)
        config = os.path.join(BED, "machine", "config")
        return not subprocess.run(
            [sys.executable, os.path.join(BED, "machine", "build_kernel.py"), "--arch", "x86_64",
             self.top, self.kernel, *(os.path.join(config, name) for name in FRAGMENTS)],
            check=False).returncode
