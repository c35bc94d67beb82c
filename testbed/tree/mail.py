#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write the mail series of build/tree: mail.py [--against mainline] [--signoff]

build/series goes onto Linux without MMU notifiers and has one mail for each file
of series/.  build/series-mainline goes onto Linux as it is and ends in the same
tree.  Its patches are those of series/, but for the files of series/mainline:

- One of the same name replaces the message.  Below its '---' stand the names of
  series files, or nothing for that name: all of its paths that no patch lists.
- A path may be listed by itself.
- A path '... + NAME' has the text of series/mainline/NAME before its last line,
  until a later patch lists the path alone.
- '*' is all that still differs.

Both are applied by git am before they are kept, and must give the tree.
"""
import argparse
import csv
import datetime
import glob
import os
import re
import shutil
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True

from tree import Error, Git, Repo, Series, Tree, locked  # noqa: E402

MOST = 15               # patches of a series that somebody still reads
START = {'removed': 'removed', 'mainline': 'base'}
NAME = {'removed': 'series', 'mainline': 'series-mainline'}


class Patch:
    """A patch against mainline: a message, and paths with what is put into them."""

    def __init__(self, message, entries, ours):
        self.message = message
        self.named = dict(entry.partition(' + ')[::2] for entry in entries
                          if entry not in ours)
        self.whole = {path.removesuffix('.patch') for entry in entries if entry in ours
                      for path in ours[entry].paths}

    def paths(self, patches):
        """All of them; what a patch names does not come with a series file."""
        named = {path for patch in patches for path in patch.named}
        return {**dict.fromkeys(self.whole - named, ''), **self.named}


def plan(ours, other):
    """The patches against mainline, from series/ and series/mainline."""
    ours = {patch.name: patch for patch in ours}
    merged = {entry for name, patch in other.items() for entry in patch.paths
              if entry in ours and entry != name}
    out = []
    for name in sorted({*ours, *other} - merged):
        patch = other.get(name) or ours[name]
        if not patch.paths and name not in ours:
            raise Error(f'series/mainline/{name}: brings no path')
        entries = patch.paths if name in other else []
        out.append(Patch(patch.message, entries or [name], ours))
    return out


class Mainline:
    """The commits of the series against mainline, in the objects of build/tree."""

    def __init__(self, repo, git):
        self.git, self.top = git, os.path.join(repo.root, 'series', 'mainline')
        other = {}
        for name in sorted(os.listdir(self.top)) if os.path.isdir(self.top) else []:
            if re.match(r'\d{4}-', name):
                with open(os.path.join(self.top, name), encoding='utf-8') as file:
                    other[name] = Series(f'mainline/{name}', file.read())
        self.patches = plan(repo.series(), other)
        fields = git.lines('diff-tree', '-r', '--no-renames', 'base', 'series')
        # What differs: path, and mode and blob at the end; all zeros if it goes.
        self.end = {path: (meta.split()[1], meta.split()[3])
                    for meta, path in zip(fields[::2], fields[1::2])}
        self.left = set(self.end)

    def content(self, path, text):
        mode, blob = self.end[path]
        if not text:
            self.left.discard(path)
            return mode, blob
        with open(os.path.join(self.top, text), 'rb') as file:
            more = file.read()
        body, mark, last = self.git.raw('cat-file', 'blob', blob).rpartition(b'\n\n')
        return mode, self.git('hash-object', '-w', '--stdin',
                              data=body + b'\n\n' + more + mark[1:] + last)

    def changes(self, patch):
        paths = patch.paths(self.patches)
        if paths.pop('*', None) is not None:
            later = {path for other in self.patches if other is not patch
                     for path in other.paths(self.patches)}
            paths.update((path, '') for path in self.left - later)
        return {path: self.content(path, text) for path, text in paths.items()
                if path in self.end}

    def commit(self):
        """Write the commits; return the last."""
        git, head = self.git, self.git.rev('base^{commit}')
        index = {'GIT_INDEX_FILE': os.path.join(git.top, '.git', 'mainline.index')}
        git('read-tree', 'base', env=index)
        for number, patch in enumerate(self.patches, 1):
            info = ''.join(f'{mode} {blob}\t{path}\n' for path, (mode, blob)
                           in sorted(self.changes(patch).items()))
            if not info:            # mainline has all of it
                continue
            git('update-index', '--index-info', data=info.encode(), env=index)
            date = f'{1767225600 + 60 * number} +0000'
            head = git('commit-tree', git('write-tree', env=index), '-p', head,
                       data=patch.message.encode(),
                       env={'GIT_AUTHOR_DATE': date, 'GIT_COMMITTER_DATE': date})
        os.unlink(index['GIT_INDEX_FILE'])
        if self.left:
            raise Error('in no patch against mainline: ' + ' '.join(sorted(self.left))
                        + ' (name each in series/mainline)')
        return head


FIGURE = '{:<{width}} {:>8} {:>8} {:>6} {:>6}'


def figure(width, text, *numbers):
    """A line of the table, or more: what a number is of is told whole."""
    *above, last = textwrap.wrap(text, width)
    return [*above, FIGURE.format(last, *numbers, width=width).rstrip()]


def figures(build, width=46):
    """What make bench has measured, as the letter tells it."""
    rows, newest = [], 0
    for path in sorted(glob.glob(os.path.join(build, 'bench', '*.csv'))):
        newest = max(newest, os.path.getmtime(path))
        with open(path, encoding='utf-8') as file:
            rows += [row for row in csv.DictReader(file) if int(row['turns'])]
    if not rows:
        return 'This letter was written without figures: "make bench" measures them.'
    day = datetime.datetime.fromtimestamp(newest, datetime.UTC).date()
    lines = figure(width, 'measure', 'mainline', 'this', 'ratio', 'spread')
    for row in rows:
        lines += figure(width, *(row[name] for name in
                                 ('measure', 'mainline', 'ours', 'ratio', 'spread')))
    return '\n'.join([f'Measured by "make bench" on {day}, both kernels from one configuration;',
                      'below 1 is better than mainline. Spread: how far the ratio of one turn is',
                      'from that of all turns, if there were several.\n', *lines])


def sender():
    """Name and address that git knows the caller by."""
    run = subprocess.run(['git', '-c', 'user.useConfigOnly=true', 'var', 'GIT_COMMITTER_IDENT'],
                         capture_output=True, text=True, check=False)
    who = re.match(r'(.+) <(.+@.+)> ', run.stdout)
    if not who:
        raise Error('--signoff needs to know who signs: set git config user.name '
                    'and user.email')
    return who.groups()


class Mail:
    def __init__(self, tree, against, signoff):
        self.tree, self.git, self.repo = tree, tree.git, tree.repo
        self.against = against
        self.who = sender() if signoff else None
        self.out = os.path.join(self.repo.build, NAME[against])

    def write(self):
        self.tree.need()
        if self.git.snapshot() != self.git.rev('series^{tree}'):
            raise Error(f'{self.tree.top} has changes: run "make refresh" and '
                        '"make tree" first')
        start, head = START[self.against], self.git.rev('series')
        if self.against == 'mainline':
            head = Mainline(self.repo, self.git).commit()
            self.git('tag', '-f', NAME['mainline'], head)
        count = int(self.git('rev-list', '--count', f'{start}..{head}'))
        if count > MOST:
            raise Error(f'{count} patches are more than {MOST}: put some together')
        new = self.out + '.new'
        shutil.rmtree(new, ignore_errors=True)
        self.format(new, f'{start}..{head}')
        self.letter(os.path.join(new, '0000-cover-letter.patch'))
        self.applied(new, start)
        shutil.rmtree(self.out, ignore_errors=True)
        os.rename(new, self.out)
        print(f'{self.out}: a letter and {count} patches; git am on '
              f'"{start}" gives the tree')

    def format(self, where, commits):
        name, mail = self.who or ('', '')
        env = {'GIT_COMMITTER_NAME': name, 'GIT_COMMITTER_EMAIL': mail} if self.who else {}
        self.git('format-patch', '-q', '-o', where, '--no-signature', '--no-renames',
                 '--cover-letter', *(['--signoff'] if self.who else []), commits, env=env)
        for path in glob.glob(os.path.join(where, '*.patch')) if self.who else []:
            edit(path, lambda text: re.sub(r'^From: .*', f'From: {name} <{mail}>', text,
                                           count=1, flags=re.M))

    def letter(self, path):
        top = os.path.join(self.repo.root, 'series')
        subject, _, body = read(os.path.join(top, 'cover-letter.txt')).partition('\n')
        folder = 'mainline' if self.against == 'mainline' else ''
        order = read(os.path.join(top, folder, 'order.txt'))
        body = body.replace('@order@', order.strip())
        body = body.replace('@figures@', figures(self.repo.build))
        edit(path, lambda text: text.replace('*** SUBJECT HERE ***', subject.strip(), 1)
             .replace('*** BLURB HERE ***', body.strip(), 1))

    def applied(self, mails, start):
        """Apply the mails by git am, where only the paths they touch are checked out."""
        where = os.path.join(self.repo.build, 'am.new')
        shutil.rmtree(where, ignore_errors=True)
        self.git('clone', '-q', '-s', '-n', self.tree.top, where)
        try:
            git = Git(where)
            paths = git.lines('diff-tree', '-r', '--no-renames', '--name-only',
                              start, 'series')
            git('config', 'core.sparseCheckout', 'true')
            with open(os.path.join(where, '.git/info/sparse-checkout'), 'w',
                      encoding='utf-8') as file:
                file.writelines(f'/{path}\n' for path in paths)
            git('checkout', '-q', '--detach', start)
            # The first one is the letter.
            git('am', '-q', *sorted(glob.glob(os.path.join(mails, '*.patch')))[1:])
            if git.rev('HEAD^{tree}') != self.git.rev('series^{tree}'):
                other = git('diff-tree', '-r', '--name-only', 'HEAD', 'series').split()
                raise Error('git am of the mails gives another tree: ' + ' '.join(other[:8]))
        finally:
            shutil.rmtree(where)


def read(path):
    try:
        with open(path, encoding='utf-8') as file:
            return file.read()
    except FileNotFoundError as err:
        raise Error(f'{path} is missing: the cover letter needs it') from err


def edit(path, change):
    text = read(path)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(change(text))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(prog='mail.py', allow_abbrev=False)
    parser.add_argument('--against', choices=START, default='removed')
    parser.add_argument('--signoff', action='store_true',
                        help="sign off and send as git's user.name and user.email")
    parser.add_argument('--root', default=os.path.dirname(os.path.dirname(here)))
    parser.add_argument('--build', default='build')
    args = parser.parse_args()
    root = os.path.abspath(args.root)
    build = os.path.abspath(os.path.join(root, args.build))
    try:
        with locked(build):
            Mail(Tree(Repo(root, build)), args.against, args.signoff).write()
    except (Error, OSError) as err:
        sys.exit(f'mail.py: {err}')


if __name__ == '__main__':
    main()
