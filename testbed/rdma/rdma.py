#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""RDMA without pinning, on mainline and on ours: rdma.py [--passes N] BUILD

Soft-RoCE on a network device without hardware, a region that is paged on demand: a
program that writes and reads it remotely while the VM takes its pages away, and
rdma-core's own tests. On ours, the memory of a small guest is such a region as well,
while the samples subscribe to its process. Without the invalidation, the program and
what reads the guest's memory have to fail.
"""
import concurrent.futures
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BED = os.path.dirname(HERE)
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path[:0] = [os.path.join(BED, name) for name in ("machine", "guest", "peers", "samples")]

import build as guest_programs  # noqa: E402
import build_kernel  # noqa: E402
import initramfs  # noqa: E402
import samples  # noqa: E402
from pair import KERNELS, PairError, build_kernel_in, call  # noqa: E402
from samples import Row  # noqa: E402

COMMON = ["base.config", "x86_64.config", "rdma.config"]
FRAGMENTS = {"mainline": COMMON, "ours": [*COMMON, "inject.config"]}
TARGETS = {"mainline": ["bzImage"], "ours": ["bzImage", "modules"]}
PYTHON = "/usr/bin/python3"         # the one that pyverbs is for
PACKAGES = "/usr/lib/python3/dist-packages"
SUITE = "/usr/share/doc/rdma-core/tests"
DRIVER = "/etc/libibverbs.d/rxe.driver"
STATIC = ["-DRDMA_STATIC_PROVIDERS=rxe", "-Wl,--start-group", "-libverbs", "-lrxe-rdmav34",
          "-Wl,--end-group", "-lnl-route-3", "-lnl-3"]
# A page and the headers fit into a packet.
SETUP = ("ip link set lo up && ip addr add 10.0.0.1/24 dev dummy0 && "
         "ip link set dummy0 mtu 9000 up && rdma link add rxe0 type rxe netdev dummy0")
SECONDS = 1800
INVALIDATION = "ib_umem_odp_unmap_dma_pages"
# What a small guest counts of everybody who subscribes to its process.
TOGETHER = {**samples.TOGETHER, "rdma_loads": "RDMA: {} loads"}


class Shell(Row):
    """A row that is any command."""

    def command(self):
        return self.program


READY = Shell("RDMA", "a device", SETUP, seconds=60)
REGION = Row("RDMA", "regions that are not pinned", "odp_test", seconds=SECONDS)
# Cases that read, or write to, pages that somebody else still has.
BROKEN = [Row("RDMA", f"{case} without invalidation", "odp_test",
              (INVALIDATION,), case)
          for case in ("copy_on_write", "remote_write_copies", "moved_away")]
# Soft-RoCE refuses to register huge pages as such: without any, those tests are skipped.
OWN_TESTS = Shell("RDMA", "rdma-core", f"cd {SUITE} && {PYTHON} run_tests.py --dev rxe0 -v",
                  seconds=SECONDS)


def find_library(name):
    found = glob.glob(f"/usr/lib/*/{name}")
    if not found:
        raise initramfs.MissingError(f"{name} is missing; it is in the package "
                                     "ibverbs-providers.")
    return found[0]


def with_libraries(files):
    """And what the programs and libraries among them need."""
    needed = {library: library for path in files.values() if samples.peers.is_dynamic(path)
              or ".so" in os.path.basename(path) for library in initramfs.libraries(path)}
    return {**needed, **files}


def below(folder, ends=("",)):
    return {path: path for folder, _, names in os.walk(folder)
            for path in (os.path.join(folder, name) for name in names) if path.endswith(ends)}


def build_program(build, out):
    """{path in the machine: path here} of our program and what it needs."""
    program = os.path.join(out, "odp_test")
    call(["gcc", "-static", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-pthread",
          "-I", os.path.join(build, "mainline", "tools", "testing", "selftests"), "-o", program,
          *(os.path.join(HERE, name) for name in ("odp_test.c", "load.c", "link.c")), *STATIC],
         os.path.join(out, "program.log"), "Building the program")
    return {**tool_files(), "/tests/odp_test": program, "/suite": samples.build_suite(out)}


def tool_files():
    return with_libraries({"/bin/rdma": initramfs.program("rdma", "iproute2")})


def build_guest(out, kernel):
    """{path in the machine: path here} of a small guest to which RDMA and all samples subscribe."""
    program, folder = os.path.join(out, "small_guest"), os.path.join(BED, "guest")
    sources = guest_programs.sources("small_guest", "x86")
    call(["gcc", *guest_programs.FLAGS, "-I", folder, f'-DSETUP="{SETUP}"', "-o", program,
          *sources, os.path.join(HERE, "guest_subscriber.c"), os.path.join(HERE, "link.c"),
          *STATIC], os.path.join(out, "guest.log"), "Building the small guest")
    return {**tool_files(), "/small_guest": program, **samples.module_files(kernel)}


def suite_files(out):
    """{path in the machine: path here} of rdma-core's tests of on-demand paging."""
    files = {PYTHON: os.path.realpath(PYTHON), DRIVER: DRIVER}
    provider = find_library("libibverbs/librxe-rdmav*.so")
    files[provider] = provider
    files.update(below(f"{PACKAGES}/pyverbs"))
    folder = os.path.join(out, "rdma-core")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for path in glob.glob(f"{SUITE}/*.py*"):
        name = os.path.basename(path).removesuffix(".gz")
        # All that is there is imported.
        if name.startswith("test_") and name != "test_odp.py":
            continue
        reader = gzip.open if path.endswith(".gz") else open
        with reader(path, "rb") as source, open(os.path.join(folder, name), "wb") as file:
            shutil.copyfileobj(source, file)
        files[f"{SUITE}/{name}"] = os.path.join(folder, name)
    if f"{SUITE}/test_odp.py" not in files:
        raise initramfs.MissingError(f"{SUITE}/test_odp.py is missing; it is in the package "
                                     "python3-pyverbs.")
    library = subprocess.run([PYTHON, "-c", "import sysconfig; "
                              "print(sysconfig.get_path('stdlib'))"], check=True,
                             capture_output=True, text=True).stdout.strip()
    return with_libraries({**below(library, (".py", ".so")), **files})


