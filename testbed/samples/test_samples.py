#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What is a pass and what is not, on outputs that were made up."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import samples  # noqa: E402

GOOD = """TAP version 13
1..2
#  RUN           gru.adds ...
# gru_test.c:219:adds:counts: 5 adds
#            OK  gru.adds
ok 1 gru.adds
ok 2 gru.loads
"""
ROW = samples.Row("GRU", "large ranges", "gru_test")
BROKEN = samples.Row("GRU", "without pages", "gru_test", ("gru_invalidate_page",), "adds")


def fault(row, ended, text):
    return samples.fault(row, samples.peers.Outcome(ended.split(), text), text)


class TestSamples(unittest.TestCase):
    def test_pass(self):
        self.assertIsNone(fault(ROW, "exit 0 3", GOOD))
        self.assertEqual(samples.counts(GOOD), ["gru.adds: 5 adds"])

    def test_no_pass(self):
        for ended, text in (("exit 0 3", GOOD.replace("ok 2", "not ok 2")), ("exit 1 3", GOOD),
                            ("exit 0 3", GOOD.replace("loads", "loads # SKIP no module")),
                            ("exit 0 3", GOOD.replace("1..2", "1..3")), ("exit 0 0", ""),
                            ("late 0 600", GOOD), ("signal 11 1", GOOD)):
            self.assertIsNotNone(fault(ROW, ended, text), (ended, text))

    def test_broken_must_fail(self):
        failed = GOOD.replace("ok 1", "not ok 1")
        self.assertIsNone(fault(BROKEN, "exit 1 1", failed))
        for ended, text in (("exit 0 1", GOOD), ("exit 1 1", ""), ("late 0 600", failed)):
            self.assertIsNotNone(fault(BROKEN, ended, text), (ended, text))

    def test_machine_counts(self):
        outcome = samples.peers.Outcome("exit 0 3".split(), GOOD)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(samples.report({1: (ROW, outcome, GOOD)}, ["a splat"]), (1, 1))
        self.assertIn("a splat", out.getvalue())
        self.assertIn("2 tests pass", out.getvalue())

    def test_command_unmutes(self):
        self.assertIn("gru_invalidate_page", BROKEN.command())
        self.assertTrue(BROKEN.command().endswith("exit $code"))


class TestTogether(unittest.TestCase):
    def report(self, faults, broken):
        with contextlib.redirect_stdout(io.StringIO()) as text:
            found = samples.report_together({"guest0.gru_loads": "7"}, faults, broken)
        return found, text.getvalue()

    def test_kernels_that_check_themselves_get_more_room(self):
        for line, room in (("CONFIG_KASAN=y", True), ("# CONFIG_KASAN is not set", False),
                           ("CONFIG_KCSAN=y", True), ("", False)):
            with tempfile.TemporaryDirectory() as kernel:
                with open(os.path.join(kernel, ".config"), "w", encoding="utf-8") as file:
                    file.write(line + "\n")
                options = samples.sizes(kernel, 3)
                self.assertEqual("--host-mb" in options, room)
                self.assertEqual(options[options.index("--limit") + 1],
                                 "21600" if room else "5400")

    def test_the_broken_one_has_to_differ(self):
        found, text = self.report([], ["guest 0: a subscriber read something else than the "
                                       "process has there"])
        self.assertEqual(found, (2, 0))
        self.assertIn("GRU: 7 loads", text)
        self.assertEqual(self.report([], [])[0], (1, 1))
        found, text = self.report(["no page was verified"], ["the machine stopped"])
        self.assertEqual(found, (0, 2))
        self.assertIn("not noticed, but the machine stopped", text)

    def test_kasan_may_notice_it_first(self):
        splat = "2 splat lines in the console log, first: [ 8.1] BUG: KASAN: use-after-free in "
        self.assertEqual(self.report([], [splat + "gru_run+0x47e/0x7d0 [soft_gru]"])[0], (2, 0))
        self.assertEqual(self.report([], [splat + "xpmem_load+0x1/0x2"])[0], (1, 1))


if __name__ == "__main__":
    unittest.main()
