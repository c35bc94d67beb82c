#!/usr/bin/env python3
"""Tests of tree.py on a toy repository."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE_PY = os.environ.get('TREE_PY', os.path.join(HERE, 'tree.py'))

LINES = [f'line {n}\n' for n in range(1, 41)]
PATCH = '''diff --git a/mm/a.c b/mm/a.c
--- a/mm/a.c
+++ b/mm/a.c
@@ -9,6 +9,7 @@ line 8
 line 9
 line 10
 line 11
+new
 line 12
 line 13
 line 14
'''


def put(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    os.chmod(path, mode)


def get(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


class TreeTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.base = self.path('build/base')
        self.tree = self.path('build/tree')
        put(self.path('build/base/mm/a.c'), ''.join(LINES))
        put(self.path('build/base/mm/b.c'), ''.join(LINES))
        put(self.path('build/base/.gitignore'), '*.o\n')
        self.git('init', '-q', '-b', 'main', '.', where=self.base)
        self.commit('Linux')
        put(self.path('build/base/mm/c.c'), 'c\n')
        self.commit('removed')
        self.git('tag', 'removed', where=self.base)
        put(self.path('Makefile'), 'all:\n')
        put(self.path('testbed/x.py'), '\n')
        put(self.path('mm/own.c'), 'ours\n')
        put(self.path('tools/run.sh'), '#!/bin/sh\n', 0o755)
        put(self.path('mm/a.c.patch'), PATCH)
        self.series('0001-one', 'mm: one', ['mm/own.c'])
        self.series('0002-two', 'mm: two', ['mm/a.c.patch', 'tools/run.sh'])

    def path(self, name):
        return os.path.join(self.root, name)

    def series(self, name, subject, paths):
        put(self.path('series/' + name), f'{subject}\n\nBody.\n\n---\n'
            + ''.join(p + '\n' for p in paths))

    def git(self, *args, where=None):
        return subprocess.run(
            ['git', '-c', 'user.name=t', '-c', 'user.email=t@t', '-C',
             where or self.tree, *args], check=True, capture_output=True,
            text=True).stdout.strip()

    def commit(self, message):
        self.git('add', '-A', where=self.base)
        self.git('commit', '-q', '-m', message, where=self.base)

    def run_py(self, *args, ok=True):
        env = {k: v for k, v in os.environ.items() if k != 'BUILD'}
        run = subprocess.run([sys.executable, TREE_PY, *args, '--root',
                              self.root], capture_output=True, text=True,
                             env=env, check=False)
        self.assertNotIn('Traceback', run.stderr)
        self.assertEqual(run.returncode == 0, ok, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def files(self):
        out = {}
        for where, dirs, names in os.walk(self.root):
            dirs[:] = [d for d in dirs if d != 'build']
            for n in names:
                full = os.path.join(where, n)
                out[os.path.relpath(full, self.root)] = (
                    get(full), os.access(full, os.X_OK))
        return out

    def test_round_trip(self):
        before = self.files()
        self.run_py('tree')
        self.assertEqual(self.git('log', '--format=%s'),
                         'mm: two\nmm: one\nremoved\nLinux')
        self.assertIn('line 11\nnew\nline 12', get(self.tree + '/mm/a.c'))
        self.assertTrue(os.access(self.tree + '/tools/run.sh', os.X_OK))
        self.assertEqual(self.git('rev-parse', 'series'),
                         self.git('rev-parse', 'HEAD'))
        self.run_py('check-refresh')
        self.run_py('refresh')
        self.assertEqual(self.files(), before)

    def test_hash_is_reproducible(self):
        self.run_py('tree')
        one = self.git('rev-parse', 'series')
        self.assertEqual(self.git('log', '-2', '--format=%at %ct'),
                         '1767225720 1767225720\n1767225660 1767225660')
        shutil.rmtree(self.tree)
        self.run_py('tree')
        self.assertEqual(self.git('rev-parse', 'series'), one)

    def test_offset_hunk(self):
        put(self.path('mm/a.c.patch'),
            PATCH.replace('-9,6 +9,7', '-10,6 +10,7'))
        out = self.run_py('tree', ok=False)
        self.assertIn('mm/a.c.patch: hunk 1 (line 10)', out)
        self.assertIn('-1 lines off', out)
        self.assertFalse(os.path.exists(self.tree))

    def test_new_side_offset(self):
        put(self.path('mm/a.c.patch'),
            PATCH.replace('-9,6 +9,7', '-9,6 +10,7'))
        self.assertIn('hunk 1', self.run_py('tree', ok=False))

    def test_fuzz(self):
        put(self.path('mm/a.c.patch'), PATCH.replace(' line 9\n', ' line X\n'))
        self.assertIn('mm/a.c.patch: hunk 1 (line 9) applies not at all',
                      self.run_py('tree', ok=False))

    def test_short_hunk(self):
        put(self.path('mm/a.c.patch'), PATCH.replace(' line 14\n', ''))
        self.assertIn('hunk 1', self.run_py('tree', ok=False))

    def test_interrupted_build(self):
        put(self.path('build/tree.new/half'), 'x\n')
        self.run_py('check-refresh', ok=False)
        self.run_py('tree')
        self.assertFalse(os.path.exists(self.tree + '/half'))
        self.assertFalse(os.path.exists(self.tree + '.new'))

    def test_build_that_fails_half_way(self):
        put(self.path('build/bin/git'), '#!/bin/sh\ncase "$*" in *checkout*) '
            f'exit 1;; esac\nexec {shutil.which("git")} "$@"\n', 0o755)
        path = os.environ['PATH']
        self.addCleanup(os.environ.update, PATH=path)
        os.environ['PATH'] = self.path('build/bin') + ':' + path
        self.run_py('tree', ok=False)
        os.environ['PATH'] = path
        self.assertFalse(os.path.exists(self.tree))
        self.run_py('tree')
        self.run_py('check-refresh')

    def test_interrupted_update(self):
        self.run_py('tree')
        put(self.tree + '/.git/updating', 'x\n')
        put(self.tree + '/mm/b.c', 'half\n')
        before = self.files()
        self.assertIn('interrupted', self.run_py('refresh', ok=False))
        self.assertIn('interrupted', self.run_py('check-refresh', ok=False))
        self.assertIn('interrupted', self.run_py('tree', ok=False))
        self.assertEqual(self.files(), before)
        self.run_py('tree', '--force')
        self.run_py('check-refresh')

    def test_incomplete_base(self):
        self.git('tag', '-d', 'removed', where=self.base)
        self.assertIn('make base', self.run_py('tree', ok=False))

    def test_unlisted(self):
        put(self.path('lib/more.c'), 'x\n')
        self.assertIn('lib/more.c', self.run_py('tree', ok=False))

    def test_listed_twice_or_missing(self):
        self.series('0003-x', 'x', ['mm/own.c'])
        self.assertIn('mm/own.c', self.run_py('tree', ok=False))
        self.series('0003-x', 'x', ['mm/none.c'])
        self.assertIn('mm/none.c', self.run_py('tree', ok=False))

    def test_owned_file_of_the_base(self):
        put(self.path('mm/b.c'), 'x\n')
        self.series('0003-x', 'x', ['mm/b.c'])
        self.assertIn('mm/b.c.patch', self.run_py('tree', ok=False))

    def test_bad_series_file(self):
        put(self.path('series/0003-x'), 'subject\n\nbody\n')
        self.assertIn('0003-x', self.run_py('tree', ok=False))

    def test_dirty_tree_is_kept(self):
        for where in ('mm/b.c', 'mm/new.c'):
            with self.subTest(where):
                shutil.rmtree(self.tree, ignore_errors=True)
                put(self.path('mm/own.c'), 'ours\n')
                self.run_py('tree')
                put(f'{self.tree}/{where}', 'edit\n')
                self.run_py('tree')
                put(self.path('mm/own.c'), 'ours, changed\n')
                self.assertIn(where, self.run_py('tree', ok=False))
                self.assertEqual(get(f'{self.tree}/{where}'), 'edit\n')
                self.assertEqual(get(self.tree + '/mm/own.c'), 'ours\n')

    def test_new_commits_are_kept(self):
        self.run_py('tree')
        put(self.tree + '/mm/b.c', 'edit\n')
        self.git('commit', '-q', '-a', '-m', 'mine')
        head = self.git('rev-parse', 'HEAD')
        put(self.path('mm/own.c'), 'ours, changed\n')
        self.run_py('tree', ok=False)
        self.assertEqual(self.git('rev-parse', 'HEAD'), head)
        self.run_py('tree', '--force')
        self.assertEqual(get(self.tree + '/mm/own.c'), 'ours, changed\n')

    def test_commit_without_change_is_kept(self):
        self.run_py('tree')
        self.git('commit', '-q', '--allow-empty', '-m', 'mine')
        head = self.git('rev-parse', 'HEAD')
        put(self.path('mm/own.c'), 'ours, changed\n')
        self.assertIn('commits', self.run_py('tree', ok=False))
        self.assertEqual(self.git('rev-parse', 'HEAD'), head)

    def test_update_keeps_other_mtimes(self):
        self.run_py('tree')
        put(self.tree + '/mm/a.o', 'object\n')
        os.utime(self.tree + '/mm/a.c', (1000, 1000))
        self.git('status')
        put(self.path('mm/own.c'), 'ours, changed\n')
        self.run_py('tree')
        self.assertEqual(os.stat(self.tree + '/mm/a.c').st_mtime, 1000)
        self.assertEqual(get(self.tree + '/mm/own.c'), 'ours, changed\n')
        self.assertTrue(os.path.exists(self.tree + '/mm/a.o'))
        self.assertEqual(self.git('rev-parse', 'series'),
                         self.git('rev-parse', 'HEAD'))
        self.run_py('check-refresh')

    def test_edit_refresh_tree(self):
        self.run_py('tree')
        put(self.tree + '/mm/a.c', ''.join(['first\n'] + LINES))
        put(self.tree + '/mm/own.c', 'ours, edited\n')
        self.assertIn('mm/own.c', self.run_py('check-refresh', ok=False))
        self.run_py('refresh')
        self.assertEqual(get(self.path('mm/own.c')), 'ours, edited\n')
        self.assertNotIn('index ', get(self.path('mm/a.c.patch')))
        once = self.files()
        self.run_py('refresh')
        self.assertEqual(self.files(), once)
        self.run_py('check-refresh')
        self.run_py('tree')
        self.assertEqual(self.git('status', '--porcelain'), '')
        self.assertEqual(get(self.tree + '/mm/own.c'), 'ours, edited\n')
        self.assertEqual(len(self.git('log', '--format=%s').split('\n')), 4)

    def test_refresh_names_new_files(self):
        self.run_py('tree')
        put(self.tree + '/lib/new.c', 'new\n')
        put(self.tree + '/lib/new.sh', 'new\n', 0o755)
        put(self.tree + '/mm/b.c', ''.join(LINES[1:]))
        out = self.run_py('refresh', ok=False)
        self.assertIn('lib/new.c', out.split('list these')[1])
        self.assertIn('mm/b.c.patch', out.split('list these')[1])
        self.assertEqual(get(self.path('lib/new.c')), 'new\n')
        self.assertTrue(os.access(self.path('lib/new.sh'), os.X_OK))
        self.series('0003-x', 'x', ['lib/new.c', 'lib/new.sh', 'mm/b.c.patch'])
        self.run_py('refresh')
        self.run_py('tree')
        self.run_py('check-refresh')

    def test_refresh_drops_what_is_gone(self):
        self.run_py('tree')
        put(self.tree + '/mm/a.c', ''.join(LINES))
        out = self.run_py('refresh', ok=False)
        self.assertFalse(os.path.exists(self.path('mm/a.c.patch')))
        self.assertIn('mm/a.c.patch', out)

    def test_refresh_keeps_what_the_tree_never_had(self):
        self.run_py('tree')
        put(self.path('lib/new.c'), 'written here\n')
        self.assertIn('lib/new.c', self.run_py('refresh', ok=False))
        self.assertEqual(get(self.path('lib/new.c')), 'written here\n')

    def test_no_newline_at_end(self):
        self.run_py('tree')
        put(self.tree + '/mm/c.c', 'c\nd')
        self.run_py('refresh', ok=False)
        self.series('0003-x', 'x', ['mm/c.c.patch'])
        shutil.rmtree(self.tree)
        self.run_py('tree')
        self.assertEqual(get(self.tree + '/mm/c.c'), 'c\nd')
        self.run_py('check-refresh')

    def test_base_moves(self):
        self.run_py('tree')
        put(self.base + '/mm/c.c', 'c2\n')
        self.commit('removed again')
        self.git('tag', '-f', 'removed', where=self.base)
        self.run_py('tree')
        self.assertEqual(get(self.tree + '/mm/c.c'), 'c2\n')
        self.run_py('check-refresh')

    def test_first_refresh_without_series(self):
        shutil.rmtree(self.path('series'))
        shutil.rmtree(self.path('mm'))
        shutil.rmtree(self.path('tools'))
        self.git('clone', '-q', '-s', self.base, self.tree, where=self.root)
        put(self.tree + '/mm/own.c', 'ours\n')
        put(self.tree + '/mm/b.c', ''.join(LINES[1:]))
        self.run_py('refresh', ok=False)
        self.series('0001-x', 'x', ['mm/own.c', 'mm/b.c.patch'])
        self.run_py('refresh')
        self.run_py('tree')
        self.assertEqual(self.git('log', '-1', '--format=%s'), 'x')
        self.assertEqual(self.git('status', '--porcelain'), '')


if __name__ == '__main__':
    unittest.main()
