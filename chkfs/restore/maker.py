"""Makes the entries of a stored tree in open directories, and sets what belongs to them.

Nothing is followed, and half a file is never left.  What was set on a limited target is looked at again.
"""

import contextlib
import copy
import errno
import functools
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from chkfs import errors
from chkfs.restore import endow, missing, ownership
from chkfs.storage import walk
from chkfs.storage.objects import WHOLE_BYTES, Objects
from chkfs.system import flags, holes, reflink, xattrs
from chkfs.system.descent import open_below
from chkfs.text import quote, ranges, tree

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPELESS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))
_SET_ID = stat.S_ISUID | stat.S_ISGID
_NO_SHARING = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS))
_SHARED_FROM = 128 << 10  # bytes: smaller objects lie in packs
_ANY_OWNER = -1, -1
_KEPT_ANYWHERE_NS = (1 << 31) * 10**9  # to here from 1970; other times become the nearest that the target can hold
_MOST_ZEROS = 256 << 20  # bytes of holes that are hashed to verify a whole file; of one with more, its pieces only


class _Attributes(NamedTuple):
    """What is set on something restored.

    Permission bits, owner (-1: left alone), ns since 1970 (None: left alone), and tags as endow wants them.
    """

    mode: int | None
    uid: int
    gid: int
    time_ns: int | None
    tags: tuple[str, ...]


class Outcome:
    """What came of it.  Problems and details are lines for people."""

    def __init__(self):
        self.files = 0
        self.bytes = 0
        self.problems: list[str] = []  # one for each entry not restored
        self.unset: Counter[str] = Counter()  # kind of attribute to how often it could not be set
        self.details: list[str] = []  # one for each of these
        self.damaged: list[str] = []  # one for each file that was stored damaged
        self.left_out: Counter[str] = Counter()  # kind of attribute that the target has no place for, to entries
        self.hopeless: int = 0  # the errno that makes going on useless
        self.lacks: list[str] = []  # what the entry at hand lacks
        self.lacking: list[str] = []  # a line for each entry that lacks something, as missing.File wants it

    def miss(self, path: bytes, error: BaseException | str) -> None:
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            self.hopeless = error.errno
        reason = error if isinstance(error, str) else errors.describe(error)
        self.problems.append(f"'{quote.readable(path) or '.'}' not restored: {reason}")
        self.lacks = [missing.ENTRY]

    def cannot_set(self, kind: str, path: bytes, error: BaseException | str) -> None:
        reason = error if isinstance(error, str) else errors.describe(error)
        self.unset[kind] += 1
        self.details.append(f"'{quote.readable(path) or '.'}': {kind} not set: {reason}")
        self.lacks.append(kind)

    def keep(self, directory: bytes, line: str) -> None:
        """Ends an entry, with its line in the tree of directory: what it lacks is to be had later."""
        lacks, self.lacks = self.lacks, []
        with contextlib.suppress(errors.Damaged):
            entry = tree.parse_line(line)
            if line.startswith('./'):
                tree.check_name(entry.name)
            if entry.tag('unread') is None:  # else nobody has it
                self.lacking.append(missing.format_line(directory, line, lacks))

    def pack(self) -> tuple:
        """As crew can carry it."""
        lists = self.problems, dict(self.unset), self.details, self.damaged
        return self.files, self.bytes, *lists, dict(self.left_out), self.hopeless, self.lacking


