"""Brings a live directory into a store: scans it, reads what is new, and writes its trees, deepest first.

Each directory is listed on the way down and finished on the way up, when the trees of its subdirectories are
known.  A directory whose entries look as they did when it was last stored is not read again.  When there is much
to read, workers read the files and pack them, while this process walks on; big files it reads itself.
"""

import copy
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from chkfs import errors
from chkfs.backup import again, earlier, exclude, jobs, scan
from chkfs.backup.account import Account, Result
from chkfs.backup.level import Level
from chkfs.backup.lines import LONGEST_PATH, Lines, unread
from chkfs.backup.memory import Memory
from chkfs.backup.outcomes import Outcomes
from chkfs.backup.source import Source
from chkfs.backup.unfinished import Unfinished
from chkfs.storage.cache import ScanCache
from chkfs.storage.writer import Writer
from chkfs.system import metadata, mounts, statx
from chkfs.system.descent import Descent
from chkfs.text import quote, tree

_EMPTY_TREE = tree.format(())


class Options(NamedTuple):
    """How to walk a source."""

    one_file_system: bool = False
    patterns: exclude.Patterns | None = None
    exclude_caches: bool = False
    read_timeout: float = 300  # seconds after which a file that does not answer is given up, 0 for never
    retries: int = 1  # how often what could not be read is tried again, in the end
    rehash: float = 0.0  # share of the files, 0 to 1, to be read even when they seem not to have changed
    atime: bool = False  # times of access are kept even where the source is not read-only
    own_directories: dict[tuple[int, int], str] = {}  # (device, inode) of what is left out to what it is: the store


