#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run one job in the machine: a kernel under test inside QEMU."""
import argparse
import json
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "guest"))

import arch as architectures  # noqa: E402
import build as guest_programs  # noqa: E402
import build_kernel  # noqa: E402
import gnuplot  # noqa: E402
import history  # noqa: E402
import initramfs  # noqa: E402
import variant  # noqa: E402
import verdict  # noqa: E402
import vm  # noqa: E402

# What a job promises, its sizes and times on an unloaded pair of cores.
JOBS = {
    "linux-guest": {"promises": {"swap", "memory"}, "host_mb": 256, "guest_mb": 300,
                    "cpus": 1, "usual": 60, "limit": 360},
    "small-guest": {"promises": {"swap", "memory"}, "host_mb": 160, "guest_mb": 192,
                    "usual": 40, "limit": 300},
    "kunit": {"promises": {"kunit"}, "host_mb": 1024, "guest_mb": 0, "usual": 30, "limit": 300},
    "mirror": {"promises": {"swap", "mirror"}, "host_mb": 512, "guest_mb": 0, "nodes": 2,
               "usual": 60, "limit": 300},
    "exec": {"promises": set(), "host_mb": 512, "guest_mb": 0, "usual": 30, "limit": 300},
    "none": {"promises": set(), "host_mb": 256, "guest_mb": 0, "usual": 5, "limit": 120},
}
# Options handed to init as mn.<key>=<value> when given.
COUNTS = ["guests", "passes", "percent", "vcpus", "operations", "broken", "blind",
          "page_alone", "stop", "memcg_mb", "give_up", "subscribers"]
NATURAL = ["scattered"]         # 0 as well
FORWARDED = [*COUNTS, *NATURAL, "mode", "churn", "corrupt", "trace", "probe", "read", "write",
             "exec", "silence", "modules", "qemu_args", "guest_append", "guest_loglevel"]
# What turns the lists of pages into which.
LRUS = {"mglru": "/sys/kernel/mm/lru_gen/enabled:y", "classic": "/sys/kernel/mm/lru_gen/enabled:n"}


# Operations a second of a mirror on the slowest kernel and computer.
SLOWEST = 20


def pair(separator):
    def split(text):
        left, found, right = text.partition(separator)
        if not found or not left or not right:
            raise argparse.ArgumentTypeError(f"{text!r} is not LEFT{separator}RIGHT")
        return left, right
    return split


