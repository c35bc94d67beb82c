#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Guests that swap under faults: faults.py [--kernel NAME] BUILD [VARIANT...]

Small guests, all of whose memory is verified, while something happens to them or
to their host. One row for each variant, then "N passed, N failed". In one of them the
notifiers are broken on purpose, and it has to fail.
"""
import dataclasses
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True    # nothing generated beside the sources
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "machine"))

import build_kernel  # noqa: E402
import run  # noqa: E402
import variant as variants  # noqa: E402

MUTE = "/sys/kernel/debug/mmu_notifier_inject/mute"
COLUMNS = ("variant", "guests", "pages swapped", "what happened", "verified")


@dataclasses.dataclass(frozen=True)
class Variant:
    """Options of run.py, and what they bring, in words around counts."""
    words: tuple
    happened: str
    checked: bool = False       # by "make check", too
    muted: tuple = ()           # functions that are taken away

    def args(self, kernel, out):
        muting = [word for name in self.muted for word in ("--write", f"{MUTE}:{name}")]
        return ["--kernel", kernel, "--out", out, "--job", "small-guest", *self.words, *muting]


# Guests that are a little larger than their host, and time for a computer that
# does something else.
SMALL = ("--host-mb", "128", "--passes", "1", "--limit", "900", "--silence", "300")
ONE = (*SMALL, "--guest-mb", "132")
FOUR = (*SMALL, "--guest-mb", "44", "--guests", "4")
DIED = "guest 0 killed by signal {guest0.signal}, {death.pswpout} pages out before"
VARIANTS = {
    "four-guests": Variant(FOUR, "nothing else"),
    "ksm": Variant((*ONE, "--memory", "ksm"), "{guest0.ksm_merged} or more pages merged, "
                                              "{vmstat.cow_ksm} written again"),
    "thp": Variant((*SMALL, "--host-mb", "192", "--guest-mb", "224", "--memory", "thp"),
                   "{vmstat.thp_fault_alloc} huge pages"),
    "shmem": Variant((*ONE, "--memory", "shmem"),
                     "{guest0.rss_shmem} kB of shmem mapped at the end"),
    "file": Variant((*ONE, "--memory", "file"),
                    "{vmstat.workingset_refault_file} pages read again"),
    "memcg": Variant((*SMALL, "--host-mb", "192", "--guests", "2", "--guest-mb", "66",
                      "--memcg-mb", "40"),
                     "limit hit {guest0.limit_hit} and {guest1.limit_hit} times"),
    "swap-full": Variant((*FOUR, "--fault", "swap-full"), DIED + ", no swap free"),
    "kill": Variant((*FOUR, "--fault", "kill"), DIED, True),
    "oom": Variant((*FOUR, "--fault", "oom"), DIED + ", for its limit", True),
    "memslots": Variant((*ONE, "--fault", "memslots"),
                        "{sum.churn_calls} slots removed and added, "
                        "{sum.accesses_without_slot} accesses between", True),
    "broken": Variant((*FOUR, "--fault", "kill", "--give-up", "1"), "no call of invalidate_page",
                      muted=("__mmu_notifier_invalidate_page",
                             "__mmu_notifier_invalidate_page_batched")),
}


class Counts(dict):
    """A count that is not there is told, not an error."""

    def __missing__(self, key):
        return "?"


def happened(text, values):
    """Keys have dots in them: format() would take them for attributes."""
    parts = text.split("{")
    return parts[0] + "".join(str(Counts(values)[key]) + rest for key, _, rest in
                              (part.partition("}") for part in parts[1:]))


def row(name, variant, results):
    """The cells of a variant's line."""
    args = run.parse(variant.args("", ""))
    values = Counts(results["values"])
    verified = f"{values['sum.pages_verified']} pages, {values['sum.mismatches']} mismatches"
    return (name, str(args.guests or 1), values["vmstat." + variants.reclaimed(args)],
            happened(variant.happened, values), verified)


def table(rows):
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths)).rstrip()
                     for cells in rows)


def noticed(results):
    """A guest read what it had not written, or its host found itself damaged."""
    return (any(key.endswith(".first_mismatch") for key in results["values"]) or
            any("splat" in fault for fault in results["faults"]))


def run_variant(name, variant, kernel, out):
    """(cells, faults)"""
    out = os.path.join(out, name)
    path = os.path.join(out, "run-1", "results.json")
    if os.path.exists(path):
        os.remove(path)
    code = run.main(variant.args(kernel, out))
    if code == 130:
        raise KeyboardInterrupt
    if not os.path.exists(path):
        return (name, "", "", "", ""), ["the machine did not run"]
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    cells, faults = row(name, variant, results), results["faults"]
    if variant.muted:
        return (*cells[:-1], "failed, as it must"), [] if noticed(results) else ["not noticed"]
    return cells, faults or (["it failed"] if code else [])


def main(argv=None):
    parser = build_kernel.Parser(prog="faults.py", allow_abbrev=False)
    parser.add_argument("--kernel", default="kernel", help="build directory below BUILD")
    parser.add_argument("build")
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    args = parser.parse_args(argv)
    if unknown := set(args.variants) - set(VARIANTS):
        parser.error(f"variant {', '.join(sorted(unknown))} is unknown; the variants are "
                     f"{', '.join(VARIANTS)}")
    chosen = [name for name in VARIANTS if not args.variants or name in args.variants]
    rows, failed = [COLUMNS], {}
    for number, name in enumerate(chosen, 1):
        print(f"faults: variant {number} of {len(chosen)}: {name}", flush=True)
        cells, faults = run_variant(name, VARIANTS[name], os.path.join(args.build, args.kernel),
                                    os.path.join(args.build, "faults"))
        rows.append((*cells[:-1], "FAILED" if faults else cells[-1]))
        if faults:
            failed[name] = faults
    print()
    print(table(rows))
    for name, faults in failed.items():
        print(f"FAILED: {name}: {'; '.join(faults)}")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("The faults were interrupted.")
