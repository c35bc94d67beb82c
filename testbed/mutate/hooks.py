# SPDX-License-Identifier: GPL-2.0
"""The hooks in a kernel tree, and the tree in which each can be taken out at run time.

A hook is a call that the patches put into a file of the kernel. Where it was, the
mutated file asks mutant_taken_out() and, if told so, does what stands beside the
function's name below. Rules of the core, in rules.py, are broken in the same way.
Numbers of mutants depend on nothing but their own function, so that a change
elsewhere leaves a mutated file, and what was compiled of it, as it is.
"""
import dataclasses
import itertools
import os
import re
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
NOTHING, NO = "(void)0", "false"
END = "mmu_notifier_invalidate_range_end"
# Function: kind, and what is there without the hook. {args}, {first}: of the call.
CALLS = {
    "mmu_notifier_invalidate_range_start": ("start", NOTHING),
    "mmu_notifier_invalidate_range_start_owner": ("start", NOTHING),
    "mmu_notifier_invalidate_range_start_nonblock": ("start", "0"),
    "mmu_notifier_folio_start": ("start", NOTHING),
    "migrate_vma_start": ("start", NOTHING),
    "rmap_section_start": ("start", NOTHING),
    # Nobody hears the end. Without the call alone, it comes where the scope ends.
    END: ("end", "(void)(({first})->state = MMU_SECTION_CLOSED)"),
    "mmu_notifier_invalidate_page": ("page", NOTHING),
    "mmu_notifier_invalidate_page_batched": ("page", NOTHING),
    "mmu_notifier_batch_pending": ("flush", NO),
    "mmu_notifier_may_wait": ("flush", NO),
    "mmu_notifier_flush_batch": ("flush", NOTHING),
    "mmu_notifier_flush_pending": ("flush", NOTHING),
    "mmu_notifier_batch_begin": ("flush", NOTHING),
    "mmu_notifier_batch_end": ("flush", NOTHING),
    "mmu_notifier_clear_flush_young": ("young", NO),
    "mmu_notifier_clear_young": ("young", NO),
    "mmu_notifier_test_young": ("young", NO),
    "mmu_notifier_test_young_pages": ("young", NOTHING),
    "mmu_notifier_batches_young": ("young", NO),
    "mmu_notifier_clear_young_pages": ("young", NOTHING),
    "mmu_notifier_clear_young_list": ("young", NOTHING),
    "clear_flush_young_ptes_notify": ("young", "clear_flush_young_ptes({args})"),
    "test_and_clear_young_ptes_notify": ("young", "test_and_clear_young_ptes({args})"),
    "pmdp_clear_flush_young_notify": ("young", "pmdp_clear_flush_young({args})"),
    "pmdp_test_and_clear_young_notify": ("young", "pmdp_test_and_clear_young({args})"),
    "secondary_young_begin": ("young", "(void)(({first})->nr_pages = 0)"),
    "secondary_young_test": ("young", NO),
    "secondary_young_take": ("young", NO),
    "secondary_young_end": ("young", NOTHING),
    "mm_has_notifiers": ("young", NO),
    "mmu_notifier_arch_invalidate_secondary_tlbs": ("flush", NOTHING),
    "mmu_notifier_subscriptions_init": ("life", NOTHING),
    "mmu_notifier_subscriptions_destroy": ("life", NOTHING),
    "mmu_notifier_release": ("life", NOTHING),
    "mmu_notifier_might_start": ("life", NOTHING),
}
# Calls of ours that tell nobody anything.
NO_HOOKS = {"mmu_notifier_section_init"}
# Where the core VM calls; subscribers are elsewhere.
FOLDERS = ("mm/", "fs/", "kernel/", "arch/")
SUBSCRIBERS = re.compile(r"arch/\w+/(kvm|include/asm/kvm\w*)[/.]")
CALL = re.compile(rf"\b({'|'.join(CALLS)})\(")
OURS = re.compile(r"\b(mmu_notifier_\w+)\(")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
HEAD = re.compile(r"^(?=[a-zA-Z_])[^\n;]*?\b(\w+)\(", re.M)
SITES = 1 << 24                     # SITE_BITS of mutant.c
INCLUDE = "#include <linux/mutant.h>\n"


class HookError(Exception):
    """One sentence for the person who called us."""


@dataclasses.dataclass(frozen=True)
class Hook:
    """One mutant; number: among those of its name in its function, from 1."""
    file: str
    function: str
    line: int
    kind: str
    name: str
    number: int
    span: tuple
    instead: str                    # CODE that takes the place of the span

    @property
    def key(self):
        """What names the mutant in equivalent.txt, whatever line it is in."""
        return f"{self.file} {self.function} {self.name} {self.number}"

    @property
    def site(self):
        return zlib.crc32(self.key.encode()) % (SITES - 1) + 1


def close(text, start):
    """The offset behind the parenthesis that closes the first one from START on."""
    depth = 0
    for offset in range(start, len(text)):
        depth += (text[offset] == "(") - (text[offset] == ")")
        if not depth and text[offset] == ")":
            return offset + 1
    raise HookError(f"No parenthesis closes the call {text[start:start + 40]!r}.")


def blank_comments(text):
    """The same text, every offset kept."""
    return COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def is_definition(text, start):
    """A type stands before the name, at the beginning of a line."""
    line = text[text.rfind("\n", 0, start) + 1:start]
    return bool(re.match(r"[a-zA-Z_]", line)) and "=" not in line


