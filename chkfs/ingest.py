"""Brings a live directory into a store: scans it, reads what is new, and writes its trees, deepest first.

Each directory is listed on the way down and finished on the way up, when the trees of its subdirectories are
known.  A directory whose entries look as they did when it was last stored is not read again.  When there is much
to read, workers read the files and pack them, while this process walks on; big files it reads itself.
"""

import copy
import errno
import hashlib
import os
import time
from collections.abc import Callable
from typing import NamedTuple

from chkfs import (
    again,
    crew,
    earlier,
    errors,
    exclude,
    metadata,
    mounts,
    patience,
    quote,
    ranges,
    scan,
    statx,
    tree,
    watch,
)
from chkfs.cache import Directory, ScanCache
from chkfs.descent import Descent, open_below
from chkfs.reader import MAY_HANG, Outcome, PatientReader, Reader
from chkfs.writer import LISTED_ABOVE, PACKED_BELOW, Sealed, Writer

_LONGEST_PATH = 16_000  # in a tag: longer than any path that can be opened, shorter than a line may be
_BATCH_FILES = 128  # of a job for a worker
_BATCH_BYTES = 2 << 20
_MANY_FILES = 300  # from so many files on, or so many bytes, workers are worth their start
_MANY_BYTES = 8 << 20
_EARLY_BYTES = 32 << 20  # that were read; of these the next run reads again what is not in the store, if we die
_SMALL_BYTES = 32 << 10  # files that are smaller, on the average, are as soon read again as remembered twice
_LONGEST_RUN_NS = 400 * 86400 * 10**9
_LONGEST_WAY = 4 * 4096  # bytes of a path, where only that can end a circle: four times what a program can open
_ROUNDS = 8  # there: so many directories with the same entries, each in the one before, are a circle
_GONE = frozenset(  # what a filesystem may answer that is not there any more
    (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ESHUTDOWN, errno.ENOMEDIUM)
)
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


class Result:
    """What one source gave: its root line and what is to be said of it in the snapshot."""

    def __init__(self):
        self.root = ''  # an mtree line, the name '.'
        self.files = 0
        self.bytes = 0  # sum of the sizes of the files
        self.read_bytes = 0  # of those that had to be read
        self.skipped = 0  # entries that could not be stored, or not whole
        self.changed = 0  # files that changed while they were read
        self.damaged = 0  # files of which some bytes could not be read
        self.differing = 0  # files with other contents than before, though nothing else tells of a change
        self.mounts: list[str] = []  # values of mount lines
        self.drives: list[str] = []  # values of drive lines
        self.features: list[str] = []  # kinds of metadata that were looked for, as in a snapshot's features


