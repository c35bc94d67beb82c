# SPDX-License-Identifier: GPL-2.0
"""Variants of the small guests: kinds of memory, limits, faults.

What each sets, what it excludes, and what its results must show.
"""
import re

from verdict import STAMP

MEMORIES = ("anon", "thp", "ksm", "shmem", "file")
FAULTS = ("kill", "oom", "swap-full", "memslots")
DEADLY = ("kill", "oom", "swap-full")       # for guest 0
MOST_GUESTS = 8                             # of init
PAGES = 256                                 # a megabyte

KSM = "/sys/kernel/mm/ksm/"
WRITES = {"thp": "/sys/kernel/mm/transparent_hugepage/enabled:madvise",
          "ksm": f"{KSM}pages_to_scan:1000,{KSM}run:1"}
# Huge pages in a smaller host are split as soon as they are there.
SIZES = {"thp": {"host_mb": 192, "guest_mb": 224}}
# Where the memory of a guest is counted in /proc/PID/status.
RSS = {"shmem": "rss_shmem", "file": "rss_file"}
# Each is a promise of its own, kept when none of these counts is 0.
COUNTED = {"thp": ["vmstat.thp_fault_alloc"], "ksm": ["vmstat.cow_ksm"],
           "file": ["vmstat.workingset_refault_file"]}
# Each guest must have done it.
DONE = {"ksm": "ksm_merged", "memslots": "churn_calls", "memcg": "limit_hit"}

# What the samples count when they are subscribed as well.
SUBSCRIBERS = ("mirror_loads", "gru_loads", "xpmem_loads", "xpmem_messages")

# What an expected OOM kill prints, and who is killed for what.
OOM_BEGIN = re.compile(STAMP + r"\S+ invoked oom-killer: ")
OOM_LINES = re.compile(STAMP + r"(?:\S+ invoked oom-killer: |Call [Tt]race:|oom-kill:constraint=)")
OOM_CONSTRAINT = re.compile(r"oom-kill:constraint=(\w+),")
OOM_SWAP = re.compile(STAMP + r"Free swap +=? *(\d+)kB")
OOM_END = re.compile(STAMP + r"(?:Memory cgroup out|Out) of memory: Killed process (\d+) ")
CONSTRAINTS = {"oom": "CONSTRAINT_MEMCG", "swap-full": "CONSTRAINT_NONE"}
FULL = 50       # of so many parts of the swap one may be free


def conflict(args):
    """Why the options of a run exclude each other; None when they do not."""
    chosen = [name for name in ("memory", "fault", "memcg_mb") if getattr(args, name)]
    if chosen and args.job != "small-guest":
        return f"{chosen[0].upper()} is for small guests: choose GUEST=small-guest"
    if (args.guests or 1) > MOST_GUESTS:
        return f"there can be {MOST_GUESTS} guests at most"
    if args.fault in DEADLY and args.guests == 1:
        return f"FAULT={args.fault} ends a guest while others swap: choose GUESTS=2 or more"
    if args.fault in CONSTRAINTS and args.memory in ("file", "ksm"):
        return (f"MEMORY={args.memory} does not need the room that FAULT={args.fault} takes "
                "away: choose MEMORY=anon, thp or shmem")
    if args.fault == "swap-full" and args.swap != "disk":
        return "FAULT=swap-full is for a disk: choose SWAP=disk"
    if args.fault == "swap-full" and args.memcg_mb:
        return "FAULT=swap-full and MEMCG_MB exclude each other: choose one"
    if args.memcg_mb and args.memcg_mb >= args.guest_mb:
        return ("MEMCG_MB is what may be in memory of each guest: choose less than the "
                f"{args.guest_mb} of GUEST_MB")
    return None