class Maker:
    """Creates entries in open directories and sets their attributes; used by the parent and by its workers."""

    def __init__(
        self,
        objects: Objects,
        step: Callable[[], None] = lambda: None,
        owners: ownership.Ownership | None = None,
        reflink: bool = False,
    ):
        """step is called for each chunk of a file, and may raise Interrupted."""
        self._objects, self._step, self._owners = objects, step, owners
        self._shares_blocks = reflink
        self._owner = os.geteuid(), os.getegid()  # of what we make
        self._target_found: str | None = None
        self.lacks: set[str] | None = None  # kinds of entries that cannot be made; not None: nothing set is believed

    def reopened(self) -> 'Maker':
        """The same for another process."""
        found = copy.copy(self)
        found._objects, found._step = self._objects.reopened(), lambda: None
        return found

    def distrust(self, lacks: Iterable[str] = ()) -> None:
        """The target may be a limited one: what it lacks is not tried, and what was set is looked at again."""
        self.lacks = set(lacks)

    def expect_any_owner(self) -> None:
        """What owners are set of may belong to anybody so far, and what is made may have ACLs of its directory."""
        self._owner = _ANY_OWNER

    def make(self, parts: list[tuple[bytes, list[str], tuple | None, str, int]], fds: list[int]) -> tuple:
        """For each directory descriptor: (path, lines of files to create, what to set on it then, its line, a number).

        Gives what came of it, packed, and the numbers that are not 0.
        """
        outcome = Outcome()
        for (path, lines, attributes, own_line, _), fd in zip(parts, fds):
            for line in lines:
                if outcome.hopeless:
                    break
                self._make_line(fd, path, line, outcome)
                if outcome.lacks:
                    outcome.keep(path, line)
            if attributes is not None:
                self._set_open(fd, attributes, path, outcome)
                if outcome.lacks:
                    outcome.keep(os.path.dirname(path), own_line)
        return outcome.pack(), [number for *_, number in parts if number]

    def _make_line(self, fd: int, directory: bytes, line: str, outcome: Outcome) -> None:
        path = directory
        try:
            plain = tree.parse_plain_file(line)
            found = plain or tree.parse_line(line)
            tree.check_name(found.name)
            path = directory + b'/' + found.name if directory else found.name
            is_plain = plain is not None and plain.size <= WHOLE_BYTES and self._target(fd) != endow.NTFS_3G
            if not is_plain or self._shares_blocks and plain.size >= _SHARED_FROM:
                self.make_file(fd, path, plain and tree.parse_line(line) or found, outcome)
                return
            _, mode, uid, gid, size, time_ns, key = plain
            data = self._objects.view('blob', key)
            if self._owners is None:
                attributes = mode, uid, gid, time_ns, ()
            else:
                attributes = self.attributes(tree.parse_line(line), fd)
            self._create(fd, found.name, (data,), attributes, path, outcome)
            self._count(size, len(data), path, outcome)
        except errors.Interrupted:
            raise
        except (OSError, errors.Error, OverflowError) as error:
            outcome.miss(path, error)

    def attributes(self, entry: tree.Entry, fd: int) -> _Attributes:
        """What to set on an entry below fd.  Raises Damaged."""
        mode, uid, gid = entry.mode, entry.uid, entry.gid
        if self._owners is not None:
            uid, gid = self._owners.numbers(entry)
            if self._owners.is_me and mode is not None and (entry.uid, entry.gid) != (os.geteuid(), os.getegid()):
                mode &= ~_SET_ID  # which must not come back under another owner
        return _Attributes(
            None if mode is None else mode & 0o7777,
            -1 if uid is None else uid,
            -1 if gid is None else gid,
            entry.time_ns,
            endow.wanted(entry, self._target(fd)),
        )

    def left_out(self, entry: tree.Entry, fd: int) -> list[str]:
        """What there is no place for where fd is."""
        return endow.left_out(entry, self._target(fd))

    def _target(self, fd: int) -> str:
        """The filesystem that all is restored to, for endow; fd: something open on it."""
        if self._target_found is None:
            self._target_found = endow.target_of(fd)
        return self._target_found

    def _read_value(self, key: str) -> bytes:
        if self._objects.size('blob', key) > xattrs.LONGEST:  # else one line of a tree could take all memory
            raise errors.Damaged(f'longer than {xattrs.LONGEST} bytes')
        return self._objects.read('blob', key)

    def make_file(self, fd: int, path: bytes, entry: tree.Entry, outcome: Outcome) -> None:
        """A file of any size, its contents flowing through.  Raises Error, OSError."""
        if entry.key is None:
            raise errors.Error(f'could not be read when it was stored ({entry.tag("unread")})')
        data = self._ranges(entry, 'data', path, outcome)
        holes_bytes = 0 if data is None else (entry.size or 0) - ranges.total(data)
        chunks = self._objects.chunks('blob', entry.key, whole=holes_bytes <= _MOST_ZEROS)
        fill = None
        if data is not None:
            fill = functools.partial(self._fill, chunks=chunks, data=data)
        elif self._shares_blocks:
            fill = functools.partial(self._share, chunks=chunks, key=entry.key)
        size = self._create(fd, entry.name, chunks, self.attributes(entry, fd), path, outcome, fill)
        self._count(entry.size, size, path, outcome)
        outcome.left_out.update(self.left_out(entry, fd))
        damaged = self._ranges(entry, 'damaged', path, outcome)
        if damaged:
            lost = f'{ranges.total(damaged)} bytes of it could not be read when it was stored, and are zeros'
            outcome.damaged.append(f"'{quote.readable(path)}' is damaged: {lost}: {ranges.shorten(damaged)}")

    def _ranges(self, entry: tree.Entry, tag: str, path: bytes, outcome: Outcome) -> ranges.Ranges | None:
        try:
            return walk.ranges_of(self._objects, entry, tag)
        except errors.Error as error:
            outcome.cannot_set(tag, path, error)
            return None

    def _count(self, said: int | None, size: int, path: bytes, outcome: Outcome) -> None:
        outcome.files += 1
        outcome.bytes += size
        if said not in (None, size):  # the key says what the file is: these are its bytes
            outcome.cannot_set('size', path, f'it has {size} bytes, its line says {said}')

    def make_other(self, fd: int, path: bytes, entry: tree.Entry, names: list[bytes], outcome: Outcome) -> None:
        """A symlink, device, fifo or socket; for a directory that is another one again, a symlink to that."""
        attributes, kind = self.attributes(entry, fd), entry.type
        if self.lacks and ('link' if kind == 'dir' else kind) in self.lacks:
            raise errors.Error('the target cannot hold it')
        if self._becomes_reparse_point(fd, entry):
            endow.make_reparse_point(fd, entry)
        elif kind == 'link':
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
        outcome.left_out.update(self.left_out(entry, fd))
        if self._owner is _ANY_OWNER:
            xattrs.remove_acls(xattrs.path_below(fd, entry.name))
        self._set_by_name(fd, entry, attributes, path, outcome)

    def set(self, fd: int, entry: tree.Entry, path: bytes, outcome: Outcome) -> None:
        """Sets what belongs to an entry that is there already, in the directory fd.  Raises OSError, Damaged."""
        attributes = self.attributes(entry, fd)
        if entry.type not in ('file', 'dir'):
            self._set_by_name(fd, entry, attributes, path, outcome)
            return
        found = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode) != (entry.type == 'dir'):
                raise errors.Error(f'is no {entry.type} any more')
            lifted = flags.lift(found)
            self._set_open(found, attributes, path, outcome)
            if lifted:
                flags.put(found, lifted)
        finally:
            os.close(found)

    def set_flags(self, top: int, names: list[bytes], entry: tree.Entry, outcome: Outcome) -> None:
        """Sets the inode flags of a file that has been made, below the directory top."""
        path = b'/'.join(names)
        try:
            directory = open_below(top, names[:-1])
            try:
                file = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError as error:
            outcome.cannot_set('flags', path, error)
            return
        try:
            tags = tuple(tag for tag in entry.tags() if tag.startswith('flags:'))
            endow.set_last(file, '', tags, self._read_value, _failing(outcome, path))
        finally:
            os.close(file)

    def _create(
        self,
        fd: int,
        name: bytes,
        chunks,
        attributes: tuple,
        path: bytes,
        outcome: Outcome,
        fill: Callable[[int], int] | None = None,
    ) -> int:
        """Gives the size in bytes.  fill writes the contents, if not simply the chunks, and gives it."""
        try:
            file = os.open(name, _CREATE, 0o600, dir_fd=fd)
        except KeyboardInterrupt:  # when it has been made, but nobody has the descriptor
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
            raise
        try:
            if self._owner is _ANY_OWNER:
                xattrs.remove_acls(file)
            if attributes[-1]:
                endow.set_before_contents(file, attributes[-1])
            size = self._write(file, chunks) if fill is None else fill(file)
            self._set_open(file, attributes, path, outcome)
            return size
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)  # half a file must not look like a whole one
            raise
        finally:
            os.close(file)

    def _write(self, file: int, chunks) -> int:
        size = 0
        for chunk in chunks:
            self._step()
            size += len(chunk)
            written = os.write(file, chunk)
            while written < len(chunk):
                written += os.write(file, memoryview(chunk)[written:])
        return size

    def _share(self, file: int, chunks, key: str) -> int:
        """Has the file share the blocks of an object that is a plain file; else writes it."""
        source = self._objects.plain_file('blob', key)
        try:
            if source is not None:
                return reflink.share(file, source, key)
        except OSError as error:
            self._shares_blocks = error.errno not in _NO_SHARING
        except errors.Damaged:
            pass  # another copy may be whole
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        return self._write(file, chunks)

    def _fill(self, file: int, chunks, data: ranges.Ranges) -> int:
        """Writes a sparse file; gives its size.

        Where so much of it is zeros that the whole is not hashed, they must be where the holes are.
        """
        filler, size = holes.Filler(file, data), 0
        for chunk in chunks:
            self._step()
            filler.write(chunk)
            size += len(chunk)
        filler.finish()
        if filler.misplaced_bytes and size - ranges.total(data) > _MOST_ZEROS:
            raise errors.Damaged('its pieces are not where its data is')
        return size

    def _set_open(self, fd: int, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """Owner, then mode (which a change of owner clears), then the rest, of something open."""
        mode, uid, gid, time_ns, tags = attributes
        has_owner = True
        if (uid, gid) != self._owner and (uid, gid) != _ANY_OWNER:
            try:
                os.fchown(fd, uid, gid)
            except (OSError, OverflowError) as error:
                has_owner = False
                mode = _without_owner(mode, path, error, outcome)
        try:
            if mode is not None:
                os.fchmod(fd, mode)
        except OSError as error:
            outcome.cannot_set('mode', path, error)
        if tags:
            fail = _failing(outcome, path)
            endow.set_first(fd, tags, self._read_value, fail, has_owner)
        try:
            if time_ns is not None:
                os.utime(fd, ns=endow.times(tags, time_ns))
        except (OSError, OverflowError, errors.Damaged) as error:
            outcome.cannot_set('time', path, error)
        if tags:
            endow.set_last(fd, self._target(fd), tags, self._read_value, fail)
        if self._may_be_in_vain(time_ns):
            self._look_again(os.fstat(fd), attributes, path, outcome)

    def _set_by_name(self, fd: int, entry: tree.Entry, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """The same for what cannot be opened, without following what somebody else may have put in its place."""
        mode, uid, gid, time_ns, tags = attributes
        target, fail = xattrs.path_below(fd, entry.name), _failing(outcome, path)
        try:
            if (uid, gid) != self._owner and (uid, gid) != _ANY_OWNER:
                os.chown(entry.name, uid, gid, dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            mode = _without_owner(mode, path, error, outcome)
        try:
            if mode is not None and entry.type not in ('link', 'dir'):
                _change_mode(fd, entry.name, mode)
        except OSError as error:
            outcome.cannot_set('mode', path, error)
        endow.set_first(target, tags, self._read_value, fail, has_owner=True)
        try:
            if time_ns is not None:
                os.utime(entry.name, ns=endow.times(tags, time_ns), dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError, errors.Damaged) as error:
            outcome.cannot_set('time', path, error)
        endow.set_last(target, self._target(fd), tags, self._read_value, fail)
        # of a reparse point not: FUSE wants no new type of anything
        if self._may_be_in_vain(time_ns) and not self._becomes_reparse_point(fd, entry):
            status = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                attributes = None, *attributes[1:]
            self._look_again(status, attributes, path, outcome)

    def _becomes_reparse_point(self, fd: int, entry: tree.Entry) -> bool:
        """Whether it is made as something else, and shows as a link when it has its reparse data."""
        is_one = entry.type == 'link' and entry.tag('ntfs.reparse') is not None
        return is_one and self._target(fd) == endow.NTFS_3G

    def _may_be_in_vain(self, time_ns: int | None) -> bool:
        """Whether what was set must be looked at again: on a target that is not trusted, or with an odd time."""
        return self.lacks is not None or time_ns is not None and not 0 <= time_ns < _KEPT_ANYWHERE_NS

    def _look_again(self, status: os.stat_result, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """Says what was set in vain: some filesystems take everything, and keep nothing."""
        mode, uid, gid, time_ns = attributes[:4]
        found = {
            'owner': uid in (-1, status.st_uid) and gid in (-1, status.st_gid),
            'mode': mode in (None, stat.S_IMODE(status.st_mode)) or 'set-id bit' in outcome.lacks,
            'time': time_ns in (None, status.st_mtime_ns),
        }
        for kind, is_set in found.items():
            if not is_set and kind not in outcome.lacks:
                outcome.cannot_set(kind, path, 'the target does not keep it')


def _change_mode(fd: int, name: bytes, mode: int) -> None:
    """Of what cannot be opened, and may be a symlink by now: chmod follows these.  Raises OSError."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        if stat.S_ISLNK(os.fstat(found).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        os.chmod(f'/proc/self/fd/{found}', mode)
    finally:
        os.close(found)


def _without_owner(mode: int | None, path: bytes, error: BaseException, outcome: Outcome) -> int | None:
    """The mode to set when the owner could not be: a set-id bit must not come back under another one."""
    outcome.cannot_set('owner', path, error)
    if mode is None or not mode & _SET_ID:
        return mode
    outcome.cannot_set('set-id bit', path, 'the owner could not be set')
    return mode & ~_SET_ID


def _failing(outcome: Outcome, path: bytes) -> endow.Fail:
    """Takes a kind of attribute and why it could not be set."""
    return lambda kind, error: outcome.cannot_set(kind, path, error)
