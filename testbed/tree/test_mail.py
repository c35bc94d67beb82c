#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Tests of mail.py on a toy repository."""
import glob
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)

import mail  # noqa: E402
import test_tree  # noqa: E402
from test_tree import get, put  # noqa: E402

MAIL_PY = os.path.join(HERE, 'mail.py')
HEADER = '#ifndef A\n\nint x;\n\n#endif\n'


class MailTest(test_tree.TreeTest):
    """Mainline has mm/a.c, which is changed, mm/own.c, which is replaced, and
    mm/old.c, which goes."""

    # Those of tree.py run in their own file.
    for name in [n for n in dir(test_tree.TreeTest) if n.startswith('test_')]:
        locals()[name] = None
    del name

    def setUp(self):
        super().setUp()
        self.git('checkout', '-q', '--detach', 'HEAD^', where=self.base)
        put(self.base + '/mm/own.c', 'theirs\n\n#endif\n')
        put(self.base + '/mm/old.c', 'old\n')
        self.commit('Linux')
        self.git('tag', 'base', where=self.base)
        os.unlink(self.base + '/mm/own.c')
        os.unlink(self.base + '/mm/old.c')
        put(self.base + '/mm/c.c', 'c\n')
        self.commit('removed')
        self.git('tag', '-f', 'removed', where=self.base)
        put(self.path('mm/own.c'), HEADER)
        put(self.path('series/cover-letter.txt'),
            'The title\n\nThe text.\n\n@order@\n\n@figures@\n')
        put(self.path('series/order.txt'), 'Order one.\n')
        put(self.path('series/mainline/order.txt'), 'Order two.\n')
        put(self.path('series/mainline/old-names.h'), 'int old;\n')
        self.series('mainline/0001-one', 'mm: new one', ['0001-one', 'mm/own.c + old-names.h'])
        self.series('mainline/0003-rest', 'mm: rest', ['mm/own.c', '*'])
        self.run_py('tree')

    def mail(self, *args, ok=True, **env):
        run = subprocess.run([sys.executable, MAIL_PY, *args, '--root', self.root],
                             capture_output=True, text=True, check=False,
                             env={**os.environ, **env})
        self.assertNotIn('Traceback', run.stderr)
        self.assertEqual(run.returncode == 0, ok, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def mails(self, name):
        return [get(path) for path in sorted(glob.glob(self.path(f'build/{name}/*')))]

    def test_series(self):
        self.mail()
        letter, one, two = self.mails('series')
        for text in ('The title', 'The text.', 'Order one.', 'without figures'):
            self.assertIn(text, letter)
        self.assertIn('[PATCH 1/2] mm: one\n', one)
        self.assertIn('mm/a.c', two)
        self.assertNotIn('Signed-off-by', one)

    def test_mainline(self):
        self.mail('--against', 'mainline')
        letter, one, two, rest = self.mails('series-mainline')
        self.assertIn('Order two.', letter)
        self.assertIn('mm: new one\n', one)
        self.assertIn('+int x;\n+\n+int old;\n', one)
        self.assertIn('mm/a.c', two)
        self.assertIn('-int old;\n', rest)
        self.assertIn('deleted file mode 100644', rest)
        self.assertEqual(self.git('rev-parse', 'series^{tree}'),
                         self.git('rev-parse', 'series-mainline^{tree}'))

    def test_every_step(self):
        self.mail('--against', 'mainline')
        show = [self.git('show', f'series-mainline~{n}:mm/own.c') for n in (3, 2, 1, 0)]
        self.assertEqual(show, ['theirs\n\n#endif', '#ifndef A\n\nint x;\n\nint old;\n\n#endif',
                                '#ifndef A\n\nint x;\n\nint old;\n\n#endif', HEADER.strip()])

    def test_path_in_no_patch(self):
        self.series('mainline/0003-rest', 'mm: rest', ['mm/own.c'])
        self.assertIn('mm/c.c mm/old.c', self.mail('--against', 'mainline', ok=False))

    def test_old_names_stay(self):
        self.series('mainline/0003-rest', 'mm: rest', ['mm/old.c', 'mm/c.c'])
        self.assertIn('in no patch against mainline: mm/own.c',
                      self.mail('--against', 'mainline', ok=False))

    def test_named_path_leaves_its_patch(self):
        self.series('mainline/0002-two-more', 'mm: fix', ['mm/a.c'])
        self.mail('--against', 'mainline')
        _, _, two, more, _ = self.mails('series-mainline')
        self.assertIn('mm/a.c', more)
        self.assertNotIn('mm/a.c', two)

    def test_merged(self):
        self.series('mainline/0001-one', 'mm: both', ['0001-one', '0002-two', 'mm/own.c + old-names.h'])
        self.mail('--against', 'mainline')
        self.assertEqual(len(self.mails('series-mainline')), 3)

    def test_too_many(self):
        for number in range(3, 17):
            put(self.path(f'mm/{number}.c'), 'x\n')
            self.series(f'{number:04}-x', 'mm: x', [f'mm/{number}.c'])
        self.run_py('tree')
        self.assertIn('16 patches are more than 15', self.mail(ok=False))

    def test_other_tree(self):
        """A mail that says something else than its commit is noticed."""
        put(self.path('build/bin/git'), '#!/bin/sh\ncase " $* " in *" am "*) '
            'for last; do :; done; sed -i s/^+new$/+gnu/ "$last";; esac\n'
            f'exec {mail.shutil.which("git")} "$@"\n', 0o755)
        out = self.mail(ok=False, PATH=self.path('build/bin') + ':' + os.environ['PATH'])
        self.assertIn('another tree: mm/a.c', out)
        self.assertEqual(self.mails('series'), [])

    def test_signoff(self):
        put(self.path('config'), '[user]\n\tname = A B\n\temail = a@b.c\n')
        self.mail('--signoff', GIT_CONFIG_GLOBAL=self.path('config'))
        _, one, _ = self.mails('series')
        self.assertIn('\nFrom: A B <a@b.c>\n', one)
        self.assertIn('\nSigned-off-by: A B <a@b.c>\n', one)
        self.assertNotIn('localhost', one)

    def test_signoff_of_nobody(self):
        out = self.mail('--signoff', ok=False, GIT_CONFIG_GLOBAL=os.devnull,
                        GIT_CONFIG_NOSYSTEM='1')
        self.assertIn('user.name', out)

    def test_figures(self):
        put(self.path('build/bench/bench.csv'),
            'key,measure,mainline,ours,ratio,spread,turns\n'
            'k,"locks, a page",2,1,0.5,3.1%,2\n'
            f'l,"{"words " * 10}to the end",4,3,0.75,-,1\n'
            'm,not measured yet,-,-,-,-,0\n')
        self.mail()
        letter = self.mails('series')[0]
        self.assertRegex(letter, r'locks, a page +2 +1 +0\.5 +3\.1%\n')
        self.assertRegex(letter, r'\nwords words .*\n.* to the end +4 +3 +0\.75 +-\n')
        self.assertNotIn('not measured yet', letter)

    def test_changed_tree(self):
        put(self.tree + '/mm/a.c', 'x\n')
        self.assertIn('make refresh', self.mail(ok=False))


if __name__ == '__main__':
    unittest.main()
