#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Judging a run: each fault that can happen must be seen, on fake transcripts."""
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import arch  # noqa: E402
import build_kernel  # noqa: E402
import history  # noqa: E402
import initramfs  # noqa: E402
import run  # noqa: E402
import verdict  # noqa: E402
import vm  # noqa: E402

GOOD_RESULTS = """host_kb 242156
progress job linux-guest starts
guest_mb 300
guest0.pages 53938
kvm.pf_taken 251269
trace.kvmmmu/kvm_mmu_retry_fault.0 12
trace.mmu_notifier/mmu_notifier_invalidate_page.1 34
trace_missing mmu_notifier/mmu_notifier_page No such file or directory
trace.mmu_notifier/range.total 77
trace.mmu_notifier/range.dropped 0
trace.mmu_notifier/other.total 70000
trace.mmu_notifier/other.dropped 3
sum.pages_verified 215752
sum.mismatches 0
vmstat.pswpin 168550
vmstat.pswpout 209616
verdict pass
"""
GOOD_CONSOLE = """[    0.000000] Linux version 7.3.4 (mn@testbed)
[    0.000000] kasan: KernelAddressSanitizer initialized (generic)
[    0.100000] RCU Tasks: Setting shift to 1 and lim to 1 rcu_task_cb_adjust=1.
[    0.200000] clocksource: Watchdog remote CPU 1 read timed out
[    0.300000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc.
[    0.400000] ... MAX_LOCKDEP_SUBCLASSES:  8
[    0.500000] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.
[   84.686422] reboot: Power down
"""
PROMISES = {"swap", "memory"}
SPLAT_LINES = [
    "[   12.345678] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "[   12.345678] BUG: KASAN: slab-use-after-free in mmu_notifier_unregister+0x1/0x2",
    "[   12.345678][   T42] BUG: sleeping function called from invalid context at mm/x.c:1",
    "[   12.345678] WARNING: CPU: 1 PID: 42 at mm/mmu_notifier.c:10 f+0x1/0x2",
    "[   12.345678] WARNING: mm/mmu_notifier.c:10 at f+0x1/0x2, CPU#1: init/1",
    "[   12.345678] WARNING: possible circular locking dependency detected",
    "[   12.345678] WARNING: suspicious RCU usage",
    "[   12.345678] INFO: task init:1 blocked for more than 120 seconds.",
    "[   12.345678] INFO: trying to register non-static key.",
    "[   12.345678] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "[   12.345678] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[   12.345678] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [init:1]",
    "[   12.345678] ------------[ cut here ]------------",
    "[   12.345678] kernel BUG at mm/rmap.c:100!",
    "[   12.345678] Oops: general protection fault, probably for non-canonical address",
    "[   12.345678] Oops: 0002 [#1] SMP",
    "[   12.345678] Kernel panic - not syncing: Attempted to kill init!",
    "[   12.345678] UBSAN: array-index-out-of-bounds in mm/x.c:1:2",
    "[   12.345678] BUG: KCSAN: data-race in f / g",
    "[   12.345678] kswapd0: page allocation failure: order:0, mode:0x800(GFP_NOWAIT)",
    "[   12.345678] pagealloc: memory corruption",
    "[   12.345678] init invoked oom-killer: gfp_mask=0x100cca",
    "[   12.345678] Out of memory: Killed process 42 (qemu-system-x86)",
    "[   12.345678] refcount_t: underflow; use-after-free.",
    "[   12.345678] list_del corruption. prev->next should be 1, but was 2",
    "[   12.345678] get_swap_device: Bad swap file entry 3ffffffffffff",
    "[   12.345678] Write-error on swap-device (254:0:1234)",
    "[   12.345678] small_guest[42]: segfault at 8 ip 1 sp 2 error 4",
    "[   12.345678] traps: small_guest[42] general protection fault ip:1 sp:2 error:0",
    "[   12.345678] Call Trace:",
    "[   12.345678]  <TASK> Call Trace:",
    "[   12.345678] Call trace:",
    "[   12.345678] Unable to handle kernel paging request at virtual address dead000000000108",
    "[   12.345678] Internal error: Oops - BUG: 00000000f2000800 [#1]  SMP",
    "[   12.345678] SError Interrupt on CPU0, code 0x00000000be000000 -- SError",
    "g0 [   12.345678] BUG: unable to handle page fault for address: 0000000000000008",
    "[   12.345678] rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x2",
    "[   12.345678] possible recursive locking detected",
    "[   12.345678] DEBUG_LOCKS_WARN_ON(depth <= 0)",
    "[   12.345678] general protection fault, maybe for address 0x0: 0000 [#1]",
    "-- System halted",
]


