#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the table says about given numbers: a loss must be seen, on fake results."""
import contextlib
import csv
import io
import os
import re
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bench  # noqa: E402
import measures  # noqa: E402
import pair  # noqa: E402
import picture  # noqa: E402

GUEST = {"vmstat.pswpout": "1000", "kvm.pf_taken": "800", "kvm.pf_fixed": "600",
         "kvm.remote_tlb_flush_requests": "500", "time.elapsed_ns": "70000000",
         "time.idle_ns": "10000000", "guest0.note": "not a number"}
EVENTS = {
    "vmstat.pswpout": "100",
    "trace.mn_probe/_raw_write_lock.total": "900",
    "trace.mn_probe/_raw_write_lock.[ffffffffc0a1]_kvm_mn_invalidate_[kvm]": "150",
    "trace.mn_probe/_raw_write_lock.[ffffffffc0a2]_tdp_mmu_zap_[kvm]": "50",
    "trace.mn_probe/_raw_write_lock.[ffffffff81a2]_release_task": "700",
    "trace.mn_probe/__mmu_notifier_clear_young.total": "30",
    "trace.mn_probe/__mmu_notifier_test_young.total": "10",
    "trace.mn_probe/__mmu_notifier_range_start.total": "60",
}
HOLD = {"read.count": "4000", "read.total_ns": "100000", "read.longest_ns": "70",
        "read.interrupted": "3", "read.missed": "0"}
COST = {"read.__mmu_notifier_test_young.total_ns": "600000", "read.missed": "0",
        "read.__mmu_notifier_test_young.count": "4000",
        "read.__mmu_notifier_clear_young.total_ns": "0",
        "read.__mmu_notifier_clear_young.count": "0",
        "read.__mmu_notifier_range_end.total_ns": "100000",
        "read.__mmu_notifier_range_end.count": "9",
        "vmstat.pswpout": "1000"}
RETRY = {"read.faults": "2000", "read.missed": "0", "read.section": "500", "read.unrelated": "20",
         "read.own": "2", "read.page": "1", "read.other": "0"}
COSTS = {f"{who}.{name}": str(1000 + more + number)
         for who, more in (("nobody", 0), ("other", 10), ("outside", 210), ("inside", 310))
         for number, name in enumerate(measures.OPERATIONS)}


def row(mainline, ours, aim=None):
    return measures.Row(measures.Measure("x.y", "text", aim), mainline, ours)


class Words(unittest.TestCase):
    def test_loss_is_shown(self):
        self.assertEqual(row([100], [110]).word(), "BEHIND")
        self.assertEqual(row([100], [110]).cells()[3], "1.100")

    def test_loss_is_shown_though_the_aim_allows_it(self):
        self.assertEqual(row([100], [110], aim=2).word(), "BEHIND")

    def test_gain_short_of_the_aim(self):
        self.assertEqual(row([100], [90], aim=0.8).word(), "ahead")

    def test_aim(self):
        self.assertEqual(row([100], [80], aim=0.8).word(), "aim met")
        self.assertEqual(row([100], [100], aim=1).word(), "aim met")
        self.assertEqual(row([100], [0], aim=0).word(), "aim met")

    def test_no_better_misses_the_aim_of_better(self):
        self.assertEqual(row([100], [100], aim=measures.BETTER).word(), "even")

    def test_within_the_spread_is_even(self):
        self.assertEqual(row([100, 100], [90, 112]).word(), "even")
        self.assertEqual(row([100, 100], [99, 88]).word(), "ahead")
        # Ten times as much in one turn as in another, and still next to nothing.
        self.assertEqual(row([1000, 1000], [20, 1], aim=0).word(), "ahead")
        self.assertEqual(row([100, 100], [190, 111]).word(), "BEHIND")

    def test_for_nothing(self):
        free = measures.Measure("x.y", "text", measures.LIMIT)
        self.assertEqual(measures.Row(free, [110], [100], [100]).word(), "aim met")
        self.assertEqual(measures.Row(free, [110], [101], [100]).word(), "ahead")
        self.assertEqual(measures.Row(free, [100], [110], [110]).word(), "BEHIND")
        self.assertEqual(measures.Row(free, [110], [110]).word(), "even")
        self.assertEqual(measures.Row(free, [110], [101], [100]).cells()[5:7], ["100", "limit"])

    def test_loss_from_nothing(self):
        self.assertEqual(row([0], [3], aim=0.5).word(), "BEHIND")
        self.assertEqual(row([0], [0]).word(), "even")

    def test_negative_costs_are_no_gain(self):
        self.assertEqual(row([-5], [10], aim=0.5).word(), "BEHIND")

    def test_nothing_measured(self):
        self.assertEqual(row([], []).word(), "not measured")
        self.assertEqual(row([1], []).word(), "not measured")