def heads(plain):
    """[(offset, name)] of the functions in a file without comments."""
    return [(match.start(), match[1]) for match in HEAD.finditer(plain)]


def function_at(functions, offset):
    return ([name for start, name in functions if start < offset] or [""])[-1]


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def without(name, call):
    """What is there when the hook is taken out."""
    args = call[call.index("(") + 1:-1]
    return CALLS[name][1].format(args=args, first=args.split(",")[0])


def find(path, text):
    """The hooks in a file, in the order of its text."""
    plain, found, counts = blank_comments(text), [], {}
    functions = heads(plain)
    for match in CALL.finditer(plain):
        name, start = match[1], match.start()
        # A helper of one header may call another; the hook is where it is called.
        if is_definition(plain, start) or \
                path.endswith(".h") and not name.startswith(("mmu_notifier_", "mm_has_")):
            continue
        function, end = function_at(functions, start), close(plain, start)
        number = counts[function, name] = counts.get((function, name), 0) + 1
        found.append(Hook(path, function, line_at(plain, start), CALLS[name][0], name, number,
                          (start, end), without(name, text[start:end])))
    unknown = {name for name in OURS.findall(plain)} - set(CALLS) - NO_HOOKS
    if unknown:
        raise HookError(f"{path} calls {', '.join(sorted(unknown))}: say in hooks.py what is there "
                        "without that hook.")
    return found


def find_rules(path, text, table):
    """The mutants of the rules TABLE in a file; each rule must be there once."""
    functions, found, counts = heads(blank_comments(text)), [], {}
    for file, words, instead in table:
        if file != path:
            continue
        start = text.find(words)
        if start < 0 or text.find(words, start + 1) >= 0:
            raise HookError(f"{path} does not have {words!r} exactly once: correct rules.py.")
        function = function_at(functions, start)
        number = counts[function] = counts.get(function, 0) + 1
        found.append(Hook(path, function, line_at(text, start), "rule", "rule", number,
                          (start, start + len(words)), instead))
    return found


def in_scope(path):
    return path.startswith(FOLDERS) and path.endswith((".c", ".h")) and not SUBSCRIBERS.match(path)


def choice(group, code):
    """CODE, or what one of the mutants in its place has."""
    if code.endswith((";", "}")):
        return "".join(f"if (mutant_taken_out({hook.site:#08x})) {{ {hook.instead} }} else "
                       for hook in group) + "{ " + code + " }"
    asked = "".join(f"mutant_taken_out({hook.site:#08x}) ? {hook.instead} : " for hook in group)
    return f"({asked}{code})"


def wrap(text, hooks):
    """TEXT with each mutant behind a question."""
    parts, done = [], 0
    spans = sorted({hook.span for hook in hooks})
    for one, other in zip(spans, spans[1:]):
        if one[1] > other[0]:
            raise HookError(f"{text[slice(*one)]!r} and {text[slice(*other)]!r} overlap.")
    for (start, end), group in itertools.groupby(sorted(hooks, key=lambda hook: hook.span),
                                                 key=lambda hook: hook.span):
        parts += [text[done:start], choice(list(group), text[start:end])]
        done = end
    text = "".join(parts) + text[done:]
    first = re.search(r"^#include", text, re.M).start()
    return text[:first] + INCLUDE + text[first:]


def copy_name(path):
    """Of a header: only those who call its hooks include the mutated copy."""
    return os.path.join(os.path.dirname(path), "mutant_" + os.path.basename(path))


def include_copy(text, header):
    """Takes the place of the header, or comes before whatever includes it."""
    base = os.path.basename(header)
    line = f'#include "mutant_{base}"\n'
    if (found := f'#include "{base}"\n') in text:
        return text.replace(found, line)
    first = re.search(r"^#include", text, re.M).start()
    return text[:first] + f"#include <asm/mutant_{base}>\n" + text[first:]


def mutate(read, paths, users, table=()):
    """({path: mutated text}, [Hook]) of the PATHS that the patches touch, and of rules.

    read(path): text of a file; users(functions): files in which one of them is called.
    """
    files, hooks = {}, []
    called = set(filter(in_scope, paths))
    for path in sorted(called | {rule[0] for rule in table}):
        text = read(path)
        found = (find(path, text) if path in called else []) + find_rules(path, text, table)
        if not found:
            continue
        hooks += found
        files[copy_name(path) if path.endswith(".h") else path] = wrap(text, found)
    for header in [path for path in paths if copy_name(path) in files]:
        for user in users({hook.function for hook in hooks if hook.file == header}):
            files[user] = include_copy(files.get(user) or read(user), header)
    sites = {}
    for hook in hooks:
        if (other := sites.setdefault(hook.site, hook)) != hook:
            raise HookError(f"{hook.key} and {other.key} have the same number: rename a function.")
    return files, hooks


def support(read):
    """What the mutated files need: {path: text}."""
    with open(os.path.join(HERE, "mutant.c"), encoding="utf-8") as file:
        program = file.read()
    with open(os.path.join(HERE, "mutant.h"), encoding="utf-8") as file:
        header = file.read()
    return {"mm/mutant.c": program, "include/linux/mutant.h": header,
            "mm/Makefile": read("mm/Makefile") + "obj-y += mutant.o\n"}