def judge(results=GOOD_RESULTS, console=GOOD_CONSOLE, guest="", promises=None, ended=None):
    return verdict.judge(verdict.Results(results), {"console": console, "guest": guest},
                         PROMISES if promises is None else promises, ended)


def without(key):
    return "".join(line + "\n" for line in GOOD_RESULTS.splitlines()
                   if line.partition(" ")[0] != key)


def changed(key, value):
    return without(key).replace("verdict pass\n", f"{key} {value}\nverdict pass\n")


class Verdicts(unittest.TestCase):
    def test_good_run_passes(self):
        self.assertEqual(judge(), [])

    def one_fault(self, words, **how):
        faults = judge(**how)
        self.assertEqual(len(faults), 1, faults)
        self.assertIn(words, faults[0])

    def test_silence(self):
        self.one_fault("no verdict", results="")

    def test_no_verdict(self):
        self.one_fault("no verdict", results=without("verdict"))

    def test_verdict_cut_off(self):
        for cut in range(1, len("verdict pass\n")):
            self.one_fault("no verdict", results=GOOD_RESULTS[:-cut])

    def test_longer_word_is_no_pass(self):
        self.one_fault("passed", results=GOOD_RESULTS.replace("pass\n", "passed\n"))

    def test_failing_verdict_gives_its_reason(self):
        self.one_fault("guest 0 was silent", results=GOOD_RESULTS.replace(
            "verdict pass", "verdict fail guest 0 was silent"))

    def test_two_verdicts(self):
        self.one_fault("more than one", results=GOOD_RESULTS + "verdict pass\n")

    def test_words_after_the_verdict(self):
        self.one_fault("after its verdict", results=GOOD_RESULTS + "progress lives on\n")
        self.one_fault("after its verdict", results=GOOD_RESULTS + "prog")

    def test_verdict_of_a_guest_is_not_ours(self):
        self.one_fault("no verdict", results=GOOD_RESULTS.replace(
            "verdict pass", "guest0.verdict pass"))

    def test_verdict_in_the_console_is_not_ours(self):
        self.one_fault("no verdict", results=without("verdict"),
                       console=GOOD_CONSOLE + "verdict pass\n")

    def test_panic_after_the_verdict(self):
        self.one_fault("panic", console=GOOD_CONSOLE +
                       "[   90.000000] Kernel panic - not syncing: x\n")

    def test_splat_of_the_guest(self):
        self.one_fault("guest log", guest="g0 [    1.000000] WARNING: x\n")

    def test_emulator_ended_badly(self):
        self.one_fault("not powered off", ended="the machine had not powered off after 9 s")

    def test_answers_of_a_hung_machine_are_no_splats(self):
        asked = GOOD_CONSOLE + "[   90.000000] sysrq: Show\n[   90.000001] Call Trace:\n"
        self.one_fault("hangs", console=asked, ended="it hangs")
        self.one_fault("Call Trace", console=asked)

    def test_answers_of_a_machine_with_a_silent_guest_are_no_splats(self):
        console = GOOD_CONSOLE + ("[   90.000000] sysrq: Show State\n"
                                  "[   90.000001]  Call Trace:\n")
        results = GOOD_RESULTS.replace("verdict pass",
                                       "verdict fail guest 0 was silent for 9 seconds")
        self.one_fault("guest 0 was silent", results=results, console=console)

    def test_empty_console(self):
        self.one_fault("console is empty", console="")

    def test_nothing_swapped(self):
        for key in ("vmstat.pswpout", "vmstat.pswpin"):
            self.one_fault("no page was swapped", results=changed(key, 0))
            self.one_fault("no page was swapped", results=without(key))
            self.assertEqual(judge(results=changed(key, 0), promises={"memory"}), [])

    def test_mismatches(self):
        self.one_fault("mismatches: 1", results=changed("sum.mismatches", 1))
        self.one_fault("not reported", results=without("sum.mismatches"))
        self.one_fault("mismatches", results=changed("sum.mismatches", "zero"))

    def test_nothing_verified(self):
        self.one_fault("no page was verified", results=changed("sum.pages_verified", 0))
        self.one_fault("no page was verified", results=without("sum.pages_verified"))


