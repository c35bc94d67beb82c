#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Build and boot every patch of a series: steps.py [--against mainline] BUILD [PATCH...]

The commits are checked out one after the other in BUILD/steps/tree. Each variant of
the configuration has a build directory beside it, where a step compiles what the patch
changed. A warning fails it. What has an image boots; where KVM has its subscription, a
small guest swaps. Ends with a table and a line "N passed, N failed".
"""
import argparse
import dataclasses
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MACHINE = os.path.join(os.path.dirname(HERE), 'machine')
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.append(MACHINE)

import build_kernel  # noqa: E402
from arch import ARCHES  # noqa: E402
from mail import NAME, START  # noqa: E402
from tree import Error, Git, locked  # noqa: E402

KVM = ('VIRTUALIZATION', 'KVM')
X86 = ('KVM_AMD', 'MMU_NOTIFIER_INJECT')
# HMM's test selects MMU_NOTIFIER where KVM does not, or not yet.
HMM = ('MMU_NOTIFIER', 'TEST_HMM')
SAMPLES = ('SAMPLE_MMU_NOTIFIER', 'SAMPLE_MMU_NOTIFIER_GRU', 'SAMPLE_MMU_NOTIFIER_XPMEM')


@dataclasses.dataclass(frozen=True)
class Variant:
    """Options over the machine's configuration, TESTS: with kunit.config."""
    arch: str
    on: tuple
    off: tuple
    tests: bool = False
    image: bool = False     # linked, and boots; else what the series touches is compiled

    @property
    def targets(self):
        arch = ARCHES[self.arch]
        if self.image:
            return [arch.image]
        return [*TOUCHED, f'arch/{arch.folder}/mm/', *(TESTS if self.tests else [])]


# Without KVM notifiers do not depend on the architecture: one has them. How a hook and
# an assertion are compiled changes along, so that each occurs with notifiers and without.
VARIANTS = {
    'x86_64-kvm': Variant('x86_64', KVM + X86 + HMM, (), tests=True, image=True),
    'x86_64-hmm': Variant('x86_64', HMM + SAMPLES + ('DEBUG_VM',), KVM + X86 + ('JUMP_LABEL',),
                          tests=True),
    'x86_64-off': Variant('x86_64', (), KVM + X86 + HMM + ('JUMP_LABEL',)),
    'arm64-kvm': Variant('arm64', KVM + HMM, (), tests=True, image=True),
    'arm64-off': Variant('arm64', ('DEBUG_VM',), KVM + HMM),
}
# Of a variant that is not linked; what nothing there defines would not link.
TOUCHED = ('mm/', 'fs/proc/', 'kernel/fork.o', 'kernel/events/')
TESTS = ('lib/tests/', 'samples/')
OURS = re.compile(r'^[0-9a-f ]* (\w) (\w*(?:mmu_notifier|mmu_interval)\w*)$', re.M)
USUAL = (350, 200)      # objects and seconds
# Host and guest; together they are larger than the host.
GUEST = ('--job', 'small-guest', '--host-mb', '160', '--guest-mb', '160', '--passes', '1')
BOOT = ('--job', 'none')
WARNING = re.compile(r'^.*\bwarning: .*$', re.I | re.M)
OPTION = re.compile(r'^\s*(?:menu)?config\s+(\w+)', re.M)


def line(option, value):
    return f'{option}={value}\n' if value else f'# {option} is not set\n'


def asked(variant):
    """{option: value} of a variant, None for one that is off."""
    options = {}
    for name in ('base', variant.arch, *(['kunit'] if variant.tests else [])):
        text = build_kernel.read(os.path.join(MACHINE, 'config', f'{name}.config'))
        options.update(build_kernel.parse_config(text))
    options.update((f'CONFIG_{name}', None) for name in variant.off)
    options.update((f'CONFIG_{name}', 'y') for name in variant.on)
    return options


def fragment(variant, there):
    """What of a variant a tree with these options can be asked for."""
    return ''.join(line(option, value) for option, value in asked(variant).items()
                   if option.removeprefix('CONFIG_') in there)


def numbers(words, count):
    """The patches that are asked for, in the order of the series."""
    wrong = [word for word in words if not word.isdigit() or not 1 <= int(word) <= count]
    if wrong:
        raise Error(f'{" ".join(wrong)}: the patches are 1 to {count}')
    return sorted({int(word) for word in words}) or list(range(1, count + 1))


def undefined(out, prefix, targets):
    """Names of ours that the link would look for in vain."""
    paths = [os.path.join(out, name + 'built-in.a' * name.endswith('/')) for name in targets]
    run = subprocess.run([prefix + 'nm', *paths], capture_output=True, text=True, check=True)
    found = {kind: set() for kind, _ in OURS.findall(run.stdout)}
    for kind, name in OURS.findall(run.stdout):
        found[kind].add(name)
    lost = found.pop('U', set()).difference(*found.values())
    return 'nothing defines ' + ' '.join(sorted(lost)) if lost else ''


@dataclasses.dataclass(frozen=True)
class Result:
    word: str           # what the table shows
    why: str = ''       # it failed


