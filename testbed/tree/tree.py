#!/usr/bin/env python3
"""Convert the repository to a kernel work tree and back.

    tree.py tree            write build/tree: the base and one commit a patch
    tree.py refresh         write build/tree's state back to the repository
    tree.py check-refresh   fail when refresh would change anything

The repository is a sparse kernel root: whole files are ours, <path>.patch is
our change to <path> of the base.  series/NNNN-name is a subject, a blank line,
a message, a line '---' and the paths that this patch brings.
"""
import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys

NOT_KERNEL = {'testbed', 'series', 'build', '.ci', '.git', '.gitignore',
              'Makefile', 'README.md', 'LICENSE'}
WHO = 'MMU notifier series <series@localhost>'
START = 1767225600      # 2026-01-01; the n-th patch is n minutes later


class Error(Exception):
    pass


class Git:
    """git in one repository, without the user's configuration."""

    def __init__(self, top):
        self.top = top
        name, mail = WHO[:-1].split(' <')
        self.env = dict(os.environ, GIT_CONFIG_NOSYSTEM='1',
                        GIT_CONFIG_GLOBAL=os.devnull, LC_ALL='C',
                        GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=mail,
                        GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=mail)
        for var in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE'):
            self.env.pop(var, None)

    def raw(self, *args, data=None, env=None):
        run = subprocess.run(['git', '-C', self.top, '-c',
                              'core.quotepath=off', *args], input=data,
                             capture_output=True, env={**self.env,
                                                       **(env or {})})
        if run.returncode:
            raise Error(f'git {args[0]} failed in {self.top}: '
                        + run.stderr.decode(errors='replace').strip())
        return run.stdout

    def __call__(self, *args, **kw):
        return self.raw(*args, **kw).decode().strip()

    def rev(self, name):
        try:
            return self('rev-parse', '-q', '--verify', name)
        except Error:
            return None

    def lines(self, *args, **kw):
        out = self.raw(*args, '-z', **kw).decode().split('\0')
        return [x for x in out if x]

    def snapshot(self):
        """The tree of the working state, new files included."""
        index = os.path.join(self.top, '.git', 'snapshot.index')
        real = os.path.join(self.top, '.git', 'index')
        if os.path.exists(real):
            shutil.copy2(real, index)
        try:
            env = {'GIT_INDEX_FILE': index}
            self('add', '-A', env=env)
            return self('write-tree', env=env)
        finally:
            if os.path.exists(index):
                os.unlink(index)


class Series:
    """One series file."""

    def __init__(self, name, text):
        self.name = name
        head, mark, tail = text.partition('\n---\n')
        if not mark:
            raise Error(f'series/{name}: no line "---" before the paths')
        lines = head.split('\n')
        if not lines[0].strip() or len(lines) < 3 or lines[1].strip():
            raise Error(f'series/{name}: wants a subject line, a blank line '
                        'and a message')
        self.message = head.rstrip() + '\n'
        self.paths = [x.strip() for x in tail.split('\n') if x.strip()]


class Repo:
    """The repository: series files, owned files and patches."""

    def __init__(self, root, build):
        self.root, self.build = root, build

    def kernel_paths(self):
        found = []
        for where, dirs, names in os.walk(self.root):
            top = where == self.root
            skip = NOT_KERNEL if top else set()
            dirs[:] = sorted(d for d in dirs if d not in skip and
                             os.path.join(where, d) != self.build)
            found += [os.path.relpath(os.path.join(where, n), self.root)
                      for n in names if n not in skip]
        return sorted(found)

    def series(self):
        top = os.path.join(self.root, 'series')
        names = sorted(n for n in os.listdir(top)
                       if re.match(r'\d{4}-', n)) if os.path.isdir(top) else []
        out = []
        for name in names:
            with open(os.path.join(top, name), encoding='utf-8') as f:
                out.append(Series(name, f.read()))
        return out

    def unlisted(self, series):
        """Check that each path is in one series file; return those in none."""
        owner = {}
        there = self.kernel_paths()
        for patch in series:
            for path in patch.paths:
                if path in owner:
                    raise Error(f'{path}: listed in series/{owner[path]} and '
                                f'series/{patch.name}: keep one')
                owner[path] = patch.name
                if path not in there:
                    raise Error(f'{path}: listed in series/{patch.name} but '
                                'not in the repository')
        return [p for p in there if p not in owner]

    def read(self, path):
        with open(os.path.join(self.root, path), 'rb') as f:
            return f.read()

    def mode(self, path):
        full = os.path.join(self.root, path)
        return '100755' if os.access(full, os.X_OK) else '100644'


