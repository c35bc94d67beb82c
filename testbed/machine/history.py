# SPDX-License-Identifier: GPL-2.0
"""The picture of a run: what guests and host did, second by second."""
import math

import gnuplot

PAGE_KB = 4
# Samples: milliseconds, free memory in KB, and what has been counted so far.
TIME, FREE, OUT, IN, DONE, CALLS = range(6)
PANELS = [
    ("pages that the guests have written or verified, thousands", "#1b7837", "",
     lambda now, _: now[DONE] / 1000),
    ("free memory of the host, MB", "#2166ac", "", lambda now, _: now[FREE] / 1024),
    ("swapped out, MB a second", "#c0392b", "fillsteps",
     lambda now, last: rate(now, last, OUT) * PAGE_KB / 1024),
    ("swapped in, MB a second", "#e08214", "fillsteps",
     lambda now, last: rate(now, last, IN) * PAGE_KB / 1024),
    ("calls of MMU notifiers, thousands a second", "#762a83", "fillsteps",
     lambda now, last: rate(now, last, CALLS) / 1000),
]


def rate(now, last, what):
    """A second; what is counted of guests that have ended is gone."""
    return max(now[what] - last[what], 0) * 1000 / max(now[TIME] - last[TIME], 1)


def points(samples, value):
    """[(seconds, number)]"""
    return [(now[TIME] / 1000, value(now, last)) for last, now in zip(samples, samples[1:])]


def step(most):
    """The distance of two or three marks up to MOST: 1, 2 or 5 times a power of 10."""
    power = 10 ** math.floor(math.log10(most))
    return next(power * part for part in (0.2, 0.5, 1, 2, 5) if most / (power * part) <= 3.5)


def script(samples, title, path):
    shown = [(text, colour, style or "lines", points(samples, value))
             for text, colour, style, value in PANELS]
    shown = [panel for panel in shown if any(number for _, number in panel[3])]
    lines = [f'set terminal svg size 900,{130 * len(shown) + 80} font "sans,12" noenhanced '
             'background "white"', f'set output "{path}"',
             f'set multiplot layout {len(shown)},1 title "{title}"',
             "unset key", "set grid", "set yrange [0:*]", "set style fill solid 0.6",
             "set lmargin 10", "set tmargin 2", "set bmargin 1", 'set format x ""', f"set xrange [0:{samples[-1][TIME] / 1000}]"]
    for number, (text, colour, style, data) in enumerate(shown):
        if number == len(shown) - 1:
            lines += ['set xlabel "seconds"', "set format x", "set bmargin 3"]
        lines += [f"set ytics {step(max(y for _, y in data))}", f'set title "{text}" offset 0,-0.8', "$data << EOD",
                  *(f"{x} {y}" for x, y in data), "EOD",
                  f'plot $data with {style} lc rgb "{colour}" lw 2']
    return "\n".join([*lines, "unset multiplot", ""])


def write(samples, title, path):
    """False when there is too little to show."""
    if len(samples) < 3:
        return False
    gnuplot.draw(script(samples, title, path), path)
    return True
