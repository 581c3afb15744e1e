"""The kinds of metadata: what a directory shows of each, by means of our own, and what a tree tells of it."""

import base64
import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
import subprocess
from collections.abc import Callable
from typing import NamedTuple

import drives
import odd_things

from chkfs.storage import revision, walk
from chkfs.storage import store as stores
from chkfs.text import quote as quoting
from chkfs.text import tree


class Look:
    """All that a mounted directory shows, gathered at once: kind's name to path to value, where there is one."""

    def __init__(self, top: bytes):
        self.top = top
        self.statuses = {b'.': os.lstat(top)}
        waiting = [b'']
        while waiting:  # unlike os.walk, which follows links to see what they are, and so changes their time of access
            directory = waiting.pop()
            for name in os.listdir(os.path.join(top, directory)):
                path = os.path.join(directory, name)
                self.statuses[path] = os.lstat(os.path.join(top, path))
                if stat.S_ISDIR(self.statuses[path].st_mode):
                    waiting.append(path)
        groups: dict[tuple[int, int], list[bytes]] = {}
        for path, status in sorted(self.statuses.items()):
            if not stat.S_ISDIR(status.st_mode):
                groups.setdefault((status.st_dev, status.st_ino), []).append(path)
        self.links = {path: tuple(group) for group in groups.values() if len(group) > 1 for path in group}
        self.births = self._births()
        self.short_names = self._short_names()
        self.kinds = {kind.name: self._see(kind) for kind in KINDS}

    def path(self, inner: bytes) -> bytes:
        return os.path.join(self.top, inner)

    def _see(self, kind: 'Kind') -> dict[bytes, object]:
        found = {path: kind.look(self, path) for path in self.statuses}
        found = {path: value for path, value in found.items() if value is not None}
        return {} if kind.is_made_up and len(set(found.values())) <= 1 else found

    def _births(self) -> dict[bytes, int]:
        """Times of birth in ns, as stat(1) tells them."""
        paths = list(self.statuses)
        words = ['stat', '--printf', '%.9W\\0', '--', *paths]
        texts = subprocess.run(words, cwd=self.top, stdout=subprocess.PIPE, check=True).stdout.split(b'\0')
        return {path: int(text.replace(b'.', b'')) for path, text in zip(paths, texts) if text[:1] not in b'-0'}

    def _short_names(self) -> dict[bytes, bytes]:
        """As vfat tells them, directory by directory."""
        found = {}
        for path, status in self.statuses.items():
            if stat.S_ISDIR(status.st_mode):
                fd = os.open(self.path(path), os.O_RDONLY)
                try:
                    pairs = list(_pairs_of_names(fd))
                finally:
                    os.close(fd)
                different = [(short, long) for short, long in pairs if long not in (b'', short)]
                found |= {os.path.normpath(os.path.join(path, long)): short for short, long in different}
        return found

    def is_a(self, path: bytes, wanted: Callable[[int], bool]) -> bool:
        return wanted(self.statuses[path].st_mode)


def _pairs_of_names(fd: int):
    """(short name, long name or b'') of each entry of an open directory on vfat; nothing elsewhere."""
    room = bytearray(2 * DIRENT_BYTES)
    while True:
        try:
            if fcntl.ioctl(fd, VFAT_IOCTL_READDIR_BOTH, room) < 1:
                return
        except OSError:
            return
        names = []
        for at in (0, DIRENT_BYTES):
            length = struct.unpack_from('=H', room, at + 16)[0]
            names.append(bytes(room[at + 18 : at + 18 + length]))
        yield names


