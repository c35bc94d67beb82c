#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Configure and build the kernel of the machine: SRC OUT FRAGMENT...

Fragments are merged over tinyconfig. Every option asked for must be in the
final .config, or the build is refused.
"""
import argparse
import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from arch import ARCHES

STEP = 20                   # seconds between progress lines
ERROR_LINE = re.compile(r"(?:\berror\b|\*\*\*|undefined reference|Error \d)", re.I)
ASKED = re.compile(r"(CONFIG_\w+)=(.*)")
REFUSED = re.compile(r"# (CONFIG_\w+) is not set")


class BuildError(Exception):
    """One sentence for the person who called us."""


def parse_config(text):
    """{option: value}, None for an option that is explicitly off."""
    options = {}
    for line in text.splitlines():
        line = line.strip()
        if match := ASKED.fullmatch(line):
            options[match[1]] = match[2]
        elif match := REFUSED.fullmatch(line):
            options[match[1]] = None
    return options


def dropped(wanted, final):
    """Sentences for each wanted option that the final configuration lacks."""
    faults = []
    for option, value in wanted.items():
        got = final.get(option)
        if value is None and got is not None:
            faults.append(f"{option} was to be off and is {got}")
        elif value is not None and got != value:
            faults.append(f"{option}={value} was asked for and is {got or 'not set'}")
    return faults


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@contextlib.contextmanager
def locked(out):
    """Hold OUT for one build at a time."""
    with open(os.path.join(out, ".mn-lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildError(f"Another build or run is using {out}.") from None
        yield


def environment(src, out, arch_name):
    env = dict(os.environ, ARCH=arch_name, LOCALVERSION="", LC_ALL="C",
               KBUILD_BUILD_USER="mn", KBUILD_BUILD_HOST="testbed",
               KBUILD_BUILD_TIMESTAMP="2000-01-01")
    # Paths relative to the common root let two trees share compiled objects.
    env.setdefault("CCACHE_BASEDIR", os.path.commonpath([src, out]))
    env.setdefault("CCACHE_NOHASHDIR", "1")
    env.setdefault("CCACHE_DEPEND", "1")
    env.pop("MAKEFLAGS", None)
    return env


def make_command(src, out, *targets, prefix=""):
    """PREFIX: that of a cross compiler."""
    command = ["make", "-C", src, f"O={out}", f"CROSS_COMPILE={prefix}"]
    if shutil.which("ccache"):
        command += [f"CC=ccache {prefix}gcc", "HOSTCC=ccache gcc"]
    return command + list(targets)


def configure(src, out, arch, fragments, env, log):
    """Write OUT/.config; leave it untouched when nothing changed."""
    stage = os.path.join(out, ".config.next")
    env = dict(env, KCONFIG_CONFIG=stage)
    quiet = {"stdout": log, "stderr": subprocess.STDOUT, "env": env}
    merge = os.path.join(src, "scripts", "kconfig", "merge_config.sh")
    steps = [make_command(src, out, "tinyconfig", prefix=arch.prefix),
             [merge, "-m", "-O", out, stage, *fragments],
             make_command(src, out, "olddefconfig", prefix=arch.prefix)]
    for step in steps:
        if subprocess.run(step, check=False, **quiet).returncode:
            raise BuildError(f"The configuration step {os.path.basename(step[0])} failed; "
                             f"see {log.name}.")
    wanted = {}
    for fragment in fragments:
        wanted.update(parse_config(read(fragment)))
    final = read(stage)
    if faults := dropped(wanted, parse_config(final)):
        raise BuildError("The kernel configuration dropped options: " + "; ".join(faults) + ".")
    config = os.path.join(out, ".config")
    if os.path.exists(config) and read(config) == final:
        os.remove(stage)
    else:
        os.replace(stage, config)


def usual(out, arch):
    """(objects, seconds) of an earlier full build here, or of ours."""
    try:
        objects, seconds = read(os.path.join(out, ".mn-usual")).split()
        return int(objects), int(seconds)
    except (OSError, ValueError):
        return arch.usual


def count_objects(log_path):
    with open(log_path, encoding="utf-8", errors="replace") as log:
        return sum(line.startswith(("  CC ", "  AS ")) for line in log)


def first_errors(log_path, limit=12):
    with open(log_path, encoding="utf-8", errors="replace") as log:
        return [line.rstrip() for line in log if ERROR_LINE.search(line)][:limit]


def stop(process, patience=5):
    """make removes half-written files on SIGTERM; a stopped one gets no chance."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            return


def watch(process, log_path, expected, begin):
    """Report until make ends; never leave it running."""
    objects, seconds = expected
    try:
        while True:
            try:
                return process.wait(timeout=STEP)
            except subprocess.TimeoutExpired:
                print(f"kernel: {count_objects(log_path)} objects of about {objects}, "
                      f"{time.monotonic() - begin:.0f} s; a build from nothing usually "
                      f"takes {seconds} s", flush=True)
    except BaseException:
        stop(process)
        raise


def build(src, out, arch, fragments, words):
    begin = time.monotonic()
    env = environment(src, out, arch.name)
    log_path = os.path.join(out, "build.log")
    fresh = not os.path.exists(os.path.join(out, "vmlinux"))
    with open(log_path, "w", encoding="utf-8") as log:
        configure(src, out, arch, fragments, env, log)
        log.flush()
        command = make_command(src, out, f"-j{os.cpu_count()}", *words, prefix=arch.prefix)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                   env=env, start_new_session=True)
        code = watch(process, log_path, usual(out, arch), begin)
    if code:
        print("\n".join(first_errors(log_path)), file=sys.stderr)
        raise BuildError(f"The kernel did not build; the whole log is {log_path}.")
    elapsed = int(time.monotonic() - begin)
    built = count_objects(log_path)
    if fresh:
        with open(os.path.join(out, ".mn-usual"), "w", encoding="utf-8") as file:
            file.write(f"{built} {elapsed}\n")
    print(f"kernel: {built} objects built in {elapsed} s, "
          f"image {arch.image_path(out)}", flush=True)


class Parser(argparse.ArgumentParser):
    """A mistake on the command line is one sentence."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}.\n")


def arguments(argv):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("src", help="kernel source tree, clean")
    parser.add_argument("out", help="build directory, outside the source")
    parser.add_argument("fragments", nargs="+", help="configuration fragments, later ones win")
    parser.add_argument("--arch", choices=ARCHES, default="x86_64", help="default x86_64")
    parser.add_argument("--target", action="append", help="make target (default: the image)")
    parser.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE",
                        help="a variable for make")
    return parser.parse_args(argv)


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


def main(argv=None):
    args = arguments(argv)
    signal.signal(signal.SIGTERM, interrupted)
    src, out = os.path.abspath(args.src), os.path.abspath(args.out)
    arch = ARCHES[args.arch]
    try:
        if not os.path.exists(os.path.join(src, "Kbuild")):
            raise BuildError(f"{args.src} is not a kernel source tree.")
        for fragment in args.fragments:
            if not os.path.exists(fragment):
                raise BuildError(f"The configuration fragment {fragment} does not exist.")
        compiler, package = arch.compiler
        if not shutil.which(compiler):
            raise BuildError(f"{compiler} is not installed; it is in the package {package}.")
        os.makedirs(out, exist_ok=True)
        with locked(out):
            build(src, out, arch, [os.path.abspath(f) for f in args.fragments],
                  args.variable + (args.target or [arch.image]))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("The build was interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