def build_kernels(build):
    return {name: build_kernel_in(build, name, source, *TARGETS[name],
                                  fragments=FRAGMENTS[name], folder="rdma")
            for name, source in KERNELS.items()}


def run_one(out, kernel, name, files, rows, memory):
    """{row: (Outcome, what it printed)}, faults of the machine"""
    found, faults = samples.run(out, kernel, files, [READY, *rows], "--host-mb", str(memory),
                                "--limit", str(sum(row.seconds for row in rows) + 120),
                                label=f"rdma: {name}")
    if found[1][1].word != "pass":
        raise PairError(f"The device could not be made; see {out}/run-1/guest.log.")
    return {row: (outcome, text) for row, outcome, text in found.values()}, faults


def run_both(out, kernels, files, rows, memory):
    """{kernel: what run_one() gives}"""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = {name: pool.submit(run_one, os.path.join(out, name), kernel, name, files,
                                  rows[name], memory) for name, kernel in kernels.items()}
        return {name: job.result() for name, job in jobs.items()}


def own_results(text):
    """{test: "ok", "skipped", ...} of rdma-core; None if it did not run to its end."""
    found = dict(re.findall(r"^(test_\w+) \(.*?\) \.\.\. (?:.*\n)*?.*?(ok|skipped|FAIL|ERROR|"
                            r"expected failure|unexpected success)\b.*$", text, re.M))
    ran = re.search(r"^Ran (\d+) tests? in", text, re.M)
    return found if ran and found and int(ran[1]) == len(found) else None


def why_skipped(text):
    return dict(re.findall(r"^(test_\w+) .*skipped ['\"](.*)['\"]$", text, re.M))


