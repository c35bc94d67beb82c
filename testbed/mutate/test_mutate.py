#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What counts as a hook, what is there without it, and who was killed: on toy sources."""
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hooks  # noqa: E402
import mutate  # noqa: E402
import source  # noqa: E402
import table  # noqa: E402

TOY = """// mmu_notifier_release(in a comment)
#include <linux/mm.h>

static void rmap_section_start(struct mmu_notifier_section *section)
{
	mmu_notifier_folio_start(section, f(a, (b)),
				 end);
}

int
one(struct mm_struct *mm)
{
	/* mmu_notifier_invalidate_page() comes later. */
	mmu_notifier_invalidate_page(&s, address, 1);
	if (x)
		mmu_notifier_invalidate_page(&s, address, 2);
	mmu_notifier_section_init(&s, &r);
	return young | mmu_notifier_clear_young(mm, start, end);
}

static bool two(void)
{
	secondary_young_begin(&secondary, mm, start, end);
	return pmdp_clear_flush_young_notify(vma, addr, pmd);
}
"""
HEADER = """#ifndef GUARD
#include <linux/mmu_notifier.h>
static inline bool clear_flush_young_ptes_notify(struct vm_area_struct *vma)
{
	return mmu_notifier_clear_flush_young(vma->vm_mm, addr, end);
}
#endif
"""


def git(*words, **env):
    subprocess.run(["git", *words], check=True, env={**os.environ, **env}, capture_output=True)


def commit(top, path, age):
    """A commit in TOP that adds PATH, AGE seconds behind the first one."""
    os.makedirs(os.path.dirname(os.path.join(top, path)), exist_ok=True)
    with open(os.path.join(top, path), "w", encoding="utf-8"):
        pass
    git("-C", top, "init", "-q")
    git("-C", top, "add", ".")
    git("-C", top, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "t",
        GIT_COMMITTER_DATE=f"{1000000000 + age} +0000")


def toy_hooks():
    return hooks.find("mm/toy.c", TOY)


def verdict(word, by="", index=0):
    return mutate.Verdict(toy_hooks()[index], word, by)


