# SPDX-License-Identifier: GPL-2.0
"""What differs between architectures: one row for each."""
import dataclasses
import os

# Kernel's name of an architecture: prefix of its compiler, and of its package.
COMPILERS = {
    "x86_64": ("", "gcc"),
    "arm64": ("aarch64-linux-gnu-", "gcc-aarch64-linux-gnu"),
    "powerpc": ("powerpc64le-linux-gnu-", "gcc-powerpc64le-linux-gnu"),
    "s390": ("s390x-linux-gnu-", "gcc-s390x-linux-gnu"),
    "riscv": ("riscv64-linux-gnu-", "gcc-riscv64-linux-gnu"),
    "mips": ("mips64el-linux-gnuabi64-", "gcc-mips64el-linux-gnuabi64"),
    "loongarch": ("loongarch64-linux-gnu-", "gcc-loongarch64-linux-gnu"),
}


@dataclasses.dataclass(frozen=True)
class Arch:
    """A machine that kernels are run in."""
    name: str           # the kernel's: make ARCH=name, CONFIG_NAME=y
    folder: str         # below arch/ in the kernel; what our own files end in
    image: str          # make target, and file below arch/<folder>/boot
    qemu: str
    qemu_package: str
    console: str
    machine: tuple      # QEMU's words; the ports are console, ttyS1 and ttyS2
    jobs: tuple
    usual: tuple        # objects and seconds of a first build on two cores
    parameters: tuple = ()      # of the kernel

    @property
    def prefix(self):
        return COMPILERS[self.name][0]

    @property
    def compiler(self):
        """(program, package)"""
        return self.prefix + "gcc", COMPILERS[self.name][1]

    def image_path(self, build):
        return os.path.join(build, "arch", self.folder, "boot", self.image)


ARCHES = {arch.name: arch for arch in (
    Arch(name="x86_64", folder="x86", image="bzImage",
         qemu="qemu-system-x86_64", qemu_package="qemu-system-x86", console="ttyS0",
         machine=("-cpu", "EPYC,+svm,+npt",
                  "-serial", "chardev:console", "-serial", "chardev:results",
                  "-serial", "chardev:guest"),
         jobs=("linux-guest", "small-guest", "kunit", "mirror", "exec", "none"),
         usual=(1460, 750),
         # On an overloaded computer the test of the timer finds that it does not work.
         parameters=("no_timer_check",)),
    # The machine has one serial port; the keyboard is for questions to a hung kernel.
    Arch(name="arm64", folder="arm64", image="Image",
         qemu="qemu-system-aarch64", qemu_package="qemu-system-arm", console="ttyAMA0",
         machine=("-M", "virt,virtualization=on,gic-version=3", "-cpu", "neoverse-n1",
                  "-serial", "chardev:console",
                  "-device", "pci-serial-4x,chardev2=results,chardev3=guest",
                  "-device", "virtio-keyboard-pci"),
         jobs=("small-guest", "kunit", "mirror", "exec", "none"),
         usual=(1110, 500)),
)}


def of_build(build):
    """The architecture of a configured kernel, None if BUILD is not one."""
    try:
        with open(os.path.join(build, ".config"), encoding="utf-8") as file:
            options = set(file.read().split("\n"))
    except OSError:
        return None
    for arch in ARCHES.values():
        if f"CONFIG_{arch.name.upper()}=y" in options:
            return arch
    return None
