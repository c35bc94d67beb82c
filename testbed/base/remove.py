#!/usr/bin/env python3
"""Remove mainline's MMU notifiers from an unpacked kernel tree, in place.

    remove.py TREE

Whole files and functions go by name, hooks by remove.cocci, comments by a
phrase of the paragraph that speaks of the notifiers.
"""
import difflib
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

FILES = ['mm/mmu_notifier.c', 'include/linux/mmu_notifier.h',
         'Documentation/mm/mmu_notifier.rst',
         'Documentation/translations/zh_CN/mm/mmu_notifier.rst']

# Hooks that remove.cocci rewrites.
COCCI = '''
mm/mapping_dirty_helpers.c mm/mremap.c mm/damon/ops-common.c mm/damon/vaddr.c
mm/khugepaged.c mm/mmap.c mm/vmscan.c mm/migrate_device.c mm/memory.c
mm/madvise.c mm/ksm.c mm/huge_memory.c mm/mprotect.c mm/hugetlb.c
mm/page_idle.c mm/userfaultfd.c mm/rmap.c kernel/events/uprobes.c
kernel/fork.c fs/proc/task_mmu.c virt/kvm/kvm_main.c
'''.split()

# Files that included the header without being clients.
INCLUDES = COCCI[:-1] + '''
mm/internal.h mm/mempolicy.c mm/oom_kill.c mm/page_alloc.c mm/damon/paddr.c
fs/dax.c fs/proc/page.c include/linux/kvm_host.h include/asm-generic/tlb.h
arch/x86/include/asm/tlbflush.h arch/x86/include/asm/kvm_host.h
arch/x86/mm/tlb.c arch/arm64/include/asm/tlbflush.h arch/riscv/mm/tlbflush.c
arch/powerpc/include/asm/book3s/64/tlbflush.h
arch/powerpc/include/asm/kvm_host.h
'''.split()

# Calls of the CPU's TLB flush code.
SECONDARY_TLBS = '''
arch/x86/include/asm/tlbflush.h arch/x86/mm/tlb.c
arch/arm64/include/asm/tlbflush.h arch/riscv/mm/tlbflush.c
arch/powerpc/mm/book3s64/radix_tlb.c
arch/powerpc/mm/book3s64/radix_hugetlbpage.c
'''.split()

IFDEFS = ['mm/internal.h', 'mm/debug.c', 'mm/page_alloc.c',
          'include/linux/mm_types.h']

# Names that may not be left, and where.
NAMES = (r'(?<![A-Za-z])mmu[\s*_-]*(?:notifi|interval)'
         r'|notifier_subscriptions|mm_(take|drop)_all_locks|mm_all_locks')
SWEPT = ['mm', 'kernel', 'fs', 'virt', 'include/linux']
# Clients: they come back unchanged with the header.
CLIENTS = {'mm/hmm.c', 'include/linux/hmm.h', 'mm/Kconfig'}

tree = None
before = {}
now = {}


def load(path):
    if path not in now:
        with open(os.path.join(tree, path), encoding='utf-8') as f:
            before[path] = now[path] = f.read()
    return now[path]


def edit(path, pattern, new='', count=1, flags=re.M | re.S):
    """Replace count matches (0: any number), or fail."""
    text, n = re.subn(pattern, new, load(path), flags=flags)
    if n == 0 or count and n != count:
        sys.exit(f'remove.py: {path}: {n} matches, not {count}, of {pattern}')
    now[path] = text


def drop_lines(path, pattern, count=1):
    edit(path, r'^[^\n]*(?:' + pattern + r')[^\n]*\n', '', count)


def drop_ifdef(path, symbol):
    """Drop #ifdef symbol ... #else, keep nothing of either branch."""
    edit(path, rf'^#ifdef {symbol}\n(?:(?!^#if).)*?^#endif[^\n]*\n', '', 0)


COMMENT = r'(?:^/\*(?:(?!\*/).)*\*/\n)?'


def drop_function(path, name):
    """A function with the comment above it."""
    edit(path, COMMENT + rf'^[a-z][^\n;{{}}]*(?:\n[^\n;{{}}()]*)?\b{name}'
         r'\([^;{]*\)\n\{\n.*?^\}\n\n?')


def drop_prototype(path, name):
    edit(path, rf'^[a-z][^\n;]*\b{name}\([^;{{]*\);\n')