class Kept:
    """The same of a snapshot in a store: what its trees tell."""

    def __init__(self, store: stores.Store, name: str):
        self.objects = store.objects
        root = revision.tree_of(store, name).entry
        self.entries = {b'.': root, **dict(walk.below(store.objects, root.key))}
        groups: dict[str, list[bytes]] = {}
        for path, entry in sorted(self.entries.items()):
            if entry.tag('hl') is not None:
                groups.setdefault(entry.tag('hl'), []).append(path)
        self.links = {path: tuple(group) for group in groups.values() for path in group}

    def value(self, text: str) -> bytes:
        """What a tag holds, or the blob that it names."""
        return self.objects.read('blob', text[1:]) if text.startswith('@') else base64.b64decode(text)

    def lacks(self, kind: 'Kind', look: Look) -> list[bytes]:
        """The paths of which the trees do not tell what was seen."""
        seen = look.kinds[kind.name].items()
        return [path for path, value in seen if path not in self.entries or kind.keep(self, path) != value]


class Kind(NamedTuple):
    """look(Look, path) is its value for one path, None where there is none; keep(Kept, path) the tree's for it.

    is_made_up: one value for all entries is one that the driver made up.
    """

    name: str
    look: Callable[[Look, bytes], object]
    keep: Callable[[Kept, bytes], object]
    is_made_up: bool = False


def outcome(kind: Kind, seen: Look, kept: Kept, targets: list[Look]) -> str:
    """What a table says of it; targets: what it was restored to.  '-' is what the driver does not offer."""
    values = seen.kinds[kind.name]
    if not values:
        return '-'
    if kept.lacks(kind, seen):
        return 'lost'
    restored = ({path: target.kinds[kind.name].get(path) for path in values} for target in targets)
    return 'restored' if values in restored else 'saved'


def outcome_of_identity(image: str, mount_line: str) -> str:
    """The same of the label and the UUID of a filesystem, which a snapshot's mount line tells."""
    told = drives.run('blkid', '-p', '-o', 'export', image).decode()
    values = re.findall(r'(?m)^(?:LABEL|UUID)=(.*)$', told)
    if not values:
        return '-'
    return 'saved' if all(value in mount_line for value in values) else 'lost'