def apply(args, job):
    """Fill in what the variant decides, where nobody else did."""
    sizes = {**job, **SIZES.get(args.memory, {})}
    if args.fault in DEADLY and not args.guests:
        args.guests = 4
    if args.swap is None:
        args.swap = {"swap-full": "disk"}.get(args.fault, "zram")
        if args.memory == "file":
            args.swap = "none"
    if args.host_mb is None:
        args.host_mb = sizes["host_mb"]
    if args.guest_mb is None:
        args.guest_mb = sizes["guest_mb"]
        if args.job == "small-guest":       # those who go on share it
            args.guest_mb = -(-args.guest_mb // survivors(args))
    if args.memory:
        args.mode = args.memory
        args.write = ",".join(filter(None, [WRITES.get(args.memory), args.write]))
    if args.fault == "memslots":
        args.churn = "slots"


def survivors(args):
    return max((args.guests or 1) - (args.fault in DEADLY), 1)


def oom_reports(console):
    """The console without OOM kills, and [(constraint, kB of swap free, pid)] of them."""
    kept, kills, inside = [], [], False
    constraint = free = None
    for line in console.splitlines():
        if OOM_BEGIN.search(line):
            inside, constraint, free = True, None, None
        if not inside:
            kept.append(line)
            continue
        if match := OOM_CONSTRAINT.search(line):
            constraint = match[1]
        if match := OOM_SWAP.search(line):
            free = int(match[1])
        if match := OOM_END.search(line):
            kills.append((constraint, free, int(match[1])))
            inside = False
        elif not OOM_LINES.search(line):
            kept.append(line)
    return "\n".join(kept) + "\n" if kept else "", kills


def least_pages(args, results):
    """So many pages of the guests that go on have no room in memory."""
    room = (results.number("host_kb") or 0) // 4
    if args.memcg_mb:
        room = min(room, survivors(args) * args.memcg_mb * PAGES)
    return 1 if args.memory == "ksm" else survivors(args) * args.guest_mb * PAGES - room


def reclaimed(args):
    """What counts the pages taken from guests."""
    return "pgsteal_file" if args.memory == "file" else "pswpout"


def reclaim_faults(args, results):
    key = reclaimed(args)
    count, least = results.number(f"vmstat.{key}") or 0, least_pages(args, results)
    if count < least:
        return [f"{count} pages were swapped out ({key}): {least} have no room in memory"]
    return []


def guest_faults(args, results):
    """Who had to die did, all others verified everything."""
    faults = []
    for number in range(args.guests or 1):
        def value(key, number=number):
            return results.number(f"guest{number}.{key}")
        dies = args.fault in DEADLY and number == 0
        if value("signal") != (9 if dies else 0):
            faults.append(f"guest {number} ended by signal {value('signal')}")
        expected = (value("pages") or 0) * ((args.passes or 2) + 1)
        if not dies and (not expected or value("pages_verified") != expected):
            faults.append(f"guest {number} verified {value('pages_verified')} pages, "
                          f"not {expected}")
        if dies:
            continue
        faults += [f"guest {number}: {key} is {value(key)}" for kind, key in DONE.items()
                   if kind in (args.memory, args.fault, args.memcg_mb and "memcg")
                   and not value(key)]
        if args.subscribers:
            faults += [f"guest {number}: {key} is {value(key)}" for key in SUBSCRIBERS
                       if not value(key)]
        rss = {key: value(key) or 0 for key in ("rss_anon", "rss_shmem", "rss_file")}
        kind = RSS.get(args.memory, "rss_anon")
        if max(rss, key=rss.get) != kind:
            faults.append(f"guest {number}: its memory is not {args.memory or 'anon'}")
    return faults


def death_faults(args, results):
    key = reclaimed(args)
    before, after = results.number(f"death.{key}"), results.number(f"vmstat.{key}")
    if before and after and after > before:
        return []
    return [f"the guests did not swap before and after the death ({key}: {before}, then {after})"]


def oom_faults(args, results, kills):
    """Exactly the kills that had to be."""
    wanted = CONSTRAINTS.get(args.fault)
    if not wanted:
        return []       # any report is a splat
    if len(kills) != 1 or results.number("vmstat.oom_kill") != 1:
        return [f"{len(kills)} OOM kills were reported, "
                f"{results.number('vmstat.oom_kill')} counted, not 1"]
    (constraint, free, pid), faults = kills[0], []
    if pid != results.number("guest0.pid"):
        faults.append(f"process {pid} was killed, not guest 0")
    if constraint != wanted:
        faults.append(f"the reason of the OOM kill is {constraint}, not {wanted}")
    total = results.number("swap_total_kb") or 0
    if args.fault == "swap-full" and (free is None or free * FULL > total):
        faults.append(f"swap was not full: {free} of {total} kB were free")
    return faults


def judge(args, results, kills):
    """What the run of a variant does not show, though nothing else is wrong with it."""
    if args.job != "small-guest" or results.fault():
        return []
    faults = guest_faults(args, results) + oom_faults(args, results, kills)
    if args.promises & {"swap", "file"}:
        faults += reclaim_faults(args, results)
    if args.fault in DEADLY:
        faults += death_faults(args, results)
    return faults + [f"{key} is 0: the guests did not use what they were to test"
                     for key in COUNTED.get(args.memory, []) if not results.number(key)]
