#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of model.py with a toy model."""
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import model  # noqa: E402

# Two tasks count; without the lock an increment is lost.
TOY = """/*
 * right: TASKS=2
 *
 * wrong: NO_LOCK	nobody locks
 * wrong: NO_UNLOCK TASKS=3	nobody unlocks
%s */
byte n, done;
bool lock;
active [TASKS] proctype task() {
	byte old;
#ifndef NO_LOCK
	atomic { !lock; lock = true }
#endif
	old = n; n = old + 1;
#ifndef NO_UNLOCK
	lock = false;
#endif
	done++;
%s	assert(done != TASKS || n == TASKS)
}
"""
HARMLESS = " * wrong: HARMLESS	changes nothing\n"


class ModelTest(unittest.TestCase):
    def setUp(self):
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.top = top.name
        self.path = os.path.join(self.top, "toy.pml")

    def put(self, header="", body=""):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(TOY % (header, body))

    def results(self):
        """{variant: (as expected, line)}"""
        return {entry[1]: model.check(self.top, *entry) for entry in model.searches(self.path)}

    def test_found(self):
        self.put()
        results = self.results()
        self.assertEqual([good for good, _ in results.values()], [True] * 3, results)
        self.assertIn("assertion violated", results["NO_LOCK"][1])
        self.assertIn("invalid end state", results["NO_UNLOCK"][1])
        self.assertIn("TASKS=3", results["NO_UNLOCK"][1])

    def test_wrong_variant_that_passes(self):
        self.put(HARMLESS, "#ifdef HARMLESS\n\tskip;\n#endif\n")
        good, line = self.results()["HARMLESS"]
        self.assertFalse(good)
        self.assertIn("no error", line)

    def test_right_model_that_fails(self):
        self.put(body="\tassert(n < TASKS);\n")
        good, line = self.results()["right"]
        self.assertFalse(good)
        with open(line.split("see ")[1], encoding="utf-8") as file:
            self.assertIn("toy.pml:", file.read())

    def test_search_is_not_complete(self):
        self.put()
        for what in ({"DEPTH": 5}, {"COMPILE": model.COMPILE + ["-DBITSTATE"]},
                     {"COMPILE": model.COMPILE + ["-DHC4"]}):
            with self.subTest(**what), mock.patch.multiple(model, **what):
                good, line = self.results()["right"]
                self.assertFalse(good)
                self.assertIn("not complete", line)

    def test_does_not_compile(self):
        self.put(body="\tnonsense;\n")
        good, line = self.results()["right"]
        self.assertFalse(good)
        self.assertIn("spin failed", line)

    def test_takes_too_long(self):
        self.put()
        with mock.patch.multiple(model, SECONDS=0.001):
            self.assertIn("took more than", self.results()["right"][1])

    def test_variant_that_is_not_tested(self):
        self.put(HARMLESS)
        with self.assertRaisesRegex(model.Fault, "HARMLESS"):
            model.searches(self.path)

    def test_variant_that_is_not_named(self):
        self.put(body="#ifdef HARMLESS\n#endif\n")
        with self.assertRaisesRegex(model.Fault, "HARMLESS"):
            model.searches(self.path)

    def test_no_spin(self):
        done = subprocess.run([sys.executable, os.path.join(HERE, "model.py"), self.top],
                              env={"PATH": self.top}, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("spin and gcc not found", done.stderr)


if __name__ == "__main__":
    unittest.main()
