# SPDX-License-Identifier: GPL-2.0
"""One picture of all ratios, by gnuplot: left of the line ours costs less."""
import gnuplot
from measures import LIMIT

LEAST, MOST = 0.05, 10          # ratios beyond are drawn at the edge, their number is exact
COLOURS = {"aim met": "#1b7837", "ahead": "#7fbf7b", "even": "#999999", "BEHIND": "#c0392b"}
ROW = 22                        # height of a row


def escaped(text):
    return text.replace("\\", "").replace('"', "'")


def place(value):
    return min(max(value, LEAST), MOST)


def aim_of(row):
    """As a ratio; None if there is none."""
    if row.measure.aim != LIMIT:
        return row.measure.aim
    return row.limit / row.mainline if row.limit and row.mainline else None


def script(rows, path):
    """What gnuplot reads: a bar from 1 to each ratio, a tick at its aim."""
    shown = [row for row in rows if row.turns]
    height = ROW * (len(shown) + 4)
    lines = [f'set terminal svg size 1150,{height} font "sans,12" noenhanced background "white"',
             f'set output "{path}"', "set logscale x 10",
             f"set xrange [{LEAST}:{MOST}]", f"set yrange [{len(shown)}:-1]",
             'set xtics ("1/20" 0.05, "1/10" 0.1, "1/4" 0.25, "1/2" 0.5, "1" 1, "2" 2, "4" 4, '
             '"10" 10)',
             'set title "ours by mainline: green is less, red is more; short lines are the aims"',
             "set lmargin 66", "set rmargin 12", "unset key", "set grid xtics", "set border 1",
             "set style fill solid", f"set arrow from 1,-1 to 1,{len(shown)} nohead lw 2"]
    ticks = []
    for y, row in enumerate(shown):
        ticks.append(f'"{escaped(row.measure.text)}" {y}')
        at = place(1 if row.ratio is None and row.word() == "even" else
                   MOST if row.ratio is None else row.ratio)
        colour = COLOURS[row.word()]
        lines.append(f"set object rectangle from {min(at, 1)},{y - 0.35} to {max(at, 1)},{y + 0.35}"
                     f' fc rgb "{colour}" fs solid noborder')
        text = "new" if row.ratio is None and row.ours else \
            "-" if row.ratio is None else f"{row.ratio:.3f}"
        lines.append(f'set label "{text}" at graph 1.02,first {y} tc rgb "{colour}"')
        if (aim := aim_of(row)) is not None:
            aim = place(aim)
            lines.append(f"set arrow from {aim},{y - 0.45} to {aim},{y + 0.45} nohead lw 3")
    lines.append(f"set ytics ({', '.join(ticks)})" if ticks else "unset ytics")
    return "\n".join([*lines, "plot NaN", ""])


def write(rows, path):
    gnuplot.draw(script(rows, path), path)
