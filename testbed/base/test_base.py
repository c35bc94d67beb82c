#!/usr/bin/env python3
"""Tests of base.py with a toy kernel, a toy removal and no network."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BASE_PY = os.environ.get('BASE_PY', os.path.join(HERE, 'base.py'))
REMOVE = '''import os, sys
os.unlink(sys.argv[1] + '/mm/mmu_notifier.c')
'''
FORK = '''#include <a.h>

#ifdef CONFIG_USER_NS
extern int unprivileged_userns_clone;
#else
#define unprivileged_userns_clone 0
#endif

int f(void)
{
	if ((a & B) && !unprivileged_userns_clone)
		if (!capable(C))
			return 1;

	if ((a & D) && !unprivileged_userns_clone) {
		err = -EPERM;
		if (!capable(C))
			goto out;
	}

	return 0;
}
'''


def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


class BaseTest(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.top)
        self.here = self.path('testbed/base')
        os.makedirs(self.here)
        shutil.copy(BASE_PY, self.here + '/base.py')
        put(self.here + '/remove.py', REMOVE)
        put(self.here + '/remove.cocci', '')
        put(self.path('linux/mm/mmu_notifier.c'), 'x\n')
        put(self.path('linux/kernel/fork.c'), FORK)
        put(self.path('linux/.gitignore'), '*.o\n\n#\n# Debian packaging: x\n'
            '#\n/*\n!/debian/\n')
        subprocess.run(['tar', '-C', self.top, '-cJf', self.path('k.tar.xz'),
                        'linux'], check=True)
        os.mkdir(self.path('bin'))
        for tool in ('git', 'tar', 'xz', 'sh'):
            os.symlink(shutil.which(tool), self.path('bin/' + tool))
        put(self.path('bin/spatch'), '')
        os.chmod(self.path('bin/spatch'), 0o755)
        self.version(manifest_sha256='unset')
        self.version(manifest_sha256=self.manifest())

    def path(self, name):
        return os.path.join(self.top, name)

    def version(self, **change):
        v = {'version': '1.0', 'deb_path': 'none', 'deb_sha256': '0',
             'deb_tar': 'none', 'deb_tar_sha256': '0',
             'kernel_url': 'file://' + self.path('k.tar.xz'),
             'manifest_paths': "'mm kernel'", 'need_mb': '1'}
        v.update(getattr(self, 'pins', {}), **change)
        self.pins = v
        put(self.here + '/VERSION',
            ''.join(f'{k}={x}\n' for k, x in v.items()))

    def manifest(self):
        code = ('import sys; sys.path.insert(0, sys.argv[1]); import base; '
                'print(base.Base(".").manifest(sys.argv[2]))')
        return subprocess.run([sys.executable, '-B', '-c', code, self.here,
                               self.path('linux')], check=True, text=True,
                              capture_output=True).stdout.strip()

    def run_py(self, *args, ok=True):
        env = {k: v for k, v in os.environ.items() if k != 'BUILD'}
        env['PATH'] = self.path('bin')
        run = subprocess.run([sys.executable, self.here + '/base.py', *args],
                             capture_output=True, text=True, env=env,
                             check=False)
        self.assertNotIn('Traceback', run.stderr)
        self.assertEqual(run.returncode == 0, ok, run.stdout + run.stderr)
        self.assertLessEqual(run.stderr.count('\n'), 1)
        return run.stdout + run.stderr

    def git(self, *args):
        return subprocess.run(['git', '-C', self.path('build/base'), *args],
                              check=True, capture_output=True,
                              text=True).stdout.strip()

    def test_base(self):
        self.run_py('base')
        self.assertEqual(self.git('log', '--format=%s'),
                         'MMU notifiers removed\nLinux 1.0')
        self.assertEqual(self.git('ls-files', 'mm'), '')
        self.assertEqual(self.git('ls-tree', '--name-only', '-r', 'base',
                                  'mm'), 'mm/mmu_notifier.c')
        self.assertEqual(self.git('show', 'base:.gitignore'), '*.o')
        self.assertEqual(self.git('show', 'base:kernel/fork.c'),
                         '#include <a.h>\n\nint f(void)\n{\n\treturn 0;\n}')
        self.assertIn('up to date', self.run_py('base'))

    def test_new_removal(self):
        self.run_py('base')
        was = self.git('rev-parse', 'base')
        put(self.here + '/remove.py', REMOVE + '# more\n'
            'open(sys.argv[1] + "/mm/x", "w")\n')
        self.run_py('base')
        self.assertEqual(self.git('rev-parse', 'base'), was)
        self.assertEqual(self.git('ls-files', 'mm'), 'mm/x')

    def test_hash_is_that_of_the_content(self):
        self.run_py('base')
        was = self.git('rev-parse', 'removed')
        put(self.here + '/remove.py', REMOVE + '# more\n')
        put(self.path('build/base/left'), 'over\n')
        self.run_py('base')
        self.assertEqual(self.git('rev-parse', 'removed'), was)

    def test_removal_fails(self):
        put(self.here + '/remove.py', 'raise SystemExit("bad")\n')
        self.assertIn('bad', self.run_py('base', ok=False))
        put(self.here + '/remove.py', REMOVE)
        self.run_py('base')
        self.assertEqual(self.git('ls-files', 'mm'), '')

    def test_wrong_manifest(self):
        self.version(manifest_sha256='0')
        self.assertIn('1.0.kernel.org.tar.xz', self.run_py('base', ok=False))
        self.assertFalse(os.path.exists(self.path('build/base')))

    def test_wrong_hash(self):
        put(self.path('build/download/linux-1.0.debian.tar.xz'), 'x')
        out = self.run_py('fetch', ok=False)
        self.assertIn('linux-1.0.debian.tar.xz', out)
        self.assertIn('delete it', out)

    def test_no_network(self):
        self.version(kernel_url='file:///nowhere/x.tar.xz')
        self.assertIn('no network', self.run_py('fetch', ok=False))

    def test_no_room(self):
        self.version(need_mb='1000000000')
        self.assertIn('make room for 1000000000 MB',
                      self.run_py('fetch', ok=False))

    def test_missing_tool(self):
        os.unlink(self.path('bin/spatch'))
        self.assertIn('install coccinelle', self.run_py('base', ok=False))

    def test_interrupted(self):
        put(self.path('build/download/linux-1.0.kernel.org.tar.xz.new'), 'x')
        put(self.path('build/base.new/half'), 'x')
        put(self.path('build/base/half'), 'x')
        self.run_py('base')
        self.assertEqual(self.git('ls-files'), '.gitignore\nkernel/fork.c')

    def test_fetch_is_reused(self):
        self.run_py('fetch')
        self.version(kernel_url='file:///nowhere/x.tar.xz')
        self.run_py('base')


if __name__ == '__main__':
    unittest.main()
