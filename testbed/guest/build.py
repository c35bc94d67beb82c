#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Build the guest programs, static: build.py DIRECTORY"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Headers that the kernel of the machine includes as well.
SHARED = os.path.join(os.path.dirname(os.path.dirname(HERE)), "lib", "tests")
SAMPLES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "samples", "mmu_notifier")
FLAGS = ["-static", "-O2", "-g0", "-pthread", "-Wall", "-Wextra", "-Werror",
         "-I" + SHARED, "-I" + SAMPLES]
PROGRAMS = {
    "init": ["init.c", "jobs.c", "guests.c", "counter.c", "trace.c", "swap.c",
             "fault.c", "sample.c", "file.c", "param.c", "report.c"],
    "workload": ["workload.c", "file.c", "param.c", "report.c"],
    # FOLDER: that of the architecture in the kernel.
    "small_guest": ["small_guest.c", "guest_memory.c", "subscribers.c", "small_guest_{folder}.c",
                    "small_guest_{folder}_code.S", "file.c", "param.c", "report.c"],
    "race_guest": ["race_guest.c", "small_guest_{folder}.c", "small_guest_{folder}_code.S"],
    "mirror": ["mirror.c", "mirror_operations.c", "file.c", "param.c", "report.c"],
}


def sources_changed(target, paths):
    """Headers count for every program: they are few."""
    if not os.path.exists(target):
        return True
    built = os.path.getmtime(target)
    headers = [os.path.join(folder, name) for folder in (HERE, SHARED, SAMPLES)
               for name in os.listdir(folder) if name.endswith(".h")]
    return any(os.path.getmtime(path) > built
               for path in paths + headers)


def sources(name, folder):
    """Paths of what a program is made of."""
    return [os.path.join(HERE, source.format(folder=folder)) for source in PROGRAMS[name]]


def build(out, folder="x86", compiler="gcc"):
    """Return {program: path}; raises CalledProcessError with gcc's own words shown."""
    os.makedirs(out, exist_ok=True)
    paths = {}
    for name in PROGRAMS:
        files = sources(name, folder)
        target = paths[name] = os.path.join(out, name)
        if sources_changed(target, files):
            fresh = f"{target}.{os.getpid()}"
            subprocess.run([compiler, *FLAGS, "-o", fresh, *files], check=True)
            os.replace(fresh, target)
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: build.py DIRECTORY")
    try:
        build(sys.argv[1])
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"The guest programs did not build: {error}.")
