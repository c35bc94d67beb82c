#!/usr/bin/env python3
"""Make build/base: Linux as VERSION pins it, and without its MMU notifiers.

    base.py fetch       the kernel's archive, verified, to build/download
    base.py base        fetch, and the git repository build/base: a commit of
                        Linux (tag base), one of the removal (tag removed)
    base.py mainline    base, and the work tree build/mainline of its tag base
    base.py manifest    print the manifest's sha256 of build/base's tag base

Downloads and unpacks happen beside their place and are renamed when verified.
"""
import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
WHO = 'base'
DATE = '1767225600 +0000'


class Error(Exception):
    pass


def version():
    with open(os.path.join(HERE, 'VERSION'), encoding='utf-8') as f:
        return dict(x.split('=', 1) for x in shlex.split(f.read(), True))


def sha256(path):
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


def need(tool, package):
    if not shutil.which(tool):
        raise Error(f'{tool} is missing: install {package}')


def run(cmd, **kw):
    try:
        done = subprocess.run(cmd, stderr=subprocess.PIPE, check=False, **kw)
    except FileNotFoundError as err:
        raise Error(f'{cmd[0]} is missing: install it') from err
    if done.returncode:
        why = done.stderr.decode(errors='replace').strip().split('\n')[-1]
        raise Error(f'{os.path.basename(cmd[0])} failed: '
                    + re.sub(r'\w+://\S+', 'the archive', why))
    return done.stdout


def debian_uris():
    """Debian's main archive, as the machine's own apt names it."""
    try:
        out = run(['apt-get', 'indextargets', '--format',
                   '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)',
                   'Created-By: Packages'], stdout=subprocess.PIPE).decode()
    except Error:
        return []
    uris = []
    for line in out.splitlines():
        uri, release, component, *origin = line.split(' ')
        if component == 'main' and '-' not in release and (
                origin == ['Debian'] or release in (
                    'bookworm', 'trixie', 'forky', 'sid', 'stable',
                    'oldstable', 'testing', 'unstable')):
            uris.append(uri.rstrip('/') + '/')
    return list(dict.fromkeys(uris))