def comment_around(text, at):
    start, end = text.rfind('/*', 0, at), text.find('*/', at) + 2
    start = text.rfind('\n', 0, start) + 1
    return start, end + 1


def drop_paragraph(path, phrase, last=None):
    """Cut the paragraphs from phrase to last out of the comment they are in.

    A comment that has no other paragraph goes whole.
    """
    text = load(path)
    hits = [m.start() for m in re.finditer(phrase, text)]
    if len(hits) != 1:
        sys.exit(f'remove.py: {path}: {len(hits)} matches of {phrase}')
    start, end = comment_around(text, hits[0])
    body = text[start:end]
    lines = body.split('\n')[:-1]
    pars, par = [], []
    for line in lines[1:-1]:
        if line.strip() == '*':
            pars.append(par)
            par = []
        else:
            par.append(line)
    pars.append(par)
    joined = ['\n'.join(p) for p in pars]
    first = next(i for i, p in enumerate(joined) if re.search(phrase, p))
    stop = first
    if last:
        stop = next(i for i, p in enumerate(joined) if re.search(last, p))
    kept = pars[:first] + pars[stop + 1:]
    blank = lines[0].replace('/**', '/*').replace('/*', ' *')
    if kept:
        out = [lines[0]]
        for i, p in enumerate(kept):
            out += ([blank] if i else []) + p
        out.append(lines[-1])
        body = '\n'.join(out) + '\n'
    else:
        body = ''
    now[path] = text[:start] + body + text[end:]


def tidy(old, new):
    """Close the gaps that deleted lines leave, and only those."""
    a, b = old.split('\n'), new.split('\n')
    drop = set()
    for tag, _, _, j1, j2 in difflib.SequenceMatcher(
            None, a, b, autojunk=False).get_opcodes():
        if tag not in ('delete', 'replace'):
            continue
        for j in {j1, j2}:
            if not 0 < j < len(b):
                continue
            up, down = b[j - 1], b[j]
            if not up.strip() and (not down.strip() or
                                   re.match(r'\s*(\}|\*/|#endif)', down)):
                if (up.strip(), down.strip()) != ('', '#endif'):
                    drop.add(j - 1)
            elif not down.strip() and up.endswith('{'):
                drop.add(j)
    return '\n'.join(l for j, l in enumerate(b) if j not in drop)


def kconfig():
    edit('mm/Kconfig', r'^config MMU_NOTIFIER\n(?:[ \t][^\n]*\n)+\n')
    drop_lines('virt/kvm/Kconfig', r'select MMU_NOTIFIER')
    drop_lines('mm/Makefile', r'CONFIG_MMU_NOTIFIER')
    drop_lines('MAINTAINERS', r'^F:\t\S*mmu_notifier\.[ch]$', 2)
    drop_lines('Documentation/mm/index.rst', r'^   mmu_notifier$')
    drop_lines('Documentation/translations/zh_CN/mm/index.rst', r'^   mmu_notifier$')


def headers():
    for path in INCLUDES:
        drop_lines(path, r'^#include <linux/mmu_notifier\.h>')
    for path in IFDEFS:
        drop_ifdef(path, 'CONFIG_MMU_NOTIFIER')
    drop_lines('include/linux/mm.h', r'^struct mmu_notifier_range;')
    for path in ('mm/rmap.c', 'mm/vmscan.c'):
        edit(path, r'\b(\w+_young(?:_ptes)?)_notify\(', r'\1(', 0)


def all_locks():
    path = 'mm/vma.c'
    drop_lines(path, r'DEFINE_MUTEX\(mm_all_locks_mutex\)')
    for name in ('vm_lock_anon_vma', 'vm_lock_mapping', 'mm_take_all_locks',
                 'vm_unlock_anon_vma', 'vm_unlock_mapping',
                 'mm_drop_all_locks'):
        drop_function(path, name)
    for name in ('mm_take_all_locks', 'mm_drop_all_locks'):
        drop_prototype('mm/vma.h', name)
        drop_prototype('include/linux/mm.h', name)
    drop_lines('include/linux/pagemap.h', r'AS_MM_ALL_LOCKS')
    drop_paragraph('include/linux/rmap.h', r'LSB of the rb_root')


def arch():
    call = r'^\t+mmu_notifier_arch_invalidate_secondary_tlbs\([^;]*\);\n'
    for path in SECONDARY_TLBS:
        edit(path, rf'(?:^\t+if \([^\n]*\)\n)?{call}', '', 0)