class Splats(unittest.TestCase):
    def test_each_sample_is_seen(self):
        for line in SPLAT_LINES:
            self.assertEqual(verdict.splats(line), [line])

    def test_good_lines_are_not(self):
        self.assertEqual(verdict.splats(GOOD_CONSOLE), [])

    def test_no_pattern_can_be_lost(self):
        """Each has a sample that no other pattern sees."""
        seen_by = [[p for p in verdict.SPLATS if p.search(line)] for line in SPLAT_LINES]
        for pattern in verdict.SPLATS:
            self.assertIn([pattern], seen_by, pattern.pattern)


class Kunit(unittest.TestCase):
    GOOD = ("[    1.000000] KTAP version 1\n[    1.000000] 1..2\n"
            "[    1.000000]     KTAP version 1\n[    1.000000]     # Subtest: a\n"
            "[    1.000000]     1..1\n[    1.000000]     ok 1 first\n[    1.000000] ok 1 a\n"
            "[    1.000000]     1..1\n[    1.000000]     ok 1 second\n[    1.000000] ok 2 b\n")

    def test_good(self):
        self.assertEqual(verdict.kunit_faults(self.GOOD), [])

    def test_stamps_are_optional(self):
        self.assertEqual(verdict.kunit_faults(self.GOOD.replace("[    1.000000] ", "")), [])

    def test_nothing_ran(self):
        self.assertTrue(verdict.kunit_faults(GOOD_CONSOLE))
        self.assertTrue(verdict.kunit_faults("[    1.000000] 1..0\n"))

    def test_a_failing_case(self):
        self.assertIn("1 KUnit results are not ok", verdict.kunit_faults(
            self.GOOD.replace("    ok 1 second", "    not ok 1 second")))

    def test_a_missing_suite(self):
        self.assertIn("1 of 2 KUnit suites ended", verdict.kunit_faults(
            self.GOOD.replace("] ok 2 b\n", "] \n")))

    def test_all_skipped(self):
        skipped = self.GOOD.replace("first", "first # SKIP x").replace("second", "s # SKIP y")
        self.assertIn("no KUnit case ran", verdict.kunit_faults(skipped))

    def test_judge_asks(self):
        self.assertTrue(judge(promises={"kunit"}))
        self.assertEqual(judge(console=self.GOOD, promises={"kunit"}), [])


class Table(unittest.TestCase):
    def test_rows(self):
        text = verdict.table(verdict.Results(GOOD_RESULTS), 61.4)
        for words in ("236 MB", "300 MB", "209616", "168550", "215752", "251269",
                      "KVM: faults retried, count moved", "calls: range", "page, clear", "61 s",
                      "mmu_notifier/mmu_notifier_page"):
            self.assertIn(words, text)
        self.assertRegex(text, r"calls not counted: other +3\b")
        self.assertNotIn("counted: range", text)

    def test_rows_of_subscribers(self):
        text = verdict.table(verdict.Results("notifier.kvm_mn_ops.page 7\n"
                                             "notifier.kvm_mn_ops.flush 0\n"), 1)
        self.assertRegex(text, r"kvm_mn_ops: page +7\b")
        self.assertNotIn("flush", text)

    def test_silent_run_has_a_table(self):
        self.assertIn("wall time", verdict.table(verdict.Results(""), 1))


class Configuration(unittest.TestCase):
    def test_dropped_options(self):
        wanted = build_kernel.parse_config("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n")
        self.assertEqual(wanted, {"CONFIG_A": "y", "CONFIG_B": None, "CONFIG_C": '"x"'})
        self.assertEqual(build_kernel.dropped(wanted, {"CONFIG_A": "y", "CONFIG_C": '"x"'}), [])
        self.assertEqual(len(build_kernel.dropped(wanted, {"CONFIG_B": "y"})), 3)

    def test_module_is_not_built_in(self):
        self.assertTrue(build_kernel.dropped({"CONFIG_A": "y"}, {"CONFIG_A": "m"}))

    def test_a_frozen_make_is_ended(self):
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        os.kill(process.pid, signal.SIGSTOP)
        build_kernel.stop(process, 0.1)
        self.assertIsNotNone(process.returncode)

    def test_one_build_at_a_time(self):
        with tempfile.TemporaryDirectory() as out, build_kernel.locked(out):
            with self.assertRaisesRegex(build_kernel.BuildError, "Another build or run"):
                with build_kernel.locked(out):
                    pass


