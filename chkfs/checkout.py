"""Puts a stored tree back onto a disk, through directory descriptors, never following a symlink.

A directory's subdirectories are restored first and its files after them, in the order in which ingest packed
them.  This thread reads trees and contents; others create the small files, a batch of directories at a time,
and set each directory's owner, mode and times last.  Until then directories are open to their owner only.
"""

import contextlib
import errno
import os
import stat
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from chkfs import errors, quote, tree
from chkfs.descent import Descent, open_below
from chkfs.objects import WHOLE_BYTES, Objects

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPELESS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))
_NO_HARD_LINK = frozenset((errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV))
_SET_ID = stat.S_ISUID | stat.S_ISGID
_THREADS = 2
_BATCH_FILES = 200
_BATCH_BYTES = 2 << 20
_BATCHES_WAITING = 8


class _Attributes(NamedTuple):
    """What is set on something restored; None is left alone.  uid and gid -1 are left alone too."""

    mode: int | None
    uid: int
    gid: int
    time_ns: int | None


class _Part(NamedTuple):
    """Work on one directory for a thread: small files to create, then the directory's own attributes, if it is done."""

    fd: int
    path: bytes
    files: list[tuple[tree.PlainFile, bytes | memoryview]]
    attributes: _Attributes | None


class _Level(NamedTuple):
    """A directory on the way."""

    entry: tree.Entry
    below: list[tree.Entry]  # subdirectories to come, the last first
    files: list[tree.PlainFile]
    others: list[tree.Entry]


