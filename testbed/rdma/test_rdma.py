#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What is a pass and what is not, on outputs that were made up."""
import contextlib
import io
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import rdma  # noqa: E402

OWN = """test_odp_rc_traffic (tests.test_odp.OdpTestCase.test_odp_rc_traffic) ... ok
test_odp_xrc_traffic (tests.test_odp.OdpTestCase.test_odp_xrc_traffic) ... skipped 'no XRC'
test_odp_rc_rdma_read (tests.test_odp.OdpTestCase.test_odp_rc_rdma_read) ... a warning
that says more
ok

----------------------------------------------------------------------
Ran 3 tests in 3.1s

OK (skipped=1)
"""
REGION = """TAP version 13
1..1
# odp_test.c:9:sums:counts: 5 additions
ok 1 odp.sums
"""


def outcome(text, ended="exit 0 3"):
    return rdma.samples.peers.Outcome(ended.split(), text), text


def quiet(report, both):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        return report(both), out.getvalue()


class TestOwnTests(unittest.TestCase):
    def report(self, mainline, ours, faults=()):
        return quiet(rdma.report_own, {
            "mainline": ({rdma.OWN_TESTS: outcome(mainline)}, []),
            "ours": ({rdma.OWN_TESTS: outcome(ours)}, list(faults))})

    def test_results(self):
        self.assertEqual(rdma.own_results(OWN), {
            "test_odp_rc_traffic": "ok", "test_odp_xrc_traffic": "skipped",
            "test_odp_rc_rdma_read": "ok"})
        for text in ("", OWN.replace("Ran 3", "Ran 4"), OWN.partition("---")[0]):
            self.assertIsNone(rdma.own_results(text))

    def test_same(self):
        found, shown = self.report(OWN, OWN)
        self.assertEqual(found, (2, 0))
        self.assertIn("no XRC", shown)

    def test_less(self):
        for text in (OWN.replace("traffic) ... ok", "traffic) ... FAIL"),
                     OWN.replace("traffic) ... ok", "traffic) ... skipped 'why'")):
            found, shown = self.report(OWN, text)
            self.assertEqual(found, (1, 1))
            self.assertIn("differs", shown)
        self.assertEqual(self.report(OWN, "Traceback")[0], (0, 1))
        self.assertEqual(self.report(OWN, OWN, ["a splat"])[0], (2, 1))

    def test_skipped_alone_is_nothing(self):
        text = OWN.replace("... ok", "... skipped 'why'").replace("\nok\n", "\nskipped 'why'\n")
        self.assertEqual(self.report(text, text)[0], (0, 1))


class TestRegion(unittest.TestCase):
    def report(self, row, found, faults=()):
        return quiet(rdma.report_region, {"ours": ({rdma.READY: outcome(""), row: found},
                                                   list(faults))})

    def test_pass(self):
        found, shown = self.report(rdma.REGION, outcome(REGION))
        self.assertEqual(found, (1, 0))
        self.assertIn("5 additions", shown)
        self.assertEqual(self.report(rdma.REGION, outcome(REGION), ["a splat"])[0], (1, 1))

    def test_broken_has_to_fail(self):
        row = rdma.BROKEN[0]
        self.assertEqual(self.report(row, outcome(REGION))[0], (0, 1))
        self.assertEqual(self.report(row, outcome(REGION.replace("ok 1", "not ok 1"),
                                                  "exit 1 3"))[0], (1, 0))


class TestTogether(unittest.TestCase):
    def report(self, counts, faults=(), differ=("a subscriber read something else",), wrong=1):
        values = {f"guest0.{key}": str(counts) for key in rdma.TOGETHER}
        return quiet(lambda both: rdma.report_together(*both), [
            (values, list(faults)), ({"guest0.rdma_mismatches": str(wrong)}, list(differ))])

    def test_pass(self):
        found, shown = self.report(7)
        self.assertEqual(found, (2, 0))
        self.assertIn("RDMA: 7 loads", shown)

    def test_nothing_read_or_a_fault(self):
        self.assertEqual(self.report(0)[0], (1, 1))
        self.assertEqual(self.report(7, ["a splat"])[0], (1, 1))

    def test_the_remote_reads_have_to_differ(self):
        self.assertEqual(self.report(7, wrong=0)[0], (1, 1))
        self.assertEqual(self.report(7, differ=["a remote read ended"])[0], (1, 1))


class TestRows(unittest.TestCase):
    def test_commands(self):
        self.assertEqual(rdma.REGION.command(), "/tests/odp_test")
        self.assertIn(rdma.BROKEN[0].mute[0], rdma.BROKEN[0].command())
        self.assertTrue(rdma.READY.command().startswith("ip link"))


if __name__ == "__main__":
    unittest.main()