class Mirrors(unittest.TestCase):
    PAGE = ["operations", "compared", "freed", "established.page", "dropped.page"]
    WANTED = PAGE + [f"{what}.{kind}" for what in ("established", "dropped")
                     for kind in ("range", "sleepy", "interval")]
    ALONE = PAGE + ["deferred.page"]

    def judged(self, *promises, wanted=None, **values):
        lines = {**dict.fromkeys(wanted or self.WANTED, 9), "stale": 0, **values}
        text = "".join(f"sum.{key} {value}\n" for key, value in lines.items()
                       if value is not None)
        return judge(text + "verdict pass\n", promises=set(promises or ["mirror"]))

    def test_stale_translations(self):
        self.assertEqual(self.judged(), [])
        for value in (1, None, "none"):
            self.assertTrue(self.judged(stale=value))

    def test_mirrors_that_are_broken_must_find_some(self):
        self.assertEqual(self.judged("finds", stale=3), [])
        for value in (0, None):
            self.assertTrue(self.judged("finds", stale=value))

    def test_a_thread_that_was_stopped_must_be_noticed(self):
        fault = "the thread that was stopped was not noticed"
        self.assertEqual(self.judged("hangs"), [fault])
        for said, faults in (("guest 0 was silent for 9 seconds", []), ("9 stale", [fault])):
            self.assertEqual(judge(f"verdict fail {said}\n", promises={"hangs"}), faults)

    def test_nothing_tested(self):
        for key in self.WANTED:
            for value in (0, None):
                self.assertEqual(len(self.judged(**{key: value})), 1)

    def test_nothing_tested_with_one_mirror(self):
        self.assertEqual(self.judged("mirror", "alone", wanted=self.ALONE), [])
        for key in self.ALONE:
            self.assertEqual(len(self.judged("mirror", "alone", wanted=self.ALONE,
                                             **{key: 0})), 1)


class CommandLine(unittest.TestCase):
    GIVEN = ["--kernel", "K", "--out", "O", "--job", "linux-guest"]

    def test_mistakes_are_one_sentence(self):
        for words in (["--bogus"], ["--host-mb", "0"], ["--host-mb", "x"], ["--job", "x"],
                      ["--swap", "x"], ["--file", "x"], ["--host", "9"]):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                with self.assertRaises(SystemExit) as quit_:
                    run.parse(self.GIVEN + words)
            self.assertEqual(quit_.exception.code, 2)
            self.assertEqual(said.getvalue().count("\n"), 1)

    def test_promises(self):
        self.assertEqual(run.parse(self.GIVEN).promises, {"swap", "memory"})
        for words in (["--swap", "none"], ["--expect-swap", "no"]):
            self.assertEqual(run.parse(self.GIVEN + words).promises, {"memory"})
        self.assertIn("swap", run.parse(self.GIVEN[:-1] + ["exec", "--expect-swap",
                                                           "yes"]).promises)

    def test_promises_of_the_mirror(self):
        given = self.GIVEN[:-1] + ["mirror"]
        self.assertEqual(run.parse(given).promises, {"swap", "mirror"})
        for words in (["--broken", "9"], ["--blind", "1"]):
            self.assertEqual(run.parse(given + words).promises, {"swap", "finds"})
        self.assertEqual(run.parse(given + ["--page-alone", "1"]).promises,
                         {"swap", "mirror", "alone"})
        self.assertEqual(run.parse(given + ["--stop", "9"]).promises, {"hangs"})

    def test_many_operations_get_more_time(self):
        given = self.GIVEN[:-1] + ["mirror", "--operations", "1000000"]
        self.assertGreater(run.parse(given).limit, run.JOBS["mirror"]["limit"])
        self.assertEqual(run.parse(given + ["--limit", "7"]).limit, 7)

    def test_classic_lists_without_memory_cgroups(self):
        off = "cgroup_disable=memory"
        self.assertNotIn(off, run.parse(self.GIVEN).kernel_arg)
        self.assertIn(off, run.parse(self.GIVEN + ["--lru", "classic"]).kernel_arg)
        small = self.GIVEN[:-1] + ["small-guest", "--lru", "classic"]
        for words in (["--fault", "oom"], ["--memcg-mb", "40"]):
            self.assertNotIn(off, run.parse(small + words).kernel_arg)

    def test_memory_in_two_nodes(self):
        words = " ".join(run.parse(self.GIVEN[:-1] + ["mirror", "--host-mb", "64"]).qemu_arg)
        self.assertEqual(words.count("size=32M"), 2)
        self.assertEqual(run.parse(self.GIVEN).qemu_arg, [])

    def test_parameters_reach_the_kernel(self):
        args = run.parse(self.GIVEN + ["--passes", "7", "--scattered", "0",
                                       "--kernel-arg", "quiet"])
        words = run.kernel_arguments(args, arch.ARCHES["x86_64"], 5).split()
        for word in ("console=ttyS0", "no_timer_check", "mn.job=linux-guest", "mn.seed=5",
                     "mn.passes=7", "mn.scattered=0", "mn.guest_mb=300", "quiet"):
            self.assertIn(word, words)

    def test_a_clock_of_instructions_waits_for_the_disk(self):
        for swap, wanted in (("zram", "shift=0,sleep=off"), ("disk", "shift=0,sleep=on")):
            args = run.parse(self.GIVEN + ["--icount", "--swap", swap])
            self.assertEqual((args.qemu_arg, args.cpus), (["-icount", wanted], 1))

    def test_a_space_would_split_a_parameter(self):
        args = run.parse(self.GIVEN + ["--guest-append", "a b"])
        with self.assertRaises(ValueError):
            run.kernel_arguments(args, arch.ARCHES["x86_64"], 1)