class Ingest:
    """Stores one source.

    report takes one line a problem, note one line a thing worth knowing, step the path and the result as they grow.
    checkpoint is called before each but the last with what there is so far, which has a root like the whole; it may
    put something that names that, and what it gives is called when all of it is safe.
    """

    def __init__(
        self,
        writer: Writer,
        cache: ScanCache,
        options: Options = Options(),
        report: Callable[[str], None] = lambda line: None,
        note: Callable[[str], None] = lambda line: None,
        step: Callable[[bytes, Result], None] = lambda path, result: None,
        checkpoint: Callable[[Result], Callable[[], None]] = lambda result: lambda: None,
        before: earlier.Earlier | None = None,
    ):
        self._writer, self._options, self._checkpoint = writer, options, checkpoint
        self._lister = scan.Lister()
        self._gatherer = metadata.Gatherer(lambda value: writer.put('blob', value))
        account = self._account = Account(report, note, step)
        source = self._source = Source(account, options.read_timeout)
        lines = self._lines = Lines(account, source, self._gatherer)
        outcomes = Outcomes(account, source, lines, self._lister.look, before, options.retries)
        self._memory = Memory(account, cache, writer)
        self._unfinished = Unfinished(writer, lines, self._memory)
        self._jobs = jobs.Jobs(account, source, writer, self._gatherer, outcomes, self._unfinished, before)
        self._met: again.Met | None = None
        self._root = ''  # the root's line without its tags
        self._here: Level | None = None  # the directory that the walk is at
        self.result = account.result
        writer.gather, writer.sealing = self._jobs.gather, self._remember

    def store(self, source: bytes) -> Result:
        """Stores a directory or one file; a symlink is followed.  Raises Error when it cannot be read."""
        source = os.path.realpath(source)
        try:
            if os.path.isdir(source):
                self._store_directory(source)
            else:
                self._store_file(source)
        except OSError as error:
            self._save()
            raise errors.Error(f"cannot read '{quote.readable(source)}': {errors.describe(error)}") from error
        except (errors.Interrupted, errors.Gone):
            self._save()
            raise
        else:
            self._writer.checkpoint()
            for line in self._gatherer.failures():
                self._account.report(line)
        finally:
            self._jobs.close()
            if self._met is not None:
                self._met.close()
            self._source.close()
        return self.result

    def _save(self) -> None:
        """Before the end of an unfinished run: what was read need not be read again."""
        self._account.end_early()
        self._writer.checkpoint()

    def _remember(self) -> Callable[[], None]:
        """At a checkpoint: what to do when all that was put so far is safe and rows about it may be believed."""
        self.result.features = self._gatherer.features()
        remember = self._unfinished.remember()
        secured = None
        if self._here is not None and not self._unfinished.top_tags:  # else there is nothing yet, or all of it
            so_far = copy.copy(self.result)
            so_far.root = f'{self._root} tags={self._unfinished.put_so_far(self._here)}'
            secured = self._checkpoint(so_far)

        def note() -> None:
            remember()
            if secured is not None:
                secured()

        return note

    def _store_file(self, source: bytes) -> None:
        parent, name = os.path.split(source)
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            filesystem = mounts.filesystem(parent, fd)
            self._account.tell_origin(filesystem, b'')
            place = mounts.place(filesystem.inner_path(source))
            level = Level(filesystem, self._kinds(filesystem), place, os.fstat(fd))
            level.entries = [self._lister.look(os.stat(name, dir_fd=fd, follow_symlinks=False), name, filesystem)]
            if level.entries[0].kind != 'file':
                raise errors.Error(f"'{quote.readable(source)}' is neither a directory nor a file")
            self._source.begin(source, fd)
            self._begin_lines(fd, level, self._memory.files(level.known_as))
            self._jobs.finish()
        finally:
            os.close(fd)
        line = level.lines[0].rstrip('\n').rpartition('\n')[2]
        fields = tree.parse_line(line).fields if line else {}
        if 'sha256digest' not in fields:
            raise errors.Error(f"'{quote.readable(source)}' was not stored")
        self.result.root = tree.Entry(b'.', fields).line()
        self._memory.add(level)

    def _store_directory(self, source: bytes) -> None:
        descent = Descent(os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            status = os.fstat(descent.fd)
            own = self._options.own_directories.get((status.st_dev, status.st_ino))
            if own:
                raise errors.Error(f"'{quote.readable(source)}' is {own}")
            filesystem = mounts.filesystem(source, descent.fd)
            self._account.tell_origin(filesystem, b'')
            self._met = again.Met(descent.fd, source)
            top = Level(filesystem, self._kinds(filesystem), mounts.place(filesystem.inner_path(source)), status)
            found = self._lister.look(status, b'.', filesystem)
            self._root = f'. {found.attributes} time={tree.format_time(found.mtime_ns)}'
            self._source.begin(source, descent.fd)
            self._list(descent.fd, top)
            self._walk(descent, top)
            self._jobs.finish()
        finally:
            descent.close()
        self.result.root = f'{self._root} tags={self._unfinished.top_tags}'

    def _walk(self, descent: Descent, top: Level) -> None:
        """Down and up again until the top has been left."""
        level = top
        while True:
            self._here = level
            if level.below:
                level = self._enter(descent, level, level.below.pop()) or level
                continue
            self._leave(descent.fd, level)
            self._writer.checkpoint_if_due()
            may_return = self._met.points or level.filesystem.may_link_directories
            self._met.leave(level.identity, level.path, level.is_complete and bool(may_return))
            if level.parent is None:
                return
            level.parent.is_complete &= level.is_complete
            descent.leave()
            level = level.parent

    def _enter(self, descent: Descent, parent: Level, found: scan.Found) -> Level | None:
        """Opens and lists a subdirectory; None when there is nothing to walk in it, its tags being set then."""
        try:
            descent.enter(found.name)
            try:
                status = os.fstat(descent.fd)
            except OSError:
                descent.leave()
                raise
        except OSError as error:
            self._pass_by(descent.fd, parent, found.name, error)
            return None
        level = self._level_below(descent.fd, parent, found.name, status)
        if level is None:
            descent.leave()
            return None
        parent.waits_for += 1
        self._list(descent.fd, level)
        return level

    def _pass_by(self, fd: int, parent: Level, name: bytes, error: OSError) -> None:
        """A subdirectory that cannot be opened; fd: of its parent."""
        self._source.skip(parent, parent.path_of(name), error)
        parent.is_complete = False
        if error.errno != errno.ENOENT:
            tags = f'{self._empty_tree()},{unread(error)}{self._gatherer.of_name(fd, name, parent.kinds)}'
            parent.tags[name] = tree.in_order(tags.split(','))

    def _level_below(self, fd: int, parent: Level, name: bytes, status: os.stat_result) -> Level | None:
        """For a subdirectory that has just been opened; None when it is not to be walked."""
        identity, path = (status.st_dev, status.st_ino), parent.path_of(name)
        if own := self._options.own_directories.get(identity):
            self._account.note(f"'{quote.readable(path)}' is {own}: left out")
            parent.is_whole = False
            return None
        absolute = os.path.join(self._source.path, path)
        filesystem, stop = parent.filesystem, None
        if status.st_dev != parent.identity[0] or absolute in self._met.points:
            filesystem, stop = self._cross(fd, parent, absolute, path, status.st_dev)
        if stop is None:
            stop = self._again(parent, identity, path, filesystem)
        if stop is not None:
            parent.tags[name] = stop
            return None
        if filesystem is parent.filesystem:
            kinds, place = parent.kinds, mounts.place_below(parent.place, name)
        else:
            self._account.note(f"'{quote.readable(path)}' is a {filesystem.type} mount: entered")
            kinds, place = self._kinds(filesystem), mounts.place(filesystem.inner_path(absolute))
        return Level(filesystem, kinds, place, status, path, parent, name)

    def _again(
        self, parent: Level, identity: tuple[int, int], path: bytes, filesystem: mounts.Filesystem
    ) -> str | None:
        """The tag of a directory that was met before, None for a new one."""
        first = self._met.find(identity, path, filesystem)
        if first is None:
            return None
        text = quote.quote_tag(first or b'.')
        if len(text) > LONGEST_PATH:  # a line cannot tell it
            if not path.startswith(first + b'/'):
                return None  # it is no circle, and stored once more
            error = OSError(errno.ELOOP, 'it is one of the directories above, whose path is too long to be told')
            self._source.skip(parent, path, error)
            return f'{self._empty_tree()},{unread(error)}'
        self._account.note(f"'{quote.readable(path)}' is '{quote.readable(first) or '.'}' again: not entered")
        return f'again:{text}'

    def _cross(
        self, fd: int, parent: Level, absolute: bytes, path: bytes, device: int
    ) -> tuple[mounts.Filesystem, str | None]:
        """A mount point, or another device: (its filesystem, None to go on or the tags of a directory left empty)."""
        filesystem = mounts.filesystem(absolute, fd)
        if filesystem.mount_point == parent.filesystem.mount_point:
            return parent.filesystem, None  # a subvolume: part of the same mount
        parent.is_complete = False  # what it hides is not seen
        is_other = device != parent.identity[0]
        skip = self._options.one_file_system and is_other or filesystem.type in mounts.PSEUDO
        self._account.tell_origin(filesystem, path, skip)
        if not skip:
            return filesystem, None
        self._account.note(f"'{quote.readable(path)}' is a {filesystem.type} mount: not entered")
        return filesystem, self._empty_tree()

    def _empty_tree(self) -> str:
        """The tag of a directory that is left empty."""
        return f'tree:{self._writer.put("tree", _EMPTY_TREE)}'

    def _kinds(self, filesystem: mounts.Filesystem) -> int:
        """The kinds of metadata to ask for, as metadata.Gatherer wants them."""
        with_atime = self._options.atime or filesystem.is_read_only
        return metadata.kinds(filesystem.type, filesystem.has_true_ctime, with_atime)

    def _list(self, fd: int, level: Level) -> None:
        """Fills in the entries of a directory that has just been opened."""
        self._account.path = level.path
        self._met.enter(level.identity, level.path)
        self._account.tick()
        try:
            level.own_tags = self._gatherer.of_open(fd, level.kinds, statx.status(fd), level.name or b'.')
            if level.parent and (short := level.parent.told.get(level.name)):
                level.own_tags = metadata.with_tag(level.own_tags, short.removeprefix(','))
            entries, problems = self._lister.list(fd, level.filesystem)
        except OSError as error:
            self._give_up(level, error)
            return
        for name, error in problems:
            self._source.skip(level, level.path_of(name), error)
        if level.filesystem.may_be_endless and (error := level.circle(entries)):
            self._give_up(level, error)
            return
        chosen = self._choose(fd, level, entries)
        if problems or len(chosen) < len(entries):
            level.is_complete = False
        if level.is_asked_when_listed:
            level.told = self._ask_all(fd, level, chosen)
        level.fill(chosen)
        self._lines.note_links(level)

    def _give_up(self, level: Level, error: OSError) -> None:
        """A directory whose entries will not be known."""
        self._source.skip(level, level.path, error)
        level.is_complete = False
        level.unread = unread(error)

    def _choose(self, fd: int, level: Level, entries: list[scan.Found]) -> list[scan.Found]:
        """Without those that are not wanted."""
        if self._options.exclude_caches and exclude.is_cache(fd):
            entries = [found for found in entries if found.name == exclude.CACHE_TAG]
        patterns = self._options.patterns
        if patterns is not None:
            entries = [f for f in entries if not patterns.match(level.path_of(f.name), f.kind == 'dir')]
        return entries

    def _ask_all(self, fd: int, level: Level, entries: list[scan.Found]) -> dict[bytes, str]:
        """Name to tags of all entries."""
        names = ((found.name, None if found.kind == 'dir' else found.kind == 'file') for found in entries)
        open = {'open': self._source.patience.open} if level.filesystem.is_served else {}
        return self._gatherer.of_listing(fd, names, level.kinds, **open)

    def _leave(self, fd: int, level: Level) -> None:
        """On the way up: recognises the directory, or begins to make its tree."""
        place = level.known_as
        known = self._memory.signature(place)
        if known and self._options.rehash:
            level.picked = self._pick(level)
        if known and level.waits_for == 1 and level.is_whole and self._lines.signature(level) == known[0]:
            sizes = [found.size for found in level.entries if found.kind == 'file']
            if not level.picked and self._memory.has_all(place, known[1], max(sizes, default=0)):
                self.result.files += len(sizes)
                self.result.bytes += sum(sizes)
                self._unfinished.recognise(level, known[1])
                return
        self._unfinished.add(level)
        self._begin_lines(fd, level, self._memory.files(place) if known else {})
        self._unfinished.settle(level)

    def _pick(self, level: Level) -> frozenset[bytes]:
        """The files of a directory that are to be read again, at random."""
        import random  # takes 2 ms, and few backups ask for it

        share = self._options.rehash
        return frozenset(found.name for found in level.entries if found.kind == 'file' and random.random() < share)

    def _begin_lines(self, fd: int, level: Level, old: dict[bytes, tuple[bytes, str]]) -> None:
        """Makes the tree's lines of all but subdirectories and files to be read, and has those read."""
        is_unchanged, line_of = self._memory.is_unchanged, self._lines.of_file  # much is asked of these
        most_files, most_bytes = jobs.BATCH_FILES, jobs.BATCH_BYTES
        level.lines = [''] * len(level.entries)
        level.known, wanted, size = old, [], 0
        for index, found in enumerate(level.entries):
            if found.kind == 'file':
                row = old.get(found.name)
                if row is not None and is_unchanged(level, found, row):
                    if found.name not in level.picked:
                        level.lines[index] = line_of(level, found, row[1])
                        continue
                    level.expected[found.name] = row[1]
                wanted.append(index)
                size += found.size
                if len(wanted) == most_files or size >= most_bytes:
                    self._jobs.want(fd, level, wanted)
                    wanted, size = [], 0
            elif found.kind != 'dir':
                level.lines[index] = self._lines.of_other(fd, level, found)
        level.known = {}
        if wanted:
            self._jobs.want(fd, level, wanted)
