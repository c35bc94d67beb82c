#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Hold the documentation's table of operations against the sections that the code opens:
table.py BUILD"""
import os
import re
import sys

sys.dont_write_bytecode = True

import hooks
import source

DOCUMENT = "Documentation/mm/mmu_notifier.rst"
HEADING = "Which operation sends what"
# What opens a section: its kind in the table, a word in the remark, the event if the
# call does not name it. None: it is in the arguments.
OPENS = {
    "mmu_notifier_folio_start": ("page", "", None),
    "mmu_notifier_invalidate_range_start": ("range", "", None),
    "mmu_notifier_invalidate_range_start_nonblock": ("range", "not blockable", None),
    "mmu_notifier_invalidate_range_start_owner": ("range", "with owner", None),
    "rmap_section_start": ("page, range", "", None),
    "migrate_vma_start": ("range", "with owner", "MIGRATE"),
}
REMARKS = {remark for _, remark, _ in OPENS.values() if remark}


class TableError(Exception):
    """One sentence for the person who called us."""


def written(text):
    """{(function, kind, event, remark)} of the table in a document."""
    part = text.partition(f"\n{HEADING}\n")[2]
    borders = list(re.finditer(r"^=+(?: =+)+$", part, re.M))
    if len(borders) < 3:
        raise TableError(f"{DOCUMENT} has no table below {HEADING!r}.")
    starts = [match.start() for match in re.finditer(r"=+", borders[0][0])]
    found = set()
    for line in part[borders[1].end():borders[2].start()].strip("\n").split("\n"):
        cells = [line[start:end].strip() for start, end in zip(starts, starts[1:] + [None])]
        _, where, kind, event = cells
        remark = next((word for word in REMARKS if word in event), "")
        name = re.match(r"``(\w+)``", event)
        if not name:
            raise TableError(f"{DOCUMENT} names no event in the line {line!r}.")
        found.update((function, kind, name[1], remark) for function in re.findall(r"\w+", where))
    return found


def opened(path, text):
    """The same of a file; functions that open sections for others are left out."""
    found = set()
    for hook in hooks.find(path, text):
        if hook.name not in OPENS or hook.function in OPENS:
            continue
        kind, remark, event = OPENS[hook.name]
        named = re.search(r"MMU_NOTIFY_(\w+)", text[slice(*hook.span)])
        found.add((hook.function, kind, event or (named and named[1]), remark))
    return found


def compare(table, code):
    """One sentence for each difference."""
    def words(entry):
        return ", ".join(filter(None, map(str, entry)))
    return [f"The code has no such section: {words(entry)}." for entry in sorted(table - code)] + \
        [f"{DOCUMENT} does not have: {words(entry)}." for entry in sorted(code - table)]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: table.py BUILD")
    tree = source.Source(os.path.abspath(sys.argv[1]))
    try:
        table = written(tree.read(DOCUMENT))
        code = set().union(*(opened(path, tree.read(path)) for path in tree.touched()))
        faults = compare(table, code)
    except (OSError, TableError, hooks.HookError) as error:
        sys.exit(str(error))
    print(*faults, f"{len(table & code)} sections in code and documentation", sep="\n")
    return int(bool(faults) or not code)


if __name__ == "__main__":
    sys.exit(main())
