"""Lists a live directory: names as bytes, sorted, each with what lstat tells, packed for comparing and keeping."""

import errno
import marshal
import os
import stat
import struct
from typing import NamedTuple

from chkfs.system import metadata, mounts, statx
from chkfs.text import tree

_RECORD = struct.Struct('<3q2Q')


class Found(NamedTuple):
    """One entry as it was listed.

    kind is a tree type ('file', 'dir', ...); attributes is the beginning of its tree line; record is what
    lstat told (see unpack), equal exactly when nothing that we can see has changed; size in bytes and the times
    in ns are the same once more, to be had at once; linked is (device, inode) of what has several hard links,
    and links how many.
    """

    name: bytes
    kind: str
    attributes: str
    record: bytes
    size: int
    mtime_ns: int
    ctime_ns: int  # 0 where the filesystem does not keep it
    linked: tuple[int, int] | None
    links: int


class Record(NamedTuple):
    """size in bytes, times in ns since 1970; inode and ctime are 0 where the filesystem does not keep them.

    Where it keeps local times, ctime is what the driver adds to these, in ns.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


def pack(*fields: int) -> bytes:
    """A record of the fields of Record, in 40 bytes when they fit; times beyond the year 2262 do not."""
    try:
        return _RECORD.pack(*fields)
    except struct.error:
        return marshal.dumps(fields, 2)  # later versions tell equal objects from one object


def fields(record: bytes) -> tuple[int, int, int, int, int]:
    """unpack() without the names, for where each file counts."""
    return _RECORD.unpack(record) if len(record) == _RECORD.size else marshal.loads(record)


def unpack(record: bytes) -> Record:
    return Record._make(fields(record))


def is_same_but_for_zone(old: bytes, new: bytes) -> bool:
    """Whether two records of a filesystem with local times differ only since another time zone counts now.

    As the driver adds the same to every time, this is no guess.  Times that it did not shift are as good: it may have
    kept them in memory, or the drive tells the zone (exFAT).
    """
    then, now = unpack(old), unpack(new)
    shift_ns = now.ctime_ns - then.ctime_ns
    if now.mtime_ns - then.mtime_ns not in (0, shift_ns):
        return False
    return then == now._replace(mtime_ns=then.mtime_ns, ctime_ns=then.ctime_ns)


def _names(fd: int) -> list[bytes]:
    return sorted(name.encode('utf-8', 'surrogateescape') for name in os.listdir(fd))


def _apart(names: list[bytes]) -> tuple[list[bytes], list[tuple[bytes, OSError]]]:
    """Each name once, and a problem for each that is there more often.

    A damaged directory has such, and drivers make them of names that they cannot spell: only one can be reached.
    """
    error = OSError(errno.ENOTUNIQ, 'it is listed more than once, and only one of these can be reached')
    return sorted(set(names)), [(name, error) for name, next in zip(names, names[1:]) if name == next]


def _explain(problems: list[tuple[bytes, OSError]], fd: int) -> list[tuple[bytes, OSError]]:
    """What is not found, but is listed once more, has not vanished: drivers list names that they cannot spell."""
    if all(error.errno != errno.ENOENT for _, error in problems):
        return problems
    listed = set(_names(fd))
    unspelt = OSError(errno.EILSEQ, 'it is listed, but not found by that name: mount options like iocharset may help')
    return [(name, unspelt if error.errno == errno.ENOENT and name in listed else error) for name, error in problems]


class Lister:
    """Lists directories of one source; remembers owners' names and the texts made of them."""

    def __init__(self):
        self._owners = metadata.Owners()
        self._shared: dict[tuple[int, int, int], tuple[str, str]] = {}

    def list(self, fd: int, filesystem: mounts.Filesystem) -> tuple[list[Found], list[tuple[bytes, OSError]]]:
        """The entries of an open directory sorted by name, and the names that could not be looked at, with why.

        Raises OSError when the directory cannot be listed.
        """
        names = _names(fd)
        found, problems = [], []
        if len(set(names)) < len(names):
            names, problems = _apart(names)
        lstat, shared = os.stat, self._shared
        inodes, ctimes, zone_ns = filesystem.has_stable_inodes, filesystem.has_true_ctime, filesystem.zone_ns
        for name in names:
            try:
                status = lstat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                problems.append((name, error))
                continue
            mode, inode, device, links, uid, gid, size, *_ = status
            kind, attributes = shared.get((mode, uid, gid)) or self.share(mode, uid, gid)
            mtime_ns, ctime_ns = status.st_mtime_ns, status.st_ctime_ns if ctimes else 0
            record = pack(size, mtime_ns, ctime_ns or zone_ns, inode if inodes else 0, status.st_rdev)
            linked = (device, inode) if links > 1 and kind != 'dir' else None
            found.append(Found(name, kind, attributes, record, size, mtime_ns, ctime_ns, linked, links))
        return found, _explain(problems, fd) if problems else problems

    def share(self, mode: int, uid: int, gid: int) -> tuple[str, str]:
        """(kind, attributes), made once for all entries of that mode and owner."""
        kind = metadata.KINDS.get(stat.S_IFMT(mode), 'file')
        text = tree.attributes(kind, mode & 0o7777, uid, gid, self._owners.user(uid), self._owners.group(gid))
        self._shared[mode, uid, gid] = kind, text
        return kind, text

    def look(self, status: os.stat_result | statx.Status, name: bytes, filesystem: mounts.Filesystem) -> Found:
        """The same for one entry of which there is a fresh lstat."""
        size, mtime_ns = status.st_size, status.st_mtime_ns
        ctime_ns = status.st_ctime_ns if filesystem.has_true_ctime else 0
        inode = status.st_ino if filesystem.has_stable_inodes else 0
        record = pack(size, mtime_ns, ctime_ns or filesystem.zone_ns, inode, status.st_rdev)
        kind, attributes = self.share(status.st_mode, status.st_uid, status.st_gid)
        linked = (status.st_dev, status.st_ino) if status.st_nlink > 1 and kind != 'dir' else None
        return Found(name, kind, attributes, record, size, mtime_ns, ctime_ns, linked, status.st_nlink)
