# SPDX-License-Identifier: GPL-2.0
"""Two kernels from one configuration and one compiler: mainline's and ours."""
import os
import subprocess
import sys

import build_kernel

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = {"mainline": "mainline", "ours": "tree"}      # name: source below BUILD
FOLDER = "peers"                                        # where they are built, below BUILD
COMMON = ["base.config", "x86_64.config"]
FRAGMENTS = [*COMMON, "peers.config"]


class PairError(Exception):
    """One sentence for the person who called us."""


def call(words, log, what):
    with open(log, "w", encoding="utf-8") as file:
        code = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        raise PairError(f"{what} failed; see {log}.")


def build_kernel_in(build, name, source, *targets, fragments=FRAGMENTS, folder=FOLDER):
    """BUILD/FOLDER/NAME from BUILD/SOURCE."""
    out = os.path.join(build, folder, name)
    print(f"pair: kernel {name}", flush=True)
    code = subprocess.run([sys.executable, os.path.join(HERE, "build_kernel.py"),
                           *(f"--target={target}" for target in targets),
                           os.path.join(build, source), out,
                           *(os.path.join(HERE, "config", part) for part in fragments)],
                          check=False).returncode
    if code:
        raise PairError(f"The kernel {name} did not build.")
    return out


def build_kernels(build, fragments=FRAGMENTS, folder=FOLDER):
    """Kernels and modules in BUILD/FOLDER/NAME, the modules installed below its root."""
    for name, source in KERNELS.items():
        out = build_kernel_in(build, name, source, "bzImage", "modules", fragments=fragments,
                              folder=folder)
        call(build_kernel.make_command(os.path.join(build, source), out, "ARCH=x86_64",
                                       f"INSTALL_MOD_PATH={out}/root", "modules_install"),
             os.path.join(out, "modules.log"), "Installing the modules")


def module_files(kernel):
    """{path in the machine: path here} of the modules of a kernel's build directory."""
    modules, files = os.path.join(kernel, "root", "lib", "modules"), {}
    for folder, _, names in os.walk(modules):
        for entry in names:
            path = os.path.join(folder, entry)
            if entry.endswith(".ko") or entry == "modules.dep":
                files["/lib/modules/" + os.path.relpath(path, modules)] = path
    return files