class Base:
    def __init__(self, build):
        self.v = version()
        self.build = build
        self.download = os.path.join(build, 'download')
        self.top = os.path.join(build, 'base')

    # The archive

    def tar(self, source):
        return os.path.join(self.download,
                            f'linux-{self.v["version"]}.{source}.tar.xz')

    def fetch(self):
        """The archive's path; Debian's when apt can reach it."""
        os.makedirs(self.download, exist_ok=True)
        if os.path.exists(self.tar('debian')):
            self.check(self.tar('debian'), 'deb_tar_sha256')
            return self.tar('debian')
        if os.path.exists(self.tar('kernel.org')):
            return self.tar('kernel.org')
        self.room()
        print('fetching Linux (160 MB)', flush=True)
        why = self.from_debian()
        if not why:
            return self.tar('debian')
        self.from_kernel_org(why)
        return self.tar('kernel.org')

    def check(self, path, key):
        if sha256(path) != self.v[key]:
            raise Error(f'{path} does not have the sha256 that VERSION '
                        'pins: delete it and run again')

    def room(self):
        free = shutil.disk_usage(self.build).free // 1000000
        if free < int(self.v['need_mb']):
            raise Error(f'{self.build} has {free} MB free: make room for '
                        f'{self.v["need_mb"]} MB')

    def from_debian(self):
        """Try Debian; return why not."""
        helper = '/usr/lib/apt/apt-helper'
        uris = debian_uris() if os.path.exists(helper) else []
        if not uris or not shutil.which('dpkg-deb'):
            return 'apt names no Debian archive'
        deb = os.path.join(self.download, 'debian.deb.new')
        why = ''
        for uri in uris:
            try:
                run([helper, '-o', 'APT::Sandbox::User=', 'download-file',
                     uri + self.v['deb_path'], deb,
                     'SHA256:' + self.v['deb_sha256']],
                    stdout=subprocess.DEVNULL)
                break
            except Error as err:
                why = str(err)
        else:
            return why
        self.check(deb, 'deb_sha256')
        new = self.tar('debian') + '.new'
        with subprocess.Popen(['dpkg-deb', '--fsys-tarfile', deb],
                              stdout=subprocess.PIPE) as data, \
                open(new, 'wb') as f:
            run(['tar', '-xO', './' + self.v['deb_tar']], stdin=data.stdout,
                stdout=f)
        self.check(new, 'deb_tar_sha256')
        os.rename(new, self.tar('debian'))
        os.unlink(deb)
        return ''

    def from_kernel_org(self, why):
        new = self.tar('kernel.org') + '.new'
        try:
            with urllib.request.urlopen(self.v['kernel_url'], timeout=60) \
                    as src, open(new, 'wb') as dst:
                shutil.copyfileobj(src, dst, 1 << 20)
                whole = src.headers['Content-Length']
            if whole and os.path.getsize(new) != int(whole):
                raise Error('the download from kernel.org is incomplete: '
                            'run again')
        except (urllib.error.URLError, OSError) as err:
            raise Error(f'no network to kernel.org ({err}), and not from '
                        f'Debian ({why}): connect, or put the archive at '
                        f'{self.tar("kernel.org")}') from err
        os.rename(new, self.tar('kernel.org'))

    # The repository

    def git(self, *args, where=None, **kw):
        env = dict(os.environ, GIT_CONFIG_NOSYSTEM='1', LC_ALL='C',
                   GIT_CONFIG_GLOBAL=os.devnull, GIT_AUTHOR_NAME=WHO,
                   GIT_AUTHOR_EMAIL=f'{WHO}@localhost', GIT_COMMITTER_NAME=WHO,
                   GIT_COMMITTER_EMAIL=f'{WHO}@localhost',
                   GIT_AUTHOR_DATE=DATE, GIT_COMMITTER_DATE=DATE)
        return run(['git', '-C', where or self.top, *args], env=env,
                   stdout=subprocess.PIPE, **kw).decode().strip()

    def tag(self, name):
        if not os.path.isdir(os.path.join(self.top, '.git')):
            return None
        try:
            return self.git('rev-parse', '-q', '--verify', name + '^{commit}')
        except Error:
            return None

    def manifest(self, top):
        """sha256 over the files below manifest_paths."""
        paths = []
        for name in self.v['manifest_paths'].split():
            full = os.path.join(top, name)
            if os.path.isfile(full):
                paths.append(name)
            for where, _, names in os.walk(full):
                paths += [os.path.relpath(os.path.join(where, n), top)
                          for n in names]
        lines = ''.join(f'{sha256(os.path.join(top, p))}  {p}\n'
                        for p in sorted(paths))
        return hashlib.sha256(lines.encode()).hexdigest()

    def undo_debian(self, top):
        """Bring what Debian changed, and the series changes, back."""
        path = os.path.join(top, '.gitignore')
        with open(path, encoding='utf-8') as f:
            text = f.read()
        text = re.sub(r'\n#\n# Debian packaging(?:.|\n)*\Z', '', text)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        path = os.path.join(top, 'kernel/fork.c')
        with open(path, encoding='utf-8') as f:
            text = f.read()
        name = 'unprivileged_userns_clone'
        text = re.sub(rf'^#ifdef CONFIG_USER_NS\n[^\n]*{name};\n#else\n'
                      rf'[^\n]*{name}[^\n]*\n#endif\n\n', '', text, flags=re.M)
        text = re.sub(rf'^\tif \([^\n]*!{name}\)(?: \{{\n(?:\t\t[^\n]*\n)+\t\}}'
                      r'|(?:\n\t\t[^\n]*)+)\n\n', '', text, flags=re.M)
        if name in text:
            raise Error(f'{path}: {name} is left: look at undo_debian()')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)

    def unpack(self, tar):
        need('git', 'git')
        need('xz', 'xz-utils')
        self.room()
        print('unpacking, verifying and committing Linux (usually 60 s)',
              flush=True)
        new = self.top + '.new'
        shutil.rmtree(new, ignore_errors=True)
        if os.path.exists(self.top):
            shutil.rmtree(self.top)
        os.makedirs(new)
        run(['tar', '-x', '-J', '-f', tar, '-C', new,
             '--strip-components=1'])
        if self.manifest(new) != self.v['manifest_sha256']:
            shutil.rmtree(new)
            raise Error('the unpacked kernel is not the one that VERSION\'s '
                        f'manifest pins: delete {tar} and run again')
        self.undo_debian(new)
        self.git('init', '-q', '-b', 'main', where=new)
        self.git('config', 'gc.auto', '0', where=new)
        self.git('add', '-A', '-f', where=new)
        self.git('commit', '-q', '-m', f'Linux {self.v["version"]}', where=new)
        self.git('tag', 'base', where=new)
        os.rename(new, self.top)

    def removal(self):
        """A stamp of what the second commit is made with."""
        both = ''.join(sha256(os.path.join(HERE, name))
                       for name in ('remove.py', 'remove.cocci'))
        return hashlib.sha256(both.encode()).hexdigest()

    def make(self):
        if not self.tag('base'):
            self.unpack(self.fetch())
        stamp = self.removal()
        done = os.path.join(self.top, '.git', 'removal')
        if self.tag('removed') and os.path.exists(done):
            with open(done, encoding='ascii') as f:
                if f.read() == stamp:
                    print(f'{self.top}: up to date')
                    return
        need('spatch', 'coccinelle')
        print('removing mainline\'s MMU notifiers (usually 30 s)', flush=True)
        self.git('checkout', '-q', '-f', '-B', 'main', 'base')
        self.git('clean', '-q', '-d', '-f')
        run([sys.executable, os.path.join(HERE, 'remove.py'), self.top])
        self.git('add', '-A')
        self.git('commit', '-q', '-m', 'MMU notifiers removed')
        self.git('tag', '-f', 'removed')
        with open(done, 'w', encoding='ascii') as f:
            f.write(stamp)
        print(f'{self.top}: Linux {self.v["version"]}, notifiers removed')

    def mainline(self):
        """A work tree of the first commit: the peer that we are measured against."""
        self.make()
        where = os.path.join(self.build, 'mainline')
        with contextlib.suppress(Error):
            if os.path.isdir(where) and not self.git('status', '--porcelain', where=where) \
                    and self.git('rev-parse', 'HEAD', where=where) == self.tag('base'):
                print(f'{where}: up to date')
                return
        shutil.rmtree(where, ignore_errors=True)
        self.git('worktree', 'prune')
        self.git('worktree', 'add', '-q', '--detach', where, 'base')
        print(f'{where}: Linux {self.v["version"]}, as it is')


def main():
    root = os.path.dirname(os.path.dirname(HERE))
    ap = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    ap.add_argument('command', choices=['fetch', 'base', 'mainline', 'manifest'])
    ap.add_argument('--build', default=os.environ.get('BUILD'),
                    help='default: $BUILD, or build at the repository root')
    arg = ap.parse_args()
    build = os.path.abspath(os.path.join(root, arg.build or 'build'))
    os.makedirs(build, exist_ok=True)
    base = Base(build)
    try:
        lock = open(os.path.join(build, '.base.lock'), 'w', encoding='ascii')
        fcntl.flock(lock, fcntl.LOCK_EX)
        if arg.command == 'fetch':
            print(base.fetch())
        elif arg.command == 'base':
            base.make()
        elif arg.command == 'mainline':
            base.mainline()
        else:
            base.git('checkout', '-q', 'base')
            try:
                print(base.manifest(base.top))
            finally:
                base.git('checkout', '-q', 'main')
    except (Error, OSError) as err:
        sys.exit(f'base.py: {err}')


if __name__ == '__main__':
    main()
