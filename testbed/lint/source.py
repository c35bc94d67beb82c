# SPDX-License-Identifier: GPL-2.0
"""What a command can count in C source of kernel style."""
import re
import statistics

FUNCTION = re.compile(r"^(?!\s|#|//|/\*|\}|struct |union |enum )(?P<head>[^\n;{}=]*?"
                      r"\b(?P<name>\w+)\((?:[^;{}=]|\n)*?\)[^;{}=()]*)\n\{\n(?P<body>.*?)^\}",
                      re.M | re.S)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
CALL = re.compile(r"\b(\w+)\(")
GIVEN = {"unlock", "release", "drop"}
OTHER = {"init", "on", "dirty", "might"}        # names with a lock that take none
ANNOTATION = re.compile(r"\b__(?:acquires|releases|must_hold|cond_acquires)\w*\(")
EXPORT = re.compile(r"^EXPORT_SYMBOL(?:_GPL|_FOR_KVM\w*)?\((\w+)\)", re.M)


def functions(text):
    """(name, lines of the body, head and body without comments) of each."""
    for match in FUNCTION.finditer(text):
        yield (match["name"], match["body"].count("\n"),
               COMMENT.sub("", match["head"]), COMMENT.sub("", match["body"]))


def lengths(texts):
    """(median, 95th percentile, longest, its name)"""
    found = sorted((size, name) for text in texts for name, size, _, _ in functions(text))
    if not found:
        return 0, 0, 0, "none"
    sizes = [size for size, _ in found]
    return (round(statistics.median(sizes)), sizes[int(0.95 * (len(sizes) - 1))], *found[-1])


def lock_calls(body):
    """(calls that take a lock, calls that give one back), by their names."""
    names = [set(name.lower().split("_")) for name in CALL.findall(body)]
    locks = [name for name in names
             if name & {"lock", "trylock", "unlock"} and not name & OTHER]
    given = sum(bool(name & GIVEN) for name in locks)
    return len(locks) - given, given


def without_annotation(text):
    """Functions that leave with a lock they took, or give one back they did not take."""
    for name, _, head, body in functions(text):
        taken, given = lock_calls(body)
        if bool(taken) != bool(given) and not ANNOTATION.search(head):
            yield name


def undocumented(text, elsewhere):
    """Exported functions that no kernel-doc of text or elsewhere describes."""
    for name in EXPORT.findall(text):
        is_function = re.search(rf"^[^\n#*].*\b{name}\(", text, re.M)
        if is_function and not re.search(rf"^/\*\*\n \* {name}\b", text + elsewhere, re.M):
            yield name
