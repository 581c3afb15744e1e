"""What an open file holds, as blocks: around its holes, and around the places of it that cannot be read.

What cannot be read now may have been readable before: then it is taken from what was stored of the file.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial

from chkfs import errors
from chkfs.backup import rescue
from chkfs.storage.objects import Objects
from chkfs.system import holes
from chkfs.text import ranges

READ_BYTES = 1 << 20


class Former:
    """A file as it was stored before, not whole: some of what is bad now may be in it."""

    def __init__(self, objects: Objects, key: str, size: int, damaged: ranges.Ranges):
        self._objects, self._key = objects, key
        self.readable = ranges.without([(0, size)], damaged)
        self._chunks, self._chunk, self._at = None, b'', 0

    def blocks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of a range, all of which is readable.  Raises Error when they are lost in the store, too."""
        if self._chunks is None or start < self._at:
            self.close()
            self._chunks = self._objects.chunks('blob', self._key)
        while start < end:
            if start >= self._at + len(self._chunk):
                self._at += len(self._chunk)
                self._chunk = next(self._chunks, b'')
                if not self._chunk:
                    raise errors.Damaged(f"blob '{self._key}' is shorter than its line says")
                continue
            found = self._chunk[start - self._at : end - self._at]
            yield found
            start += len(found)

    def close(self) -> None:
        """What reads it ahead ends here: threads must not be waited for wherever Python clears up what is left."""
        if self._chunks is not None:
            self._chunks.close()
        self._chunks, self._chunk, self._at = None, b'', 0


class Contents:
    """An open file.  When blocks() has ended, data and damaged tell what its tags have to say."""

    def __init__(
        self,
        file: int,
        step: Callable[[], None] = lambda: None,
        former: Former | None = None,
        call: Callable = lambda function, *arguments: function(*arguments),
    ):
        """step is called now and then; call makes the calls that may hang."""
        self.data: ranges.Ranges | None = None  # where the file is no hole, None when it has none
        self.damaged: ranges.Ranges = []
        self._file, self._step, self._former, self._call = file, step, former, call
        self._rescue: rescue.Rescue | None = None

    def blocks(self) -> Iterator[bytes]:
        status = self._call(os.fstat, self._file)
        size, at = status.st_size, 0
        if status.st_blocks * 512 < size:
            self.look_for_holes(size)
        if self.data is None:
            yield from self._range(0, None if size == 0 else size)
            return
        for start, end in self.data:
            yield from rescue.zeros(start - at)
            yield from self._range(start, end)
            at = end
        yield from rescue.zeros(size - at)

    def check(self, size: int) -> None:
        """After blocks(), which were so many bytes: raises OSError when not one of these could be read."""
        if self.damaged == [(0, size)]:
            raise self._rescue.error

    def look_for_holes(self, size: int) -> None:
        data = self._call(holes.data, self._file, size)
        self.data = None if data == [(0, size)] else data

    def _range(self, at: int, end: int | None) -> Iterator[bytes]:
        """What lies there; to the end of the file, where only that tells how long it is."""
        try:
            while end is None or at < end:
                self._step()
                size = READ_BYTES if end is None else min(READ_BYTES, end - at)
                block = self._call(os.pread, self._file, size, at)
                if not block:
                    return
                yield block
                at += len(block)
            return
        except OSError as error:
            if error.errno not in rescue.BAD or end is None:
                raise
        if self._rescue is None:
            read = partial(self._call, rescue.File(self._file).read)
            self._rescue = rescue.Rescue(read, self._step, self._instead)
        yield from self._rescue.blocks(at, end)

    def _instead(self, start: int, end: int) -> Iterator[bytes]:
        """What is given for a bad place: what was stored before, else zeros."""
        readable = ranges.common([(start, end)], self._former.readable) if self._former else []
        for begin, stop in readable:
            yield from self._lost(start, begin)
            start = begin
            try:
                for block in self._former.blocks(begin, stop):
                    yield block
                    start += len(block)
            except errors.Error:
                self._former = None
                break
        yield from self._lost(start, end)

    def _lost(self, start: int, end: int) -> Iterator[bytes]:
        if start < end:
            self.damaged = ranges.join((*self.damaged, (start, end)))
            yield from rescue.zeros(end - start)
