"""Puts a stored tree back onto a disk, through directory descriptors, never following a symlink.

A directory's subdirectories are restored first and its files after them, in the order in which ingest
packed them; its owner, mode and times come last.  While the work is going on, directories are open to their
owner only.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable

from chkfs import errors, quote, tree, walk
from chkfs.descent import Descent, open_below
from chkfs.objects import WHOLE_BYTES, Objects

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPELESS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))
_SET_ID = stat.S_ISUID | stat.S_ISGID


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
        self._uid, self._gid = os.geteuid(), os.getegid()
        self._top_fd = -1

    def restore(self, entry: tree.Entry, destination: bytes) -> None:
        """Makes destination what entry is.  Raises Error unless destination is absent or, for a directory, empty."""
        self._objects.read_ahead()
        shown = quote.readable(destination)
        if not destination:
            raise errors.Usage('the destination has no name')
        parent, name = os.path.split(os.path.abspath(destination))
        try:
            if entry.type == 'dir':
                self._make_top(destination)
                self._restore_directory(entry, os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                return
            if os.path.lexists(destination):
                raise errors.Error(f"'{shown}' exists: remove it, or name a destination that does not")
            self._top_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._restore_entry(self._top_fd, tree.Entry(name, entry.fields), [name])
            os.close(self._top_fd)
        except OSError as error:
            raise errors.Error(f"cannot restore to '{shown}': {errors.describe(error)}") from error

    def _make_top(self, destination: bytes) -> None:
        try:
            os.mkdir(destination, 0o700)
        except FileExistsError:
            if not os.path.isdir(destination) or os.listdir(destination):
                shown = quote.readable(destination)
                raise errors.Error(
                    f"'{shown}' is not an empty directory: empty it, or name a destination that does not exist"
                ) from None
            os.chmod(destination, 0o700)

    def _restore_directory(self, top: tree.Entry, fd: int) -> None:
        self._top_fd = os.dup(fd)
        descent = Descent(fd)
        names: list[bytes] = []  # of the directories on the way
        levels = [self._load(top, names)]  # (entry, subdirectories to come, last first, other entries)
        try:
            while levels:
                entry, below, others = levels[-1]
                if below:
                    child = below.pop()
                    if self._enter(descent, child, names):
                        names.append(child.name)
                        levels.append(self._load(child, names))
                    continue
                for other in others:
                    self._restore_entry(descent.fd, other, names)
                self._set_open(descent.fd, entry, b'/'.join(names) or b'.')
                levels.pop()
                if levels:
                    descent.leave()
                    names.pop()
        finally:
            descent.close()
            os.close(self._top_fd)

    def _load(self, entry: tree.Entry, names: list[bytes]) -> tuple[tree.Entry, list[tree.Entry], list[tree.Entry]]:
        path = b'/'.join(names)
        self._step(path, self)
        found = []
        try:
            if (unread := entry.tag('unread')) is not None:
                self._miss(path, f'could not be read when it was stored ({unread})')
            if entry.key is None:
                raise errors.Damaged('a directory without a tree')
            found = walk.entries(self._objects, entry.key, lambda line: self._miss(path, line))
        except errors.Error as error:
            self._miss(path, str(error))
        below = [child for child in reversed(found) if child.type == 'dir' and child.tag('again') is None]
        others = [child for child in found if child.type != 'dir' or child.tag('again') is not None]
        return entry, below, others

    def _enter(self, descent: Descent, entry: tree.Entry, names: list[bytes]) -> bool:
        try:
            os.mkdir(entry.name, 0o700, dir_fd=descent.fd)
            descent.enter(entry.name)
            return True
        except OSError as error:
            self._fail(names, entry, error)
            return False

    def _restore_entry(self, fd: int, entry: tree.Entry, names: list[bytes]) -> None:
        """Anything but a directory to walk into."""
        try:
            hard_link = entry.tag('hl')
            if hard_link is not None and self._link(fd, entry, hard_link):
                return
            if entry.type == 'file':
                if not self._restore_file(fd, entry, names):
                    return
            else:
                self._make(fd, entry, names)
                self._set_by_name(fd, entry, names)
            if hard_link is not None:
                self._first_links[hard_link] = [*names, entry.name]
        except (OSError, errors.Error, OverflowError) as error:
            self._fail(names, entry, error)

    def _restore_file(self, fd: int, entry: tree.Entry, names: list[bytes]) -> bool:
        key, size = entry.key, entry.size
        if key is None:
            self._miss(_path(names, entry), f'could not be read when it was stored ({entry.tag("unread")})')
            return False
        if size is not None and size <= WHOLE_BYTES:
            data = self._objects.read('blob', key)
            file = os.open(entry.name, _CREATE, 0o600, dir_fd=fd)
        else:
            data = b''
            file = os.open(entry.name, _CREATE, 0o600, dir_fd=fd)
        try:
            if data:
                written = os.write(file, data)
                if written != len(data):
                    _write_all(file, memoryview(data)[written:])
            elif size:
                self._step(_path(names, entry), self)
                for block in self._objects.chunks('blob', key):
                    _write_all(file, block)
            self._set_open(file, entry, None, names)
        except BaseException:
            os.unlink(entry.name, dir_fd=fd)  # half a file must not look like a whole one
            raise
        finally:
            os.close(file)
        self.files += 1
        self.bytes += size or 0
        return True

    def _make(self, fd: int, entry: tree.Entry, names: list[bytes]) -> None:
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

    def _link(self, fd: int, entry: tree.Entry, hard_link: str) -> bool:
        """Links to the first name restored of the same file, if there was one and the filesystem can."""
        first = self._first_links.get(hard_link)
        if first is None:
            return False
        directory = open_below(self._top_fd, first[:-1])
        try:
            os.link(first[-1], entry.name, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV):
                raise
            self._cannot_set('hard link', entry.name, error)
            return False
        finally:
            os.close(directory)
        self.files += entry.type == 'file'
        return True

    def _set_open(self, fd: int, entry: tree.Entry, path: bytes | None, names: list[bytes] = ()) -> None:
        """Owner, then mode (which a change of owner clears), then times, of something open."""
        fields = entry.fields
        mode = int(fields['mode'], 8) if 'mode' in fields else None
        uid, gid = entry.uid, entry.gid
        if (uid is not None and uid != self._uid) or (gid is not None and gid != self._gid) or self._uid == 0:
            try:
                os.fchown(fd, -1 if uid is None else uid, -1 if gid is None else gid)
            except (OSError, OverflowError) as error:
                self._cannot_set('owner', path or _path(names, entry), error)
                mode = self._without_set_id(mode, path or _path(names, entry))
        time_ns = entry.time_ns
        try:
            if mode is not None:
                os.fchmod(fd, mode & 0o7777)
        except OSError as error:
            self._cannot_set('mode', path or _path(names, entry), error)
        try:
            if time_ns is not None:
                os.utime(fd, ns=(time_ns, time_ns))
        except (OSError, OverflowError) as error:
            self._cannot_set('time', path or _path(names, entry), error)

    def _set_by_name(self, fd: int, entry: tree.Entry, names: list[bytes]) -> None:
        """The same for what cannot be opened.  Nobody else may write into the directory yet: the name is safe."""
        path, mode = _path(names, entry), entry.mode
        is_symlink = entry.type in ('link', 'dir')
        try:
            if entry.uid is not None and entry.gid is not None:
                os.chown(entry.name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            self._cannot_set('owner', path, error)
            mode = self._without_set_id(mode, path)
        try:
            if mode is not None and not is_symlink:
                os.chmod(entry.name, mode & 0o7777, dir_fd=fd)
        except OSError as error:
            self._cannot_set('mode', path, error)
        try:
            if entry.time_ns is not None:
                os.utime(entry.name, ns=(entry.time_ns, entry.time_ns), dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            self._cannot_set('time', path, error)

    def _without_set_id(self, mode: int | None, path: bytes) -> int | None:
        """A set-id bit must not come back under an owner that it was not meant for."""
        if mode is not None and mode & _SET_ID:
            self._cannot_set('set-id bit', path, errors.Error('the owner could not be set'))
            return mode & ~_SET_ID
        return mode

    def _cannot_set(self, kind: str, path: bytes, error: BaseException) -> None:
        self.unset[kind] += 1
        self._detail(f"'{quote.readable(path)}': {kind} not set: {errors.describe(error)}")

    def _fail(self, names: list[bytes], entry: tree.Entry, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            raise error
        self._miss(_path(names, entry), errors.describe(error))

    def _miss(self, path: bytes, reason: str) -> None:
        self.missing += 1
        self._report(f"'{quote.readable(path) or '.'}' not restored: {reason}")


def _path(names: list[bytes], entry: tree.Entry) -> bytes:
    return b'/'.join([*names, entry.name])


def _write_all(fd: int, data) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
