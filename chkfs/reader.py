"""Reads files into a writer: the same work in the process that walks a source and in those that help it.

A file is stored as it was at one moment, as far as anybody can see: when its size or time is another one after
reading, it is read again.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from chkfs import metadata, statx
from chkfs.scan import Status
from chkfs.writer import PACKED_BELOW, Writer

READ_BYTES = 1 << 20

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_TRIES = 3


class Outcome(NamedTuple):
    """What came of a file that did not stay as it was listed: its text ('' when it could not be read), then why.

    The text of a file is its key, and after it its tags, each with a comma before it.
    """

    text: str
    size: int = 0
    status: tuple | None = None  # of scan.Status, when it is another one than was listed
    has_changed: bool = False  # at every try
    errno: int = 0
    strerror: str = ''


class Reader:
    """step is called now and then while a big file is being read."""

    def __init__(self, writer: Writer, step: Callable[[], None] = lambda: None):
        self._writer, self._step = writer, step
        self._gatherer = metadata.Gatherer()
        self._flags = _OPEN | (os.O_NOATIME if os.geteuid() == 0 else 0)

    def read(
        self, parts: list[tuple[int, int, list[tuple[bytes, int, int]]]], fds: list[int]
    ) -> list[tuple[int, list]]:
        """For each open directory: (number, kinds of metadata, (name, size, mtime in ns) of files).

        Gives (number, outcomes).  An outcome is the file's text, or for whatever is not plain an Outcome as a tuple.
        """
        return [
            (number, [self._read(fd, kinds, *file) for file in files]) for (number, kinds, files), fd in zip(parts, fds)
        ]

    def _read(self, fd: int, kinds: int, name: bytes, size: int, mtime_ns: int) -> str | tuple:
        try:
            text, status, size_read = self._read_once(fd, kinds, name, size)
            if status.st_mtime_ns == mtime_ns and status.st_size == size == size_read and stat.S_ISREG(status.st_mode):
                return text
            return tuple(self._read_again(fd, kinds, name, status))
        except OSError as error:
            return tuple(Outcome('', errno=error.errno or errno.EIO, strerror=error.strerror or str(error)))

    def _read_again(self, fd: int, kinds: int, name: bytes, before: statx.Status) -> Outcome:
        """A file that changed: read until it stays the same, or for the last time."""
        for _ in range(_TRIES - 1):
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ESTALE, 'it is no longer a file')
            text, status, size_read = self._read_once(fd, kinds, name, before.st_size)
            if (status.st_mtime_ns, status.st_size, size_read) == (before.st_mtime_ns, size_read, before.st_size):
                return Outcome(text, size_read, tuple(Status.of(status)))
            before = status
        return Outcome(text, size_read, tuple(Status.of(status)), has_changed=True)

    def _read_once(self, fd: int, kinds: int, name: bytes, size: int) -> tuple[str, statx.Status, int]:
        """(text, status after reading, bytes read)."""
        file = self._open(name, fd)
        try:
            if size < PACKED_BELOW and len(data := os.read(file, size + 1)) == size:
                key, size_read = self._writer.put('blob', data), size
            else:
                if size < PACKED_BELOW:
                    os.lseek(file, 0, os.SEEK_SET)
                key, size_read = self._writer.put_blocks('blob', self._blocks(file))
            status = statx.status(file)
            return key + self._gatherer.of_open(file, kinds, status), status, size_read
        finally:
            os.close(file)

    def _open(self, name: bytes, fd: int) -> int:
        try:
            return os.open(name, self._flags, dir_fd=fd)
        except PermissionError:
            if not self._flags & os.O_NOATIME:
                raise
            return os.open(name, _OPEN, dir_fd=fd)  # a filesystem where even root may not leave atime alone

    def _blocks(self, file: int):
        while block := os.read(file, READ_BYTES):
            self._step()
            yield block
