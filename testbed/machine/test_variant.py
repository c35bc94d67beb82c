#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Variants of the small guests: what excludes what, and each way not to do it."""
import contextlib
import io
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import arch  # noqa: E402
import run  # noqa: E402
import variant  # noqa: E402
import verdict  # noqa: E402

GIVEN = ["--kernel", "K", "--out", "O", "--job", "small-guest"]
OOM = """[    9.000000] small_guest invoked oom-killer: gfp_mask=0x100cca, order=0
[    9.000001] CPU: 0 UID: 0 PID: 40 Comm: small_guest
[    9.000002] Call Trace:
[    9.000003] Free swap  = 12kB
[    9.000004] oom-kill:constraint={constraint},nodemask=(null),cpuset=/
[    9.000005] {message}: Killed process {pid} (small_guest) total-vm:66580kB
"""
GLOBAL = OOM.format(constraint="CONSTRAINT_NONE", message="Out of memory", pid=40)
LIMIT = OOM.format(constraint="CONSTRAINT_MEMCG", message="Memory cgroup out of memory", pid=40)


def parse(*words):
    return run.parse(GIVEN + list(words))


def refusal(*words, job="small-guest"):
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        run.parse(GIVEN[:-1] + [job, *words])
    return said.getvalue()


class Options(unittest.TestCase):
    def test_what_excludes_what(self):
        for words, told in (
                ("--fault kill --guests 1", "GUESTS=2"),
                ("--fault oom --guests 1", "GUESTS=2"),
                ("--guests 9", "8 guests"),
                ("--fault swap-full --swap zram", "SWAP=disk"),
                ("--fault swap-full --swap none", "SWAP=disk"),
                ("--fault swap-full --memory file", "MEMORY=file"),
                ("--fault oom --memory ksm", "MEMORY=ksm"),
                ("--fault swap-full --memcg-mb 9", "choose one"),
                ("--guest-mb 64 --memcg-mb 64", "less than the 64"),
                ("--guests 4 --memcg-mb 48", "less than the 48"),
                ("--fault storm", "invalid choice"),
                ("--memory paper", "invalid choice")):
            said = refusal(*words.split())
            self.assertIn(told, said)
            self.assertEqual(said.count("\n"), 1)

    def test_only_looking_runs_nothing(self):
        self.assertEqual(run.main(GIVEN + ["--fault", "kill", "--only-check"]), 0)

    def test_only_small_guests(self):
        for words in (["--fault", "kill"], ["--memory", "shmem"], ["--memcg-mb", "9"]):
            self.assertIn("GUEST=small-guest", refusal(*words, job="linux-guest"))

    def test_those_who_go_on_are_larger_than_the_host(self):
        for fault in variant.DEADLY:
            args = parse("--fault", fault)
            self.assertEqual((args.guests, args.guest_mb), (4, 64))
            self.assertGreater(3 * args.guest_mb, args.host_mb)
        self.assertEqual(parse("--guests", "4").guest_mb, 48)
        self.assertEqual(parse("--guests", "4", "--guest-mb", "70").guest_mb, 70)

    def test_other_jobs_are_as_they_were(self):
        args = run.parse(GIVEN[:-1] + ["linux-guest", "--guests", "2"])
        self.assertEqual((args.host_mb, args.guest_mb, args.swap), (256, 300, "zram"))

    def test_swap(self):
        self.assertEqual(parse("--fault", "swap-full").swap, "disk")
        self.assertEqual(parse("--memory", "file").swap, "none")
        self.assertEqual(parse("--memory", "file", "--swap", "disk").swap, "disk")
        self.assertEqual(parse("--memory", "shmem").swap, "zram")

    def test_parameters_reach_the_machine(self):
        def words(*given):
            return run.kernel_arguments(parse(*given), arch.ARCHES["x86_64"], 1).split()
        self.assertIn("mn.fault=kill", words("--fault", "kill"))
        self.assertIn("mn.churn=slots", words("--fault", "memslots"))
        self.assertIn("mn.memcg_mb=9", words("--memcg-mb", "9"))
        self.assertIn("mn.file=/dev/vda", words("--memory", "file"))
        self.assertIn("mn.file=/dev/vdb", words("--memory", "file", "--swap", "disk"))
        for memory in variant.MEMORIES:
            self.assertIn(f"mn.mode={memory}", words("--memory", memory))
        self.assertIn("ksm/run:1", " ".join(words("--memory", "ksm")))


class Reports(unittest.TestCase):
    def test_an_oom_kill_is_taken_out(self):
        kept, kills = variant.oom_reports("before\n" + LIMIT + "after\n")
        self.assertEqual(kills, [("CONSTRAINT_MEMCG", 12, 40)])
        self.assertEqual(verdict.splats(kept), [])
        self.assertIn("before\n", kept)
        self.assertIn("after\n", kept)

    def test_another_splat_inside_stays(self):
        kept, _ = variant.oom_reports(LIMIT.replace(
            "[    9.000001]", "[    9.000001] WARNING: mm/x.c:1 at f\n[    9.000001]"))
        self.assertEqual(len(verdict.splats(kept)), 1)

    def test_a_trace_outside_stays(self):
        self.assertEqual(len(verdict.splats(variant.oom_reports(
            GLOBAL + "[    9.100000] Call Trace:\n")[0])), 1)

    def test_a_report_without_end_is_no_kill(self):
        self.assertEqual(variant.oom_reports(LIMIT.rpartition("[")[0])[1], [])

    def test_reports_of_different_kinds(self):
        kills = variant.oom_reports(GLOBAL + LIMIT)[1]
        self.assertEqual([kill[0] for kill in kills], ["CONSTRAINT_NONE", "CONSTRAINT_MEMCG"])


