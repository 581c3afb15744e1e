"""Reads files into a writer: the same work in the process that walks a source and in those that help it.

A file is stored as it was at one moment, as far as anybody can see: when its size or time is another one after
reading, it is read again.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from chkfs.backup import contents, rescue
from chkfs.backup.contents import Contents, Former
from chkfs.storage.writer import PACKED_BELOW, Writer
from chkfs.system import dos, flags, holes, metadata, ntfs, statx, xattrs
from chkfs.system.descent import share_of_descriptors
from chkfs.system.patience import Hung, Patience
from chkfs.text import ranges, tree

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_TRIES = 3
_MOST_AHEAD = 128  # files
_ASK = contents, dos, flags, holes, metadata, ntfs, rescue, statx, xattrs
MAY_HANG = frozenset(module.__file__ for module in _ASK) | {__file__}
_LONGEST_RANGES = 4000  # characters in a tag


class Outcome(NamedTuple):
    """What came of a file that did not stay as it was listed: its text ('' when it could not be read), then why.

    The text of a file is its key, and after it its tags, each with a comma before it.
    """

    text: str
    size: int = 0
    status: tuple | None = None  # of statx.Status, when it is another one than was listed
    has_changed: bool = False  # at every try
    errno: int = 0
    strerror: str = ''
    damaged: list[tuple[int, int]] = []  # ranges of bytes that could not be read, and are zeros in what is stored

    @property
    def is_bad(self) -> bool:
        """Whether it is the fault of the disk, and may be otherwise another time."""
        return bool(self.damaged) or self.errno in rescue.BAD or self.errno == errno.ETIME

    def is_better_than(self, other: 'Outcome') -> bool:
        if self.errno or other.errno:
            return not self.errno
        return ranges.total(self.damaged) < ranges.total(other.damaged)


# files of one directory: its number, kinds of metadata, whether all may be opened before the first is read, and
# (name, size, mtime in ns) of each
Part = tuple[int, int, bool, list[tuple[bytes, int, int]]]


class Reader:
    """step is called now and then while a big file is being read."""

    def __init__(self, writer: Writer, gatherer: metadata.Gatherer, step: Callable[[], None] = lambda: None):
        self._writer, self._step = writer, step
        self._gatherer = gatherer
        self._status = statx.status
        self._flags = _OPEN | (os.O_NOATIME if os.geteuid() == 0 else 0)
        self._ahead: dict[tuple[int, bytes], int] = {}  # (directory, name) to a file that is open already
        self._most_ahead = share_of_descriptors(_MOST_AHEAD)

    def read(self, parts: list[Part], fds: list[int]) -> list[tuple[int, list]]:
        """Reads the files of each of the open directories; gives (number, outcomes).

        An outcome is the file's text, or for whatever is not plain an Outcome as a tuple.
        """
        for (_, _, may_be_many, files), fd in zip(parts, fds):
            if may_be_many:
                self._open_ahead(fd, files)
        try:
            return [
                (number, [self._read(fd, kinds, *file) for file in files])
                for (number, kinds, _, files), fd in zip(parts, fds)
            ]
        finally:
            for file in self._ahead.values():
                os.close(file)
            self._ahead = {}

    def _open_ahead(self, fd: int, files: list[tuple[bytes, int, int]]) -> None:
        """Has the system begin to read all of them: a disk is sooner done with many at once than one after another."""
        for name, size, _ in files[: self._most_ahead - len(self._ahead)]:
            try:
                file = self._ahead[fd, name] = os.open(name, self._flags, dir_fd=fd)
                os.posix_fadvise(file, 0, size, os.POSIX_FADV_WILLNEED)
            except OSError:
                pass  # what is wrong is found when it is read

    def _read(self, fd: int, kinds: int, name: bytes, size: int, mtime_ns: int) -> str | tuple:
        """The short way, for a small file with which nothing is the matter; others go the long one."""
        seen = None
        try:
            if size < PACKED_BELOW:
                file = self._open(name, fd)
                try:
                    data = os.read(file, size + 1)
                    key = self._writer.put('blob', data) if len(data) == size else ''
                    seen = statx.status(file)
                    if seen.st_mtime_ns == mtime_ns and seen.st_size == size and key and stat.S_ISREG(seen.st_mode):
                        text = key + self._told(file, kinds, seen, name)
                        return text if seen.st_blocks * 512 >= size else self._with_holes(text, file, size)
                finally:
                    os.close(file)
        except OSError as error:
            if error.errno not in rescue.BAD:
                return _failure(error)
        return self.read_slowly(fd, kinds, name, size, mtime_ns, seen)

    def _told(self, file: int, kinds: int, status: statx.Status, name: bytes) -> str:
        return self._gatherer.of_open(file, kinds, status, name) if kinds else ''

    def read_slowly(
        self,
        fd: int,
        kinds: int,
        name: bytes,
        size: int,
        mtime_ns: int,
        seen: statx.Status | None = None,
        former: Former | None = None,
    ) -> str | tuple:
        """A file that is large or sparse, that changes, or that cannot be read everywhere; gives its outcome.

        seen: its status, if it was tried before and had changed; former: what was stored of it, not whole.
        """
        try:
            for _ in range(_TRIES if seen is None else _TRIES - 1):
                if seen is not None and not stat.S_ISREG(seen.st_mode):
                    raise OSError(errno.ESTALE, 'it is no longer a file')
                before = seen
                text, seen, size_read, damaged = self._read_contents(fd, kinds, name, former)
                expected = (mtime_ns, size) if before is None else (before.st_mtime_ns, before.st_size)
                if (seen.st_mtime_ns, seen.st_size) == expected and size_read == seen.st_size:
                    if before is None and not damaged:
                        return text
                    return tuple(Outcome(text, size_read, before and tuple(seen), damaged=damaged))
            return tuple(Outcome(text, size_read, tuple(seen), has_changed=True, damaged=damaged))
        except OSError as error:
            return _failure(error)
        finally:
            if former is not None:
                former.close()

    def _read_contents(
        self, fd: int, kinds: int, name: bytes, former: Former | None
    ) -> tuple[str, statx.Status, int, ranges.Ranges]:
        """(text, status after reading, bytes read, what of them could not be)."""
        file = self._open(name, fd)
        try:
            if not stat.S_ISREG(self._call(os.fstat, file).st_mode):
                raise OSError(errno.ESTALE, 'it is no longer a file')
            found = Contents(file, self._step, former, self._call)
            key, size_read = self._writer.put_blocks('blob', found.blocks())
            found.check(size_read)
            status = self._call(self._status, file)
            text = key + self._told(file, kinds, status, name)
            text = self._with_ranges(text, 'data', found.data)
            return self._with_ranges(text, 'damaged', found.damaged or None), status, size_read, found.damaged
        finally:
            self._close(file)

    def _with_holes(self, text: str, file: int, size: int) -> str:
        found = Contents(file, call=self._call)
        found.look_for_holes(size)
        return self._with_ranges(text, 'data', found.data)

    def _with_ranges(self, text: str, tag: str, found: ranges.Ranges | None) -> str:
        """A file's text with one tag more, None for none; where that is long, it names a blob."""
        if found is None:
            return text
        value = ranges.format(found or [(0, 0)])
        if len(value) > _LONGEST_RANGES:
            value = '@' + self._writer.put('blob', ranges.format(found, '\n').encode() + b'\n')
        key, *tags = text.split(',')
        return f'{key},{tree.in_order([*tags, f"{tag}:{value}"])}'

    def _call(self, function: Callable, *arguments):
        return function(*arguments)

    def _close(self, file: int) -> None:
        os.close(file)

    def _open(self, name: bytes, fd: int) -> int:
        file = self._ahead.pop((fd, name), None)
        if file is not None:
            return file
        try:
            return os.open(name, self._flags, dir_fd=fd)
        except PermissionError:
            if not self._flags & os.O_NOATIME:
                raise
            return os.open(name, _OPEN, dir_fd=fd)  # a filesystem where even root may not leave atime alone