class Steps:
    def __init__(self, build, against):
        self.tree, self.top = os.path.join(build, 'tree'), os.path.join(build, 'steps')
        self.src = os.path.join(self.top, 'tree')
        os.makedirs(self.top, exist_ok=True)
        if not os.path.isdir(os.path.join(self.src, '.git')):
            shutil.rmtree(self.src, ignore_errors=True)
            Git(build)('clone', '-q', '-s', '-n', self.tree, self.src)
        self.git = Git(self.src)
        self.git('fetch', '-q', '-f', 'origin', 'refs/tags/*:refs/tags/*')
        log = self.git('log', '--reverse', '--format=%H %s', f'{START[against]}..{NAME[against]}')
        self.patches = [entry.partition(' ')[::2] for entry in log.split('\n')]

    def options(self, commit):
        """What Kconfig has; KVM is not there as long as it does not subscribe."""
        there = set(OPTION.findall(self.git('grep', '-hE', r'^\s*(menu)?config\s', commit,
                                            '--', '*Kconfig*')))
        if 'select MMU_NOTIFIER' not in self.git('show', f'{commit}:virt/kvm/Kconfig'):
            there -= {*KVM, *X86}
        return there

    def check_options(self):
        """An option that no patch brings would be left out for ever."""
        there = self.options(self.patches[-1][0])
        for name, variant in VARIANTS.items():
            lost = {option.removeprefix('CONFIG_') for option in asked(variant)} - there
            if lost:
                raise Error(f'{name}: the kernel has no option {" ".join(sorted(lost))}')

    def build(self, name, there):
        """Why it does not build; nothing if it does."""
        variant, out = VARIANTS[name], os.path.join(self.top, name)
        os.makedirs(out, exist_ok=True)
        wanted, log = os.path.join(out, 'steps.config'), os.path.join(out, 'build.log')
        with open(wanted, 'w', encoding='utf-8') as file:
            file.write(fragment(variant, there))
        arch = ARCHES[variant.arch]
        if not variant.image:
            arch = dataclasses.replace(arch, usual=USUAL)
        try:
            with build_kernel.locked(out):
                build_kernel.build(self.src, out, arch, [wanted], variant.targets)
        except build_kernel.BuildError as error:
            return (build_kernel.first_errors(log, 1) or [str(error)])[0]
        if warnings := WARNING.findall(build_kernel.read(log)):
            # What is up to date would not warn again.
            os.replace(log, out + '.log')
            shutil.rmtree(out)
            return f'{warnings[0]}; see {out}.log'
        return '' if variant.image else undefined(out, arch.prefix, variant.targets)

    def boot(self, name, job):
        """Why the machine did not do its job; nothing if it did."""
        out = os.path.join(self.top, f'run-{name}')
        os.makedirs(out, exist_ok=True)
        run = subprocess.run([sys.executable, os.path.join(MACHINE, 'run.py'), '--kernel',
                              os.path.join(self.top, name), '--out', out, *job],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors='replace', check=False)
        faults = re.findall(r'^  fault: (.*)$', run.stdout, re.M) or run.stdout.splitlines()[-1:]
        return '; '.join(faults) if run.returncode else ''

    def step(self, number, name, there):
        variant, begin = VARIANTS[name], time.monotonic()
        if why := self.build(name, there):
            return Result('NOT BUILT', why)
        built = time.monotonic()
        if not variant.image:
            return Result(f'builds {built - begin:.0f} s')
        kvm = 'KVM' in there
        if why := self.boot(name, GUEST if kvm else BOOT):
            kept = os.path.join(self.top, f'failed-{number}-{name}')
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(os.path.join(self.top, f'run-{name}'), kept)
            return Result('DID NOT BOOT', f'{why}; see {kept}')
        word = 'guest' if kvm else 'boots'
        return Result(f'{word} {built - begin:.0f}+{time.monotonic() - built:.0f} s')

    def run(self, chosen, variants):
        """{(number, variant): Result}"""
        results = {}
        for number in chosen:
            commit, subject = self.patches[number - 1]
            self.git('checkout', '-q', '--detach', '-f', commit)
            there = self.options(commit)
            for name in variants:
                result = results[number, name] = self.step(number, name, there)
                print(f'{number}/{len(self.patches)} {subject}: {name}: '
                      f'{result.word} {result.why}'.rstrip(), flush=True)
        return results


def table(patches, results, variants):
    """Seconds are those of the build and of the machine."""
    subjects = {number: patches[number - 1][1] for number, _ in results}
    width = max(map(len, subjects.values())) + 2
    yield f'{"":<{width + 4}}' + ''.join(f'{name:<16}' for name in variants).rstrip()
    for number, subject in subjects.items():
        yield f'{number:>2}  {subject:<{width}}' + ''.join(
            f'{results[number, name].word:<16}' for name in variants).rstrip()
    for (number, name), result in results.items():
        if result.why:
            yield f'{number} {name}: {result.word}: {result.why}'
    failed = sum(bool(result.why) for result in results.values())
    yield f'{len(results) - failed} passed, {failed} failed'


def main():
    parser = build_kernel.Parser(prog='steps.py', description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--against', choices=START, default='removed')
    parser.add_argument('--variant', action='append', choices=VARIANTS, help='default: all')
    parser.add_argument('build')
    parser.add_argument('patches', nargs='*', metavar='PATCH')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, build_kernel.interrupted)
    begin = time.monotonic()
    try:
        steps = Steps(os.path.abspath(args.build), args.against)
        steps.check_options()
        chosen = numbers(args.patches, len(steps.patches))
        with locked(steps.top):
            results = steps.run(chosen, args.variant or VARIANTS)
    except (Error, OSError) as error:
        print(f'steps.py: {error}', file=sys.stderr)
        return 2
    print(f'\n{NAME[args.against]}: {time.monotonic() - begin:.0f} s')
    print('\n'.join(table(steps.patches, results, args.variant or VARIANTS)))
    return int(any(result.why for result in results.values()))


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit('The builds were interrupted.')