HUNK = re.compile(rb'@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@')


def hunks(name, patch):
    """Yield (number, old start, new start, old lines, new lines)."""
    lines = patch.split(b'\n')
    if lines and not lines[-1]:
        lines.pop()
    i, n = 0, 0
    while i < len(lines) and not lines[i].startswith(b'@@'):
        if re.match(rb'(old|new) (file )?mode|deleted|rename|Binary|GIT bin',
                    lines[i]):
            raise Error(f'{name}: can only change text: {lines[i].decode()}')
        i += 1
    if i == len(lines):
        raise Error(f'{name}: no hunk')
    while i < len(lines):
        m = HUNK.match(lines[i])
        n += 1
        if not m:
            raise Error(f'{name}: line {i + 1} is not a hunk header')
        a, la, b, lb = (int(x) if x else 1 for x in m.groups())
        i += 1
        old, new = [], []
        while i < len(lines) and (len(old) < la or len(new) < lb):
            kind, text = lines[i][:1], lines[i][1:] + b'\n'
            if kind not in (b' ', b'-', b'+') and lines[i]:
                break
            if kind != b'+':
                old.append(text)
            if kind != b'-':
                new.append(text)
            i += 1
            if i < len(lines) and lines[i].startswith(b'\\'):
                for side, on in ((old, kind != b'+'), (new, kind != b'-')):
                    if on:
                        side[-1] = side[-1][:-1]
                i += 1
        if (len(old), len(new)) != (la, lb):
            raise Error(f'{name}: hunk {n} does not have the lines that its '
                        'header counts')
        yield n, a if la else a + 1, b if lb else b + 1, old, new


def apply(name, base, patch):
    """Apply patch to base: each hunk where it says, line for line."""
    src = base.splitlines(keepends=True)
    out, done = [], 0
    for n, a, b, old, new in hunks(name, patch):
        at = a - 1
        if at < done or src[at:at + len(old)] != old:
            k = len(old)
            near = [j - at for j in range(len(src) - k + 1)
                    if src[j:j + k] == old]
            how = (f'only {min(near, key=abs):+d} lines off' if near
                   else 'not at all')
            raise Error(f'{name}: hunk {n} (line {a}) applies {how}: '
                        'update the patch')
        out += src[done:at]
        if len(out) != b - 1:
            raise Error(f'{name}: hunk {n} puts its lines at {len(out) + 1}, '
                        f'its header says {b}: update the patch')
        out += new
        done = at + len(old)
    return b''.join(out + src[done:])


