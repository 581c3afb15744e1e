"""Has files read: big ones here and now, the others in batches, which are jobs for workers when there is much to read.

What a worker could not read, and what could not be read wholly, is read once more in the end.
"""

import functools
import os

from chkfs import errors
from chkfs.backup import earlier, scan
from chkfs.backup.account import Account
from chkfs.backup.level import Level
from chkfs.backup.outcomes import Outcomes
from chkfs.backup.reader import Outcome, Part, PatientReader
from chkfs.backup.source import Source
from chkfs.backup.unfinished import Unfinished
from chkfs.storage.writer import LISTED_ABOVE, Sealed, Writer
from chkfs.system import metadata, patience
from chkfs.text import number

BATCH_FILES = 128  # of a job for a worker; so its directories are not more than crew.MOST_DESCRIPTORS
BATCH_BYTES = 2 << 20
_MANY_FILES = 300  # from so many files on, or so many bytes, workers are worth their start
_MANY_BYTES = 8 << 20


class Jobs:
    """Puts the lines of the files that were read into their directories, and settles these."""

    def __init__(
        self,
        account: Account,
        source: Source,
        writer: Writer,
        gatherer: metadata.Gatherer,
        outcomes: Outcomes,
        unfinished: Unfinished,
        before: earlier.Earlier | None,
    ):
        self._account, self._result, self._source = account, account.result, source
        self._writer, self._gatherer, self._outcomes, self._unfinished = writer, gatherer, outcomes, unfinished
        self._before = before
        self._patience = source.patience
        self._reader = PatientReader(writer, gatherer, account.tick, self._patience)
        self._crew = None
        self._sealed: list[Sealed] = []  # what the workers answered when they were asked to
        # the batch, as Reader.read() has it; and what is known of each number
        self._parts: list[Part] = []
        self._fds: list[int] = []
        self._batch_files = self._batch_bytes = self._all_files = self._all_bytes = 0
        self._asked: dict[int, tuple[Level, list[int]]] = {}  # number to directory and indexes of its entries
        self._number = 0
        self._lost: list[int] = []  # numbers of parts of batches that workers gave up

    def want(self, fd: int, level: Level, indexes: list[int]) -> None:
        """Has the files of these entries read, here and now when they are big, else in a batch."""
        files, alone, damaged = [], [], self._before and self._before.damaged
        for index in indexes:
            found = level.entries[index]
            size = found.size
            if size > LISTED_ABOVE or damaged and level.path_of(found.name) in damaged:
                alone.append(index)
                self._result.read_bytes += size
                level.lines[index] = self._outcomes.line(level, found, self._read_slowly(fd, level, found))
                self._unfinished.remember_early()
            else:
                files.append((found.name, size, found.mtime_ns))
                self._batch_bytes += size
        if not files:
            return
        if alone:
            indexes = [index for index in indexes if index not in alone]
        self._number += 1
        self._asked[self._number] = level, indexes
        level.waits_for += 1
        self._parts.append((self._number, level.kinds_to_read, not level.filesystem.is_served, files))
        self._fds.append(os.dup(fd))
        self._batch_files += len(files)
        if self._batch_files >= BATCH_FILES or self._batch_bytes >= BATCH_BYTES:
            self._hand_out()

    def finish(self) -> None:
        """Waits for all that is being read, and tries what failed once more."""
        if self._parts:
            self._hand_out()
        if self._crew is not None:
            self._crew.finish()
        for part in self._lost:
            level, indexes = self._asked.pop(part)
            for index in indexes:
                found = level.entries[index]
                level.lines[index] = self._outcomes.line(level, found, self._read_alone(level, found))
            self._unfinished.settle(level)
        while self._outcomes.failed:
            self._try_again()

    def gather(self) -> list[Sealed]:
        """Before a checkpoint: what the workers have stored.  They have nothing to do then until it is sealed."""
        if self._crew is None:
            return []
        self._crew.submit_to_all(None)
        self._crew.finish()
        sealed, self._sealed = self._sealed, []
        return sealed

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        if self._crew is not None:
            self._crew.close()

    def _hand_out(self) -> None:
        """Has the batch read: by the crew, or, while there is little, here and now."""
        parts, fds, files, size = self._parts, self._fds, self._batch_files, self._batch_bytes
        self._parts, self._fds, self._batch_files, self._batch_bytes = [], [], 0, 0
        self._all_files += files
        self._all_bytes += size
        self._result.read_bytes += size
        self._call_crew()
        if self._crew is not None:
            self._writer.count_elsewhere(files, size)
            self._crew.submit(parts, fds)
        else:
            try:
                self._take(self._reader.read(parts, fds))
            finally:
                for fd in fds:
                    os.close(fd)
        self._account.tick()
        self._unfinished.remember_early()
        self._writer.checkpoint_if_due()

    def _call_crew(self) -> None:
        """Sees to it that all workers are there, once there is much to read."""
        if self._crew is None and (self._all_files >= _MANY_FILES or self._all_bytes >= _MANY_BYTES):
            from chkfs.backup import worker  # few backups need them
            from chkfs.system import crew

            start = functools.partial(worker.start, self._writer, self._patience.seconds)
            self._patience.rest()
            with self._writer.forking():
                count = max(2, os.cpu_count() or 1)
                self._crew = crew.Crew(count, start, self._take, self._account.tick, self._take_lost)
        elif self._crew is not None and self._crew.is_short:
            self._patience.rest()
            with self._writer.forking():
                self._crew.fill()

    def _take(self, results: list | tuple) -> None:
        """Files have been read (or workers have sealed): their lines can be made, and trees that waited for them."""
        self._writer.notice()
        if isinstance(results, tuple):
            self._sealed.append(Sealed(*results[0]))
            self._gatherer.tell(*results[1])
            return
        line_of = self._outcomes.line
        for part, outcomes in results:
            level, indexes = self._asked.pop(part)
            for index, outcome in zip(indexes, outcomes):
                level.lines[index] = line_of(level, level.entries[index], outcome)
            self._unfinished.settle(level)

    def _take_lost(self, result: tuple | None, jobs: list) -> None:
        """A worker gave up at a file, or there is none left: its jobs are done in the end."""
        stuck = None
        if result is not None:
            sealed, *stuck = result
            self._take(sealed)
        for parts in jobs:
            for part, *_, files in parts or ():
                if stuck and stuck[0] == part:
                    self._pass_over(part, [name for name, *_ in files].index(stuck[1]))
                self._lost.append(part)

    def _pass_over(self, part: int, at: int) -> None:
        """The file at that place of a part hangs, and is not asked any more."""
        level, indexes = self._asked[part]
        error = patience.Hung(self._patience.seconds)
        outcome = tuple(Outcome('', errno=error.errno, strerror=error.strerror))
        level.lines[indexes[at]] = self._outcomes.line(level, level.entries[indexes[at]], outcome)
        self._asked[part] = level, indexes[:at] + indexes[at + 1 :]

    def _try_again(self) -> None:
        """What could not be read is read once more; the better reading counts."""
        self._outcomes.retries -= 1
        failed, self._outcomes.failed = self._outcomes.failed, []
        self._account.note(f'{number.of(len(failed), "file")} could not be read wholly: once more')
        for level, found, before in failed:
            outcome = self._read_alone(level, found)
            if type(outcome) is not str and not Outcome(*outcome).is_better_than(before):
                outcome = tuple(before)
            level.lines[level.entries.index(found)] = self._outcomes.line(level, found, outcome)
            self._unfinished.settle(level)
            self._writer.checkpoint_if_due()

    def _read_alone(self, level: Level, found: scan.Found) -> str | tuple:
        """A file, away from the walk."""
        self._account.path = level.path_of(found.name)
        try:
            fd = self._source.open(level)
        except OSError as error:
            return tuple(Outcome('', errno=error.errno, strerror=errors.describe(error)))
        try:
            return self._read_slowly(fd, level, found)
        finally:
            os.close(fd)

    def _read_slowly(self, fd: int, level: Level, found: scan.Found) -> str | tuple:
        """A file in an open directory, with what was stored of it, if that was damaged."""
        path = self._account.path = level.path_of(found.name)
        wanted = found.name, found.size, found.mtime_ns
        former = self._before and self._before.former(path, *wanted[1:])
        return self._reader.read_slowly(fd, level.kinds_to_read, *wanted, former=former)
