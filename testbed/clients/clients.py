#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compile every file of the kernel that subscribes to MMU notifiers: clients.py BUILD [ARCH...]

The list is searched for in mainline's tree, not typed. Each file is compiled as
it is there, as an object of allmodconfig, with the series' headers; which
architecture a file belongs to is what its Makefile says. Ends with a table and a
line "N passed, N failed"; a file that no compiler here can build is not a pass.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

# Kernel's name of an architecture: prefix of its compiler, and of its package.
ARCHES = {
    "x86_64": ("", "gcc"),
    "arm64": ("aarch64-linux-gnu-", "gcc-aarch64-linux-gnu"),
    "powerpc": ("powerpc64le-linux-gnu-", "gcc-powerpc64le-linux-gnu"),
    "s390": ("s390x-linux-gnu-", "gcc-s390x-linux-gnu"),
    "riscv": ("riscv64-linux-gnu-", "gcc-riscv64-linux-gnu"),
    "mips": ("mips64el-linux-gnuabi64-", "gcc-mips64el-linux-gnuabi64"),
    "loongarch": ("loongarch64-linux-gnu-", "gcc-loongarch64-linux-gnu"),
}
# What a subscriber calls or fills in, and what KVM's subscription calls in arch/.
CLIENT = (r"\b(__)?mmu_notifier_(register|unregister|get|get_locked|put|synchronize|ops)\b"
          r"|\bmmu_interval_(notifier_(insert|insert_locked|remove|ops)"
          r"|read_begin|read_retry|check_retry|set_seq)\b"
          r"|struct mmu_(interval_)?notifier(_range|_finish)?\b"
          r"|\bkvm_(unmap_gfn_range|age_gfn|test_age_gfn)\(struct kvm\b")
# Where subscribers are; what mm/, fs/ and kernel/ have beside is the other side.
PLACES = ["arch/*.c", "drivers/*.c", "lib/*.c", "virt/*.c", "mm/hmm.c"]
# Debug options that take long and change nothing for the types.
QUICK = ["KASAN", "KCSAN", "KCOV", "UBSAN", "GCC_PLUGINS", "DEBUG_INFO_BTF", "MODULE_SIG",
         "SAMPLES", "RUST"]


def git(tree, *words):
    done = subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True,
                          check=False)
    # 1: grep found nothing, diff found something.
    if done.returncode not in (0, 1):
        sys.exit(f"git {words[0]} failed in {tree}: {done.stderr.strip()}.")
    return done.stdout.split("\n")[:-1]


def clients(tree):
    """{file: whether the series changes it}"""
    found = [line.partition(":")[2] for line in git(tree, "grep", "-lP", CLIENT, "base", "--", *PLACES)]
    changed = set(git(tree, "diff", "--name-only", "base", "series", "--", *found))
    return {name: name in changed for name in found}


def home(name):
    """The only architecture of a file below arch/."""
    match = re.match(r"arch/(\w+)/", name)
    return {"x86": "x86_64"}.get(match[1], match[1]) if match else None


class Arch:
    def __init__(self, tree, build, name):
        self.tree, self.name = tree, name
        self.out = os.path.join(build, "clients", name)
        self.prefix, self.package = ARCHES[name]
        os.makedirs(self.out, exist_ok=True)

    def missing(self):
        return None if shutil.which(self.prefix + "gcc") else f"no compiler: {self.package}"

    def make(self, *words):
        compiler = self.prefix + "gcc"
        if shutil.which("ccache"):
            compiler = "ccache " + compiler
        command = ["make", "-C", self.tree, f"O={self.out}", f"ARCH={self.name}",
                   f"CROSS_COMPILE={self.prefix}", f"CC={compiler}", *words]
        with open(os.path.join(self.out, "build.log"), "a", encoding="utf-8") as log:
            return subprocess.run(command, stdout=log, stderr=log, check=False,
                                  stdin=subprocess.DEVNULL).returncode

    def configure(self):
        open(os.path.join(self.out, "build.log"), "w", encoding="utf-8").close()
        if self.make("allmodconfig"):
            return False
        script = os.path.join(self.tree, "scripts", "config")
        words = [word for option in QUICK for word in ("-d", option)]
        subprocess.run([script, "--file", os.path.join(self.out, ".config"), *words], check=True)
        return not self.make("olddefconfig") and not self.make(f"-j{os.cpu_count()}", "prepare")

    def compile(self, names):
        """Those of the files whose objects are built now."""
        objects = [name[:-2] + ".o" for name in names]
        for name in objects:
            if os.path.exists(path := os.path.join(self.out, name)):
                os.remove(path)
        self.make("-k", f"-j{os.cpu_count()}", *objects)
        return {name for name, path in zip(names, objects)
                if os.path.exists(os.path.join(self.out, path))}

    def reason(self, name):
        """First error that the log has on a file."""
        with open(os.path.join(self.out, "build.log"), encoding="utf-8", errors="replace") as log:
            for line in log:
                if name in line and "error:" in line:
                    return line.split("error:")[1].strip()
        return f"not part of {self.name}'s allmodconfig"


def compile_on(arch, names, result):
    if why := arch.missing():
        result.update({name: (arch.name, False, why) for name in names})
        return
    print(f"{arch.name}: {len(names)} files (usually 5 minutes)", flush=True)
    if not arch.configure():
        result.update({name: (arch.name, False, f"configuration failed, see {arch.out}/build.log")
                       for name in names})
        return
    built = arch.compile(names)
    for name in names:
        result[name] = (arch.name, name in built, "" if name in built else arch.reason(name))


def main():
    parser = argparse.ArgumentParser(prog="clients.py", allow_abbrev=False)
    parser.add_argument("build")
    parser.add_argument("arches", nargs="*", metavar="ARCH")
    args = parser.parse_args()
    if unknown := set(args.arches) - set(ARCHES):
        sys.exit(f"Unknown architecture {', '.join(sorted(unknown))}; there are {', '.join(ARCHES)}.")
    build = os.path.abspath(args.build)
    tree = os.path.join(build, "tree")
    files, result = clients(tree), {}
    for name in args.arches or ARCHES:
        # A driver is tried wherever it has not been built yet.
        names = [f for f in files if home(f) == name or
                 home(f) is None and not result.get(f, ("", False))[1]]
        compile_on(Arch(tree, build, name), names, result)
    width = max(map(len, files))
    for name, (arch, built, why) in sorted(result.items()):
        print(f"{name:<{width}} {arch:<9} {'built' if built else 'NOT built'}"
              f"{' (changed by the series)' if files[name] else ''} {why}".rstrip())
    passed = sum(built for _, built, _ in result.values())
    print(f"{passed} passed, {len(result) - passed} failed")
    return int(passed != len(result) or not passed)


if __name__ == "__main__":
    sys.exit(main())