class Tree:
    """build/tree."""

    def __init__(self, repo):
        self.repo = repo
        self.base = os.path.join(repo.build, 'base')
        self.top = os.path.join(repo.build, 'tree')
        self.git = Git(self.top)

    def exists(self):
        return os.path.isdir(os.path.join(self.top, '.git'))

    def need(self):
        if not self.exists():
            raise Error(f'{self.top} is missing: run "make tree"')
        if os.path.exists(self.updating()):
            raise Error(f'the last update of {self.top} was interrupted: '
                        'run "make tree"')

    def updating(self):
        return os.path.join(self.top, '.git', 'updating')

    def contents(self, git, series):
        """The changes of every patch: {path: (mode, blob)}."""
        out = []
        for patch in series:
            change = {}
            for path in patch.paths:
                in_tree = path.removesuffix('.patch')
                entry = git('ls-tree', 'removed', '--', in_tree).split()
                if path == in_tree:
                    if entry:
                        raise Error(f'{path}: the base has this file: store '
                                    f'the change as {path}.patch')
                    mode, data = self.repo.mode(path), self.repo.read(path)
                else:
                    if not entry:
                        raise Error(f'{path}: the base has no {in_tree}')
                    mode = entry[0]
                    data = apply(path, git.raw('cat-file', 'blob', entry[2]),
                                 self.repo.read(path))
                change[in_tree] = mode, git('hash-object', '-w', '--stdin',
                                            data=data)
            out.append(change)
        return out

    def commit(self, git, series):
        """Write the commits of the series; return the last."""
        changes = self.contents(git, series)
        index = os.path.join(git.top, '.git', 'series.index')
        head = git.rev('removed^{commit}')
        env = {'GIT_INDEX_FILE': index}
        try:
            git('read-tree', 'removed', env=env)
            for n, (patch, change) in enumerate(zip(series, changes), 1):
                info = ''.join(f'{m} {b}\t{p}\n'
                               for p, (m, b) in sorted(change.items()))
                git('update-index', '--index-info', data=info.encode(),
                    env=env)
                date = f'{START + 60 * n} +0000'
                head = git('commit-tree', git('write-tree', env=env),
                           '-p', head, data=patch.message.encode(),
                           env={'GIT_AUTHOR_DATE': date,
                                'GIT_COMMITTER_DATE': date})
        finally:
            if os.path.exists(index):
                os.unlink(index)
        return head

    def check_base(self):
        if not Git(self.base).rev('removed'):
            raise Error(f'{self.base} is missing or incomplete: '
                        'run "make base"')

    def make(self, force=False):
        series = self.repo.series()
        lost = self.repo.unlisted(series)
        if lost:
            raise Error('in no series file: ' + ' '.join(lost)
                        + ' (name each below one patch in series/, or remove it)')
        self.check_base()
        if not self.exists():
            self.create(series)
        else:
            self.update(series, force)

    def create(self, series):
        new = self.top + '.new'
        if os.path.exists(new):
            shutil.rmtree(new)
        if os.path.exists(self.top):
            raise Error(f'{self.top} is not a git work tree: remove it')
        Git(self.repo.build)('clone', '-q', '-s', '-n', self.base, new)
        git = Git(new)
        try:
            head = self.commit(git, series)
        except Error:
            shutil.rmtree(new)
            raise
        git('checkout', '-q', '-B', 'main', head)
        git('tag', '-f', 'series', head)
        os.rename(new, self.top)
        print(f'{self.top}: {len(series)} patches')

    def update(self, series, force):
        git = self.git
        removed = git.rev('removed')
        was = git.rev('series') or removed
        git('fetch', '-q', '-f', self.base, 'refs/tags/*:refs/tags/*')
        try:
            head = self.commit(git, series)
        except Error:
            git('tag', '-f', 'removed', removed)
            raise
        broken = os.path.exists(self.updating())
        if head == git.rev('series') and not broken and not force:
            print(f'{self.top}: up to date')
            return
        state = git.snapshot()
        clean = state == git.rev(f'{was}^{{tree}}') and git.rev('HEAD') == was
        if state == git.rev(f'{head}^{{tree}}'):
            git('reset', '-q', '--mixed', head)
        elif clean and not broken or force:
            self.move(head, force)
        else:
            git('tag', '-f', 'removed', removed)
            self.refuse(state, was, broken)
        git('tag', '-f', 'series', head)
        if os.path.exists(self.updating()):
            os.unlink(self.updating())
        print(f'{self.top}: {len(series)} patches')

    def move(self, head, force):
        with open(self.updating(), 'w', encoding='ascii') as f:
            f.write(head + '\n')
        if force:
            self.git('reset', '-q', '--hard', head)
            self.git('clean', '-q', '-d', '-f')
        else:
            self.git('checkout', '-q', '-B', 'main', head)

    def refuse(self, state, was, broken):
        names = self.git.lines('diff-tree', '-r', '--no-renames',
                               '--name-only', was, state)
        what = ' '.join(names[:8]) + (' ...' if len(names) > 8 else '')
        if broken:
            raise Error(f'the last update of {self.top} was interrupted; '
                        f'"tree.py tree --force" discards these: {what}')
        if not names:
            what = 'commits that are not in the series'
        raise Error(f'{self.top} has changes ({what}): save them with "make '
                    'refresh", or discard them with "tree.py tree --force"')

    def export(self):
        """What the repository should hold: {path: (executable, bytes)}."""
        git = self.git
        state = git.snapshot()
        out = {}
        fields = git.lines('diff-tree', '-r', '--no-renames', 'removed', state)
        for meta, path in zip(fields[::2], fields[1::2]):
            _, mode, _, blob, status = meta.split()
            if path.split('/')[0] in NOT_KERNEL and status == 'A':
                raise Error(f'{path}: this name is not for kernel files')
            if status == 'A':
                out[path] = mode == '100755', git.raw('cat-file', 'blob', blob)
            elif status == 'M':
                diff = git.raw('diff', '--no-color', '--no-ext-diff',
                               '--no-renames', '--no-textconv', '-U3',
                               '--diff-algorithm=myers', '--src-prefix=a/',
                               '--dst-prefix=b/', 'removed', state,
                               '--', path)
                diff = re.sub(rb'(?m)\Aindex [^\n]*\n|(?<=\n)index [^\n]*\n',
                              b'', diff, count=1)
                list(hunks(path, diff))
                out[path + '.patch'] = False, diff
            else:
                raise Error(f'{path}: status {status}: the series only adds '
                            'and changes files')
        return out

    def stale(self):
        """Paths that refresh would write, and those it would delete."""
        want = self.export()
        have = self.repo.kernel_paths()
        write = {p: v for p, v in want.items() if p not in have
                 or self.repo.read(p) != v[1]
                 or (self.repo.mode(p) == '100755') != v[0]}
        return write, [p for p in have if p not in want]

    def refresh(self):
        self.need()
        write, gone = self.stale()
        # A file that no patch brings was never in the tree: it is new here.
        new = set(gone) & set(self.repo.unlisted(self.repo.series()))
        if new:
            raise Error('in the repository, but in no patch and not in the tree: '
                        + ' '.join(sorted(new)) + '; copy it to the tree, or delete it')
        for path, (executable, data) in write.items():
            full = os.path.join(self.repo.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full + '.new', 'wb') as f:
                f.write(data)
            os.chmod(full + '.new', 0o755 if executable else 0o644)
            os.rename(full + '.new', full)
            print(f'wrote {path}')
        for path in gone:
            os.unlink(os.path.join(self.repo.root, path))
            print(f'deleted {path}')
        lost = self.repo.unlisted(self.repo.series())
        if lost:
            raise Error('list these in a series file: ' + ' '.join(lost))

    def check(self):
        self.need()
        write, gone = self.stale()
        if write or gone:
            raise Error('"make refresh" would change: '
                        + ' '.join(sorted([*write, *gone])))
        print('refresh would change nothing')


@contextlib.contextmanager
def locked(build):
    """One at a time works on build/tree."""
    os.makedirs(build, exist_ok=True)
    with open(os.path.join(build, '.tree.lock'), 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    ap = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    ap.add_argument('command', choices=['tree', 'refresh', 'check-refresh'])
    ap.add_argument('--root', default=root, help='the repository')
    ap.add_argument('--build', default=os.environ.get('BUILD'),
                    help='default: $BUILD, or build below the repository')
    ap.add_argument('--force', action='store_true',
                    help='tree: discard what build/tree has changed')
    arg = ap.parse_args()
    root = os.path.abspath(arg.root)
    build = os.path.abspath(os.path.join(root, arg.build or 'build'))
    tree = Tree(Repo(root, build))
    try:
        with locked(build):
            {'tree': lambda: tree.make(arg.force), 'refresh': tree.refresh,
             'check-refresh': tree.check}[arg.command]()
    except (Error, OSError) as err:
        sys.exit(f'tree.py: {err}')


if __name__ == '__main__':
    main()