def positive(text):
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def natural(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def parser():
    p = build_kernel.Parser(prog="run.py", description=__doc__, allow_abbrev=False)
    p.add_argument("--kernel", required=True, help="build directory of the kernel")
    p.add_argument("--out", required=True, help="directory for logs and results")
    p.add_argument("--job", required=True, choices=sorted(JOBS))
    p.add_argument("--host-mb", type=positive)
    p.add_argument("--guest-mb", type=positive)
    p.add_argument("--cpus", type=positive, help="default 1 for linux-guest, 2 otherwise")
    # With a thread for each CPU, QEMU 7.2 now and then runs a breakpoint that the
    # kernel has taken out of its text already: "Oops: int3", on mainline too.
    p.add_argument("--accel", default="tcg,thread=single",
                   help="QEMU -accel (default tcg,thread=single)")
    p.add_argument("--icount", action="store_true",
                   help="one CPU whose nanoseconds are its instructions")
    p.add_argument("--qemu-arg", action="append", default=[], help="one more word for QEMU")
    p.add_argument("--kernel-arg", action="append", default=[], help="one more kernel parameter")
    p.add_argument("--swap", choices=["zram", "disk", "none"],
                   help="default zram, or what the variant needs")
    p.add_argument("--swap-mb", type=positive, default=1024)
    p.add_argument("--expect-swap", choices=["yes", "no"],
                   help="default: yes when the job promises it and there is swap")
    p.add_argument("--lru", choices=sorted(LRUS), default="mglru", help="default mglru")
    p.add_argument("--memory", choices=variant.MEMORIES,
                   help="what small guests consist of (default anon)")
    p.add_argument("--fault", choices=variant.FAULTS, help="what small guests go through")
    p.add_argument("--seed", type=positive, default=1)
    p.add_argument("--limit", type=positive, help="seconds until the run has failed")
    p.add_argument("--quiet", type=positive, metavar="SECONDS",
                   help="a machine that reports nothing for so long has failed")
    p.add_argument("--only-check", action="store_true", help="of the options; runs nothing")
    p.add_argument("--repeat", type=positive, default=1, help="runs, each with the next seed")
    p.add_argument("--picture", action="store_true", help="draw what the guests and the host did")
    p.add_argument("--file", type=pair(":"), action="append", default=[],
                   metavar="HERE:THERE", help="one more file in the machine")
    types = {**dict.fromkeys(COUNTS, positive), **dict.fromkeys(NATURAL, natural)}
    for name in FORWARDED:
        p.add_argument("--" + name.replace("_", "-"), help=f"mn.{name} of the job",
                       type=types.get(name, str))
    return p


def nodes(count, megabytes):
    """QEMU's words for memory in so many nodes, between which pages migrate."""
    if count == 1:
        return []
    words = []
    for node in range(count):
        words += ["-object", f"memory-backend-ram,id=node{node},size={megabytes // count}M",
                  "-numa", f"node,nodeid={node},memdev=node{node}"]
    return words


def parse(argv):
    args = parser().parse_args(argv)
    job = JOBS[args.job]
    given = args.limit
    args.limit = given or job["limit"]
    variant.apply(args, job)
    if why := variant.conflict(args):
        parser().error(why)
    if args.cpus is None:
        args.cpus = 1 if args.icount else job.get("cpus", 2)
    if args.icount:
        # A clock that jumps ahead when idle would not wait for a disk.
        sleep = "on" if args.swap == "disk" else "off"
        args.qemu_arg += ["-icount", f"shift=0,sleep={sleep}"]
    if args.operations and not given:
        args.limit += args.operations // SLOWEST
    args.qemu_arg += nodes(job.get("nodes", 1), args.host_mb)
    args.promises = set(job["promises"])
    if args.broken or args.blind:
        args.promises.discard("mirror")
        args.promises.add("finds")
    if args.page_alone:
        args.promises.add("alone")
    if args.stop:
        args.promises = {"hangs"}
    if args.expect_swap == "no" or args.swap == "none":
        args.promises.discard("swap")
    if args.expect_swap == "yes":
        args.promises.add("swap")
    if args.memory == "file":
        args.promises.add("file")
    if args.swap != "none" or args.memory:
        args.write = ",".join(filter(None, [LRUS[args.lru], args.write]))
    # The classic lists ask the counts of memory cgroups whether inactive pages are few.
    # These can be four seconds old: a host that fills within that time has no inactive
    # page left, deactivates none, and runs out of memory.
    if args.lru == "classic" and not args.memcg_mb and args.fault != "oom":
        args.kernel_arg.append("cgroup_disable=memory")
    args.usual = job["usual"]
    return args


def arch_of(kernel, job):
    """The architecture of a kernel, which must have the job."""
    arch = architectures.of_build(kernel)
    if not arch:
        raise initramfs.MissingError(f"{kernel} is not a kernel build: build the kernel first.")
    if job not in arch.jobs:
        raise initramfs.MissingError(f"There is no job {job} on {arch.name}; its jobs are "
                                     f"{', '.join(arch.jobs)}.")
    return arch


def kernel_arguments(args, arch, seed):
    words = [f"console={arch.console}", "panic=-1", *arch.parameters,
             f"mn.job={args.job}", f"mn.seed={seed}",
             f"mn.swap={args.swap}", f"mn.swap_mb={args.swap_mb}"]
    if args.guest_mb:
        words.append(f"mn.guest_mb={args.guest_mb}")
    words += [f"mn.{name}={getattr(args, name)}" for name in FORWARDED
              if getattr(args, name) is not None]
    if args.fault in variant.DEADLY:
        words.append(f"mn.fault={args.fault}")
    if args.picture:
        words.append("mn.picture=1")
    if args.memory == "file":
        words.append(f"mn.file={'/dev/vdb' if args.swap == 'disk' else '/dev/vda'}")
    if args.job == "kunit":
        words.append("kunit.enable=1")
    words += args.kernel_arg
    if any(" " in word or "\n" in word for word in words):
        raise ValueError("A kernel parameter cannot contain a space.")
    return " ".join(words)


def make_initrd(args, arch):
    programs = guest_programs.build(os.path.join(args.out, "guest-" + arch.name), arch.folder,
                                    initramfs.program(*arch.compiler))
    inner = None
    if args.job == "linux-guest":
        inner = initramfs.guest(args.kernel, programs, os.path.join(args.out, "guest.cpio"))
    extra = {there: here for here, there in args.file}
    if args.job == "exec":
        extra.setdefault("/race_guest", programs["race_guest"])
    if args.job == "mirror":
        extra["/mirror"] = programs["mirror"]
    for there, here in extra.items():
        if not os.path.isfile(here):
            raise initramfs.MissingError(f"The file {here} for {there} does not exist.")
    return initramfs.host(args.kernel, arch, programs, os.path.join(args.out, "host.cpio"),
                          inner, extra)


def make_disks(args, out):
    """In this order /dev/vda and /dev/vdb."""
    sizes = {"swap": args.swap_mb if args.swap == "disk" else 0,
             "memory": args.guest_mb * (args.guests or 1) if args.memory == "file" else 0}
    paths = []
    for name, megabytes in sizes.items():
        if megabytes:
            paths.append(os.path.join(out, name + ".img"))
            with open(paths[-1], "wb") as file:
                file.truncate(megabytes << 20)
    return paths


def draw(results, name, path):
    """A run without a picture has not failed."""
    try:
        if history.write(results.samples, name, path):
            print(f"  picture: {os.path.relpath(path)}")
    except gnuplot.PictureError as error:
        print(f"  no picture: {error}")


def run_once(args, arch, initrd, number):
    """Run, print, write OUT/run-N/results.json; True when it passed."""
    out = os.path.join(args.out, f"run-{number}")
    os.makedirs(out, exist_ok=True)
    seed = args.seed + number - 1
    name = f"{args.job} {number}/{args.repeat}"

    def show(seconds, progress):
        print(f"{name}: {seconds:.0f} s of usually {args.usual} s: {progress}", flush=True)

    words = vm.command(arch, initramfs.image(args.kernel, arch), initrd,
                       kernel_arguments(args, arch, seed), out, memory=args.host_mb,
                       cpus=args.cpus, disks=make_disks(args, out),
                       accel=args.accel) + args.qemu_arg
    seconds, ended = vm.run(words, out, args.limit, show, args.quiet)
    results = verdict.Results(vm.read_log(out, "results"))
    consoles = {"console": vm.read_log(out, "console"), "guest": vm.read_log(out, "guest")}
    kills = []
    if args.fault in variant.CONSTRAINTS:
        consoles["console"], kills = variant.oom_reports(consoles["console"])
    faults = verdict.judge(results, consoles, args.promises, ended)
    faults += variant.judge(args, results, kills)
    with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"job": args.job, "arch": arch.name, "seed": seed,
                   "passed": not faults, "faults": faults,
                   "seconds": round(seconds, 1), "cpus": args.cpus, "swap": args.swap,
                   "values": results.values, "trace_missing": results.missing_events,
                   "command": words}, file, indent=1)
    print(f"{name}, seed {seed}: {'pass' if not faults else 'FAIL'}")
    print(verdict.table(results, seconds))
    if args.picture:
        draw(results, name, os.path.join(out, "run.svg"))
    for fault in faults:
        print(f"  fault: {fault}")
    if faults:
        print(f"  logs: {out}", flush=True)
    return not faults


def main(argv=None):
    args = parse(argv)
    if args.only_check:
        return 0
    signal.signal(signal.SIGTERM, build_kernel.interrupted)
    try:
        os.makedirs(args.out, exist_ok=True)
        with build_kernel.locked(args.out):
            arch = arch_of(args.kernel, args.job)
            initrd = make_initrd(args, arch)
            passed = sum(run_once(args, arch, initrd, number + 1)
                         for number in range(args.repeat))
    except (initramfs.MissingError, build_kernel.BuildError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The machine could not be made: {error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("The run was interrupted; the machine is stopped.", file=sys.stderr)
        return 130
    if args.repeat > 1:
        print(f"{args.job}: {passed} of {args.repeat} runs passed")
    return 0 if passed == args.repeat else 1


if __name__ == "__main__":
    sys.exit(main())
