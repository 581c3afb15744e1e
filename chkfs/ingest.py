"""Brings a live directory into a store: scans it, reads what is new, and writes its trees, deepest first.

Each directory is listed on the way down and finished on the way up, when the trees of its subdirectories are
known.  A directory whose entries look as they did when it was last stored is not read again.
"""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from chkfs import errors, exclude, metadata, quote, scan, tree
from chkfs.cache import Directory, ScanCache
from chkfs.descent import Descent
from chkfs.writer import PACKED_BELOW, Writer

READ_BYTES = 1 << 20

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_TRIES = 3
_LONGEST_PATH = 16_000  # in a tag: longer than any path that can be opened, shorter than a line may be
_FILES_BETWEEN_CHECKS = 256
_LONGEST_RUN_NS = 400 * 86400 * 10**9
_EMPTY_TREE = tree.format(())


class Options(NamedTuple):
    """How to walk a source."""

    one_file_system: bool = False
    patterns: exclude.Patterns | None = None
    exclude_caches: bool = False
    store_directory: tuple[int, int] = (-1, -1)  # device and inode of the store, which is never stored in itself


class Result:
    """What one source gave: its root line and what is to be said of it in the snapshot."""

    def __init__(self):
        self.root = ''  # an mtree line, the name '.'
        self.files = 0
        self.bytes = 0  # sum of the sizes of the files
        self.read_bytes = 0
        self.skipped = 0  # entries that could not be stored, or not whole
        self.changed = 0  # files that changed while they were read
        self.mounts: list[str] = []  # values of mount lines


class _Level:
    """A directory on the way: listed, and waiting for its subdirectories."""

    __slots__ = ('filesystem', 'place', 'identity', 'entries', 'below', 'tags', 'is_whole', 'unread')

    def __init__(self, filesystem: metadata.Filesystem, place: bytes, status: os.stat_result):
        self.filesystem = filesystem
        self.place = place  # where in the filesystem it is, as the scan cache wants it
        self.identity = status.st_dev, status.st_ino
        self.entries: list[scan.Found] = []
        self.below: list[scan.Found] = []  # subdirectories still to enter, the last first
        self.tags: dict[bytes, str] = {}  # name of a stored subdirectory to its tags
        self.is_whole = True  # nothing went wrong or is in doubt, so it may be recognised the next time
        self.unread = ''  # the tag that says why it could not be listed