def kvm_header():
    path = 'include/linux/kvm_host.h'
    edit(path, r'^union kvm_mmu_notifier_arg \{.*?^\};\n\n')
    drop_lines(path, r'union kvm_mmu_notifier_arg')
    drop_lines(path, r'Used to wait for completion of MMU notifiers|\bmn_\w+;',
               4)
    drop_lines(path, r'^\t[\w ]*\bmmu_(?:notifier|invalidate)\w*;$', 5)
    for name in ('mmu_invalidate_retry', 'mmu_invalidate_retry_gfn',
                 'mmu_invalidate_retry_gfn_unsafe'):
        drop_function(path, name)
    for name in ('kvm_mmu_invalidate_start', 'kvm_mmu_invalidate_range_add',
                 'kvm_mmu_invalidate_end', 'kvm_mmu_unmap_gfn_range'):
        drop_prototype(path, name)
    edit(path, r'processed on MMU notifier\n \* invocation',
         'processed on\n * invalidation')


def kvm():
    path = 'virt/kvm/kvm_main.c'
    edit(path, r'^static inline struct kvm \*mmu_notifier_to_kvm\(.*?'
         r'^static int kvm_init_mmu_notifier\(.*?^\}\n\n')
    for name in ('kvm_flush_shadow_all', 'kvm_handle_gfn_range',
                 'kvm_pre_set_memory_attributes'):
        drop_function(path, name)
    drop_paragraph(path, 'no more MMU notifiers will run',
                   "isn't unbalanced")
    drop_paragraph(path, 'Do not store the new memslots while there are')
    drop_function('virt/kvm/pfncache.c', 'mmu_notifier_retry_cache')
    kvm_header()


def kvm_after():
    drop_lines('virt/kvm/kvm_main.c', r'^out_err_no_mmu_notifier:')
    edit('virt/kvm/kvm_main.c', 'MMU notifier protection',
         'invalidation protection', 2)
    path = 'virt/kvm/pfncache.c'
    edit(path, 'mmu_notifier_retry_cache', 'gpc_invalidate_retry')
    drop_paragraph(path, "MMU notifier 'invalidate_range_start' hook")
    edit(path, r'an mmu_notifier\b', 'an invalidation')
    edit(path, r'mmu_notifier (events|protection)', r'invalidation \1', 0)


def pagemap_scan():
    """spatch does not parse do_pagemap_scan()."""
    path = 'fs/proc/task_mmu.c'
    drop_lines(path, r'struct mmu_notifier_range range;')
    wp = r'^\t+if \(p\.arg\.flags & PM_SCAN_WP_MATCHING\)'
    edit(path, r'^\t+/\* Protection change for the range[^\n]*\n' + wp +
         r' \{\n\t+mmu_notifier_range_init.*?^\t+\}\n')
    edit(path, wp + r'\n\t+mmu_notifier_invalidate_range_end[^\n]*\n')


def labels():
    """A label that only led past the end of a section."""
    path = 'mm/ksm.c'
    edit(path, r'^out_mn:\nout:\n', 'out:\n', 2)
    edit(path, r'goto out_mn;', 'goto out;', 0)


