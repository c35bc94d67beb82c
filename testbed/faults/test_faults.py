#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table of the variants, and what counts as passed."""
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import faults  # noqa: E402

VALUES = {"vmstat.pswpout": "70001", "sum.pages_verified": "9", "sum.mismatches": "0",
          "guest0.signal": "9", "death.pswpout": "5"}


MISMATCH = {"guest1.first_mismatch": "vcpu 0"}


def machine(code=0, found=(), write=True, breaks=(), damage=MISMATCH):
    """A runner that has no machine; breaks, damage: faults and values where one is muted."""
    def main(argv):
        muted = faults.MUTE in " ".join(argv)
        out = os.path.join(argv[argv.index("--out") + 1], "run-1")
        os.makedirs(out, exist_ok=True)
        if write:
            with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as file:
                json.dump({"values": {**VALUES, **(damage if muted else {})},
                           "faults": list(breaks if muted else found)}, file)
        return code
    return main


class Rows(unittest.TestCase):
    def test_options_of_each_variant_are_known(self):
        for variant in faults.VARIANTS.values():
            faults.run.parse(variant.args("K", "O"))

    def test_each_memory_and_fault_has_a_row(self):
        words = {word for variant in faults.VARIANTS.values() for word in variant.words}
        self.assertLessEqual({*faults.variants.FAULTS, *faults.variants.MEMORIES} - {"anon"}, words)

    def test_words(self):
        self.assertEqual(faults.happened("{a.b} of {c}, {d}", {"a.b": "1", "c": "2"}),
                         "1 of 2, ?")

    def test_row(self):
        cells = faults.row("kill", faults.VARIANTS["kill"], {"values": VALUES})
        self.assertEqual(cells, ("kill", "4", "70001",
                                 "guest 0 killed by signal 9, 5 pages out before",
                                 "9 pages, 0 mismatches"))


class Main(unittest.TestCase):
    def call(self, *names, **how):
        with tempfile.TemporaryDirectory() as build, \
                unittest.mock.patch.object(faults.run, "main", machine(**how)), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            code = faults.main([build, *names])
        return code, said.getvalue()

    def test_all(self):
        code, said = self.call()
        self.assertEqual(code, 0)
        self.assertTrue(said.endswith(f"\n{len(faults.VARIANTS)} passed, 0 failed\n"))
        for name, variant in faults.VARIANTS.items():
            wanted = "failed, as it must" if variant.muted else "9 pages, 0 mismatches"
            self.assertRegex(said, re.compile(rf"^{name} .*{wanted}$", re.M))

    def test_what_is_broken_must_be_noticed(self):
        for how in ({"damage": {}}, {"write": False},
                    {"damage": {}, "breaks": ["the machine had not powered off after 9 s"]}):
            code, said = self.call("broken", **how)
            self.assertEqual(code, 1)
            self.assertTrue(said.endswith("\n0 passed, 1 failed\n"))
        self.assertEqual(self.call("broken", damage={}, breaks=["2 splat lines"])[0], 0)

    def test_chosen(self):
        self.assertTrue(self.call("oom", "kill")[1].endswith("\n2 passed, 0 failed\n"))

    def test_failures(self):
        for how in ({"code": 1, "found": ["a reason"]}, {"code": 1}, {"code": 2, "write": False}):
            code, said = self.call("kill", **how)
            self.assertEqual(code, 1)
            self.assertTrue(said.endswith("\n0 passed, 1 failed\n"))
            self.assertIn("FAILED: kill: ", said)
        self.assertIn("kill: a reason", self.call("kill", code=1, found=["a reason"])[1])

    def test_an_old_result_is_not_taken_for_a_new_one(self):
        with tempfile.TemporaryDirectory() as build, \
                contextlib.redirect_stdout(io.StringIO()):
            for write, wanted in ((True, 0), (False, 1)):
                with unittest.mock.patch.object(faults.run, "main", machine(write=write)):
                    self.assertEqual(faults.main([build, "kill"]), wanted)

    def test_interrupted(self):
        with self.assertRaises(KeyboardInterrupt):
            self.call("kill", code=130)

    def test_unknown_variant(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit):
                faults.main(["B", "flood"])
        self.assertIn("variant flood is unknown", said.getvalue())
        self.assertEqual(said.getvalue().count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
