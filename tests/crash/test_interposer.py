"""The interposer itself: it sees what strace sees, kills and fails where it is told to, and logs what was written."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter

import interposer
import pytest
from cases import TOP

BIN = os.path.join(TOP, 'bin')
# system call to our name for it
NAMES = {
    'open': 'open', 'openat': 'open', 'creat': 'open', 'write': 'write', 'pwrite64': 'pwrite', 'writev': 'writev',
    'rename': 'rename', 'renameat': 'rename', 'renameat2': 'rename', 'link': 'link', 'linkat': 'link',
    'unlink': 'unlink', 'mkdir': 'mkdir', 'mkdirat': 'mkdir', 'rmdir': 'rmdir', 'fsync': 'fsync', 'chmod': 'chmod',
    'fdatasync': 'fdatasync', 'syncfs': 'syncfs', 'ftruncate': 'ftruncate', 'fchmod': 'chmod', 'fchmodat': 'chmod',
    'symlink': 'symlink', 'symlinkat': 'symlink', 'mknod': 'mknod', 'mknodat': 'mknod', 'utimensat': 'utime',
    'sendfile': 'sendfile', 'copy_file_range': 'copy_file_range', 'truncate': 'truncate', 'fallocate': 'fallocate',
    'fchown': 'chown', 'fchownat': 'chown', 'chown': 'chown', 'lchown': 'chown', 'fsetxattr': 'setxattr',
    'setxattr': 'setxattr', 'lsetxattr': 'setxattr', 'pwritev': 'pwritev', 'pwritev2': 'pwritev',
}  # fmt: skip
UNKNOWN = 'unlinkat,splice,sync_file_range,msync,sync,mmap,io_uring_enter,linkat'  # to be seen, should they turn up


@pytest.fixture
def watched(tmp_path, library):
    """watched(script, sync=..., kill=...) runs Python under the interposer; gives (status, errors, calls)."""
    (tmp_path / 'disk').mkdir()

    def run(script, **faults):
        watch = interposer.Watch(str(tmp_path / 'watch'), str(tmp_path / 'disk'), **faults)
        done = subprocess.run(
            [sys.executable, '-c', script],
            env={**os.environ, **watch.environment, 'LD_PRELOAD': library},
            cwd=tmp_path / 'disk',
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return done.returncode, done.stderr, watch.calls

    return run


def test_all_kinds_of_calls_are_seen(watched, tmp_path):
    status, said, calls = watched(
        'import ctypes, os\n'
        'os.mkdir("sub"); fd = os.open("sub/../sub/a", os.O_CREAT | os.O_RDWR, 0o600)\n'
        'os.write(fd, b"one"); os.pwrite(fd, b"X", 1); os.writev(fd, [b"t", b"wo"]); os.ftruncate(fd, 5)\n'
        'other = os.open("b", os.O_CREAT | os.O_WRONLY); os.sendfile(other, fd, 0, 5)\n'
        'os.copy_file_range(fd, other, 2, 0); os.fsync(fd); os.fdatasync(fd); ctypes.CDLL(None).syncfs(fd)\n'
        'os.fchmod(fd, 0o644); os.utime("b"); os.link("b", "c"); os.symlink("c", "d"); os.rename("c", "sub/c")\n'
        'here = os.open("sub", os.O_RDONLY); os.unlink("c", dir_fd=here); os.unlink("d"); open("e", "w").write("e")\n'
        'os.mkfifo("f"); os.rmdir("g") if os.path.exists("g") else os.mkdir("g"); os.rmdir("g")\n'
        'open("../outside", "w").write("not seen"); open("b").read()\n'
    )
    assert (status, said) == (0, '')
    assert [call.name for call in calls] == (
        'mkdir open write pwrite writev ftruncate open sendfile copy_file_range fsync fdatasync syncfs chmod utime '
        'link symlink rename unlink unlink open write mknod mkdir rmdir'
    ).split()  # fmt: skip
    assert [call.step for call in calls] == list(range(1, len(calls) + 1))
    written = {call.name: (call.offset, call.data) for call in calls if call.name in interposer.WRITES}
    assert written['writev'] == (3, b'two') and written['pwrite'] == (1, b'X')
    assert written['sendfile'] == (0, b'oXetw')
    assert calls[1].path == str(tmp_path / 'disk/sub/a') and not calls[1].existed and calls[1].inode == calls[2].inode


def test_processes_share_the_counter(watched):
    script = 'import os\npids = [os.fork() for _ in range(3)]\nfor n in range(20): os.mkdir(f"{os.getpid()}-{n}")\n'
    _, _, calls = watched(script)
    assert len({call.pid for call in calls}) > 1
    assert [call.step for call in calls] == list(range(1, len(calls) + 1))


@pytest.mark.parametrize('tear', [False, True])
def test_it_kills_the_whole_group_before_a_step(watched, tmp_path, tear):
    script = (
        'import os, time\n'
        'if not os.fork():\n    time.sleep(1000)\n'
        'for name in "ab":\n    open(name, "wb", 0).write(b"0123456789")\n'
    )
    status, _, calls = watched(script, kill=4, tear=tear)
    assert status == -signal.SIGKILL
    assert len(calls) == 3
    assert (tmp_path / 'disk/b').read_bytes() == (b'01234' if tear else b'')


@pytest.mark.parametrize('lasting', [False, True])
def test_it_fails_a_step(watched, lasting):
    script = (
        'import os\n'
        'for name in "abc":\n'
        '    try:\n        os.mkdir(name)\n'
        '    except OSError as error:\n        print(error.errno, file=__import__("sys").stderr)\n'
    )
    _, said, calls = watched(script, fail=2, error=errno.EDQUOT, lasting=lasting)
    assert said == f'{errno.EDQUOT}\n' * (2 if lasting else 1)
    assert [call.result for call in calls] == ([0, -1, -1] if lasting else [0, -1, 0])


def test_it_agrees_with_strace(tmp_path, library, count):
    """The whole of a backup, by the shell script with all its processes."""
    if shutil.which('strace') is None:
        pytest.skip('needs strace')
    disk, store, source = tmp_path / 'disk', tmp_path / 'disk/store', tmp_path / 'source'
    disk.mkdir()
    for number in range(50):
        (source / f'{number % 7}').mkdir(parents=True, exist_ok=True)
        (source / f'{number % 7}/{number}').write_bytes(os.urandom(900 * number))
    (source / 'large').write_bytes(os.urandom(9 << 20))
    watch = interposer.Watch(str(tmp_path / 'watch'), str(disk), sync=True)
    script = 'chkfs-init "$1" && chkfs-backup -q --store "$1" "$2" && chkfs-backup -q --store "$1" "$2"'
    traced = [
        'strace', '-ff', '-y', '-s', '0', '-o', tmp_path / 'trace', '-e', f'trace={",".join(NAMES)},{UNKNOWN}',
        '-E', f'LD_PRELOAD={library}', *(f'-E{name}={value}' for name, value in watch.environment.items()),
        'sh', '-c', script, 'sh', store, source,
    ]  # fmt: skip
    path = f'{BIN}:{os.environ["PATH"]}'
    done = subprocess.run(traced, env={**os.environ, 'PATH': path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = Counter()
    for trace in tmp_path.glob('trace.*'):
        for line in trace.read_text().splitlines():
            if name := _changes(line, str(disk)):
                seen[name] += 1
    ours = Counter(call.name for call in watch.calls)
    assert seen == ours
    assert ours['syncfs'] > 4 and ours['rename'] > 10
    count('steps on which the interposer and strace agree', sum(ours.values()))


def _changes(line: str, disk: str) -> str | None:
    """The name that a line of strace counts under, None when it changes nothing below disk."""
    found = re.match(r'(\w+)\((.*)', line)
    if not found or f'{disk}' not in line:
        return None
    name, rest = found.groups()
    if name in ('open', 'openat') and not re.search('O_WRONLY|O_RDWR|O_CREAT|O_TRUNC', rest):
        return None
    if name == 'mmap':
        return 'mmap' if 'PROT_WRITE' in rest and 'MAP_SHARED' in rest else None
    if name == 'unlinkat':
        return 'rmdir' if 'AT_REMOVEDIR' in rest else 'unlink'
    if name in ('sendfile',) and disk not in rest.split(',')[0]:
        return None
    return NAMES.get(name, name)