class _Level:
    """A directory on the way: listed, and waiting for its subdirectories and for its files to be read."""

    __slots__ = (
        *('filesystem', 'place', 'identity', 'path', 'parent', 'name', 'entries', 'below', 'directories', 'tags'),
        *('lines', 'done', 'waits_for', 'is_whole', 'unread', 'depth', 'kinds', 'own_tags', 'told'),
        *('is_complete', 'listing', 'rounds', 'picked', 'expected', 'known', 'remembered'),
    )

    def __init__(
        self,
        filesystem: mounts.Filesystem,
        kinds: int,
        place: bytes,
        status: os.stat_result,
        path: bytes = b'',
        parent: '_Level | None' = None,
        name: bytes = b'',
    ):
        self.filesystem = filesystem
        self.place = place  # where in the filesystem it is, as the scan cache wants it
        self.identity = status.st_dev, status.st_ino
        self.path, self.parent, self.name = path, parent, name  # path: from the top of the source
        self.depth = parent.depth + 1 if parent else 0
        self.entries: list[scan.Found] = []
        self.below: list[scan.Found] = []  # subdirectories still to enter, the last first
        self.directories: list[int] = []  # which of the entries are directories
        self.tags: dict[bytes, str] = {}  # name of a stored subdirectory to its tags
        self.lines: list[str] = []  # of the tree, one an entry, '' while it is not known
        self.done: dict[bytes, tuple[bytes, str]] = {}  # files that need not be read the next time
        self.known: dict[bytes, tuple[bytes, str]] = {}  # the same from the last time, until all have been looked at
        self.remembered = 0  # so many of those done are known to the next run, even if this one dies
        self.waits_for = 1  # jobs, subdirectories, and this process as long as it is at it
        self.is_whole = True  # nothing went wrong or is in doubt, so it may be recognised the next time
        self.unread = ''  # the tag that says why it could not be listed
        self.is_complete = True  # everything below that can be seen through this name was entered
        self.listing, self.rounds = b'', 0  # a digest of its entries, and how many directories above have the same
        self.picked: frozenset[bytes] = frozenset()  # files to be read, whatever is known of them
        self.expected: dict[bytes, str] = {}  # what is known of these
        self.own_tags = ''  # what the directory itself tells, each tag with a comma before it
        self.kinds = kinds  # of metadata to ask for
        self.told: dict[bytes, str] = {}  # name to tags, where they must be asked for at each listing

    def tags_with(self, key: str) -> str:
        """The tags of the directory, whose tree is that."""
        tags = f'tree:{key}{self.own_tags}'
        return tree.in_order([*tags.split(','), self.unread]) if self.unread else tags

    @property
    def files(self) -> dict[bytes, tuple[bytes, str]]:
        """What the next run may believe of the files so far."""
        return self.known | self.done if self.known else self.done

    @property
    def is_asked_when_listed(self) -> bool:
        """Whether the files' metadata are asked for at each listing: they may change while the record does not."""
        is_read = self.kinds & metadata.ATIME and not self.filesystem.is_read_only
        return bool(is_read) or not self.filesystem.has_true_ctime

    @property
    def kinds_to_read(self) -> int:
        """The kinds to ask of files when they are read: none where they have been asked for already."""
        return 0 if self.is_asked_when_listed else self.kinds

    @property
    def known_as(self) -> tuple[str, bytes]:
        """What the scan cache knows it as: the tags in it are those that were asked for when the files were read."""
        identity = self.filesystem.identity
        return identity and f'{identity} {self.kinds_to_read:x}', self.place

    def path_of(self, name: bytes) -> bytes:
        return self.path + b'/' + name if self.path else name


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
        self._writer, self._cache, self._options = writer, cache, options
        self._report, self._note, self._step, self._checkpoint = report, note, step, checkpoint
        self._before = before
        self._lister = scan.Lister()
        self._gatherer = metadata.Gatherer(lambda value: writer.put('blob', value))
        self._patience = patience.Patience(options.read_timeout, self._tick)
        self._reader = PatientReader(writer, self._gatherer, self._tick, self._patience)
        self._retries = options.retries  # still to come
        self._failed: list[tuple[_Level, scan.Found, Outcome]] = []  # to be tried again
        self._lost: list[int] = []  # numbers of parts of batches that workers gave up
        self._top_fd = -1
        self._is_ending = False  # too early
        self._crew: crew.Crew | None = None
        self._sealed: list[Sealed] = []  # what the workers answered when they were asked to
        # the batch: (number, kinds of metadata, files), descriptor; and what is known of each number
        self._parts: list[tuple[int, int, list[tuple[bytes, int, int]]]] = []
        self._fds: list[int] = []
        self._batch_files = self._batch_bytes = self._all_files = self._all_bytes = 0
        self._asked: dict[int, tuple[_Level, list[int]]] = {}  # number to directory and indexes of its entries
        self._number = 0
        self._unfinished: dict[int, _Level] = {}  # left, but waiting for files or subdirectories
        self._rows: list[tuple[str, bytes, Directory]] = []
        self._early_bytes = self._early_files = self._early_rows = 0  # when _remember_early() last looked, or wrote
        self._first_names: dict[tuple, bytes] = {}  # what _file_of gives to a path
        self._met: again.Met | None = None
        self._path = b''  # what is being looked at, to be shown
        self._started_ns = time.time_ns()
        self._root = ''  # the root's line without its tags
        self._top_tags = ''
        self._source = b''  # absolute
        self._here: _Level | None = None  # the directory that the walk is at
        self.result = Result()
        writer.gather, writer.sealing = self._gather, self._remember

    def store(self, source: bytes) -> Result:
        """Stores a directory or one file; a symlink is followed.  Raises Error when it cannot be read."""
        source = self._source = os.path.realpath(source)
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
                self._report(line)
        finally:
            for fd in self._fds:
                os.close(fd)
            if self._crew is not None:
                self._crew.close()
            if self._met is not None:
                self._met.close()
            if self._top_fd >= 0:
                os.close(self._top_fd)
            self._patience.rest()
        return self.result

    def _save(self) -> None:
        """Before the end of an unfinished run: what was read need not be read again."""
        self._step, self._is_ending = lambda path, result: None, True
        self._writer.checkpoint()

    def _store_file(self, source: bytes) -> None:
        parent, name = os.path.split(source)
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            filesystem = mounts.filesystem(parent, fd)
            self._tell(filesystem, b'')
            place = mounts.place(filesystem.inner_path(source))
            level = _Level(filesystem, self._kinds(filesystem), place, os.fstat(fd))
            level.entries = [self._lister.look(os.stat(name, dir_fd=fd, follow_symlinks=False), name, filesystem)]
            if level.entries[0].kind != 'file':
                raise errors.Error(f"'{quote.readable(source)}' is neither a directory nor a file")
            self._top_fd = os.dup(fd)
            self._begin_lines(fd, level, self._cache.files(*level.known_as))
            self._finish_jobs()
        finally:
            os.close(fd)
        lines = level.lines[0]
        fields = tree.parse_line(lines.rstrip('\n').rpartition('\n')[2]).fields if lines else {}
        if 'sha256digest' not in fields:
            raise errors.Error(f"'{quote.readable(source)}' was not stored")
        self.result.root = tree.Entry(b'.', fields).line()
        self._rows.append((*level.known_as, Directory(b'', '', level.done)))

    def _store_directory(self, source: bytes) -> None:
        descent = Descent(os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            status = os.fstat(descent.fd)
            own = self._options.own_directories.get((status.st_dev, status.st_ino))
            if own:
                raise errors.Error(f"'{quote.readable(source)}' is {own}")
            filesystem = mounts.filesystem(source, descent.fd)
            self._tell(filesystem, b'')
            self._met = again.Met(descent.fd, source)
            top = _Level(filesystem, self._kinds(filesystem), mounts.place(filesystem.inner_path(source)), status)
            found = self._lister.look(status, b'.', filesystem)
            self._root = f'. {found.attributes} time={tree.format_time(found.mtime_ns)}'
            self._top_fd = os.dup(descent.fd)
            self._list(descent.fd, top)
            self._walk(descent, source, top)
            self._finish_jobs()
        finally:
            descent.close()
        self.result.root = f'{self._root} tags={self._top_tags}'

    def _walk(self, descent: Descent, source: bytes, top: _Level) -> None:
        """Down and up again until the top has been left."""
        level = top
        while True:
            self._here = level
            if level.below:
                level = self._enter(descent, source, level, level.below.pop()) or level
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

    def _enter(self, descent: Descent, source: bytes, parent: _Level, found: scan.Found) -> _Level | None:
        """Opens and lists a subdirectory; None when there is nothing to walk in it, its tags being set then."""
        try:
            descent.enter(found.name)
            try:
                status = os.fstat(descent.fd)
            except OSError:
                descent.leave()
                raise
        except OSError as error:
            self._skip(parent, parent.path_of(found.name), error)
            parent.is_complete = False
            if error.errno != errno.ENOENT:
                tags = f'tree:{self._writer.put("tree", _EMPTY_TREE)},{_unread(error)}'
                tags += self._gatherer.of_name(descent.fd, found.name, parent.kinds)
                parent.tags[found.name] = tree.in_order(tags.split(','))
            return None
        identity, path = (status.st_dev, status.st_ino), parent.path_of(found.name)
        absolute = os.path.join(source, path)
        filesystem, place, stop = parent.filesystem, mounts.place_below(parent.place, found.name), None
        own = self._options.own_directories.get(identity)
        is_mount = status.st_dev != parent.identity[0] or absolute in self._met.points
        if is_mount and not own:
            filesystem, stop = self._cross(descent.fd, parent, absolute, path, status.st_dev)
            if filesystem is not parent.filesystem:
                place = mounts.place(filesystem.inner_path(absolute))
        if own:
            self._note(f"'{quote.readable(path)}' is {own}: left out")
            parent.is_whole = False
        elif stop is None:
            stop = self._again(parent, identity, path, filesystem)
            if is_mount and stop is None and filesystem is not parent.filesystem:
                self._note(f"'{quote.readable(path)}' is a {filesystem.type} mount: entered")
        if stop is not None or own:
            descent.leave()
            if stop is not None:
                parent.tags[found.name] = stop
            return None
        kinds = parent.kinds if filesystem is parent.filesystem else self._kinds(filesystem)
        level = _Level(filesystem, kinds, place, status, path, parent, found.name)
        parent.waits_for += 1
        self._list(descent.fd, level)
        return level

    def _again(
        self, parent: _Level, identity: tuple[int, int], path: bytes, filesystem: mounts.Filesystem
    ) -> str | None:
        """The tag of a directory that was met before, None for a new one."""
        first = self._met.find(identity, path, filesystem)
        if first is None:
            return None
        text = quote.quote_tag(first or b'.')
        if len(text) > _LONGEST_PATH:  # a line cannot tell it
            if not path.startswith(first + b'/'):
                return None  # it is no circle, and stored once more
            error = OSError(errno.ELOOP, 'it is one of the directories above, whose path is too long to be told')
            self._skip(parent, path, error)
            return f'tree:{self._writer.put("tree", _EMPTY_TREE)},{_unread(error)}'
        self._note(f"'{quote.readable(path)}' is '{quote.readable(first) or '.'}' again: not entered")
        return f'again:{text}'

    def _cross(
        self, fd: int, parent: _Level, absolute: bytes, path: bytes, device: int
    ) -> tuple[mounts.Filesystem, str | None]:
        """A mount point, or another device: (its filesystem, None to go on or the tags of a directory left empty)."""
        filesystem = mounts.filesystem(absolute, fd)
        if filesystem.mount_point == parent.filesystem.mount_point:
            return parent.filesystem, None  # a subvolume: part of the same mount
        parent.is_complete = False  # what it hides is not seen
        is_other = device != parent.identity[0]
        skip = self._options.one_file_system and is_other or filesystem.type in mounts.PSEUDO
        self._tell(filesystem, path, skip)
        if not skip:
            return filesystem, None
        self._note(f"'{quote.readable(path)}' is a {filesystem.type} mount: not entered")
        return filesystem, f'tree:{self._writer.put("tree", _EMPTY_TREE)}'

    def _tell(self, filesystem: mounts.Filesystem, path: bytes, skipped: bool = False) -> None:
        """Notes where things come from, for the snapshot."""
        self.result.mounts.append(filesystem.mount_line(path, skipped))
        for each in filesystem.drives:
            if (line := each.line()) not in self.result.drives:
                self.result.drives.append(line)
        if filesystem.twin:
            shown = quote.readable(path) or '.'
            self._note(
                f"'{shown}' is on '{filesystem.device}', which has the same UUID as '{filesystem.twin}': "
                'one is a copy of the other, and they are taken for two'
            )

    def _list(self, fd: int, level: _Level) -> None:
        """Fills in the entries of a directory that has just been opened."""
        self._path = level.path
        self._met.enter(level.identity, level.path)
        self._tick()
        try:
            level.own_tags = self._gatherer.of_open(fd, level.kinds, statx.status(fd), level.name or b'.')
            if level.parent and (short := level.parent.told.get(level.name)):
                level.own_tags = metadata.with_tag(level.own_tags, short.removeprefix(','))
            entries, problems = self._lister.list(fd, level.filesystem)
        except OSError as error:
            self._give_up(level, error)
            return
        for name, error in problems:
            self._skip(level, level.path_of(name), error)
        if level.filesystem.may_be_endless and (error := self._circle(level, entries)):
            self._give_up(level, error)
            return
        seen = len(entries) + len(problems)
        if self._options.exclude_caches and exclude.is_cache(fd):
            entries = [found for found in entries if found.name == exclude.CACHE_TAG]
        patterns = self._options.patterns
        if patterns is not None:
            entries = [f for f in entries if not patterns.match(level.path_of(f.name), f.kind == 'dir')]
        if len(entries) < seen:
            level.is_complete = False
        if level.is_asked_when_listed:
            names = ((found.name, None if found.kind == 'dir' else found.kind == 'file') for found in entries)
            served = level.filesystem.type.startswith('fuse')  # by a program, which may never answer
            open = {'open': self._patience.open} if served else {}
            level.told = self._gatherer.of_listing(fd, names, level.kinds, **open)
        level.entries = entries
        level.directories = [index for index, found in enumerate(entries) if found.kind == 'dir']
        level.below = [entries[index] for index in reversed(level.directories)]
        for found in entries:
            if found.linked is not None:
                self._first_names.setdefault(_file_of(found), level.path_of(found.name))

    def _give_up(self, level: _Level, error: OSError) -> None:
        """A directory whose entries will not be known."""
        self._skip(level, level.path, error)
        level.is_complete = False
        level.unread = _unread(error)

    def _circle(self, level: _Level, entries: list[scan.Found]) -> OSError | None:
        """Where inode numbers cannot tell: why the walk must not go on below, when it seems to go round in a circle.

        A directory alone in a directory, however often, is none: a circle would end by the length of the path.
        """
        if len(level.path) > _LONGEST_WAY:
            return OSError(errno.ENAMETOOLONG, f'the path is longer than {_LONGEST_WAY} bytes: an endless circle?')
        if len(entries) < 2:
            return None
        parts = (field for found in entries for field in (found.name, b'\0', found.attributes.encode(), found.record))
        level.listing = hashlib.sha256(b''.join(parts)).digest()
        above = level.parent
        while above is not None and above.listing != level.listing:
            above = above.parent
        level.rounds = above.rounds + 1 if above is not None else 0
        if level.rounds < _ROUNDS:
            return None
        return OSError(errno.ELOOP, f'{_ROUNDS} directories above it have the same entries: an endless circle?')

    def _leave(self, fd: int, level: _Level) -> None:
        """On the way up: recognises the directory, or begins to make its tree."""
        place = level.known_as
        known = self._cache.signature(*place)
        if known and self._options.rehash:
            level.picked = self._pick(level)
        if known and level.waits_for == 1 and level.is_whole and self._signature(level) == known[0]:
            sizes = [found.size for found in level.entries if found.kind == 'file']
            if not level.picked and self._has_all(place, known[1], max(sizes, default=0)):
                self.result.files += len(sizes)
                self.result.bytes += sum(sizes)
                self._settle(self._close(level, known[1]))
                return
        self._unfinished[id(level)] = level
        self._begin_lines(fd, level, self._cache.files(*place) if known else {})
        self._settle(level)

    def _pick(self, level: _Level) -> frozenset[bytes]:
        """The files of a directory that are to be read again, at random."""
        import random  # takes 2 ms, and few backups ask for it

        share = self._options.rehash
        return frozenset(found.name for found in level.entries if found.kind == 'file' and random.random() < share)

    def _kinds(self, filesystem: mounts.Filesystem) -> int:
        """The kinds of metadata to ask for, as metadata.Gatherer wants them."""
        with_atime = self._options.atime or filesystem.is_read_only
        return metadata.kinds(filesystem.type, filesystem.has_true_ctime, with_atime)

    def _begin_lines(self, fd: int, level: _Level, old: dict[bytes, tuple[bytes, str]]) -> None:
        """Makes the tree's lines of all but subdirectories and files to be read, and has those read."""
        level.lines = [''] * len(level.entries)
        level.known, wanted, size = old, [], 0
        for index, found in enumerate(level.entries):
            if found.kind == 'file':
                row = old.get(found.name)
                if row is not None and self._is_unchanged(level, found, row):
                    if found.name not in level.picked:
                        level.lines[index] = self._file_line(level, found, row[1])
                        continue
                    level.expected[found.name] = row[1]
                wanted.append(index)
                size += found.size
                if len(wanted) == _BATCH_FILES or size >= _BATCH_BYTES:
                    self._want(fd, level, wanted)
                    wanted, size = [], 0
            elif found.kind != 'dir':
                level.lines[index] = self._other_line(fd, level, found)
        level.known = {}
        if wanted:
            self._want(fd, level, wanted)

    def _is_unchanged(self, level: _Level, found: scan.Found, row: tuple[bytes, str]) -> bool:
        """Whether a file is what a row of the scan cache says, and the store has it."""
        if row[0] != found.record:
            if not level.filesystem.keeps_local_time or not scan.is_same_but_for_zone(row[0], found.record):
                return False
        return self._has_what_came(row[1], found.size)

    def _want(self, fd: int, level: _Level, indexes: list[int]) -> None:
        """Has the files of these entries read, here and now when they are big, else in a batch."""
        files, alone, damaged = [], [], self._before and self._before.damaged
        for index in indexes:
            found = level.entries[index]
            size = found.size
            if size > LISTED_ABOVE or damaged and level.path_of(found.name) in damaged:
                alone.append(index)
                self._path = level.path_of(found.name)
                self.result.read_bytes += size
                former = self._before and self._before.former(self._path, size, found.mtime_ns)
                wanted = found.name, size, found.mtime_ns
                outcome = self._reader.read_slowly(fd, level.kinds_to_read, *wanted, former=former)
                level.lines[index] = self._outcome_line(level, found, outcome)
                self._remember_early()
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
        self._parts.append((self._number, level.kinds_to_read, files))
        self._fds.append(os.dup(fd))
        self._batch_files += len(files)
        if (
            self._batch_files >= _BATCH_FILES
            or self._batch_bytes >= _BATCH_BYTES
            or len(self._fds) >= crew.MOST_DESCRIPTORS
        ):
            self._hand_out()

    def _hand_out(self) -> None:
        """Has the batch read: by the crew, or, while there is little, here and now."""
        parts, fds, files, size = self._parts, self._fds, self._batch_files, self._batch_bytes
        self._all_files += files
        self._all_bytes += size
        self.result.read_bytes += size
        self._parts, self._fds, self._batch_files, self._batch_bytes = [], [], 0, 0
        if self._crew is None and (self._all_files >= _MANY_FILES or self._all_bytes >= _MANY_BYTES):
            self._patience.rest()
            with self._writer.forking():
                count = max(2, os.cpu_count() or 1)
                self._crew = crew.Crew(count, self._start_worker, self._take, self._tick, self._take_lost)
        elif self._crew is not None and self._crew.is_short:
            self._patience.rest()
            with self._writer.forking():
                self._crew.fill()
        if self._crew is not None:
            self._writer.count_elsewhere(files, size)
            self._crew.submit(parts, fds)
        else:
            try:
                self._take(self._reader.read(parts, fds))
            finally:
                for fd in fds:
                    os.close(fd)
        self._tick()
        self._remember_early()
        self._writer.checkpoint_if_due()

    def _start_worker(self, give_up: Callable[[tuple], None]) -> Callable:
        """In a worker: reads the files of a job; a job that is None asks for what has been stored so far."""
        writer = self._writer.branch()
        gatherer = metadata.Gatherer(lambda value: writer.put('blob', value))
        job = [(), ()]  # parts and descriptors of the one at hand
        beats = [0]

        def step() -> None:
            beats[0] += 1

        reader = Reader(writer, gatherer, step)

        def seal() -> tuple:
            loose, packed, keys, packs = writer.seal()
            packs = [(name, [tuple(place) for place in places]) for name, places in packs]
            return (loose, packed, keys, packs), gatherer.told()

        def work(parts, fds):
            job[:] = parts, fds
            return seal() if parts is None else reader.read(parts, fds)

        def stuck(variables: dict) -> None:
            number = job[0][job[1].index(variables['fd'])][0]
            give_up((seal(), number, variables['name']))

        if self._options.read_timeout:
            watch.Watch(self._options.read_timeout, MAY_HANG, '_read', stuck, lambda: beats[0])
        return work

    def _take_lost(self, result: tuple | None, jobs: list) -> None:
        """A worker gave up at a file, or there is none left: its jobs are done in the end."""
        stuck = None
        if result is not None:
            sealed, *stuck = result
            self._take(sealed)
        for parts in jobs:
            for number, _, files in parts or ():
                level, indexes = self._asked[number]
                if stuck and stuck[0] == number:
                    at = [name for name, *_ in files].index(stuck[1])
                    level.lines[indexes[at]] = self._outcome_line(level, level.entries[indexes[at]], self._hung())
                    self._asked[number] = level, indexes[:at] + indexes[at + 1 :]
                self._lost.append(number)

    def _hung(self) -> tuple:
        error = patience.Hung(self._options.read_timeout)
        return tuple(Outcome('', errno=error.errno, strerror=error.strerror))

    def _finish_jobs(self) -> None:
        if self._parts:
            self._hand_out()
        if self._crew is not None:
            self._crew.finish()
        for number in self._lost:
            level, indexes = self._asked.pop(number)
            for index in indexes:
                found = level.entries[index]
                level.lines[index] = self._outcome_line(level, found, self._read_alone(level, found))
            self._settle(level)
        while self._failed:
            self._try_again()

    def _try_again(self) -> None:
        """What could not be read is read once more; the better reading counts."""
        self._retries -= 1
        failed, self._failed = self._failed, []
        self._note(f'{len(failed)} files could not be read wholly: they are tried again')
        for level, found, before in failed:
            outcome = self._read_alone(level, found)
            if type(outcome) is not str and not Outcome(*outcome).is_better_than(before):
                outcome = tuple(before)
            level.lines[level.entries.index(found)] = self._outcome_line(level, found, outcome)
            self._settle(level)
            self._writer.checkpoint_if_due()

    def _read_alone(self, level: _Level, found: scan.Found) -> str | tuple:
        """A file, away from the walk."""
        self._path = level.path_of(found.name)
        former = self._before and self._before.former(self._path, found.size, found.mtime_ns)
        try:
            names = level.path.split(b'/') if level.path else []
            fd = self._patience.call(open_below, self._top_fd, names)
        except OSError as error:
            return tuple(Outcome('', errno=error.errno, strerror=errors.describe(error)))
        try:
            wanted = found.name, found.size, found.mtime_ns
            return self._reader.read_slowly(fd, level.kinds_to_read, *wanted, former=former)
        finally:
            os.close(fd)

    def _gather(self) -> list[Sealed]:
        """Before a checkpoint: what the workers have stored.  They have nothing to do then until it is sealed."""
        if self._crew is None:
            return []
        self._crew.submit_to_all(None)
        self._crew.finish()
        sealed, self._sealed = self._sealed, []
        return sealed

    def _take(self, results) -> None:
        """Files have been read (or workers have sealed): their lines can be made, and trees that waited for them."""
        self._writer.notice()
        if isinstance(results, tuple):
            self._sealed.append(Sealed(*results[0]))
            self._gatherer.tell(*results[1])
            return
        for number, outcomes in results:
            level, indexes = self._asked.pop(number)
            for index, outcome in zip(indexes, outcomes):
                level.lines[index] = self._outcome_line(level, level.entries[index], outcome)
            self._settle(level)

    def _settle(self, level: _Level | None) -> None:
        """One of the things that a directory waited for is done; after the last, its tree can be stored."""
        while level is not None:
            level.waits_for -= 1
            if level.waits_for:
                return
            for index in level.directories:
                level.lines[index] = self._directory_line(level, level.entries[index])
            key = self._writer.put('tree', tree.format(level.lines))
            signature, tree_key = (self._signature(level), key) if level.is_whole else (b'', '')
            row = Directory(signature, tree_key, level.done)
            self._rows.append((*level.known_as, row))
            del self._unfinished[id(level)]
            level = self._close(level, key)

    def _close(self, level: _Level, key: str) -> _Level | None:
        """The directory's tree is known: tells its parent, which it gives."""
        tags = level.tags_with(key)
        level.entries, level.lines = [], []
        if level.parent is None:
            self._top_tags = tags
        else:
            level.parent.tags[level.name] = tags
        return level.parent

    def _has_all(self, place: tuple[str, bytes], key: str, largest: int) -> bool:
        """Whether the store has a remembered tree, and those of its contents that are files of their own.

        What lies in packs need not be looked for: when one vanishes, the scan cache as a whole is not believed.
        """
        if not self._writer.has('tree', key):
            return False
        if largest < PACKED_BELOW:
            return True
        files = self._cache.files(*place).values()
        return all(self._has_what_came(text, scan.fields(record)[0]) for record, text in files)

    def _has_what_came(self, text: str, size: int) -> bool:
        """Whether the store has a file's contents, and what is too long for its tags."""
        writer = self._writer
        return writer.has_whole(text[:64], size) and all(writer.has('blob', key) for key in tree.value_keys(text[65:]))

    def _signature(self, level: _Level) -> bytes:
        """A digest of all that lstat told of the entries, of the trees below, and of hard links' first names."""
        parts = []
        for found in level.entries:
            parts += (found.name, b'\0', found.attributes.encode(), found.record)
            if level.told:
                parts.append(level.told.get(found.name, '').encode())
            if found.linked is not None:
                parts += (self._first_names[_file_of(found)], b'\0')
        names = (level.entries[index].name for index in level.directories)
        parts += (f'\n{level.tags.get(name, "")}'.encode() for name in names)
        return hashlib.sha256(b''.join(parts)).digest()

    def _directory_line(self, level: _Level, found: scan.Found, unfinished: str | None = None) -> str:
        """The tree line of a subdirectory; '' for one that vanished.  unfinished: its tags while it has no others."""
        tags = level.tags.get(found.name, unfinished)
        time_text = tree.format_time(found.mtime_ns)
        return tree.format_lines(found.name, f'{found.attributes} time={time_text}', tags) if tags else ''

    def _other_line(self, fd: int, level: _Level, found: scan.Found) -> str:
        """The tree line of what is neither file nor directory; '' for one that vanished."""
        name, kind = found.name, found.kind
        rest = f'{found.attributes} time={tree.format_time(found.mtime_ns)}'
        tags = level.told.get(name) or self._gatherer.of_name(fd, name, level.kinds)
        if kind == 'link':
            try:
                target = os.readlink(name, dir_fd=fd)
                rest += f' link={quote.quote(self._target(level, target) if ",ntfs.reparse:" in tags else target)}'
            except OSError as error:
                self._skip(level, level.path_of(name), error)
                return ''
        elif kind in ('char', 'block'):
            device = scan.unpack(found.record).device
            rest += f' device=linux,{os.major(device)},{os.minor(device)}'
        if not self._is_settled(level, found):
            level.is_whole = False
        return tree.format_lines(name, rest, f'{self._hard_link_tag(level, found, tags)}{tags}'.removeprefix(','))

    def _target(self, level: _Level, target: bytes) -> bytes:
        """Where a junction leads: ntfs-3g shows it as a link to below the place where it is mounted."""
        top = level.filesystem.mount_point.rstrip(b'/') + b'/'
        directory = os.path.join(self._source, level.path)
        return os.path.relpath(target, directory) if target.startswith(top) else target

    def _compare(self, level: _Level, found: scan.Found, key: str) -> None:
        """Says so when a file that was read for that is not what was known of it."""
        known = level.expected.get(found.name, key)[:64]
        if known != key:
            self.result.differing += 1
            path = quote.readable(level.path_of(found.name))
            self._report(
                f"'{path}' has other contents than before, though its size and times are the same: the drive, or "
                f'something else, changed it silently; stored as it is now, before it was {known}'
            )

    def _outcome_line(self, level: _Level, found: scan.Found, outcome: str | tuple) -> str:
        """The tree line of a file that has been read; '' for one that vanished."""
        if type(outcome) is str:
            if level.expected:
                self._compare(level, found, outcome[:64])
            return self._file_line(level, found, outcome)
        outcome = Outcome(*outcome)
        path = level.path_of(found.name)
        if outcome.errno and self._is_ending:
            return ''
        if outcome.errno in _GONE:
            self._check_is_there(level)
        if outcome.is_bad and self._retries and outcome.errno != errno.ETIME:  # to open that again may hang for ever
            level.waits_for += 1
            self._failed.append((level, found, outcome))
            return ''
        if outcome.is_bad and self._before is not None and outcome.status is None:
            was = self._before.text(path, found.size, found.mtime_ns)
            if was is not None and (outcome.errno or not was.damaged):
                return self._line_of_before(level, found, path, outcome, was)
        if outcome.errno:
            error = OSError(outcome.errno, outcome.strerror)
            self._skip(level, path, error)
            return '' if error.errno == errno.ENOENT else self._file_line(level, found, '', _unread(error))
        if outcome.damaged:
            lost = ranges.total(outcome.damaged)
            self._report(f"'{quote.readable(path)}' is damaged: {lost} bytes lost: {ranges.shorten(outcome.damaged)}")
            self.result.damaged += 1
        if outcome.status is not None:
            found = self._lister.look(scan.Status(*outcome.status), found.name, level.filesystem)
            level.is_whole = False  # its signature is that of the listing
        if not outcome.has_changed:
            return self._file_line(level, found, outcome.text, is_sure=not outcome.damaged)
        self._report(f"'{quote.readable(path)}' changed while it was read: stored as it was last seen")
        self.result.changed += 1
        record = scan.unpack(found.record)._replace(size=outcome.size)  # the line must say what is stored
        return self._file_line(
            level, found._replace(record=scan.pack(*record), size=outcome.size), outcome.text, 'changed:1'
        )

    def _line_of_before(
        self, level: _Level, found: scan.Found, path: bytes, outcome: Outcome, was: earlier.Text
    ) -> str:
        """The line of a file of which more could be read for the backup before."""
        why = outcome.strerror or f'{ranges.total(outcome.damaged)} bytes lost'
        self._report(f"'{quote.readable(path)}' cannot be read as well as before: {why}: kept as it was stored then")
        self.result.damaged += bool(was.damaged)
        return self._file_line(level, found, was.bare if found.name in level.told else was.text, is_sure=False)

    def _file_line(self, level: _Level, found: scan.Found, text: str, remark: str = '', is_sure: bool = True) -> str:
        """The tree line of a file; text: its key and tags, remark: one more, of what went wrong.

        is_sure: it need not be read again as long as it looks the same.
        """
        name, _, attributes, record, size, mtime_ns, _, linked, _ = found
        self.result.files += 1
        self.result.bytes += size
        told = level.told.get(name, '')
        key, _, tags = (text + told).partition(',')
        if told and len(text) > len(key):
            tags = tree.in_order(tags.split(','))
        if linked:
            tags = f'{self._hard_link_tag(level, found, "," + tags)},{tags}'.strip(',')
        if remark:
            tags = tree.in_order([*tags.split(','), remark] if tags else [remark])
        if remark or not is_sure or not self._is_settled(level, found):
            level.is_whole = False
        else:
            level.done[name] = record, text
        digest = f' sha256digest={key}' if key else ''
        return tree.format_lines(name, f'{attributes} size={size} time={tree.format_time(mtime_ns)}{digest}', tags)

    def _hard_link_tag(self, level: _Level, found: scan.Found, tags: str) -> str:
        """Every name of a file carries the path of the first one; where that is too long for a line, its digest.

        tags: the others.  NTFS counts a short name as a link.
        """
        if found.linked is None or found.links == 2 and ',short:' in tags:
            return ''
        first_name = self._first_names.setdefault(_file_of(found), level.path_of(found.name))
        text = quote.quote_tag(first_name)
        return f'hl:{text if len(text) <= _LONGEST_PATH else hashlib.sha256(first_name).hexdigest()}'

    def _tick(self) -> None:
        self._step(self._path, self.result)

    def _is_settled(self, level: _Level, found: scan.Found) -> bool:
        """Whether a later change would surely show: false for times since this run began, less the clock's grain."""
        oldest = self._started_ns - level.filesystem.granularity_ns
        if found.mtime_ns < oldest and found.ctime_ns < oldest:
            return True
        newest = oldest + _LONGEST_RUN_NS  # times of the far future are as good as those of the past
        return not (oldest <= found.mtime_ns <= newest or oldest <= found.ctime_ns <= newest)

    def _check_is_there(self, level: _Level) -> None:
        """After an error: raises Gone when it is not the one entry, but the whole filesystem."""
        point = level.filesystem.mount_point
        try:
            self._patience.call(_look_into, self._top_fd if self._top_fd >= 0 else point)
            self._patience.call(_look_into, point)
        except OSError as error:
            if error.errno in _GONE:
                raise errors.Gone(f"'{quote.readable(point)}' is gone: {errors.describe(error)}") from error

    def _skip(self, level: _Level, path: bytes, error: OSError) -> None:
        if error.errno in _GONE:
            self._check_is_there(level)
        self.result.skipped += 1
        level.is_whole = False
        what = 'vanished' if error.errno == errno.ENOENT else f'cannot be read: {errors.describe(error)}'
        self._report(f"'{quote.readable(path) or '.'}' {what}")

    def _remember(self) -> Callable[[], None]:
        """At a checkpoint: what to do when all that was put so far is safe and rows about it may be believed."""
        self.result.features = self._gatherer.features()
        rows, self._rows, self._early_rows = self._rows, [], 0
        unfinished = list(self._unfinished.values())
        secured = None
        if self._root and not self._top_tags and (self._here or self._unfinished):  # else nothing was looked at yet
            so_far = copy.copy(self.result)
            so_far.root = f'{self._root} tags={self._put_unfinished()}'
            secured = self._checkpoint(so_far)

        def remember() -> None:
            rows.extend((*level.known_as, Directory(b'', '', level.files)) for level in unfinished)
            self._cache.remember(rows)
            if secured is not None:
                secured()

        return remember

    def _remember_early(self) -> None:
        """Now and then between two checkpoints: has the next run know the files that have been read.

        That is no promise that the store has them: whoever believes a row about a file asks the store.  What is in
        incoming/ by then is stored before the next run begins.
        """
        size, files = self.result.read_bytes - self._early_bytes, self.result.files - self._early_files
        if size < _EARLY_BYTES:
            return
        self._early_bytes, self._early_files = self.result.read_bytes, self.result.files
        if size < files * _SMALL_BYTES:
            return
        rows = [(*place, Directory(b'', '', row.files)) for *place, row in self._rows[self._early_rows :]]
        self._early_rows = len(self._rows)
        for level in self._unfinished.values():
            if len(level.done) > level.remembered + level.remembered // 8:  # else one with very many is written often
                level.remembered = len(level.done)
                rows.append((*level.known_as, Directory(b'', '', level.files)))
        self._cache.remember(rows)

    def _put_unfinished(self) -> str:
        """Puts trees of what is in the unfinished directories so far, and gives the tags of the top one."""
        levels = {id(level): level for level in self._unfinished.values()}
        level = self._here
        while level is not None:
            levels[id(level)] = level
            level = level.parent
        tags: dict[int, dict[bytes, str]] = {number: {} for number in levels}  # of subdirectories not finished either
        for level in sorted(levels.values(), key=lambda level: -level.depth):
            lines = list(level.lines) or [''] * len(level.entries)
            for index in level.directories:
                found = level.entries[index]
                lines[index] = self._directory_line(level, found, tags[id(level)].get(found.name))
            own = level.tags_with(self._writer.put('tree', tree.format(lines)))
            if level.parent is not None:
                tags[id(level.parent)][level.name] = own
        return own


def _file_of(found: scan.Found) -> tuple:
    """What names of one file have in common; by its numbers alone a file may be taken for one that is gone."""
    return found.linked, found.size, found.mtime_ns


def _look_into(directory: bytes | int) -> None:
    with os.scandir(directory) as entries:
        next(entries, None)


def _unread(error: OSError) -> str:
    return f'unread:{errno.errorcode.get(error.errno, error.errno)}'