class Ratios(unittest.TestCase):
    def test_ratio_and_spread(self):
        found = row([100, 100], [80, 120])
        self.assertAlmostEqual(found.ratio, 1)
        self.assertAlmostEqual(found.spread, 0.2)

    def test_spread_pairs_the_turns(self):
        # Turns differ, their ratio does not.
        self.assertAlmostEqual(row([100, 200], [50, 100]).spread, 0)

    def test_one_turn_has_no_spread(self):
        self.assertIsNone(row([100], [80]).spread)
        self.assertFalse(row([100], [80]).unsteady())

    def test_unsteady(self):
        self.assertTrue(row([100, 100], [80, 90]).unsteady())
        self.assertFalse(row([100, 100], [80, 81]).unsteady())


class Values(unittest.TestCase):
    def test_guest(self):
        found = bench.guest_values(GUEST, "zram")
        self.assertEqual(found, {"guest.zram.instructions": 60000, "guest.zram.faults": 0.8,
                                 "guest.zram.retries": 250, "guest.zram.flushes": 0.5})

    def test_events_count_locks_of_kvm_only(self):
        self.assertEqual(bench.event_values(EVENTS)["events.locks"], 2)

    def test_events_count_calls(self):
        found = bench.event_values(EVENTS)
        self.assertEqual((found["events.aging"], found["events.calls"]), (0.4, 1.0))

    def test_functions_that_are_gone_are_an_error(self):
        gone = {key: value for key, value in EVENTS.items() if "young" not in key}
        with self.assertRaisesRegex(pair.PairError, "clear_young"):
            bench.event_values(gone)

    def test_locks_that_nobody_took_are_an_error(self):
        gone = {key: value for key, value in EVENTS.items() if "[kvm]" not in key}
        with self.assertRaisesRegex(pair.PairError, "mmu_lock"):
            bench.event_values(gone)

    def test_events_that_the_tracer_dropped_are_an_error(self):
        key = "trace.mn_probe/_raw_write_lock.dropped"
        self.assertEqual(bench.event_values({**EVENTS, key: "0"})["events.locks"], 2)
        with self.assertRaisesRegex(pair.PairError, "9 events"):
            bench.event_values({**EVENTS, key: "9"})

    def test_causes_of_retries(self):
        self.assertEqual(bench.retry_values(RETRY), {
            "events.retries.section": 250, "events.retries.unrelated": 10,
            "events.retries.own": 1, "events.retries.page": 0.5, "events.retries.other": 0})

    def test_retries_that_were_missed_are_an_error(self):
        for key, value in (("read.faults", "0"), ("read.missed", "7")):
            with self.assertRaisesRegex(pair.PairError, "had 0 faults|7 calls"):
                bench.retry_values({**RETRY, key: value})

    def test_hold(self):
        self.assertEqual(bench.hold_values(HOLD, 1), {"hold.1.mean": 25, "hold.1.longest": 70})
        self.assertEqual(bench.hold_values(HOLD, 2), {"hold.2.mean": 25, "hold.2.stretched": 750})

    def test_holds_that_were_missed_are_an_error(self):
        for key, value in (("read.count", "0"), ("read.missed", "7"), ("read.interrupted", "7")):
            with self.assertRaisesRegex(pair.PairError, "held 0 locks|7 calls|7 while"):
                bench.hold_values({**HOLD, key: value}, 1)

    def test_cost(self):
        self.assertEqual(bench.cost_values(COST), {"cost.notifiers": 700, "cost.aging": 600})
        self.assertEqual(bench.classic_values(COST, "ordered"),
                         {"cost.ordered.aging": 600, "cost.ordered.calls": 4})

    def test_cost_of_nothing_and_missed_calls_are_errors(self):
        never = {**COST, "read.__mmu_notifier_test_young.count": "0"}
        for values, why in (({**COST, "read.missed": "1"}, "1 calls were missed"),
                            (never, "called are __mmu_notifier_range_end,"),
                            ({"read.missed": "0", "vmstat.pswpout": "1"}, "called are none")):
            with self.assertRaisesRegex(pair.PairError, why):
                bench.cost_values(values)

    def test_process_tells_what_is_added(self):
        found = bench.process_values(COSTS)
        self.assertEqual(found["process.nobody.cow"], 1000)
        self.assertEqual(found["process.outside.cow"], 200)
        self.assertEqual(found["process.inside.fork"], 300)

    def test_vmas_tell_what_is_added(self):
        found = bench.vmas_values({"small.create": "10", "large.create": "110",
                                   "small.destroy": "5", "large.destroy": "7"})
        self.assertEqual(found, {"vmas.create": 100, "vmas.small.create": 10, "vmas.destroy": 7})

    def test_parallel_counts_apart(self):
        values = {f"parallel.{count}.{name}": str(count)
                  for count in measures.PARALLEL for name in ("change", "hit", "miss")}
        found = bench.parallel_values(values, 4)
        self.assertEqual((found["parallel.4.10.hit"], found["parallel.4.1000.miss"]), (10, 1000))

    def test_notifier(self):
        found = bench.notifier_values({"section.1": "9", "interval.10.hit": "8", "clock.loop": "1",
                                       "unregister.elapsed": "2000000"})
        self.assertEqual(found, {"notifier.section.1": 9, "notifier.interval.10.hit": 8,
                                 "notifier.unregister": 2})


