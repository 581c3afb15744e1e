"""Batches of files to restore: made here and now while there is little to do, by worker processes when there is much.

What belongs to a directory itself is set when all of its files are made.
"""

import os
from collections.abc import Callable

from chkfs.restore.maker import Maker
from chkfs.storage.objects import Objects
from chkfs.system import crew
from chkfs.system.descent import share_of_descriptors

_FILE_BYTES = 16 << 10  # that could be written in the time that making a file takes
_BATCH_BYTES = 24 << 20  # of contents, and so many for each file: more than that, and workers are worth their start
_BATCH_DIRECTORIES = crew.MOST_DESCRIPTORS - 16
_BATCH_PATHS = 1 << 20  # bytes


class _Split:
    """A directory whose files are in several batches; its attributes are set after all of them are done."""

    def __init__(self, fd: int):
        self.fd = os.dup(fd)
        self.waits_for = 1  # batches, and whoever adds the directory as long as it is at it
        self.part: tuple = ()  # what is handed out in the end


class Batches:
    """Those of one restore."""

    def __init__(self, maker: Maker, objects: Objects, take: Callable[[tuple], None], idle: Callable[[], None]):
        """take is called with what came of each batch, an Outcome packed; idle now and then while workers are at it."""
        self._maker, self._objects, self._take, self._idle = maker, objects, take, idle
        self._crew: crew.Crew | None = None
        # the batch at hand: (path, lines, attributes or None, its own line, number in _splits or 0) of each descriptor
        self._parts: list[tuple[bytes, list[str], tuple | None, str, int]] = []
        self._fds: list[int] = []
        self._bytes = self._path_bytes = 0
        self._most_directories = share_of_descriptors(_BATCH_DIRECTORIES)
        self._splits: dict[int, _Split] = {}
        self._last_split = 0

    def add(self, fd: int, path: bytes, files: list[str], attributes: tuple | None, own_line: str) -> None:
        """A directory, open as fd: the lines of its files, what to set on it after these, and its own line."""
        number, lines = 0, []
        for line in files:
            lines.append(line)
            self._bytes += _weight(line)
            if self._bytes >= _BATCH_BYTES:
                number = number or self._begin_split(fd)
                self._splits[number].waits_for += 1
                self._add(fd, (path, lines, None, '', number))
                lines = []
        if not number:
            self._add(fd, (path, lines, attributes, own_line, 0))
            return
        self._splits[number].part = path, [], attributes, own_line, 0
        self._add(fd, (path, lines, None, '', number))

    def finish(self) -> None:
        """Waits until all is done, also what comes of the last batches: the ends of large directories."""
        while True:
            if self._parts:
                self._hand_out()
            if self._crew is not None:
                self._crew.finish()
            if not self._parts:
                return

    def close(self) -> None:
        """Ends the workers, whatever is still to be done."""
        for fd in (*self._fds, *(split.fd for split in self._splits.values())):
            os.close(fd)
        if self._crew is not None:
            self._crew.close()

    def _begin_split(self, fd: int) -> int:
        self._last_split += 1
        self._splits[self._last_split] = _Split(fd)
        return self._last_split

    def _add(self, fd: int, part: tuple) -> None:
        self._fds.append(os.dup(fd))
        self._parts.append(part)
        self._path_bytes += len(part[0])
        if self._bytes >= _BATCH_BYTES or self._path_bytes >= _BATCH_PATHS or len(self._fds) >= self._most_directories:
            self._hand_out()

    def _hand_out(self) -> None:
        """Has the batch done: by the crew, or, while there is little, here and now."""
        most = crew.MOST_DESCRIPTORS  # there may be more when the ends of many large directories come at once
        parts, fds, size = self._parts[:most], self._fds[:most], self._bytes
        self._parts, self._fds = self._parts[most:], self._fds[most:]
        self._bytes = self._path_bytes = 0
        if self._crew is None and size >= _BATCH_BYTES:
            with self._objects.cache.put_away():
                self._crew = crew.Crew(max(2, os.cpu_count() or 1), self._start_worker, self._take_made, self._idle)
        if self._crew is not None:
            self._crew.submit(parts, fds)
        else:
            try:
                self._take_made(self._maker.make(parts, fds))
            finally:
                for fd in fds:
                    os.close(fd)

    def _start_worker(self, give_up: Callable) -> Callable:
        """In a worker: a maker with its own cache connection and frames."""
        return self._maker.reopened().make

    def _take_made(self, result: tuple) -> None:
        """A batch is done: hands on what came of it, and where it was the last one of a directory, ends that."""
        outcome, numbers = result
        self._take(outcome)
        for number in numbers:
            split = self._splits[number]
            split.waits_for -= 1
            if not split.waits_for:
                del self._splits[number]
                self._parts.append(split.part)
                self._fds.append(split.fd)


def _weight(line: str) -> int:
    """What a file costs to restore, as the bytes that could be written in that time."""
    start = line.find(' size=') + 6
    size = line[start : line.find(' ', start)]
    return _FILE_BYTES + (int(size) if size.isdecimal() and len(size) < 20 else 0)