class Hooks(unittest.TestCase):
    def test_every_call_is_found(self):
        self.assertEqual(
            [(hook.function, hook.line, hook.kind, hook.number) for hook in toy_hooks()],
            [("rmap_section_start", 6, "start", 1), ("one", 14, "page", 1), ("one", 16, "page", 2),
             ("one", 18, "young", 1), ("two", 23, "young", 1), ("two", 24, "young", 1)])

    def test_wrapped(self):
        found = toy_hooks()
        text = hooks.wrap(TOY, found)
        self.assertEqual(text.count("mutant_taken_out("), len(found))
        self.assertLess(text.index(hooks.INCLUDE), text.index("#include <linux/mm.h>"))
        self.assertIn(f"young | (mutant_taken_out({found[3].site:#08x}) ? false : "
                      "mmu_notifier_clear_young(mm, start, end));", text)
        self.assertIn("? (void)((&secondary)->nr_pages = 0) : secondary_young_begin(", text)
        self.assertIn("? pmdp_clear_flush_young(vma, addr, pmd) : ", text)

    def test_nothing_else_changes(self):
        text = hooks.wrap(TOY, toy_hooks()).replace(hooks.INCLUDE, "")
        back = re.sub(r"\(mutant_taken_out\(\w+\) \? .*? : (\w+\([^;]*\))\)(?=;)", r"\1", text,
                      flags=re.S)
        self.assertEqual(back, TOY)

    def test_numbers_do_not_depend_on_the_line(self):
        moved = hooks.find("mm/toy.c", "\n\n" + TOY.replace("two(void)", "three(void)"))
        self.assertEqual([hook.site for hook in moved][:4],
                         [hook.site for hook in toy_hooks()][:4])
        self.assertEqual(len({hook.site for hook in moved + toy_hooks()}), 8)

    def test_unknown_call_of_ours(self):
        with self.assertRaisesRegex(hooks.HookError, "mmu_notifier_new_hook"):
            hooks.find("mm/toy.c", "int f(void)\n{\n\tmmu_notifier_new_hook(mm);\n}\n")

    def test_rules(self):
        table = [("mm/core.c", "sum |= one(x);", "sum = sum || one(x);"),
                 ("mm/core.c", "a < b", "false"), ("mm/core.c", "a < b", "true")]
        text = "#include <x.h>\nint f(void)\n{\n\tif (a < b)\n\t\tsum |= one(x);\n}\n"
        files, found = hooks.mutate({"mm/core.c": text}.get, [], None, table)
        site = [f"{hook.site:#08x}" for hook in found]
        self.assertEqual([(hook.kind, hook.line) for hook in found],
                         [("rule", 5), ("rule", 4), ("rule", 4)])
        self.assertIn(f"if ((mutant_taken_out({site[1]}) ? false : mutant_taken_out({site[2]}) "
                      "? true : a < b))", files["mm/core.c"])
        self.assertIn(f"if (mutant_taken_out({site[0]})) {{ sum = sum || one(x); }} else "
                      "{ sum |= one(x); }", files["mm/core.c"])
        for words in ("is not there", "b"):
            with self.assertRaises(hooks.HookError):
                hooks.find_rules("mm/core.c", text + "b", [("mm/core.c", words, "")])

    def test_hooks_and_rules_of_one_file(self):
        text = ("#include <x.h>\nint f(void)\n{\n\tif (a < b)\n"
                "\t\tmmu_notifier_release(mm);\n}\n")
        files, found = hooks.mutate({"mm/toy.c": text}.get, ["mm/toy.c"], None,
                                    [("mm/toy.c", "a < b", "true")])
        self.assertEqual([hook.kind for hook in found], ["life", "rule"])
        for hook in found:
            self.assertIn(f"mutant_taken_out({hook.site:#08x})", files["mm/toy.c"])
        with self.assertRaisesRegex(hooks.HookError, "overlap"):
            hooks.mutate({"mm/toy.c": text}.get, ["mm/toy.c"], None,
                         [("mm/toy.c", "mmu_notifier_release(mm);", ";")])

    def test_subscribers_are_no_hooks(self):
        self.assertFalse(hooks.in_scope("arch/x86/kvm/mmu/mmu.c"))
        self.assertFalse(hooks.in_scope("virt/kvm/kvm_main.c"))
        self.assertFalse(hooks.in_scope("mm/Kconfig"))
        self.assertTrue(hooks.in_scope("arch/x86/mm/tlb.c"))

    def test_header_reaches_only_who_calls(self):
        texts = {"mm/internal.h": HEADER, "mm/toy.c": '#include "internal.h"\n',
                 "arch/x86/include/asm/t.h": HEADER.replace("ptes", "tlb")}
        asked = []

        def users(functions):
            asked.append(functions)
            return ["mm/toy.c"]

        files, found = hooks.mutate(texts.get, ["mm/internal.h", "arch/x86/include/asm/t.h"], users)
        self.assertEqual(len(found), 2)
        self.assertIn({"clear_flush_young_ptes_notify"}, asked)
        self.assertEqual(set(files), {"mm/toy.c", "mm/mutant_internal.h",
                                      "arch/x86/include/asm/mutant_t.h"})
        self.assertEqual(files["mm/toy.c"],
                         '#include <asm/mutant_t.h>\n#include "mutant_internal.h"\n')

    def test_copied_headers_know_the_question(self):
        self.assertIn(hooks.INCLUDE, hooks.wrap(HEADER, hooks.find("mm/internal.h", HEADER)))


