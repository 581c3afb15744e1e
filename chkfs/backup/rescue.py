"""Reads an open file around the places of it that cannot be read.

As ddrescue does it: what is readable first, in large blocks, leaping over a bad place in steps that double; then
back to what was leapt over, from both of its ends, in blocks that get smaller, down to a sector; then what lies
between these.  Since what is read here flows on in order, this is done for a window of the file at a time.

A drive that fails may take seconds for each read that comes to nothing, so of these there are at most MOST_FAILURES
for a file, and beyond that one for each BLOCK that is not leapt over.
"""

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator

from chkfs.storage.chunker import ZEROS
from chkfs.text import ranges

# What a disk that cannot read a place makes the kernel answer (blk_errors in its block/blk-core.c), and a
# filesystem that finds a place to be other than it was written.
BAD = frozenset(
    (errno.EIO, errno.EREMOTEIO, errno.ENODATA, errno.EILSEQ, errno.ETIMEDOUT, errno.ENOLINK, errno.EBADE)
    + (errno.EBADMSG, errno.EUCLEAN)
)
BLOCK = 1 << 20
MOST_FAILURES = 4000

_MOST_SCRAPED = 2000  # of them between the first and the last bad sector of places
_WINDOW = 64 << 20  # as much is held in memory at most
_ENOUGH = 4 * BLOCK  # readable in a row: the bad place is over
_SECTOR = 512
_FALLING = (64 << 10, 4096, _SECTOR)

Read = Callable[[int, int], bytes]  # (offset, size) gives at most so many bytes, b'' at the end; raises OSError


class Rescue:
    """One file.  instead(start, end) gives the blocks that stand for a bad place; step is called before each read."""

    def __init__(
        self,
        read: Read,
        step: Callable[[], None] = lambda: None,
        instead: Callable[[int, int], Iterator[bytes]] = lambda start, end: zeros(end - start),
    ):
        self.failures = self._scraped = 0
        self.error: OSError | None = None  # the last one
        self._read_at, self._step, self._instead = read, step, instead

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a range of the file; fewer when it ends before."""
        at = start
        while at < end:
            data = self._try(at, min(BLOCK, end - at))
            if data is None:
                at = yield from self._window(at, end)
            elif data:
                yield data
                at += len(data)
            else:
                return

    def _window(self, start: int, end: int) -> Iterator[bytes]:
        """From a place where a block could not be read on; returns where the next one begins."""
        stop, good, unread = self._leap(start, min(end, start + _WINDOW))
        if self.failures < MOST_FAILURES:
            unread = self._trim(good, unread)
            unread = self._scrape(good, unread)
        at = start
        for begin, data in sorted(good.items()):
            yield from self._given(at, begin)
            yield data
            at = begin + len(data)
        if not good:
            stop = self._look_far(stop, end)
        yield from self._given(at, stop)
        return stop

    def _leap(self, start: int, stop: int) -> tuple[int, dict[int, bytes], ranges.Ranges]:
        """Forward in large blocks: where it ended, what was read, and what was not."""
        good, unread, at, leap, in_a_row = {}, [(start, min(start + BLOCK, stop))], start + BLOCK, BLOCK, 0
        while at < stop and in_a_row < _ENOUGH:
            data = self._try(at, min(BLOCK, stop - at))
            if data:
                good[at] = data
                at += len(data)
                leap, in_a_row = BLOCK, in_a_row + len(data)
            else:
                unread.append((at, min(at + leap, stop)))
                at += leap
                leap, in_a_row = 2 * leap, 0
        return min(at, stop), good, ranges.join(unread)

    def _trim(self, good: dict[int, bytes], unread: ranges.Ranges) -> ranges.Ranges:
        """From both ends of what was not read towards its first and its last bad sector; gives what is left between."""
        left = []
        for start, end in unread:
            for size in _FALLING:
                while start < end and (data := self._try(start, min(size - start % size, end - start))):
                    good[start] = data
                    start += len(data)
            start += _SECTOR - start % _SECTOR
            for size in _FALLING:
                while start < end and (data := self._try_all((end - 1) // size * size, end, start)):
                    end -= len(data)
                    good[end] = data
            end = (end - 1) // _SECTOR * _SECTOR
            left.append((start, end))
        return ranges.join(left)

    def _scrape(self, good: dict[int, bytes], unread: ranges.Ranges) -> ranges.Ranges:
        """Everything in blocks that get smaller; for each window half of what the ones before have left over."""
        before = self.failures
        most = before + (_MOST_SCRAPED - self._scraped) // 2
        for size in _FALLING:
            left = []
            for start, end in unread:
                while start < end and self.failures < most:
                    data = self._try(start, min(size - start % size, end - start))
                    if data:
                        good[start] = data
                    else:
                        left.append((start, min(end, start + size - start % size)))
                    start += len(data or b'') or size - start % size
                left.append((start, end))
            unread = ranges.join(left)
        self._scraped += self.failures - before
        return unread

    def _look_far(self, at: int, end: int) -> int:
        """After a window without a readable byte: on in steps that double, and back to behind the last bad sector."""
        here, leap = at, _WINDOW
        while here < end and self._try(here, min(_SECTOR, end - here)) is None:
            at, here, leap = here + _SECTOR, here + leap, 2 * leap
        return min(at, end)

    def _given(self, start: int, end: int) -> Iterator[bytes]:
        if start < end:
            yield from self._instead(start, end)

    def _try(self, at: int, size: int) -> bytes | None:
        """What can be read there, b'' at the end of the file, None when it is a bad place."""
        self._step()
        try:
            return self._read_at(at, size)
        except OSError as error:
            if error.errno not in BAD:
                raise
            self.failures += 1
            self.error = error
            return None

    def _try_all(self, begin: int, end: int, start: int) -> bytes | None:
        """The bytes up to end, from begin or at least from start on; None unless all of them are there."""
        begin = max(begin, start)
        data = self._try(begin, end - begin)
        return data if data and len(data) == end - begin else None


def zeros(size: int) -> Iterator[bytes]:
    """So many zeros, as the chunker knows them."""
    for _ in range(size // len(ZEROS)):
        yield ZEROS
    if size % len(ZEROS):
        yield bytes(size % len(ZEROS))


class File:
    """Reads an open file; single sectors past the page cache, which reads whole pages or nothing."""

    def __init__(self, file: int):
        self._file = file
        self._buffer = None  # aligned as O_DIRECT wants it
        self._flags = fcntl.fcntl(file, fcntl.F_GETFL)
        self._can_direct = True
        with contextlib.suppress(OSError):  # reading ahead of a bad place is time lost
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, at: int, size: int) -> bytes:
        if size > _SECTOR or at % _SECTOR or not self._can_direct:
            return os.pread(self._file, size, at)
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, self._flags | os.O_DIRECT)
            self._buffer = self._buffer or mmap.mmap(-1, mmap.PAGESIZE)
            with memoryview(self._buffer)[:_SECTOR] as view:
                return bytes(view[: os.preadv(self._file, [view], at)])[:size]
        except OSError as error:
            if error.errno != errno.EINVAL:  # a filesystem that can do it not at all, or not in sectors
                raise
            self._can_direct = False
            fcntl.fcntl(self._file, fcntl.F_SETFL, self._flags)
            return os.pread(self._file, size, at)
        finally:
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._file, fcntl.F_SETFL, self._flags)