def _contents(look: Look, path: bytes):
    if not look.is_a(path, stat.S_ISREG):
        return None
    with open(look.path(path), 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _kept_contents(kept: Kept, path: bytes):
    entry = kept.entries[path]
    return entry.key if entry.type == 'file' else None


def _other_bytes(look: Look, path: bytes):
    """Names that are no UTF-8."""
    try:
        os.path.basename(path).decode()
        return None
    except UnicodeDecodeError:
        return path


def _kept_other_bytes(kept: Kept, path: bytes):
    return path if kept.entries[path].tag('enc') == 'unknown' else None


def _owner(look: Look, path: bytes):
    status = look.statuses[path]
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _kept_owner(kept: Kept, path: bytes):
    entry = kept.entries[path]
    return entry.mode, entry.uid, entry.gid


def _time(field: str) -> Callable:
    """Where that is the mtime of every entry, the driver has no other."""

    def look(look: Look, path: bytes):
        has_it = field == 'st_mtime_ns' or any(getattr(s, field) != s.st_mtime_ns for s in look.statuses.values())
        return getattr(look.statuses[path], field) if has_it else None

    return look


def _kept_time(tag: str) -> Callable:
    def keep(kept: Kept, path: bytes):
        text = kept.entries[path].tag(tag)
        return None if text is None else tree.parse_time(text)

    return keep


def _target(look: Look, path: bytes):
    """ntfs-3g shows junctions as links to below where the drive is mounted, of which the drive says nothing."""
    if not look.is_a(path, stat.S_ISLNK):
        return None
    target = os.readlink(look.path(path))
    below = target.startswith(look.top + b'/')
    return os.path.relpath(target, os.path.dirname(look.path(path))) if below else target


def _kept_target(kept: Kept, path: bytes):
    entry = kept.entries[path]
    return entry.link if entry.type == 'link' else None


def _special(look: Look, path: bytes):
    kinds = {stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket', stat.S_IFCHR: 'char', stat.S_IFBLK: 'block'}
    status = look.statuses[path]
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ('char', 'block') else None
    return kind and (kind, device)


def _kept_special(kept: Kept, path: bytes):
    entry = kept.entries[path]
    return entry.type, entry.device if entry.type in ('char', 'block') else None


def _holes(look: Look, path: bytes):
    """Where there are data, as pairs of first byte and end, unless that is everywhere."""
    size = look.statuses[path].st_size
    if not size or not look.is_a(path, stat.S_ISREG):
        return None
    with open(look.path(path), 'rb') as file:
        found = tuple(_extents(file.fileno(), size))
    return None if found == ((0, size),) else found


def _extents(fd: int, size: int):
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def _kept_holes(kept: Kept, path: bytes):
    text = kept.entries[path].tag('data')
    return None if text is None else tuple(_ranges(text))


def _ranges(text: str):
    """0-0 is that of a file without any."""
    for part in text.split('+'):
        start, _, end = part.partition('-')
        if start != end:
            yield int(start), int(end)


def _xattrs(*prefixes: str) -> Callable:
    def look(look: Look, path: bytes):
        try:
            names = os.listxattr(look.path(path), follow_symlinks=False)
        except OSError:
            return None
        names = [name for name in names if name.startswith(prefixes) and name not in COPIES]
        return tuple(sorted((name, drives.get_xattr(look.path(path), name)) for name in names)) or None

    return look


def _kept_xattrs(*prefixes: str) -> Callable:
    def keep(kept: Kept, path: bytes):
        found = []
        for tag in kept.entries[path].tags():
            word, _, rest = tag.partition(':')
            name, _, value = rest.partition(':')
            name = os.fsdecode(quoting.unquote(name))
            if word == 'xattr' and name.startswith(prefixes):
                found.append((name, kept.value(value)))
        return tuple(sorted(found)) or None

    return keep


def _flags(look: Look, path: bytes):
    """As lsattr(1) prints them, those that tell of the file and not of how the filesystem stores it."""
    if not (look.is_a(path, stat.S_ISREG) or look.is_a(path, stat.S_ISDIR)):
        return None
    fd = os.open(look.path(path), os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = struct.unpack('I', fcntl.ioctl(fd, odd_things.FS_IOC_GETFLAGS, bytes(4)))[0]
    except OSError:
        return None
    finally:
        os.close(fd)
    return {letter for letter, bit in odd_things.FLAGS.items() if found & bit} or None


def _kept_flags(kept: Kept, path: bytes):
    return set(kept.entries[path].tag('flags') or '') & set(odd_things.FLAGS) or None


def _ntfs(*names: str, understand: Callable[[bytes], object] = bytes) -> Callable:
    """What ntfs-3g or ntfs3 gives by one of these names."""

    def look(look: Look, path: bytes):
        for name in names:
            value = drives.get_xattr(look.path(path), f'system.ntfs_{name}')
            if value is not None:
                return understand(value)
        return None

    return look


def _dos_attributes(look: Look, path: bytes):
    found = drives.get_xattr(look.path(path), 'system.ntfs_attrib_be')
    if found is not None:
        return _dos_letters(found)
    if not (look.is_a(path, stat.S_ISREG) or look.is_a(path, stat.S_ISDIR)):
        return None
    fd = os.open(look.path(path), os.O_RDONLY | os.O_NONBLOCK)
    try:
        return _dos_letters(fcntl.ioctl(fd, FAT_IOCTL_GET_ATTRIBUTES, bytes(4))[::-1])
    except OSError:
        return None
    finally:
        os.close(fd)


def _short_name(look: Look, path: bytes):
    return drives.get_xattr(look.path(path), 'system.ntfs_dos_name') or look.short_names.get(path)


def _of_macintosh(look: Look, path: bytes):
    """Asked for by name: hfsplus does not list them as they are called."""
    values = [(name, drives.get_xattr(look.path(path), name)) for name in MACINTOSH_NAMES]
    return tuple(sorted((name, value) for name, value in values if value is not None)) or None


def _dos_letters(attributes: bytes):
    bits = int.from_bytes(attributes)
    return {letter for letter, bit in DOS_ATTRIBUTES.items() if bits & bit} or None


def _nanoseconds(times: bytes):
    """Of creation, of the last change and of the last access; the fourth is the ctime."""
    return tuple((time - SINCE_1601) * 100 for time in struct.unpack('>4Q', times)[:3])


def _kept_dos_letters(kept: Kept, path: bytes):
    return set(kept.entries[path].tag('dos') or '') & set(DOS_ATTRIBUTES) or None


def _kept_short_name(kept: Kept, path: bytes):
    text = kept.entries[path].tag('short')
    return None if text is None else quoting.unquote(text)


def _kept_ntfs_times(kept: Kept, path: bytes):
    return _kept_time('btime')(kept, path), kept.entries[path].time_ns, _kept_time('atime')(kept, path)


def _kept_bytes(tag: str) -> Callable:
    def keep(kept: Kept, path: bytes):
        text = kept.entries[path].tag(tag)
        return None if text is None else kept.value(text)

    return keep


FAT_IOCTL_GET_ATTRIBUTES, VFAT_IOCTL_READDIR_BOTH, DIRENT_BYTES = 0x80047210, 0x82307201, 280
MACINTOSH_NAMES = ['osx.com.apple.FinderInfo', 'hfs.type', 'hfs.creator']
SINCE_1601 = 11_644_473_600 * 10**7  # in the units of NTFS
# those that tell of the file, not of how it is stored
DOS_ATTRIBUTES = {'r': 0x1, 'h': 0x2, 's': 0x4, 'a': 0x20, 't': 0x100, 'l': 0x400, 'o': 0x1000, 'n': 0x2000}
COPIES = ['trusted.SGI_ACL_FILE', 'trusted.SGI_ACL_DEFAULT']  # XFS shows its access control lists twice
KINDS = [
    Kind('contents', _contents, _kept_contents),
    Kind('names in any bytes', _other_bytes, _kept_other_bytes),
    Kind('mode and owner', _owner, _kept_owner, is_made_up=True),
    Kind('mtime', _time('st_mtime_ns'), lambda kept, path: kept.entries[path].time_ns),
    Kind('atime', _time('st_atime_ns'), _kept_time('atime')),
    Kind('ctime', _time('st_ctime_ns'), _kept_time('ctime')),
    Kind('birth time', lambda look, path: look.births.get(path), _kept_time('btime')),
    Kind('symbolic links', _target, _kept_target),
    Kind('hard links', lambda look, path: look.links.get(path), lambda kept, path: kept.links.get(path)),
    Kind('devices, fifos', _special, _kept_special),
    Kind('holes', _holes, _kept_holes),
    Kind('user xattrs', _xattrs('user.'), _kept_xattrs('user.')),
    Kind('trusted xattrs', _xattrs('trusted.'), _kept_xattrs('trusted.')),
    Kind('security xattrs', _xattrs('security.'), _kept_xattrs('security.')),
    Kind('POSIX ACLs', _xattrs('system.posix_acl'), _kept_xattrs('system.posix_acl')),
    Kind('inode flags', _flags, _kept_flags),
    Kind('DOS attributes', _dos_attributes, _kept_dos_letters),
    Kind('short names', _short_name, _kept_short_name),
    Kind('NTFS ACLs', _ntfs('acl', 'security'), _kept_bytes('ntfs.acl')),
    Kind('NTFS times', _ntfs('times_be', understand=_nanoseconds), _kept_ntfs_times),
    Kind('reparse data', _ntfs('reparse_data'), _kept_bytes('ntfs.reparse')),
    Kind('object ids', _ntfs('object_id'), _kept_bytes('ntfs.object')),
    Kind('EAs', _ntfs('ea'), _kept_bytes('ntfs.ea')),
    Kind('hfs, osx xattrs', _of_macintosh, _kept_xattrs('hfs.', 'osx.')),
]