def report_region(both):
    """(passed, failed) of our program"""
    passed = failed = 0
    for name, (found, faults) in both.items():
        for row, (outcome, text) in found.items():
            if row is READY:
                continue
            why = samples.fault(row, outcome, text)
            shows = (f"FAILED: {why}" if why else f"{row.case} fails" if row.mute else
                     f"{samples.planned(text)} tests pass")
            print(f"{name:<10}{row.needed:<44} {shows}")
            for line in [] if row.mute else samples.counts(text):
                print(f"{'':<54} {line}")
            passed, failed = passed + (not why), failed + bool(why)
        for line in faults:
            print(f"{name}: {line}")
        failed += len(faults)
    return passed, failed


def report_own(both):
    """(passed on both, differ) of rdma-core's tests"""
    results = {name: own_results(found[OWN_TESTS][1]) for name, (found, _) in both.items()}
    failed = 0
    for name, (_, faults) in both.items():
        for line in faults + ([] if results[name] else ["rdma-core's tests did not end"]):
            print(f"{name}: {line}")
            failed += 1
    if not all(results.values()):
        return 0, failed
    theirs, ours = results["mainline"], results["ours"]
    reasons = why_skipped(both["ours"][0][OWN_TESTS][1])
    print(f"\n{'rdma-core':<54} {'mainline':<10} ours")
    for test in sorted({**theirs, **ours}):
        there, here = theirs.get(test, "absent"), ours.get(test, "absent")
        why = reasons.get(test, "") if there == here else "FAILED: differs"
        print(f"{test:<54} {there:<10} {here:<10} {why}".rstrip())
        failed += there != here
    passed = sum(theirs.get(test) == result == "ok" for test, result in ours.items())
    if not passed:
        print("FAILED: no test of rdma-core passed")
    return passed, failed + (not passed)


def report_together(whole, broken):
    """(passed, failed) of what read a small guest's memory; each (values, faults)"""
    values, faults = whole
    counts = {key: int(values.get(f"guest0.{key}", 0)) for key in TOGETHER}
    faults = faults + [f"{key} is 0" for key, count in counts.items() if not count]
    print(f"{'ours':<10}{'all at once, with RDMA, on a VM that swaps':<44} "
          f"{'FAILED: ' + '; '.join(faults) if faults else 'all read the same'}")
    for key, text in TOGETHER.items():
        print(f"{'':<54} {text.format(counts[key])}")
    values, differ = broken
    wrong = int(values.get("guest0.rdma_mismatches", 0))
    noticed = wrong and any("read something else" in fault for fault in differ)
    shows = f"{wrong} remote reads differ" if noticed else samples.unnoticed(differ)
    print(f"{'ours':<10}{'all at once, RDMA without invalidation':<44} {shows}")
    failed = bool(faults) + (not noticed)
    return 2 - failed, failed


def run(build, passes):
    out = os.path.join(build, "rdma")
    os.makedirs(out, exist_ok=True)
    program = build_program(build, out)
    suite = {**suite_files(out), **{path: program[path] for path in program
                                    if not path.startswith("/tests/")}}
    kernels = build_kernels(build)
    region = run_both(os.path.join(out, "region"), kernels, program,
                      {"mainline": [REGION], "ours": [REGION, *BROKEN]}, 256)
    own = run_both(os.path.join(out, "rdma-core-run"), kernels, suite,
                   {name: [OWN_TESTS] for name in kernels}, 1024)
    guest = build_guest(out, kernels["ours"])
    whole = samples.run_together(out, kernels["ours"], guest, "together", passes, label="rdma")
    broken = samples.run_together(out, kernels["ours"], guest, "together-broken",
                                  more=["--write", f"{samples.MUTE}:{INVALIDATION}"],
                                  label="rdma")
    print()
    return [sum(part) for part in zip(report_region(region), report_together(whole, broken),
                                      report_own(own))]


def main():
    parser = build_kernel.Parser(prog="rdma.py", description=__doc__.splitlines()[0])
    samples.add_passes(parser)
    parser.add_argument("build")
    args = parser.parse_args()
    try:
        passed, failed = run(os.path.abspath(args.build), args.passes)
    except (PairError, build_kernel.BuildError, initramfs.MissingError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{passed} passed, {failed} failed")
    return int(failed != 0 or not passed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The tests were interrupted.")
