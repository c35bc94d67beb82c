#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check the Promela models with spin: model.py BUILD [MODEL...]

The comment at the top of a model lists what is run. "right: NAME=NUMBER ..." are bounds
within which the model must hold, every state of it visited. "wrong: VARIANT" breaks one
thing, and spin must find that; its bounds are those of the first right line, except for
what it names itself. Ends with a line that counts.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RIGHT = "right"
# More than any model needs: one that gets here has outgrown its bounds.
DEPTH, MEMORY_MB, SECONDS = 100000, 2000, 300
# Not optimized: that takes longer than the searches do.
COMPILE = ["gcc", "-O0", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c"]
FOUND = r"^pan:\d+: ((?:assertion violated|invalid end state).*) \(at depth"
WHOLE = r"(?s)^Full statespace search .*errors: 0\n"
PARTIAL = r"not completed|too small|MEMLIM"


class Fault(Exception):
    pass


def searches(path):
    """[(path, variant, bounds)] that a model lists."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found, base = [], {}
    for kind, words in re.findall(r"^ \* (right|wrong): +(.*)$", text, re.M):
        bounds = dict(re.findall(r"\b([A-Z]+)=(\d+)", words))
        base = base or bounds
        found.append((path, kind if kind == RIGHT else words.split()[0], {**base, **bounds}))
    named = {variant for _, variant, _ in found}
    tests = " ".join(re.findall(r"^#\s*(?:if|elif)(.*)", text, re.M))
    tested = set(re.findall(r"[A-Z_]{2,}", tests))
    if lost := named ^ tested ^ {RIGHT}:
        raise Fault(f"{path}: {', '.join(sorted(lost))} must be named in the comment at the top "
                    f"and tested below it.")
    return found


def call(folder, *words):
    """(exit code, output) of a command."""
    try:
        done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Fault(f"{words[0]} took more than {SECONDS} s in {folder}.") from None
    return done.returncode, done.stdout


def must(folder, *words):
    code, output = call(folder, *words)
    if code:
        raise Fault(f"{words[0]} failed in {folder}: {output.strip()}")


def verdict(variant, output):
    """(as expected, what the search says)"""
    found = re.search(FOUND, output, re.M)
    if found:
        return variant != RIGHT, found[1]
    if not re.search(WHOLE, output, re.M) or re.search(PARTIAL, output):
        return False, "the search is not complete"
    return variant == RIGHT, "no error in any state"


def search(folder, model, variant, words):
    """(as expected, what the search says, its output)"""
    must(folder, "spin", "-a", *words, model)
    must(folder, *COMPILE)
    _, output = call(folder, "./pan", f"-m{DEPTH}", "-w21")
    good, said = verdict(variant, output)
    if not good:
        with open(os.path.join(folder, "search.log"), "w", encoding="utf-8") as file:
            file.write(output)
            if os.path.exists(os.path.join(folder, model + ".trail")):
                file.write(call(folder, "spin", "-t", "-p", "-g", *words, model)[1])
        said += f", see {folder}/search.log"
    return good, said, output


def check(build, path, variant, bounds):
    """(as expected, a line about it)"""
    start, model = time.monotonic(), os.path.basename(path)
    name, limits = model.removesuffix(".pml"), [f"{k}={v}" for k, v in bounds.items()]
    folder = os.path.join(build, "model", "-".join([name, variant, *limits]))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    shutil.copy(path, folder)
    words = [f"-D{limit}" for limit in limits] + [f"-D{variant}"] * (variant != RIGHT)
    try:
        good, said, output = search(folder, model, variant, words)
    except Fault as fault:
        good, said, output = False, str(fault), ""
    states = re.search(r"(\d+) states, stored", output)
    return good, (f"{name:<12} {variant:<15} {' '.join(limits):<31}"
                  f"{int(states[1]) if states else 0:>10,} states"
                  f"{time.monotonic() - start:>6.1f} s  {said}")


def run(build, todo):
    """How many searches were as expected; one line is printed for each."""
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for good, line in pool.map(lambda args: check(build, *args), todo):
                passed += good
                print(line if good else f"FAILED: {line}", flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return passed


def main():
    paths = {os.path.basename(path)[:-4]: path
             for path in sorted(glob.glob(os.path.join(HERE, "*.pml")))}
    parser = argparse.ArgumentParser(prog="model.py", allow_abbrev=False)
    parser.add_argument("build")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    args = parser.parse_args()
    if unknown := set(args.models) - set(paths):
        sys.exit(f"Unknown model {', '.join(sorted(unknown))}; there are {', '.join(paths)}.")
    if lost := [tool for tool in ("spin", "gcc") if not shutil.which(tool)]:
        sys.exit(f"{' and '.join(lost)} not found: run make deps, which installs what is missing.")
    try:
        todo = [entry for name in args.models or paths for entry in searches(paths[name])]
    except Fault as fault:
        sys.exit(str(fault))
    passed = run(os.path.abspath(args.build), todo)
    print(f"{passed} passed, {len(todo) - passed} failed")
    return int(passed != len(todo) or not todo)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The search was interrupted.")