class FakeBench(bench.Bench):
    """Runs no machine: the kernels FAIL fail, the others give 1."""

    fail = ()

    def machine(self, kernel, name, words, more):
        if kernel in self.fail:
            raise pair.PairError(f"{kernel} {name} failed")
        return {"x.y": 1}

    def identity(self):
        return self.kernels


class Turns(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = folder.name
        os.mkdir(os.path.join(self.build, "bench"))
        self.bench = FakeBench(self.build, {"mainline": "a", "ours": "b"}, 1)

    def turn(self, *fail):
        self.bench.fail = fail
        with contextlib.redirect_stdout(io.StringIO()):
            self.bench.both("run", dict)
            self.bench.run()

    def test_a_turn_is_whole_or_void(self):
        self.turn("ours")
        self.assertEqual(self.bench.samples.values, {})
        self.assertEqual(self.bench.faults, ["ours run failed"])
        self.turn()
        self.assertEqual(self.bench.samples.of("x.y"), [[1], [1], []])

    def test_a_turn_runs_once(self):
        self.turn()
        self.bench.run()
        self.assertEqual(self.bench.samples.of("x.y"), [[1], [1], []])

    def loaded(self, kernels, groups):
        self.turn()
        self.bench.save()
        again = FakeBench(self.build, kernels, 1)
        again.load(groups)
        return again.samples.values

    def test_saved_samples_are_taken_up(self):
        self.assertEqual(self.loaded({"mainline": "a", "ours": "b"}, []),
                         {"x.y": {"mainline": [1], "ours": [1]}})

    def test_samples_of_other_kernels_are_not(self):
        self.assertEqual(self.loaded({"mainline": "a", "ours": "c"}, []), {})

    def test_samples_that_are_measured_anew_are_not(self):
        self.assertEqual(self.loaded({"mainline": "a", "ours": "b"}, ["x"]), {})


LOST = ({}, "3 splat lines in the console log, first: [    0.9] Oops: int3: 0000 [#1] SMP")
SHUT_DOWN = ({}, "guest 0: vcpu 0: unexpected exit 8 (suberror 0) at 0xfff0")


class Attempts(unittest.TestCase):
    def machine(self, *attempts, clock=bench.TIMED):
        one = bench.Bench("/nowhere", {"ours": "b"}, 1)
        left = iter(attempts)
        one.attempt = lambda *arguments: next(left)
        self.repeated = one.repeated
        with contextlib.redirect_stdout(io.StringIO()):
            values = one.machine("ours", "work-2-1", clock, [])
        self.assertEqual(list(left), [])
        return values

    def test_a_lost_breakpoint_is_the_emulators(self):
        self.assertEqual(self.machine(LOST, LOST, ({"values": {"x": "1"}}, None)), {"x": "1"})
        self.assertEqual(self.repeated, ["ours work-2-1: the emulator lost a breakpoint"] * 2)

    def test_so_is_a_guest_that_is_shut_down_at_its_start(self):
        self.assertEqual(self.machine(SHUT_DOWN, ({"values": {"x": "1"}}, None)), {"x": "1"})
        self.assertEqual(self.repeated, ["ours work-2-1: the emulator shut the guest down"])

    def test_anything_else_is_not(self):
        for why in ("Oops: 0000", "vcpu 0: unexpected exit 8 (suberror 0) at 0x7e10",
                    "vcpu 0: unexpected exit 17 (suberror 1) at 0xfff0"):
            with self.assertRaisesRegex(pair.PairError, "work-2-1 of ours failed"):
                self.machine(({}, why))
            self.assertEqual(self.repeated, [])

    def test_one_thread_has_neither(self):
        for result in (LOST, SHUT_DOWN):
            with self.assertRaisesRegex(pair.PairError, "int3|exit 8"):
                self.machine(result, clock=bench.COUNTED)

    def test_attempts_end(self):
        with self.assertRaisesRegex(pair.PairError, "int3"):
            self.machine(*[LOST] * bench.ATTEMPTS)


class Limits(unittest.TestCase):
    def samples(self, found):
        samples = measures.Samples()
        samples.add("mainline", {"guest.zram.instructions": 80000, "cost.notifiers": 9000})
        samples.add("ours", found)
        samples.limit()
        return samples

    def test_a_guest_without_what_our_notifiers_take(self):
        samples = self.samples({"guest.zram.instructions": 70000, "cost.notifiers": 1000})
        self.assertEqual(samples.of("guest.zram.instructions"), [[80000], [70000], [69000]])

    def test_not_known_without_either(self):
        for found in ({"guest.zram.instructions": 70000}, {"cost.notifiers": 1000}):
            self.assertEqual(self.samples(found).of("guest.zram.instructions")[2], [])

    def test_they_are_in_the_table(self):
        keys = {measure.key for measure in measures.MEASURES}
        self.assertLessEqual({measures.COST, *measures.SWAPPED}, keys)


class Table(unittest.TestCase):
    def setUp(self):
        self.samples = measures.Samples()
        self.samples.add("mainline", {"vmas.create": 100, "vmas.small.create": 10})
        self.samples.add("ours", {"vmas.create": 20, "vmas.small.create": 30})
        self.rows = measures.rows(self.samples, ["vmas"])

    def test_every_measure_has_a_line(self):
        wanted = [m for m in measures.MEASURES if m.key.startswith("vmas.")]
        lines = measures.table(self.rows)
        self.assertEqual(len(lines), 1 + len(wanted))
        self.assertRegex(lines[1], r"100 +20 +0\.200 +- +- +0\.25 +aim met$")
        self.assertRegex(lines[2], r"10 +30 +3\.000( +-){3} +BEHIND$")
        self.assertRegex(lines[3], r"not measured$")

    def test_keys_are_unique_and_belong_to_a_group(self):
        keys = [measure.key for measure in measures.MEASURES]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertEqual({key.split(".")[0] for key in keys},
                         {group.__name__ for group, _ in bench.GROUPS})

    def test_every_value_of_a_process_is_in_the_table(self):
        keys = {measure.key for measure in measures.MEASURES}
        self.assertLessEqual(set(bench.process_values(COSTS)), keys)
        self.assertLessEqual(set(bench.guest_values(GUEST, "disk")), keys)
        self.assertLessEqual(set(bench.event_values(EVENTS)), keys)
        for cpus in measures.HELD:
            self.assertLessEqual(set(bench.hold_values(HOLD, cpus)), keys)

    def test_csv(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.csv")
            measures.write_csv(self.rows, self.samples, path)
            with open(path, encoding="utf-8", newline="") as file:
                lines = list(csv.DictReader(file))
        self.assertEqual([line["key"] for line in lines][:2], ["vmas.create", "vmas.small.create"])
        self.assertEqual((lines[1]["ratio"], lines[1]["word"]), ("3.000", "BEHIND"))

    def test_picture_shows_losses_in_their_colour(self):
        text = picture.script(self.rows, "x.svg")
        bars = re.findall(r'rectangle from (\S+),\S+ to (\S+),\S+ fc rgb "(\S+)"', text)
        self.assertEqual(bars, [("0.2", "1", picture.COLOURS["aim met"]),
                                ("1", "3.0", picture.COLOURS["BEHIND"])])

    def test_the_limit_is_an_aim_where_it_was_measured(self):
        free = measures.Measure("x.y", "text", measures.LIMIT)
        for limit, ticks in (([50], ["0.5"]), ([], [])):
            text = picture.script([measures.Row(free, [100], [80], limit)], "x.svg")
            self.assertEqual(re.findall(r"arrow from (\S+),-0\.45 ", text), ticks)

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_picture_is_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.svg")
            picture.write(self.rows, path)
            with open(path, encoding="utf-8") as file:
                self.assertIn("</svg>", file.read())


if __name__ == "__main__":
    unittest.main()
