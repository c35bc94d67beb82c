#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Build the initial RAM file systems of the machine and of its Linux guest."""
import os
import re
import shutil
import subprocess

# All that q35 reads when it starts a kernel given on the command line.
FIRMWARE = ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin"]
FIRMWARE_DIRS = ["/usr/share/qemu", "/usr/share/seabios", "/usr/local/share/qemu"]


class MissingError(Exception):
    """One sentence that says what to install or build."""


def program(name, package):
    path = shutil.which(name)
    if not path:
        raise MissingError(f"{name} is not installed; it is in the package {package}.")
    return path


def libraries(binary):
    """Paths of the shared libraries of a binary, loader included."""
    listing = subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout
    if "not found" in listing:
        raise MissingError(f"A shared library of {binary} is missing.")
    return re.findall(r"(/\S+) \(0x", listing)


def firmware(name):
    for directory in FIRMWARE_DIRS:
        path = os.path.join(directory, name)
        if os.path.exists(path):
            return path
    raise MissingError(f"The firmware file {name} is missing; it is in the package seabios "
                       "or qemu-system-x86.")


def qemu_files(arch):
    """{path in the machine: path here} of a QEMU that starts there."""
    binary = program(arch.qemu, arch.qemu_package)
    files = {f"/qemu/{arch.qemu}": binary}
    files.update((path, path) for path in libraries(binary))
    files.update((f"/qemu/share/{name}", firmware(name)) for name in FIRMWARE)
    return files


def list_text(files):
    """The list file of the kernel's gen_init_cpio; parents come first."""
    folders = {"/dev"}
    for path in files:
        while (path := os.path.dirname(path)) != "/":
            folders.add(path)
    lines = [f"dir {folder} 0755 0 0" for folder in sorted(folders)]
    lines.append("nod /dev/console 0600 0 0 c 5 1")
    lines += [f"file {path} {os.path.realpath(source)} 0755 0 0"
              for path, source in sorted(files.items())]
    return "\n".join(lines) + "\n"


def write(kernel_build, files, archive):
    """Pack files uncompressed: unpacking costs the machine no time."""
    tool = os.path.join(kernel_build, "usr", "gen_init_cpio")
    if not os.path.exists(tool):
        raise MissingError(f"{kernel_build} is not a finished kernel build.")
    with open(archive + ".list", "w", encoding="utf-8") as file:
        file.write(list_text(files))
    with open(archive + ".new", "wb") as file:
        subprocess.run([tool, "-t", "0", archive + ".list"], check=True, stdout=file)
    os.replace(archive + ".new", archive)
    return archive


def image(kernel_build, arch):
    path = arch.image_path(kernel_build)
    if not os.path.exists(path):
        raise MissingError(f"{kernel_build} has no kernel image: build the kernel first.")
    return path


def guest(kernel_build, programs, archive):
    return write(kernel_build, {"/init": programs["workload"]}, archive)


def host(kernel_build, arch, programs, archive, inner=None, extra=None):
    """inner: archive of the Linux guest; extra: {path there: path here}."""
    files = {"/init": programs["init"], "/small_guest": programs["small_guest"]}
    if not arch.prefix and shutil.which("busybox"):     # the one here runs there
        files["/bin/busybox"] = files["/bin/sh"] = shutil.which("busybox")
    if inner:
        files.update(qemu_files(arch))
        files["/guest/bzImage"] = image(kernel_build, arch)
        files["/guest/initrd"] = inner
    files.update(extra or {})
    return write(kernel_build, files, archive)
