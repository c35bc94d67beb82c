#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of steps.py, with builds and machines that are made up."""
import contextlib
import io
import os
import sys
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import steps  # noqa: E402
from tree import Error  # noqa: E402

PATCHES = [('1' * 40, 'mm: one'), ('2' * 40, 'KVM: two')]
BEFORE = {'64BIT', 'MMU_NOTIFIER', 'TEST_HMM'}
AFTER = BEFORE | {'KVM', 'VIRTUALIZATION'}


class StepsTest(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp()
        self.addCleanup(steps.shutil.rmtree, self.top)
        self.steps = steps.Steps.__new__(steps.Steps)
        self.steps.src, self.steps.top = os.path.join(self.top, 'tree'), self.top
        self.steps.patches, self.steps.git = PATCHES, mock.Mock()
        self.steps.options = lambda commit: AFTER if commit == PATCHES[1][0] else BEFORE

    def run_all(self, build='', boot=''):
        """The table's lines, if these are why builds and machines fail."""
        self.steps.build = mock.Mock(return_value=build)
        self.steps.boot = mock.Mock(return_value=boot)
        for name in steps.VARIANTS:
            os.makedirs(os.path.join(self.top, f'run-{name}'), exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            results = self.steps.run([1, 2], steps.VARIANTS)
        return list(steps.table(PATCHES, results, steps.VARIANTS))

    def test_pass(self):
        lines = self.run_all()
        self.assertEqual(lines[-1], '10 passed, 0 failed')
        self.assertEqual([line.count('builds') for line in lines[1:3]], [3, 3])
        self.assertEqual([line.count('boots') for line in lines[1:3]], [2, 0])
        # KVM is there: what has an image runs a guest.
        self.assertEqual([line.count('guest') for line in lines[1:3]], [0, 2])
        jobs = [call.args for call in self.steps.boot.call_args_list]
        self.assertEqual([name for name, job in jobs if job is steps.GUEST],
                         ['x86_64-kvm', 'arm64-kvm'])

    def test_commits_in_order(self):
        self.run_all()
        self.assertEqual([call.args[-1] for call in self.steps.git.call_args_list],
                         [commit for commit, _ in PATCHES])

    def test_build_fails(self):
        lines = self.run_all(build='a.c:1: error: no prototype')
        self.assertEqual(lines[-1], '0 passed, 10 failed')
        self.assertIn('1 x86_64-kvm: NOT BUILT: a.c:1: error: no prototype', lines)
        self.steps.boot.assert_not_called()

    def test_machine_fails(self):
        lines = self.run_all(boot='console: BUG: sleeping function')
        self.assertEqual(lines[-1], '6 passed, 4 failed')
        self.assertTrue(os.path.isdir(os.path.join(self.top, 'failed-1-arm64-kvm')))

    def build(self, log, error=None, symbols=''):
        """What of a build with this log, and these symbols, is wrong."""
        def made(_src, out, *_):
            with open(os.path.join(out, 'build.log'), 'w', encoding='utf-8') as file:
                file.write(log)
            if error:
                raise steps.build_kernel.BuildError(error)

        said = mock.Mock(stdout=symbols)
        with mock.patch.object(steps.build_kernel, 'build', made), \
                mock.patch.object(steps.subprocess, 'run', return_value=said):
            return steps.Steps.build(self.steps, 'x86_64-off', BEFORE)

    def test_warnings(self):
        self.assertEqual(self.build('  CC mm/warning.o\n  LD vmlinux\n'), '')
        for line in ('WARNING: unmet direct dependencies detected for KVM',
                     'ld: warning: a.o: missing .note.GNU-stack section'):
            self.assertTrue(self.build(f'  CC a.o\n{line}\n').startswith(line))
            # It is built anew, and warns again.
            self.assertFalse(os.path.exists(os.path.join(self.top, 'x86_64-off')))

    def test_undefined(self):
        calls = '                 U __mmu_notifier_end\n                 U kfree\n'
        self.assertEqual(self.build('', symbols=calls), 'nothing defines __mmu_notifier_end')
        self.assertEqual(self.build('', symbols=calls + '0000000000000010 T __mmu_notifier_end\n'),
                         '')

    def test_errors(self):
        line = "mm/rmap.c:3:2: error: 'x' undeclared"
        self.assertEqual(self.build(f'  CC mm/rmap.o\n{line}\n', 'The build failed.'), line)
        self.assertEqual(self.build('', 'The build failed.'), 'The build failed.')

    def test_fragment(self):
        text = steps.fragment(steps.VARIANTS['x86_64-kvm'], BEFORE)
        self.assertIn('CONFIG_MMU_NOTIFIER=y\n', text)
        self.assertNotIn('KVM', text)
        text = steps.fragment(steps.VARIANTS['x86_64-hmm'], AFTER)
        self.assertIn('CONFIG_MMU_NOTIFIER=y\n', text)
        self.assertIn('# CONFIG_KVM is not set\n', text)
        self.assertIn('# CONFIG_MMU_NOTIFIER is not set\n',
                      steps.fragment(steps.VARIANTS['arm64-off'], AFTER))

    def test_options_that_never_come(self):
        with self.assertRaisesRegex(Error, 'x86_64-kvm: the kernel has no option .*KSM'):
            self.steps.check_options()
        everything = {option.removeprefix('CONFIG_') for variant in steps.VARIANTS.values()
                      for option in steps.asked(variant)}
        self.steps.options = lambda commit: everything
        self.steps.check_options()

    def test_kvm_is_there_when_it_subscribes(self):
        shown = {'select MMU_NOTIFIER': True, 'select EVENTFD': False}
        for text, there in shown.items():
            self.steps.git = mock.Mock(side_effect=['config KVM\nmenuconfig VIRTUALIZATION\n'
                                                    '\tconfig 64BIT\n', text])
            self.assertEqual(steps.Steps.options(self.steps, 'x'),
                             {'64BIT'} | ({'KVM', 'VIRTUALIZATION'} if there else set()))

    def test_numbers(self):
        self.assertEqual(steps.numbers([], 3), [1, 2, 3])
        self.assertEqual(steps.numbers(['3', '1'], 3), [1, 3])
        for word in ('0', '4', 'x', '-1'):
            with self.assertRaisesRegex(Error, 'the patches are 1 to 3'):
                steps.numbers([word], 3)


if __name__ == '__main__':
    unittest.main()
