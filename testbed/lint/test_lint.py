#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of lint.py and source.py: each of them has to find what is planted."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import lint  # noqa: E402
import source  # noqa: E402

CODE = """// SPDX-License-Identifier: GPL-2.0
static struct a b = {
	.c = 1,
};

/**
 * told - has kernel-doc
 */
int told(struct a *a,
	 int b)
{
	mutex_lock(&m);
	b++;
	mutex_unlock(&m);
	return b;
}
EXPORT_SYMBOL_GPL(told);

/* not kernel-doc */
void untold(void)
{
}
EXPORT_SYMBOL_GPL(untold);

DEFINE_STATIC_KEY_FALSE(key);
EXPORT_SYMBOL_GPL(key);

static void take(void)
{
	/* mutex_unlock(&m) is for others. */
	spin_lock(&s);
}

static void give(void)
	__releases(&s)
{
	spin_unlock(&s);
}

static void guarded(void)
{
	might_lock(&m);
	guard(mutex)(&m);
}
"""


class SourceTest(unittest.TestCase):
    def test_functions(self):
        self.assertEqual([(name, size) for name, size, _, _ in source.functions(CODE)],
                         [("told", 4), ("untold", 0), ("take", 2), ("give", 1), ("guarded", 2)])

    def test_lengths(self):
        self.assertEqual(source.lengths([CODE]), (2, 2, 4, "told"))
        self.assertEqual(source.lengths([""])[2], 0)

    def test_annotation(self):
        self.assertEqual(list(source.without_annotation(CODE)), ["take"])
        self.assertEqual(list(source.without_annotation(CODE.replace("__releases(&s)", ""))),
                         ["take", "give"])

    def test_exported(self):
        self.assertEqual(list(source.undocumented(CODE, "")), ["untold"])
        self.assertEqual(list(source.undocumented(CODE, "/**\n * untold - in a header\n")), [])


class TableTest(unittest.TestCase):
    def lines(self, *rows):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            lint.table(rows)
        return out.getvalue().splitlines()

    def test_findings_fail(self):
        _, good, bad = self.lines(lint.Row("a", "2 files", 0, 7), lint.Row("b", "2 files", 1, 7))
        self.assertNotIn("FAILED", good)
        self.assertTrue(bad.endswith("FAILED"))

    def test_nothing_checked_fails(self):
        self.assertFalse(lint.is_good(lint.Row("a", "", 0)))
        self.assertFalse(lint.is_good(lint.Row("a", "0 files", 0)))

    def test_limit(self):
        self.assertTrue(lint.is_good(lint.Row("a", "1 file", "9 f", 10, True)))
        self.assertFalse(lint.is_good(lint.Row("a", "1 file", "9 f", 10, False)))

    def test_show(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(lint.show(["x", "x", "y"], most=1), 2)
        self.assertIn("and 1 more", out.getvalue())


class ToolTest(unittest.TestCase):
    """Tools that read text, on a tree in which something is wrong."""

    def setUp(self):
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.lint = lint.Lint.__new__(lint.Lint)
        self.lint.tree = self.lint.out = top.name
        self.lint.owned = self.lint.paths = ["mm/a.c"]
        self.lint.env = os.environ
        self.lint.theirs = lambda: [os.path.join(top.name, "mm/a.c")] * 2
        lint.write(os.path.join(top.name, "mm/a.c"), CODE)

    def rows(self, tool):
        with contextlib.redirect_stdout(io.StringIO()):
            return list(tool(self.lint))

    def say(self, name, text):
        path = os.path.join(self.lint.tree, "scripts", name)
        lint.write(path, f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        os.chmod(path, 0o755)

    def test_code(self):
        rows = self.rows(lint.code)
        self.assertEqual([lint.is_good(row) for row in rows], [True, False, False])
        self.assertEqual((rows[-1].ours, rows[-1].mainline), (1, 1))

    def test_kernel_doc(self):
        self.say("kernel-doc", "Warning: mm/a.c:9 function parameter 'a' not described in 'told'")
        doc, exported = self.rows(lint.kernel_doc)
        self.assertEqual((doc.ours, exported.ours), (1, 1))
        self.say("kernel-doc", "")
        self.assertTrue(lint.is_good(self.rows(lint.kernel_doc)[0]))

    def test_kernel_doc_is_missing(self):
        with self.assertRaises(OSError):
            self.rows(lint.kernel_doc)

    def test_maintainers(self):
        says = os.path.join(self.lint.tree, "scripts/get_maintainer.pl")
        lint.write(says, "print 'linux-kernel@vger.kernel.org (open list)'")
        self.assertEqual(self.rows(lint.maintainers)[0].ours, 1)
        lint.write(says, "print 'A B <a@b.c> (maintainer:A)'")
        self.assertEqual(self.rows(lint.maintainers)[0].ours, 0)


class KernelTest(unittest.TestCase):
    """What is read from the log of a build."""

    def setUp(self):
        self.kernel = lint.Kernel.__new__(lint.Kernel)

    def said(self, log):
        return list(self.kernel.said(log, ["mm/a.c", "mm/a.h"]))

    def test_warnings(self):
        self.assertEqual(self.said("  CC mm/a.o\n../../tree/mm/a.c:3:1: warning: unused\n"
                                   "/x/mm/b.c:3:1: warning: unused\n"
                                   "mm/a.h:9:2: error: none such\n"),
                         ["mm/a.c:3:1: warning: unused", "mm/a.h:9:2: error: none such"])
        self.assertEqual(self.said("arch/mm/ba.c:3:1: warning: other\n"), [])

    def test_line(self):
        with tempfile.TemporaryDirectory() as top:
            self.kernel.src = top
            lint.write(os.path.join(top, "mm/a.c"), CODE)
            self.assertEqual(self.kernel.line("mm/a.c:2:1: error: x"), "static struct a b = {")


if __name__ == "__main__":
    unittest.main()