class Checkout:
    """One restore.  report takes a line for each entry not restored; detail one for each attribute not set."""

    def __init__(
        self,
        objects: Objects,
        report: Callable[[str], None] = lambda line: None,
        detail: Callable[[str], None] = lambda line: None,
        step: Callable[[bytes, 'Checkout'], None] = lambda path, checkout: None,
    ):
        self.files = 0
        self.bytes = 0
        self.missing = 0  # entries that were not restored
        self.unset: Counter[str] = Counter()  # kind of attribute to how often it could not be set
        self._objects, self._report, self._detail, self._step = objects, report, detail, step
        self._first_links: dict[str, list[bytes]] = {}  # hl tag to the path of the first name restored
        self._owner = os.geteuid(), os.getegid()
        self._top_fd = -1
        self._lock = threading.Lock()  # around the counts, which threads share
        self._batch: list[_Part] = []
        self._batch_files = self._batch_bytes = 0
        self._waiting = deque()
        self._pool = None

    def restore(self, entry: tree.Entry, destination: bytes) -> None:
        """Makes destination what entry is.  Raises Error unless destination is absent or, for a directory, empty."""
        from concurrent.futures import ThreadPoolExecutor

        shown = quote.readable(destination)
        parent, name = os.path.split(os.path.abspath(destination))
        self._objects.read_ahead()
        self._pool = ThreadPoolExecutor(_THREADS)
        try:
            if entry.type == 'dir':
                _make_top(destination)
                self._restore_directory(entry, os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            elif os.path.lexists(destination):
                raise errors.Error(f"'{shown}' exists: remove it, or name a destination that does not")
            else:
                self._top_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._restore_other(self._top_fd, tree.Entry(name, entry.fields), [])
        except OSError as error:
            raise errors.Error(f"cannot restore to '{shown}': {errors.describe(error)}") from error
        finally:
            self._pool.shutdown(cancel_futures=True)
            if self._top_fd >= 0:
                os.close(self._top_fd)

    # ---- this thread: directories, trees, contents ----

    def _restore_directory(self, top: tree.Entry, fd: int) -> None:
        self._top_fd = os.dup(fd)
        descent = Descent(fd)
        names: list[bytes] = []  # of the directories on the way
        levels = [self._load(top, names)]
        try:
            while levels:
                level = levels[-1]
                if level.below:
                    child = level.below.pop()
                    if self._enter(descent, child, names):
                        names.append(child.name)
                        levels.append(self._load(child, names))
                    continue
                self._finish(descent.fd, level, names)
                levels.pop()
                if levels:
                    descent.leave()
                    names.pop()
            self._start_batch()
            self._settle(0)
        finally:
            descent.close()

    def _load(self, entry: tree.Entry, names: list[bytes]) -> _Level:
        """Reads a directory's tree and sorts its entries by what is to be done with them."""
        path = b'/'.join(names)
        self._step(path, self)
        level = _Level(entry, [], [], [])
        try:
            if (unread := entry.tag('unread')) is not None:
                self._miss(path, f'could not be read when it was stored ({unread})')
            if entry.key is None:
                raise errors.Damaged('a directory without a tree')
            for line in tree.lines(self._objects.read('tree', entry.key)):
                self._sort_in(level, line, path)
        except errors.Error as error:
            self._miss(path, str(error))
        level.below.reverse()
        return level

    def _sort_in(self, level: _Level, line: str, path: bytes) -> None:
        try:
            plain = tree.parse_plain_file(line)
            found = plain or tree.parse_line(line)
            tree.check_name(found.name)
        except errors.Damaged as error:
            self._miss(path, str(error))
            return
        if plain is None:
            is_directory = found.type == 'dir' and found.tag('again') is None
            (level.below if is_directory else level.others).append(found)
        elif plain.size > WHOLE_BYTES:
            level.others.append(tree.parse_line(line))
        else:
            level.files.append(plain)

    def _enter(self, descent: Descent, entry: tree.Entry, names: list[bytes]) -> bool:
        try:
            os.mkdir(entry.name, 0o700, dir_fd=descent.fd)
            descent.enter(entry.name)
            return True
        except OSError as error:
            self._fail(b'/'.join([*names, entry.name]), error)
            return False

    def _finish(self, fd: int, level: _Level, names: list[bytes]) -> None:
        """Restores what a directory holds besides directories, and hands the rest to the threads."""
        path = b'/'.join(names)
        for other in level.others:
            self._restore_other(fd, other, names)
        ready = []
        for file in level.files:
            try:
                ready.append((file, self._objects.view('blob', file.key)))
            except (errors.Error, OSError) as error:
                self._fail(_join(path, file.name), error)
                continue
            self._batch_bytes += file.size
            if self._batch_bytes >= _BATCH_BYTES or len(ready) >= _BATCH_FILES:
                self._batch.append(_Part(os.dup(fd), path, ready, None))
                self._start_batch()
                ready = []
        try:
            attributes = _attributes(level.entry)
        except errors.Damaged as error:
            self._miss(path, str(error))
            attributes = None
        if attributes is not None and any(part.path == path for batch, _ in self._waiting for part in batch):
            self._settle(0)  # a directory's times are set when nothing will be made in it any more
        self._batch.append(_Part(os.dup(fd), path, ready, attributes))
        self._batch_files += len(ready) + 1
        if self._batch_files >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._start_batch()

    def _start_batch(self) -> None:
        batch, self._batch = self._batch, []
        self._batch_files = self._batch_bytes = 0
        if batch:
            self._waiting.append((batch, self._pool.submit(self._make_parts, batch)))
            self._settle(_BATCHES_WAITING)

    def _settle(self, allowed: int) -> None:
        """Waits until at most so many batches are unfinished; raises what stopped one."""
        while len(self._waiting) > allowed:
            self._waiting.popleft()[1].result()

    def _restore_other(self, fd: int, entry: tree.Entry, names: list[bytes]) -> None:
        """Anything that is no directory to walk into and no small plain file."""
        path = b'/'.join([*names, entry.name])
        try:
            attributes = _attributes(entry)
            hard_link = entry.tag('hl')
            if hard_link is not None and self._link(fd, entry, hard_link, path):
                return
            if entry.type == 'file':
                if entry.key is None:
                    raise errors.Error(f'could not be read when it was stored ({entry.tag("unread")})')
                self._step(path, self)
                self._create(fd, entry.name, self._objects.chunks('blob', entry.key), attributes, path)
                self.files += 1
                self.bytes += entry.size or 0
            else:
                _make(fd, entry, names)
                self._set_by_name(fd, entry, attributes, path)
            if hard_link is not None:
                self._first_links[hard_link] = [*names, entry.name]
        except (OSError, errors.Error, OverflowError) as error:
            self._fail(path, error)

    def _link(self, fd: int, entry: tree.Entry, hard_link: str, path: bytes) -> bool:
        """Links to the first name restored of the same file, if there was one and the filesystem can."""
        first = self._first_links.get(hard_link)
        if first is None:
            return False
        directory = open_below(self._top_fd, first[:-1])
        try:
            os.link(first[-1], entry.name, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
            self._cannot_set('hard link', path, error)
            return False
        finally:
            os.close(directory)
        self.files += entry.type == 'file'
        return True

    # ---- any thread: creating and setting ----

    def _make_parts(self, parts: list[_Part]) -> None:
        files = size = 0
        try:
            for part in parts:
                for file, data in part.files:
                    try:
                        attributes = _Attributes(file.mode, file.uid, file.gid, file.time_ns)
                        self._create(part.fd, file.name, (data,), attributes, part.path)
                    except OSError as error:
                        self._fail(_join(part.path, file.name), error)
                        continue
                    files += 1
                    size += file.size
                if part.attributes is not None:
                    self._set_open(part.fd, part.attributes, part.path)
        finally:
            for part in parts:
                os.close(part.fd)
            with self._lock:
                self.files += files
                self.bytes += size

    def _create(self, fd: int, name: bytes, chunks, attributes: _Attributes, path: bytes) -> None:
        file = os.open(name, _CREATE, 0o600, dir_fd=fd)
        try:
            for chunk in chunks:
                written = os.write(file, chunk)
                while written < len(chunk):
                    written += os.write(file, memoryview(chunk)[written:])
            self._set_open(file, attributes, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)  # half a file must not look like a whole one
            raise
        finally:
            os.close(file)

    def _set_open(self, fd: int, attributes: _Attributes, path: bytes) -> None:
        """Owner, then mode (which a change of owner clears), then times, of something open."""
        mode, uid, gid, time_ns = attributes
        if (uid, gid) != self._owner:
            try:
                os.fchown(fd, uid, gid)
            except (OSError, OverflowError) as error:
                mode = self._without_owner(mode, path, error)
        try:
            if mode is not None:
                os.fchmod(fd, mode)
        except OSError as error:
            self._cannot_set('mode', path, error)
        try:
            if time_ns is not None:
                os.utime(fd, ns=(time_ns, time_ns))
        except (OSError, OverflowError) as error:
            self._cannot_set('time', path, error)

    def _set_by_name(self, fd: int, entry: tree.Entry, attributes: _Attributes, path: bytes) -> None:
        """The same for what cannot be opened.  Nobody else may write into the directory yet: the name is safe."""
        mode, uid, gid, time_ns = attributes
        try:
            os.chown(entry.name, uid, gid, dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            mode = self._without_owner(mode, path, error)
        try:
            if mode is not None and entry.type not in ('link', 'dir'):
                os.chmod(entry.name, mode, dir_fd=fd)
        except OSError as error:
            self._cannot_set('mode', path, error)
        try:
            if time_ns is not None:
                os.utime(entry.name, ns=(time_ns, time_ns), dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            self._cannot_set('time', path, error)

    def _without_owner(self, mode: int | None, path: bytes, error: BaseException) -> int | None:
        """The mode to set when the owner could not be: a set-id bit must not come back under another one."""
        self._cannot_set('owner', path, error)
        if mode is None or not mode & _SET_ID:
            return mode
        self._cannot_set('set-id bit', path, errors.Error('the owner could not be set'))
        return mode & ~_SET_ID

    def _cannot_set(self, kind: str, path: bytes, error: BaseException) -> None:
        with self._lock:
            self.unset[kind] += 1
            self._detail(f"'{quote.readable(path) or '.'}': {kind} not set: {errors.describe(error)}")

    def _fail(self, path: bytes, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            raise error
        self._miss(path, errors.describe(error))

    def _miss(self, path: bytes, reason: str) -> None:
        with self._lock:
            self.missing += 1
            self._report(f"'{quote.readable(path) or '.'}' not restored: {reason}")


def _make_top(destination: bytes) -> None:
    try:
        os.mkdir(destination, 0o700)
    except FileExistsError:
        if not os.path.isdir(destination) or os.listdir(destination):
            shown = quote.readable(destination)
            raise errors.Error(
                f"'{shown}' is not an empty directory: empty it, or name a destination that does not exist"
            ) from None
        os.chmod(destination, 0o700)


def _make(fd: int, entry: tree.Entry, names: list[bytes]) -> None:
    """A symlink, device, fifo or socket; for a directory that is another one again, a symlink to that."""
    kind = entry.type
    if kind == 'link':
        os.symlink(entry.link, entry.name, dir_fd=fd)
    elif kind == 'dir':
        again = quote.unquote(entry.tag('again'))
        os.symlink(os.path.relpath(b'/' + again, b'/' + b'/'.join(names)), entry.name, dir_fd=fd)
    elif kind == 'fifo':
        os.mkfifo(entry.name, 0o600, dir_fd=fd)
    elif kind == 'socket':
        os.mknod(entry.name, stat.S_IFSOCK | 0o600, dir_fd=fd)
    elif kind in ('char', 'block'):
        type = stat.S_IFCHR if kind == 'char' else stat.S_IFBLK
        os.mknod(entry.name, type | 0o600, os.makedev(*entry.device), dir_fd=fd)
    else:
        raise errors.Damaged(f'unknown type {kind[:80]!r}')


def _attributes(entry: tree.Entry) -> _Attributes:
    mode, uid, gid = entry.mode, entry.uid, entry.gid
    return _Attributes(
        None if mode is None else mode & 0o7777,
        -1 if uid is None else uid,
        -1 if gid is None else gid,
        entry.time_ns,
    )


def _join(path: bytes, name: bytes) -> bytes:
    return path + b'/' + name if path else name
