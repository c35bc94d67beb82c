# SPDX-License-Identifier: GPL-2.0
"""Start the machine in QEMU, watch it, and leave no process behind."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

import initramfs

STEP = 0.2                  # seconds between looks at the result port
SHOW = 5                    # seconds between progress lines
PR_SET_PDEATHSIG = 1
HANG_WAIT = 3               # seconds that a hung machine gets to say where it hangs
# Processors' backtraces and registers, blocked tasks: written to the console log.
HANG_QUESTIONS = ("sendkey alt-sysrq-l", "sendkey alt-sysrq-w", "info registers -a")
PORTS = ("console", "results", "guest")


def command(arch, kernel, initrd, arguments, out, *, memory, cpus, disks=(), accel="tcg"):
    """The QEMU command line; each serial port is a file OUT/<port>.log."""
    words = [initramfs.program(arch.qemu, arch.qemu_package), "-accel", accel, *arch.machine,
             "-m", f"{memory}M", "-smp", str(cpus),
             "-display", "none", "-nodefaults", "-no-reboot", "-no-user-config",
             "-kernel", kernel, "-initrd", initrd, "-append", arguments]
    for port in PORTS:
        words += ["-chardev", f"file,id={port},path={log_path(out, port)}"]
    for number, disk in enumerate(disks):
        words += ["-drive", f"file={disk},format=raw,if=none,id=disk{number},cache=unsafe",
                  "-device", f"virtio-blk-pci,drive=disk{number}"]
    return words


def log_path(out, port):
    return os.path.join(out, f"{port}.log")


def read_log(out, port):
    try:
        with open(log_path(out, port), encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def emulator(words, log, fds=()):
    """A running QEMU that is gone when the block ends, however it ends."""
    with open(log, "wb") as errors:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors,
                                   stderr=errors, start_new_session=True, pass_fds=fds,
                                   preexec_fn=die_with_parent)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_progress(text):
    for line in reversed(text.split("\n")[:-1]):
        if line.startswith("progress "):
            return line.removeprefix("progress ")
    return "starts"


def watch(process, out, limit, show, quiet=None):
    """Wait for the end; return how the run ended, None for a normal end."""
    begin = shown = spoke = time.monotonic()
    said = ""
    while process.poll() is None:
        now = time.monotonic()
        if now - begin > limit:
            return f"the machine had not powered off after {limit} s"
        if quiet and said != (said := read_log(out, "results")):
            spoke = now
        if quiet and now - spoke > quiet:
            return f"the machine reported nothing for {quiet} s"
        if now - shown > SHOW:
            shown = now
            show(now - begin, last_progress(read_log(out, "results")))
        time.sleep(STEP)
    if not process.returncode:
        return None
    with open(os.path.join(out, "qemu.log"), encoding="utf-8", errors="replace") as file:
        words = file.read().strip().splitlines()[-1:]
    return f"QEMU ended with status {process.returncode}: {' '.join(words)}"


def ask_where_it_hangs(monitor, out):
    monitor.setblocking(False)
    with open(os.path.join(out, "monitor.log"), "wb") as log:
        for question in HANG_QUESTIONS:
            with contextlib.suppress(OSError):
                monitor.sendall(question.encode() + b"\n")
            time.sleep(HANG_WAIT / len(HANG_QUESTIONS))
            with contextlib.suppress(OSError):
                while answer := monitor.recv(1 << 16):
                    log.write(answer)


def run(words, out, limit, show, quiet=None):
    """Return (seconds, None or how it ended other than by a power off).

    QUIET: seconds without a word on the result port until the machine hangs.
    """
    for name in (*PORTS, "monitor"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(log_path(out, name))
    begin = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = words + ["-chardev", f"socket,id=monitor,fd={theirs.fileno()}",
                         "-mon", "chardev=monitor,mode=readline"]
        with emulator(words, os.path.join(out, "qemu.log"), (theirs.fileno(),)) as process:
            ended = watch(process, out, limit, show, quiet)
            seconds = time.monotonic() - begin
            if process.poll() is None:
                ask_where_it_hangs(ours, out)
    return seconds, ended
