"""Builds interpose.c, says to it what to do with one run, and reads its log.  What it can do stands in interpose.c."""

import errno
import os
import shutil
import subprocess
from typing import NamedTuple

import pytest

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'interpose.c')
WRITES = frozenset(('write', 'pwrite', 'writev', 'pwritev', 'sendfile', 'copy_file_range'))
SYNCS = frozenset(('fsync', 'fdatasync', 'syncfs'))


class Call(NamedTuple):
    """One step: what was called, and what it gave; data: the bytes that were written."""

    step: int
    pid: int
    name: str
    result: int
    errno: int
    inode: int
    replaced: int  # the inode that a rename's target was before, 0 for none
    existed: bool
    offset: int
    length: int
    path: str
    other: str
    data: bytes

    def __str__(self):
        failed = f' = {errno.errorcode[self.errno]}' if self.result < 0 else ''
        return f'{self.step} {self.name} {self.path} {self.other}'.rstrip() + failed


def build(directory) -> str:
    """Compiles the library into a directory; gives its path."""
    compiler = shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        pytest.skip('needs a C compiler: apt install gcc libc6-dev')
    library = os.path.join(directory, 'interpose.so')
    flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC', '-fvisibility=hidden']
    subprocess.run([compiler, *flags, '-o', library, SOURCE, '-ldl', '-lpthread'], check=True)
    return library


class Watch:
    """The environment of one run, and what the interposer saw of it.

    kill, fail: a step; tear: half of a write that is to be killed is done; error: the errno of a step that fails;
    lasting: it goes on failing.
    """

    def __init__(self, directory, root, *, kill=0, tear=False, fail=0, error=0, lasting=False, sync=False):
        os.makedirs(directory, exist_ok=True)
        self._log = os.path.join(directory, 'log')
        self._counter = os.path.join(directory, 'counter')
        with open(self._counter, 'wb') as file:
            file.write(bytes(4096))
        for path in (self._log, self._log + '.data'):
            if os.path.exists(path):
                os.unlink(path)
        settings = {
            'ROOT': os.fsdecode(root),
            'COUNTER': self._counter,
            'LOG': self._log,
            'KILL': kill,
            'TEAR': tear,
            'FAIL': fail,
            'ERRNO': error,
            'LASTING': lasting,
            'NO_SYNC': not sync,
        }
        self.environment = {f'INTERPOSE_{name}': str(value) for name, value in settings.items() if value}

    @property
    def calls(self) -> list[Call]:
        """What was called so far, in order."""
        found = []
        if not os.path.exists(self._log):
            return found
        data = b''
        if os.path.exists(self._log + '.data'):
            with open(self._log + '.data', 'rb') as file:
                data = file.read()
        with open(self._log) as file:
            for line in file:
                *numbers, path, other = line.removesuffix('\n').split('\t')
                name = numbers.pop(2)
                step, pid, result, number, inode, replaced, existed, offset, length, at = map(int, numbers)
                written = data[at : at + result] if at >= 0 else b''
                found.append(
                    Call(step, pid, name, result, number, inode, replaced, bool(existed), offset, length, path, other,
                         written)
                )  # fmt: skip
        return found