class Judging(unittest.TestCase):
    """A good run of a variant, and then one value at a time is wrong."""

    def results(self, args, **changed):
        values = {"host_kb": 131072, "swap_total_kb": 131072, "vmstat.oom_kill": 0,
                  "vmstat.pswpout": 99999, "vmstat.pgsteal_file": 99999,
                  "death.pswpout": 9, "death.pgsteal_file": 9}
        for count in variant.COUNTED.get(args.memory, []):
            values[count] = 9
        for number in range(args.guests or 1):
            dead = number == 0 and args.fault in variant.DEADLY
            guest = {"pid": 40 + number, "signal": 9 if dead else 0}
            if not dead:
                guest.update(pages=100, pages_verified=300, rss_anon=9, rss_shmem=0, rss_file=1,
                             ksm_merged=9, churn_calls=9, limit_hit=9)
                guest.update({variant.RSS.get(args.memory, "rss_anon"): 99})
            values.update((f"guest{number}.{key}", value) for key, value in guest.items())
        if args.fault in variant.CONSTRAINTS:
            values["vmstat.oom_kill"] = 1
        values.update((key.replace("__", "."), value) for key, value in changed.items())
        text = "".join(f"{key} {value}\n" for key, value in values.items() if value is not None)
        return verdict.Results(text + "verdict pass\n")

    def judged(self, *words, kills=None, **changed):
        args = parse(*words)
        if kills is None:
            kills = {"oom": LIMIT, "swap-full": GLOBAL}.get(args.fault, "")
        return variant.judge(args, self.results(args, **changed), variant.oom_reports(kills)[1])

    def one_fault(self, told, *words, **how):
        faults = self.judged(*words, **how)
        self.assertEqual(len(faults), 1, faults)
        self.assertIn(told, faults[0])

    def test_good_runs(self):
        for words in ([], ["--memcg-mb", "20"],
                      *(["--memory", memory] for memory in variant.MEMORIES),
                      *(["--fault", fault] for fault in variant.FAULTS)):
            self.assertEqual(self.judged(*words), [])

    def test_no_verdict_is_judged_elsewhere(self):
        args = parse("--fault", "kill")
        self.assertEqual(variant.judge(args, verdict.Results(""), []), [])

    def test_who_died(self):
        for fault in variant.DEADLY:
            words = ("--fault", fault)
            for value in (0, 11, None):
                self.one_fault("guest 0 ended", *words, guest0__signal=value)
            self.one_fault("guest 2 ended", *words, guest2__signal=9)
        self.one_fault("guest 0 ended", guest0__signal=9)

    def test_what_the_others_verified(self):
        for value in (0, 299, 301, None):
            self.one_fault("guest 3 verified", "--fault", "kill", guest3__pages_verified=value)
        self.one_fault("guest 1 verified", "--fault", "kill", guest1__pages=None)
        self.one_fault("not 200", "--passes", "1")

    def test_too_few_pages(self):
        # Of three guests with 64 MB on a host with 128 MB.
        self.one_fault("16384 have no room", "--fault", "kill", vmstat__pswpout=16383)
        self.assertEqual(self.judged("--fault", "kill", vmstat__pswpout=16384), [])
        self.one_fault("(pgsteal_file)", "--memory", "file", vmstat__pgsteal_file=16383)
        self.one_fault("have no room", "--memcg-mb", "20", vmstat__pswpout=172 * 256 - 1)

    def test_swapping_before_and_after_the_death(self):
        self.one_fault("before and after", "--fault", "kill", death__pswpout=99999)
        for value in (0, None):
            self.one_fault("before and after", "--fault", "oom", death__pswpout=value)
        self.one_fault("pgsteal_file", "--fault", "kill", "--memory", "file",
                       death__pgsteal_file=0)

    def test_oom_kills(self):
        self.one_fault("0 OOM kills", "--fault", "oom", kills="")
        self.one_fault("2 OOM kills", "--fault", "oom", kills=LIMIT * 2)
        self.one_fault("2 counted", "--fault", "oom", vmstat__oom_kill=2)
        self.one_fault("CONSTRAINT_NONE", "--fault", "oom", kills=GLOBAL)
        self.one_fault("CONSTRAINT_MEMCG", "--fault", "swap-full", kills=LIMIT)
        self.one_fault("process 41", "--fault", "oom", kills=LIMIT.replace("process 40",
                                                                           "process 41"))

    def test_swap_was_not_full(self):
        self.one_fault("not full", "--fault", "swap-full",
                       kills=GLOBAL.replace("= 12kB", "= 40000kB"))
        self.one_fault("not full", "--fault", "swap-full", kills=GLOBAL.replace("Free", "Some"))

    def test_what_each_guest_did(self):
        self.one_fault("guest 0: churn_calls", "--fault", "memslots", guest0__churn_calls=0)
        self.one_fault("guest 0: ksm_merged", "--memory", "ksm", guest0__ksm_merged=None)
        self.one_fault("guest 1: limit_hit", "--memcg-mb", "20", "--guests", "2",
                       guest1__limit_hit=0)

    def test_what_the_kernel_counted(self):
        for memory, keys in variant.COUNTED.items():
            for key in keys:
                self.one_fault(key, "--memory", memory, **{key.replace(".", "__"): 0})

    def test_memory_of_another_kind(self):
        self.one_fault("is not shmem", "--memory", "shmem", guest0__rss_anon=100)
        self.one_fault("is not file", "--memory", "file", guest0__rss_file=0)
        self.one_fault("is not anon", guest0__rss_shmem=1000)


if __name__ == "__main__":
    unittest.main()