class Ingest:
    """Stores one source.

    report takes one line a problem, note one line a thing worth knowing, step the path and the result as they grow.
    """

    def __init__(
        self,
        writer: Writer,
        cache: ScanCache,
        options: Options = Options(),
        report: Callable[[str], None] = lambda line: None,
        note: Callable[[str], None] = lambda line: None,
        step: Callable[[bytes, Result], None] = lambda path, result: None,
    ):
        self._writer, self._cache, self._options = writer, cache, options
        self._report, self._note, self._step = report, note, step
        self._lister = scan.Lister()
        self._rows: list[tuple[str, bytes, Directory]] = []
        self._reading: tuple[_Level, dict] | None = None  # the directory being finished, and its files so far
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._names: list[bytes] = []  # of the directories from the top of the source to here
        self._ancestors: dict[tuple[int, int], int] = {}  # device and inode of those to their depths
        self._started_ns = time.time_ns()
        self._open_flags = _OPEN | (os.O_NOATIME if os.geteuid() == 0 else 0)
        self.result = Result()
        writer.after_checkpoint = self._remember

    def store(self, source: bytes) -> Result:
        """Stores a directory or one file; a symlink is followed.  Raises Error when it cannot be read."""
        source = os.path.realpath(source)
        try:
            if os.path.isdir(source):
                self._store_directory(source)
            else:
                self._store_file(source)
        except OSError as error:
            raise errors.Error(f"cannot read '{quote.readable(source)}': {errors.describe(error)}") from error
        except errors.Interrupted:
            self._writer.checkpoint()  # what was read need not be read again
            raise
        self._writer.checkpoint()
        return self.result

    def _store_file(self, source: bytes) -> None:
        parent, name = os.path.split(source)
        fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            filesystem = metadata.filesystem(parent, fd)
            self.result.mounts.append(filesystem.mount_line(b''))
            level = _Level(filesystem, metadata.place(filesystem.inner_path(source)), os.fstat(fd))
            found = self._lister.look(os.stat(name, dir_fd=fd, follow_symlinks=False), name, filesystem)
            if found.kind != 'file':
                raise errors.Error(f"'{quote.readable(source)}' is neither a directory nor a file")
            old, done = self._cache.files(filesystem.identity, level.place), {}
            lines = self._line(fd, level, found, old, done)
        finally:
            os.close(fd)
        fields = tree.parse_line(lines.rstrip('\n').rpartition('\n')[2]).fields if lines else {}
        if 'sha256digest' not in fields:
            raise errors.Error(f"'{quote.readable(source)}' was not stored")
        self.result.root = tree.Entry(b'.', fields).line()
        self._rows.append((filesystem.identity, level.place, Directory(b'', '', done)))

    def _store_directory(self, source: bytes) -> None:
        descent = Descent(os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            status = os.fstat(descent.fd)
            filesystem = metadata.filesystem(source, descent.fd)
            self.result.mounts.append(filesystem.mount_line(b''))
            top = _Level(filesystem, metadata.place(filesystem.inner_path(source)), status)
            self._list(descent.fd, top)
            tags = self._walk(descent, source, [top])
        finally:
            descent.close()
        found = self._lister.look(status, b'.', filesystem)
        time_text = tree.format_time(scan.unpack(found.record).mtime_ns)
        self.result.root = f'. {found.attributes} time={time_text} tags={tags}'

    def _walk(self, descent: Descent, source: bytes, levels: list[_Level]) -> str:
        """Down and up again until the top is finished; gives the tags of the top."""
        while True:
            level = levels[-1]
            if level.below:
                below = self._enter(descent, source, level, level.below.pop())
                if below is not None:
                    levels.append(below)
                continue
            tags = f'tree:{self._finish(descent.fd, level)}' + level.unread
            del self._ancestors[level.identity]
            levels.pop()
            if not levels:
                return tags
            descent.leave()
            levels[-1].tags[self._names.pop()] = tags

    def _enter(self, descent: Descent, source: bytes, parent: _Level, found: scan.Found) -> _Level | None:
        """Opens and lists a subdirectory; None when there is nothing to walk in it, its tags being set then."""
        try:
            descent.enter(found.name)
        except OSError as error:
            self._skip(parent, self._path(found.name), error)
            if error.errno != errno.ENOENT:
                parent.tags[found.name] = f'tree:{self._writer.put("tree", _EMPTY_TREE)},{_unread(error)}'
            return None
        status = os.fstat(descent.fd)
        identity = status.st_dev, status.st_ino
        filesystem, place, stop = parent.filesystem, metadata.place_below(parent.place, found.name), None
        if identity == self._options.store_directory:
            self._note(f"'{quote.readable(self._path(found.name))}' is the store itself: left out")
            parent.is_whole = False
        elif identity in self._ancestors:
            again = quote.quote_tag(b'/'.join(self._names[: self._ancestors[identity]]) or b'.')
            path = quote.readable(self._path(found.name))
            self._note(f"'{path}' is '{again}' again: not entered")
            stop = f'again:{again if len(again) <= _LONGEST_PATH else "."}'
        elif status.st_dev != parent.identity[0]:
            path = self._path(found.name)
            filesystem, stop = self._cross(descent.fd, parent, source + b'/' + path, path)
            if filesystem is not parent.filesystem:
                place = metadata.place(filesystem.inner_path(source + b'/' + path))
        if stop is not None or identity == self._options.store_directory:
            descent.leave()
            if stop is not None:
                parent.tags[found.name] = stop
            return None
        level = _Level(filesystem, place, status)
        self._names.append(found.name)
        self._list(descent.fd, level)
        return level

    def _cross(self, fd: int, parent: _Level, absolute: bytes, path: bytes) -> tuple[metadata.Filesystem, str | None]:
        """Another device: (its filesystem, None to go on or the tags of a directory left empty)."""
        filesystem = metadata.filesystem(absolute, fd)
        if filesystem.mount_point == parent.filesystem.mount_point:
            return parent.filesystem, None  # a subvolume: part of the same mount
        skip = self._options.one_file_system or filesystem.type in metadata.PSEUDO
        self.result.mounts.append(filesystem.mount_line(path, skip))
        self._note(f"'{quote.readable(path)}' is a {filesystem.type} mount: {'not ' if skip else ''}entered")
        return filesystem, f'tree:{self._writer.put("tree", _EMPTY_TREE)}' if skip else None

    def _list(self, fd: int, level: _Level) -> None:
        """Fills in the entries of a directory that has just been opened."""
        self._ancestors[level.identity] = len(self._names)
        self._step(self._path(), self.result)
        try:
            entries, problems = self._lister.list(fd, level.filesystem)
        except OSError as error:
            self._skip(level, self._path(), error)
            level.unread = ',' + _unread(error)
            return
        for name, error in problems:
            self._skip(level, self._path(name), error)
        if self._options.exclude_caches and exclude.is_cache(fd):
            entries = [found for found in entries if found.name == exclude.CACHE_TAG]
        patterns = self._options.patterns
        if patterns is not None:
            entries = [f for f in entries if not patterns.match(self._path(f.name), f.kind == 'dir')]
        level.entries = entries
        level.below = [found for found in reversed(entries) if found.kind == 'dir']
        for found in entries:
            if found.linked is not None:
                self._first_names.setdefault(found.linked, self._path(found.name))

    def _finish(self, fd: int, level: _Level) -> str:
        """The key of the directory's tree: the remembered one when nothing changed, else a new one."""
        signature = self._signature(level)
        place = level.filesystem.identity, level.place
        known = self._cache.signature(*place)
        sizes = [scan.fields(found.record)[0] for found in level.entries if found.kind == 'file']
        if known and known[0] == signature and level.is_whole and self._has_all(place, known[1], max(sizes, default=0)):
            self.result.files += len(sizes)
            self.result.bytes += sum(sizes)
            return known[1]
        old = self._cache.files(*place) if known else {}
        done: dict[bytes, tuple[bytes, str]] = {}
        self._reading = level, done
        lines = []
        for number, found in enumerate(level.entries, 1):
            lines.append(self._line(fd, level, found, old, done))
            if number % _FILES_BETWEEN_CHECKS == 0:
                self._step(self._path(), self.result)
                self._writer.checkpoint_if_due()
        key = self._writer.put('tree', tree.format(lines))
        self._reading = None
        remembered = Directory(signature, key, done) if level.is_whole else Directory(b'', '', done)
        self._rows.append((*place, remembered))
        self._writer.checkpoint_if_due()
        return key

    def _has_all(self, place: tuple[str, bytes], key: str, largest: int) -> bool:
        """Whether the store has a remembered tree, and those of its contents that are files of their own.

        What lies in packs need not be looked for: when one vanishes, the scan cache as a whole is not believed.
        """
        if not self._writer.has('tree', key):
            return False
        if largest < PACKED_BELOW:
            return True
        return all(self._writer.has('blob', blob) for _, blob in self._cache.files(*place).values())

    def _signature(self, level: _Level) -> bytes:
        """A digest of all that lstat told of the entries, of the trees below, and of hard links' first names."""
        parts = []
        for found in level.entries:
            parts += (found.name, b'\0', found.attributes.encode(), found.record)
            if found.linked is not None:
                parts += (self._first_names[found.linked], b'\0')
        parts += (f'\n{tags}'.encode() for tags in level.tags.values())
        return hashlib.sha256(b''.join(parts)).digest()

    def _line(self, fd: int, level: _Level, found: scan.Found, old: dict, done: dict) -> str:
        """The tree line of an entry; '' for one that vanished."""
        name, kind, attributes, record, linked = found
        tags = _hard_link_tag(self._first_names.get(linked, name)) if linked else ''
        if kind == 'file':
            return self._file_line(fd, level, found, tags, old, done)
        _, mtime_ns, _, _, device = scan.fields(record)
        rest = f'{attributes} time={tree.format_time(mtime_ns)}'
        if kind == 'dir':
            tags = level.tags.get(name)
            return tree.format_lines(name, rest, tags) if tags else ''
        if kind == 'link':
            try:
                rest += f' link={quote.quote(os.readlink(name, dir_fd=fd))}'
            except OSError as error:
                self._skip(level, self._path(name), error)
                return ''
        elif kind in ('char', 'block'):
            rest += f' device=linux,{os.major(device)},{os.minor(device)}'
        if not self._is_settled(level, record):
            level.is_whole = False
        return tree.format_lines(name, rest, tags)

    def _file_line(self, fd: int, level: _Level, found: scan.Found, tags: str, old: dict, done: dict) -> str:
        row = old.get(found.name)
        if row is not None and row[0] == found.record and self._writer.has('blob', row[1]):
            key, remarks = row[1], ''
        else:
            try:
                found, key, remarks = self._read(fd, level, found)
            except OSError as error:
                self._skip(level, self._path(found.name), error)
                if error.errno == errno.ENOENT:
                    return ''
                key, remarks = '', _unread(error)
        size, mtime_ns, *_ = scan.fields(found.record)
        self.result.files += 1
        self.result.bytes += size
        if remarks:
            tags = f'{tags},{remarks}' if tags else remarks
        if remarks or not self._is_settled(level, found.record):
            level.is_whole = False
        else:
            done[found.name] = found.record, key
        digest = f' sha256digest={key}' if key else ''
        rest = f'{found.attributes} size={size} time={tree.format_time(mtime_ns)}{digest}'
        return tree.format_lines(found.name, rest, tags)

    def _read(self, fd: int, level: _Level, found: scan.Found) -> tuple[scan.Found, str, str]:
        """Reads and stores a file: (what lstat says of the bytes that were read, their key, remarks as tags)."""
        for _ in range(_TRIES):
            size, mtime_ns, *_ = scan.fields(found.record)
            file = self._open(found.name, fd)
            try:
                if size < PACKED_BELOW and len(data := os.read(file, size + 1)) == size:
                    read_bytes = size
                    key = self._writer.put('blob', data)
                else:
                    if size < PACKED_BELOW:
                        os.lseek(file, 0, os.SEEK_SET)
                    blocks = self._blocks(file, self._path(found.name))
                    key, read_bytes = self._writer.put_blocks('blob', blocks)
                status = os.fstat(file)
            finally:
                os.close(file)
            self.result.read_bytes += read_bytes
            if status.st_mtime_ns == mtime_ns and status.st_size == size == read_bytes and stat.S_ISREG(status.st_mode):
                return found, key, ''
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ESTALE, 'it is no longer a file')
            found = self._lister.look(status, found.name, level.filesystem)
        self._report(
            f"'{quote.readable(self._path(found.name))}' changed while it was read: stored as it was last seen"
        )
        self.result.changed += 1
        size_read = read_bytes  # the line must say what is stored
        record = scan.unpack(found.record)._replace(size=size_read)
        return found._replace(record=scan.pack(*record)), key, 'changed:1'

    def _open(self, name: bytes, fd: int) -> int:
        try:
            return os.open(name, self._open_flags, dir_fd=fd)
        except PermissionError:
            if not self._open_flags & os.O_NOATIME:
                raise
            return os.open(name, _OPEN, dir_fd=fd)  # a filesystem where even root may not leave atime alone

    def _blocks(self, file: int, path: bytes):
        while block := os.read(file, READ_BYTES):
            self._step(path, self.result)
            yield block

    def _path(self, name: bytes | None = None) -> bytes:
        """From the top of the source to the directory we are in, or to an entry of it."""
        return b'/'.join(self._names if name is None else [*self._names, name])

    def _is_settled(self, level: _Level, record: bytes) -> bool:
        """Whether a later change would surely show: false for times since this run began, less the clock's grain."""
        _, mtime_ns, ctime_ns, *_ = scan.fields(record)
        oldest = self._started_ns - level.filesystem.granularity_ns
        newest = oldest + _LONGEST_RUN_NS  # times of the far future are as good as those of the past
        return not (oldest <= mtime_ns <= newest or oldest <= ctime_ns <= newest)

    def _skip(self, level: _Level, path: bytes, error: OSError) -> None:
        self.result.skipped += 1
        level.is_whole = False
        what = 'vanished' if error.errno == errno.ENOENT else f'cannot be read: {errors.describe(error)}'
        self._report(f"'{quote.readable(path) or '.'}' {what}")

    def _remember(self) -> None:
        """After a checkpoint: all that was put is safe, so the rows about it may be believed."""
        if self._reading is not None:
            level, done = self._reading
            self._rows.append((level.filesystem.identity, level.place, Directory(b'', '', dict(done))))
        self._cache.remember(self._rows)
        self._rows = []


def _hard_link_tag(first_name: bytes) -> str:
    """Every name of a file carries the path of the first one; where that is too long for a line, its digest."""
    text = quote.quote_tag(first_name)
    return f'hl:{text if len(text) <= _LONGEST_PATH else hashlib.sha256(first_name).hexdigest()}'


def _unread(error: OSError) -> str:
    return f'unread:{errno.errorcode.get(error.errno, error.errno)}'