def comments():
    """Comments that speak of the notifiers."""
    path = 'mm/mapping_dirty_helpers.c'
    edit(path, r'^ \* @range: Range for mmu notifiers$',
         ' * @start: Start of the range in the current VMA\n'
         ' * @end: End of the range in the current VMA')
    edit(path, r', stages the tlb flush\n \* and calls the necessary mmu '
         r'notifiers', ' and stages the tlb\n * flush')
    edit(path, r' and calls necessary mmu\n \* notifiers', '')

    path = 'mm/memory.c'
    drop_paragraph(path, 'invalidate the secondary MMU mappings only')
    edit(path, r', and MMU notifiers must have\n \* been called[^.]*', '')
    edit(path, 'must use MMU notifiers to sync', 'must sync')
    edit(path, ', mmu-notifiers, etc', ', etc')
    edit(path, ' with MMU notifiers; otherwise', '; otherwise')
    edit(path, r'range\.start-range\.end', 'range_start-range_end')

    path = 'mm/hugetlb.c'
    edit(path, r'range\.start/range\.end', 'range_start/range_end')
    drop_paragraph(path, 'No need to notify as', 'See Documentation')
    drop_paragraph(path, r'No need to call mmu_notifier_\w+\(\) we',
                   'See Documentation')
    drop_paragraph(path, r'No need to call mmu_notifier_\w+\(\), see')
    drop_paragraph(path, 'No need to call adjust_range_if')

    path = 'mm/huge_memory.c'
    edit(path, r'(empty until pte is filled) note.*?mmu_notifier\.rst$',
         r'\1.')
    drop_paragraph(path, 'FIXME: Do we want to invalidate secondary mmu',
                   'We are going from')
    edit(path, r'pmdp_huge_get_and_clear_notify', 'pmdp_huge_get_and_clear')

    path = 'mm/rmap.c'
    drop_paragraph(path, 'mmu_notifier_invalidate_range_end, so',
                   'See Documentation')
    edit(path, r'passed to MMU_NOTIFY_EXCLUSIVE range notifier[^\n]*',
         'the device that asks')
    edit(path, ', after calling MMU notifiers', '')
    edit(path, r'must use a mmu notifier\n \* critical section to hold',
         'must hold')
    edit(path, r' when informed by MMU\n \*\s+notifiers', '')
    edit(path, ' and issue a MMU_NOTIFY_EXCLUSIVE', '')

    drop_paragraph('mm/ksm.c', 'No need to notify as we are downgrading',
                   'See Documentation')
    drop_paragraph('mm/ksm.c', 'No need to notify as we are replacing',
                   'See Documentation')
    edit('mm/khugepaged.c', ', to do the mmu_notifier:', ':')
    edit('include/linux/kernel.h',
         r', specifically when it is calling the mmu\n \* notifiers\. '
         r'The problem is that if the notifier',
         '. The problem is that\n * if what it calls')
    edit('include/linux/migrate.h',
         r'^\t \* The caller should always set this field when using mmu '
         r'notifier.*?\.\n')
    for path in ('mm/page_idle.c', 'mm/rmap.c', 'mm/damon/ops-common.c'):
        edit(path, r'(?:\n\t+ \*)? The MMU notifier takes care of any'
             r'(?:\n\t+ \*)? device aspects\.', '', 0)


def spatch():
    cmd = ['spatch', '--sp-file', os.path.join(HERE, 'remove.cocci'),
           '--in-place', '--no-show-diff', '--no-includes', '--very-quiet',
           '-j', '2'] + COCCI
    try:
        run = subprocess.run(cmd, cwd=tree, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        sys.exit('remove.py: spatch is missing: install coccinelle')
    if run.returncode:
        sys.exit(f'remove.py: spatch failed:\n{run.stderr}')


def store():
    for path, text in now.items():
        with open(os.path.join(tree, path), 'w', encoding='utf-8') as f:
            f.write(text)


def reload():
    for path in list(now):
        with open(os.path.join(tree, path), encoding='utf-8') as f:
            now[path] = f.read()


def left_over():
    for top in SWEPT:
        for where, _, names in os.walk(os.path.join(tree, top)):
            for name in names:
                path = os.path.relpath(os.path.join(where, name), tree)
                if path in CLIENTS:
                    continue
                with open(os.path.join(tree, path), encoding='utf-8',
                          errors='replace') as f:
                    text = f.read()
                for m in re.finditer(NAMES, text, re.I):
                    n = text.count('\n', 0, m.start())
                    yield f'{path}:{n + 1}: ' + text.split('\n')[n].strip()


def main():
    global tree
    if len(sys.argv) != 2 or not os.path.isfile(f'{sys.argv[1]}/mm/memory.c'):
        sys.exit('usage: remove.py TREE, the root of an unpacked kernel')
    tree = sys.argv[1]
    if not os.path.exists(os.path.join(tree, FILES[0])):
        sys.exit('remove.py: no MMU notifiers in this tree: unpack it again')
    for path in COCCI:
        load(path)
    kconfig()
    headers()
    all_locks()
    arch()
    kvm()
    store()
    spatch()
    reload()
    pagemap_scan()
    labels()
    kvm_after()
    comments()
    for path in now:
        while (text := tidy(before[path], now[path])) != now[path]:
            now[path] = text
    store()
    for path in FILES:
        os.unlink(os.path.join(tree, path))
    rest = list(left_over())
    if rest:
        sys.exit('remove.py: left over:\n' + '\n'.join(rest))


if __name__ == '__main__':
    main()