class Copies(unittest.TestCase):
    def setUp(self):
        top = tempfile.TemporaryDirectory()
        self.addCleanup(top.cleanup)
        self.origin, self.top = (os.path.join(top.name, name) for name in ("origin", "copy"))
        for path, text in {"mm/a.c": "a", "mm/b.c": "b", ".git/x": "x"}.items():
            self.put(path, text)

    def put(self, path, text):
        path = os.path.join(self.origin, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + "~", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + "~", path)

    def copied(self, **files):
        source.copy(self.origin, self.top, {f"mm/{name}.c": text for name, text in files.items()})
        found = {}
        for path in source.all_files(self.top):
            with open(os.path.join(self.top, path), encoding="utf-8") as file:
                found[path] = file.read()
        return found

    def test_the_original_stays(self):
        self.assertEqual(self.copied(a="mutant"), {"mm/a.c": "mutant", "mm/b.c": "b"})
        with open(os.path.join(self.origin, "mm/a.c"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "a")

    def test_a_file_stops_being_mutated(self):
        self.copied(a="mutant", new="more")
        self.assertEqual(self.copied(), {"mm/a.c": "a", "mm/b.c": "b"})

    def test_a_file_starts_being_mutated(self):
        self.copied()
        self.copied(a="a", b="mutant")
        with open(os.path.join(self.top, "mm/a.c"), "w", encoding="utf-8") as file:
            file.write("not in the original")
        with open(os.path.join(self.origin, "mm/a.c"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "a")

    def test_what_did_not_change_is_not_built_again(self):
        self.copied(a="mutant")
        stamps = [os.stat(os.path.join(self.top, "mm", name)).st_mtime_ns
                  for name in ("a.c", "b.c")]
        self.put("mm/b.c", "new")
        self.assertEqual(self.copied(a="mutant")["mm/b.c"], "new")
        self.assertEqual(os.stat(os.path.join(self.top, "mm/a.c")).st_mtime_ns, stamps[0])
        self.assertNotEqual(os.stat(os.path.join(self.top, "mm/b.c")).st_mtime_ns, stamps[1])


class Seeds(unittest.TestCase):
    def test_commands_name_the_new_directories(self):
        with tempfile.TemporaryDirectory() as top:
            built, kernel = os.path.join(top, "kernel"), os.path.join(top, "mutate", "kernel")
            os.makedirs(built)
            os.makedirs(os.path.dirname(kernel))
            os.symlink("/old/tree", os.path.join(built, "source"))
            for name, text in {"vmlinux": "", "Makefile": "export KBUILD_OUTPUT = /old/kernel\n",
                               ".a.o.cmd": "-I/old/tree/include -fmap=/old/tree/= /old/tree-2 "
                                           "/old/kernel/a.o /old/kernel\n"}.items():
                with open(os.path.join(built, name), "w", encoding="utf-8") as file:
                    file.write(text)
            source.seed(built, kernel)
            with open(os.path.join(kernel, ".a.o.cmd"), encoding="utf-8") as file:
                self.assertEqual(file.read(), f"-I{top}/mutate/tree/include "
                                 f"-fmap={top}/mutate/tree/= /old/tree-2 {kernel}/a.o {kernel}\n")


class Judged(unittest.TestCase):
    def setUp(self):
        self.todo = toy_hooks()[:3]
        self.site = [f"{hook.site:06x}" for hook in self.todo]

    def judged(self, values, console=""):
        return [(self.todo.index(entry.hook), entry.word, entry.by)
                for entry in mutate.judged(self.todo, values, console)]

    def begun(self, count, *words):
        values = {f"begin.{site}": "1" for site in self.site[:count]}
        return {**values, **{f"mutant.{site}": word for site, word in zip(self.site, words)}}

    def test_all(self):
        self.assertEqual(self.judged(self.begun(3, "killed mmu_notifier_x a", "survived 7",
                                                "hung mmu_notifier_x")),
                         [(0, "killed", "mmu_notifier_x a"), (1, "survived", "7"),
                          (2, "hung", "mmu_notifier_x")])

    def test_first_crash_kills(self):
        console = "[    1.5] text\n[    2.123456] BUG: unable to handle page fault\n"
        self.assertEqual(self.judged(self.begun(1), console),
                         [(0, "crash", "BUG: unable to handle page fault")])

    def test_later_crash_is_tried_again(self):
        self.assertEqual(self.judged(self.begun(2, "killed x a")), [(0, "killed", "x a")])

    def test_inherited_spoilt_machine_is_tried_again(self):
        self.assertEqual(self.judged(self.begun(2, "killed x a", "spoilt x")),
                         [(0, "killed", "x a")])

    def test_a_fresh_machine_begins_with_the_one_in_question(self):
        machine, seen = mutate.Machine("", "", "", "1"), []
        answers = [(self.begun(2, "killed x a"), ""), ({}, "")]

        def boot(todo):
            seen.append([self.todo.index(hook) for hook in todo])
            values, console = answers.pop(0)
            if not values:
                values = {f"{what}.{hook.site:06x}": "survived 1" for hook in todo
                          for what in ("begin", "mutant")}
            return values, console

        with mock.patch.object(machine, "boot", boot):
            words = [entry.word for entry in machine.run(self.todo)]
        self.assertEqual(seen, [[0, 1, 2], [1, 2]])
        self.assertEqual(words, ["killed", "survived", "survived"])


class Report(unittest.TestCase):
    def run_report(self, verdicts, known=None):
        with tempfile.TemporaryDirectory() as out, \
                contextlib.redirect_stdout(io.StringIO()) as said:
            wrong = mutate.report(verdicts, known or {}, [], out)
        return wrong, said.getvalue()

    def test_all_killed(self):
        wrong, said = self.run_report([verdict("killed", "mmu_notifier_x a_test b_test"),
                                       verdict("crash", "Oops", 1), verdict("hung", "s", 2)])
        self.assertEqual(wrong, 0)
        self.assertTrue(said.endswith("\n3 mutants, 3 killed, 0 survived\n"), said)
        self.assertIn("x: a_test b_test", said)

    def test_a_survivor_is_a_fault(self):
        wrong, said = self.run_report([verdict("survived", "5"), verdict("survived", "0", 1)])
        self.assertEqual(wrong, 2)
        self.assertIn("2 mutants, 0 killed, 2 survived", said)
        self.assertIn("missing 5 times", said)
        self.assertIn("no test comes here", said)

    def test_a_known_survivor_is_none(self):
        entry = verdict("survived", "5")
        wrong, said = self.run_report([entry], {entry.hook.key: "it is slow only"})
        self.assertEqual(wrong, 0)
        self.assertIn("it is slow only", said)

    def test_a_known_survivor_that_is_killed(self):
        entry = verdict("killed", "x a")
        self.assertEqual(self.run_report([entry], {entry.hook.key: "because"})[0], 1)


class Choice(unittest.TestCase):
    def test_known_ones_exist_and_have_a_reason(self):
        found = toy_hooks()
        for line in ("mm/toy.c one mmu_notifier_gone 1: reason", f"{found[0].key}:"):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write("# comment\n\n" + line + "\n")
                file.flush()
                with self.assertRaises(mutate.MutateError):
                    mutate.read_known(file.name, found)

    def test_sample(self):
        found = toy_hooks() + hooks.find("mm/other.c", TOY)
        chosen = mutate.sample(found, {"mm/other.c"}, "a", 8)
        self.assertEqual(chosen, mutate.sample(found, {"mm/other.c"}, "a", 8))
        self.assertEqual(sum(hook.file == "mm/other.c" for hook in chosen), 6)
        self.assertEqual(len(chosen), 8)
        for files in (set(), None):
            few = mutate.sample(found, files, "a", 4)
            self.assertEqual(len(few), 4)
            self.assertNotEqual([few] * 9, [mutate.sample(found, files, seed, 4)
                                            for seed in "bcdefghij"])

    def choose_in(self, top, *words):
        found = toy_hooks() + hooks.find("mm/other.c", TOY)
        with mock.patch.object(mutate, "ROOT", top), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            chosen = mutate.choose(found, mutate.arguments(["b", "--sample", "changed",
                                                            "--count", "4", *words]))
        return chosen, said.getvalue()

    def test_sample_of_a_day(self):
        with tempfile.TemporaryDirectory() as top:
            chosen, said = self.choose_in(top)
            self.assertEqual((len(chosen), "of all" in said), (4, True))    # no repository
            commit(top, "mm/toy.c.patch", 0)
            commit(top, "mm/other.c.patch", 2 * mutate.DAY)
            commit(top, "mm/else.c.patch", 2 * mutate.DAY + 60)
            chosen, said = self.choose_in(top)
            self.assertIn("changed since", said)
            self.assertGreaterEqual(sum(hook.file == "mm/other.c" for hook in chosen), 3)
            with tempfile.TemporaryDirectory() as shallow:
                git("clone", "-q", "--depth", "1", "file://" + top, shallow)
                chosen, said = self.choose_in(shallow)
                self.assertEqual((len(chosen), "of all" in said), (4, True))
            with self.assertRaisesRegex(mutate.MutateError, "BASE=nothing"):
                self.choose_in(top, "--base", "nothing")

    def test_a_path_without_hooks(self):
        args = mutate.arguments(["build", "mm/nothing.c"])
        with self.assertRaisesRegex(mutate.MutateError, "mm/nothing.c"):
            mutate.choose(toy_hooks(), args)

    def test_options_before_paths(self):
        args = mutate.arguments(["b", "--suites", "order", "mm", "rule"])
        self.assertEqual((args.suites, args.paths), ("order", ["mm", "rule"]))

    def test_kinds(self):
        kinds = {hook.kind for hook in mutate.choose(toy_hooks(), mutate.arguments(["b", "page"]))}
        self.assertEqual(kinds, {"page"})

    def test_paths(self):
        for path in ("mm", "mm/", "mm/toy.c"):
            self.assertEqual(len(mutate.choose(toy_hooks(), mutate.arguments(["build", path]))), 6)

    def test_the_program_compiles(self):
        with tempfile.TemporaryDirectory() as out:
            self.assertTrue(os.path.exists(mutate.build_judge(out)))


DOCUMENT = """
Which operation sends what
==========================

===== ===== =========== ==========================
what  where kind        event
===== ===== =========== ==========================
zap   zap   range       ``CLEAR``, not blockable
same  wp    page        ``CLEAR``
rmap  unmap page, range ``CLEAR``
move  move  range       ``MIGRATE``, with owner
===== ===== =========== ==========================
"""
CODE = """
static void zap(void)
{
	mmu_notifier_invalidate_range_start_nonblock(&section, MMU_NOTIFY_CLEAR, mm, 0, 1);
}

static void wp(void)
{
	mmu_notifier_folio_start(&section, MMU_NOTIFY_CLEAR, mm, 0, 1);
	mmu_notifier_invalidate_page(&section, 0, 1);
}

static void unmap(void)
{
	rmap_section_start(&section, MMU_NOTIFY_CLEAR, mm, 0, 1);
}

static void migrate_vma_start(void)
{
	mmu_notifier_invalidate_range_start_owner(section, MMU_NOTIFY_MIGRATE, mm, 0, 1, owner);
}

static void move(void)
{
	migrate_vma_start(migrate, &section, addr);
}
"""


class TableTest(unittest.TestCase):
    def test_code_and_table_agree(self):
        found = table.written(DOCUMENT)
        self.assertEqual(found, table.opened("mm/x.c", CODE))
        self.assertIn(("unmap", "page, range", "CLEAR", ""), found)
        self.assertFalse(table.compare(found, found))

    def test_each_difference_is_named(self):
        found = table.written(DOCUMENT)
        for old, new in (("CLEAR, mm, 0, 1);\n\tmmu", "UNMAP, mm, 0, 1);\n\tmmu"),
                         ("_nonblock", ""), ("void wp", "void wq"),
                         ("rmap_section_start", "mmu_notifier_folio_start")):
            self.assertIn(old, CODE)
            faults = table.compare(found, table.opened("mm/x.c", CODE.replace(old, new)))
            self.assertEqual(len(faults), 2, faults)

    def test_a_document_without_the_table(self):
        with self.assertRaises(table.TableError):
            table.written("Which operation sends what\n")
        with self.assertRaises(table.TableError):
            table.written(DOCUMENT.replace("``CLEAR``, not", "not"))


if __name__ == "__main__":
    unittest.main()