class PatientReader(Reader):
    """For a process that must go on when a file hangs."""

    def __init__(self, writer: Writer, gatherer: metadata.Gatherer, step: Callable[[], None], patience: Patience):
        super().__init__(writer, gatherer, step)
        self._patience = patience
        self._status = statx.make_status()

    def _open_ahead(self, fd: int, files: list[tuple[bytes, int, int]]) -> None:
        """Nothing: this one reads few, and each may hang."""

    def _call(self, function: Callable, *arguments):
        try:
            return self._patience.call(function, *arguments)
        except Hung:
            self._status = statx.make_status()  # what is left behind may still write into the other one
            raise

    def _close(self, file: int) -> None:
        self._patience.close(file)

    def _read(self, fd: int, kinds: int, name: bytes, size: int, mtime_ns: int) -> str | tuple:
        """The same, with what the source is asked asked by the thread that may be left behind."""
        seen, file = None, -1
        try:
            if size < PACKED_BELOW:
                file = self._open(name, fd)
                data, seen = self._call(_look_at, file, size, self._status)
                if (len(data), seen.st_size, seen.st_mtime_ns) == (size, size, mtime_ns) and stat.S_ISREG(seen.st_mode):
                    text = self._writer.put('blob', data) + self._told(file, kinds, seen, name)
                    return text if seen.st_blocks * 512 >= size else self._with_holes(text, file, size)
        except OSError as error:
            if error.errno not in rescue.BAD:
                return _failure(error)
        finally:
            if file >= 0:
                self._close(file)
        return self.read_slowly(fd, kinds, name, size, mtime_ns, seen)

    def _open(self, name: bytes, fd: int) -> int:
        try:
            return self._patience.open(name, self._flags, fd)
        except PermissionError:
            if not self._flags & os.O_NOATIME:
                raise
            return self._patience.open(name, _OPEN, fd)


def _look_at(file: int, size: int, status: Callable[[int], statx.Status]) -> tuple[bytes, statx.Status]:
    return os.read(file, size + 1), status(file)


def _failure(error: OSError) -> tuple:
    return tuple(Outcome('', errno=error.errno or errno.EIO, strerror=error.strerror or str(error)))
