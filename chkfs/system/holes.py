"""Where in a sparse file data lies: what is not there need not be read, nor written when it is restored."""

import bisect
import errno
import os

from chkfs.text import ranges

_NOT_TOLD = frozenset((errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ESPIPE))


def data(file: int, size: int) -> ranges.Ranges:
    """The ranges of an open file that are not holes; all of it on a filesystem that does not tell."""
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
            at = min(os.lseek(file, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            if error.errno in _NOT_TOLD:
                return [(0, size)]
            raise
        if start < at:
            found.append((start, at))
    return found


class Filler:
    """Writes a new file, but leaves holes where data, the ranges that were none, does not say otherwise.

    What is not zero is written all the same, and counted as misplaced_bytes.
    """

    def __init__(self, file: int, data: ranges.Ranges):
        self._file, self._data, self._at = file, data, 0
        self._ends = [end for _, end in data]
        self._last_zeros: bytes | None = None
        self.misplaced_bytes = 0

    def write(self, chunk: bytes) -> None:
        """The bytes that come next.  Raises OSError."""
        here = [(self._at, self._at + len(chunk))]
        self._at += len(chunk)
        some = self._data[bisect.bisect_right(self._ends, here[0][0]) : bisect.bisect_left(self._ends, self._at) + 1]
        data = ranges.common(here, some)
        for start, end in ranges.without(here, data):
            if not self._is_zeros(chunk, start - here[0][0], end - here[0][0]):
                self.misplaced_bytes += end - start
                data.append((start, end))
        for start, end in data:
            _write(self._file, memoryview(chunk)[start - here[0][0] : end - here[0][0]], start)

    def finish(self) -> None:
        os.ftruncate(self._file, self._at)

    def _is_zeros(self, chunk: bytes, start: int, end: int) -> bool:
        if chunk is self._last_zeros:
            return True
        found = memoryview(chunk)[start:end] == bytes(end - start)
        if found and end - start == len(chunk):
            self._last_zeros = chunk
        return found


def _write(file: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(file, data, at)
        data, at = data[written:], at + written