class Architectures(unittest.TestCase):
    """Of a table of rows: that each is complete, and that no two are mixed up."""

    def build_of(self, *lines):
        out = self.enterContext(tempfile.TemporaryDirectory())
        with open(os.path.join(out, ".config"), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        return out

    def test_a_build_tells_its_architecture(self):
        for name, row in arch.ARCHES.items():
            out = self.build_of("CONFIG_64BIT=y", f"CONFIG_{name.upper()}=y")
            self.assertIs(arch.of_build(out), row)

    def test_a_build_of_no_architecture_of_ours(self):
        self.assertIsNone(arch.of_build(self.build_of("CONFIG_SPARC=y",
                                                      "# CONFIG_ARM64 is not set")))
        with self.assertRaisesRegex(initramfs.MissingError, "/none is not a kernel build"):
            run.arch_of("/none", "small-guest")

    def test_a_job_that_is_not_there(self):
        with self.assertRaisesRegex(initramfs.MissingError, "no job linux-guest on arm64"):
            run.arch_of(self.build_of("CONFIG_ARM64=y"), "linux-guest")

    def test_jobs_are_known(self):
        for row in arch.ARCHES.values():
            self.assertLessEqual(set(row.jobs), set(run.JOBS))

    def test_make_offers_what_is_there(self):
        path = os.path.join(os.path.dirname(arch.__file__), "..", "..", "Makefile")
        guests = dict(re.findall(r"^guests_(\w+)\s*:= (.*)$", build_kernel.read(path), re.M))
        self.assertEqual(set(guests), set(arch.ARCHES))
        for name, row in arch.ARCHES.items():
            self.assertEqual(guests[name].split(), [job for job in row.jobs if "guest" in job])

    def test_guest_sources_and_configuration_exist(self):
        machine = os.path.dirname(arch.__file__)
        for name, row in arch.ARCHES.items():
            self.assertTrue(os.path.exists(os.path.join(machine, "config", name + ".config")))
            for sources in run.guest_programs.PROGRAMS.values():
                for source in sources:
                    self.assertTrue(os.path.exists(os.path.join(
                        run.guest_programs.HERE, source.format(folder=row.folder))), source)

    def test_common_configuration_leaves_the_rest_to_each(self):
        folder = os.path.join(os.path.dirname(arch.__file__), "config")
        common = build_kernel.parse_config(
            build_kernel.read(os.path.join(folder, "base.config")))
        for name in arch.ARCHES:
            own = build_kernel.parse_config(
                build_kernel.read(os.path.join(folder, name + ".config")))
            self.assertFalse(set(own) & set(common))

    def test_picture_of_a_run(self):
        results = verdict.Results("sample.0 0 2048 0 0 0 0\nsample.1 1000 1024 512 0 2000 5000\n"
                                  "sample.2 3000 1024 1536 0 4000 0\nverdict pass\n")
        self.assertEqual([sample[0] for sample in results.samples], [0, 1000, 3000])
        text = history.script(results.samples, "a run", "x.svg")
        plots = re.findall(r"(?s)set title \"(.*?)\".*?<< EOD\n(.*?)\nEOD", text)
        self.assertEqual([name.split(",")[0] for name, _ in plots],
                         ["pages that the guests have written or verified",
                          "free memory of the host", "swapped out", "calls of MMU notifiers"])
        self.assertEqual(plots[2][1], "1.0 2.0\n3.0 2.0")
        # A guest that ended took its calls along.
        self.assertEqual(plots[3][1], "1.0 5.0\n3.0 0.0")
        self.assertFalse(history.write(results.samples[:2], "a run", "/nowhere/x.svg"))

    def test_marks_are_few(self):
        for most in (0.03, 1, 9.9, 10, 34, 99, 200000):
            self.assertIn(int(most / history.step(most)), (1, 2, 3))

    def test_every_port_is_connected(self):
        for row in arch.ARCHES.values():
            with unittest.mock.patch.object(initramfs, "program", lambda name, _: name):
                words = vm.command(row, "K", "I", "A", "/out", memory=9, cpus=1)
            self.assertEqual(words[0], row.qemu)
            for port in vm.PORTS:
                self.assertIn(f"file,id={port},path=/out/{port}.log", words)
                self.assertRegex(" ".join(row.machine), rf"(chardev:|chardev\d=){port}\b")

    def test_a_missing_compiler_is_one_sentence(self):
        with tempfile.TemporaryDirectory() as src, \
                unittest.mock.patch.object(build_kernel.shutil, "which", lambda _: None), \
                contextlib.redirect_stderr(io.StringIO()) as said:
            open(os.path.join(src, "Kbuild"), "w", encoding="utf-8").close()
            code = build_kernel.main(["--arch", "arm64", src, src + "/out", os.devnull])
        self.assertEqual(code, 1)
        self.assertEqual(said.getvalue(), "aarch64-linux-gnu-gcc is not installed; it is in the "
                                          "package gcc-aarch64-linux-gnu.\n")


class Archive(unittest.TestCase):
    def test_parents_come_first(self):
        lines = initramfs.list_text({"/a/b/c": "x", "/init": "y"}).splitlines()
        self.assertLess(lines.index("dir /a 0755 0 0"), lines.index("dir /a/b 0755 0 0"))
        self.assertTrue(lines[-2].startswith("file /a/b/c "))

    def test_missing_program_names_its_package(self):
        with self.assertRaisesRegex(initramfs.MissingError, "in the package somewhere"):
            initramfs.program("no-such-program-mn", "somewhere")


class Processes(unittest.TestCase):
    """With a shell in the place of QEMU."""

    def setUp(self):
        patch = unittest.mock.patch.object(vm, "HANG_WAIT", 0)
        patch.start()
        self.addCleanup(patch.stop)

    def run_shell(self, script, limit=5):
        with tempfile.TemporaryDirectory() as out:
            return vm.run(["sh", "-c", script], out, limit, lambda *_: None)

    def test_power_off(self):
        self.assertIsNone(self.run_shell("exit 0")[1])

    def test_status(self):
        self.assertIn("status 3: no such machine",
                      self.run_shell("echo no such machine >&2; exit 3")[1])

    def test_hang_is_killed_with_its_children(self):
        with tempfile.TemporaryDirectory() as out:
            pid_file = os.path.join(out, "pid")
            ended = vm.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"],
                           out, 0.5, lambda *_: None)[1]
            with open(pid_file, encoding="ascii") as file:
                pid = int(file.read())
        self.assertIn("not powered off", ended)
        self.assertTrue(gone(pid))

    def test_silent_machine_is_ended(self):
        with tempfile.TemporaryDirectory() as out:
            ended = vm.run(["sh", "-c", "sleep 60"], out, 60, lambda *_: None, 0.5)[1]
        self.assertIn("reported nothing for 0.5 s", ended)

    def test_machine_that_speaks_is_not_silent(self):
        with tempfile.TemporaryDirectory() as out:
            log = vm.log_path(out, "results")
            script = f"for i in 1 2 3 4 5 6 7 8; do echo progress $i >>{log}; sleep 0.25; done"
            self.assertIsNone(vm.run(["sh", "-c", script], out, 60, lambda *_: None, 1.5)[1])

    def test_dies_with_its_parent(self):
        code = ("import sys, os, time; sys.path.insert(0, sys.argv[1]); import vm\n"
                "with vm.emulator(['sleep', '60'], os.devnull) as p:\n"
                "    print(p.pid, flush=True); time.sleep(60)\n")
        parent = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(vm.__file__)],
                                  stdout=subprocess.PIPE, text=True)
        pid = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        parent.stdout.close()
        self.assertTrue(gone(pid))


def gone(pid):
    """True once the process has ended; a zombie nobody reaped has ended too."""
    for _ in range(200):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    unittest.main()
