#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compile every file of the kernel that subscribes to MMU notifiers: clients.py BUILD [ARCH...]

The list is searched for in mainline's tree, not typed. Each file is compiled as
it is there, as an object of allmodconfig, with the series' headers; which
architecture a file belongs to is what its Makefile says. What an object wants of
ours must be exported. Ends with a table and a line that counts; a file for which
there is no compiler is not a pass.
"""
import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "machine"))

import build_kernel  # noqa: E402
from arch import COMPILERS  # noqa: E402

# A second configuration of an architecture, for what allmodconfig leaves out.
OTHERS = {"powerpc-e500": ("corenet64_smp_defconfig", ["VIRTUALIZATION", "KVM_E500MC"])}
ARCHES = COMPILERS | {"powerpc-e500": COMPILERS["powerpc"]}
# What a subscriber calls or fills in, and what KVM's subscription calls in arch/.
CLIENT = (r"\b(__)?mmu_notifier_(register|unregister|get|get_locked|put|synchronize|ops)\b"
          r"|\bmmu_interval_(notifier_(insert|insert_locked|remove|ops)"
          r"|read_begin|read_retry|check_retry|set_seq)\b"
          r"|struct mmu_(interval_)?notifier(_range|_finish)?\b"
          r"|\bkvm_(unmap_gfn_range|age_gfn|test_age_gfn)\(struct kvm\b")
# Where subscribers are; what mm/, fs/ and kernel/ have beside is the other side.
PLACES = ["arch/*.c", "drivers/*.c", "lib/*.c", "virt/*.c", "mm/hmm.c"]
# Ours, for the names that they export.
OURS = ["mm/mmu_notifier.c", "mm/mmu_interval_notifier.c"]
NAMES = r"_*mmu_(?:notifier|interval)_\w+"
# Directories whose files another directory's Makefile lists.
LISTED_IN = {"drivers/gpu/drm/amd/amdkfd/": "drivers/gpu/drm/amd/amdgpu/../amdkfd/"}
NO_COMPILER = "no compiler"
ABSENT = "not part of"
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


def target(name):
    for folder, listed in LISTED_IN.items():
        if name.startswith(folder):
            name = listed + name[len(folder):]
    return name[:-2] + ".o"


class Arch:
    def __init__(self, tree, build, name):
        self.tree, self.name = tree, name
        self.config, self.wanted = OTHERS.get(name, ("allmodconfig", []))
        self.out = os.path.join(build, "clients", name)
        self.prefix, self.package = ARCHES[name]
        os.makedirs(self.out, exist_ok=True)

    def missing(self):
        return None if shutil.which(self.prefix + "gcc") else f"{NO_COMPILER}: {self.package}"

    def make(self, *words):
        command = build_kernel.make_command(self.tree, self.out, *words, prefix=self.prefix)
        env = build_kernel.environment(self.tree, self.out, self.name.partition("-")[0])
        with open(os.path.join(self.out, "build.log"), "a", encoding="utf-8") as log:
            return subprocess.run(command, stdout=log, stderr=log, check=False,
                                  env=env, stdin=subprocess.DEVNULL).returncode

    def configure(self):
        open(os.path.join(self.out, "build.log"), "w", encoding="utf-8").close()
        if self.make(self.config):
            return False
        script = os.path.join(self.tree, "scripts", "config")
        words = [word for option in QUICK for word in ("-d", option)]
        words += [word for option in self.wanted for word in ("-e", option)]
        subprocess.run([script, "--file", os.path.join(self.out, ".config"), *words], check=True)
        return not self.make("olddefconfig") and not self.make(f"-j{os.cpu_count()}", "prepare")

    def compile(self, names):
        """Those of the files whose objects are built now."""
        names = names + OURS
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.object(name))
        self.make("-k", f"-j{os.cpu_count()}", *map(target, names))
        return {name for name in names if os.path.exists(self.object(name))}

    def object(self, name):
        return os.path.join(self.out, name[:-2] + ".o")

    def symbols(self, name):
        done = subprocess.run([self.prefix + "nm", self.object(name)], capture_output=True,
                              text=True, check=True)
        return done.stdout

    def not_exported(self, name, exported):
        """Names of ours that a module of this object would look for in vain."""
        wanted = re.findall(rf"^ +U ({NAMES})$", self.symbols(name), re.M)
        return ", ".join(set(wanted) - exported)

    def exported(self):
        return set(re.findall(rf"__export_symbol_({NAMES})$",
                              "".join(map(self.symbols, OURS)), re.M))

    def reason(self, name):
        """First error that the log has on a file."""
        with open(os.path.join(self.out, "build.log"), encoding="utf-8", errors="replace") as log:
            for line in log:
                if name in line and "error:" in line:
                    return line.split("error:")[1].strip()
        return f"{ABSENT} {self.name}'s {self.config}"


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
    if not built.issuperset(OURS):
        sys.exit(f"{arch.name}: our own files did not compile, see {arch.out}/build.log.")
    exported = arch.exported()
    for name in names:
        if name not in built:
            result[name] = (arch.name, False, arch.reason(name))
        elif lost := arch.not_exported(name, exported):
            result[name] = (arch.name, False, f"not exported: {lost}")
        else:
            result[name] = (arch.name, True, "")


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
        names = [f for f in files if home(f) in (None, name.partition("-")[0])
                 and not result.get(f, ("", False))[1]]
        if not names:
            continue
        compile_on(Arch(tree, build, name), names, result)
    width = max(map(len, files))
    for name, (arch, built, why) in sorted(result.items()):
        print(f"{name:<{width}} {arch:<9} {'built' if built else 'NOT built'}"
              f"{' (changed by the series)' if files[name] else ''} {why}".rstrip())
    passed = sum(built for _, built, _ in result.values())
    skipped = sum(why.startswith(NO_COMPILER) for _, _, why in result.values())
    # Of architectures that were not asked for, perhaps.
    partial = args.arches and set(args.arches) != set(ARCHES)
    absent = sum(why.startswith(ABSENT) for _, _, why in result.values()) if partial else 0
    failed = len(result) - passed - skipped - absent
    print(f"{passed} passed, {failed} failed, {skipped} without a compiler"
          + f", {absent} on none of these architectures" * bool(absent))
    return int(failed != 0 or not passed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The compilation was interrupted.")
