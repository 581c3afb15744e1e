"""What is mounted where: each filesystem's type, identity, and what it can be trusted with."""

import hashlib
import os
import re
from typing import NamedTuple

from chkfs import quote

# Filesystems that hold no files but the kernel's own state: never entered, unless they are asked for by name.
PSEUDO = frozenset(
    'proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs tracefs pstore bpf configfs efivarfs '
    'fusectl hugetlbfs mqueue binfmt_misc nsfs rpc_pipefs autofs selinuxfs'.split()
)
_FAT = frozenset(('vfat', 'msdos', 'exfat'))
_WHOLE_SECONDS = frozenset(('iso9660', 'hfs', 'hfsplus', 'squashfs', 'ext2', 'ext3', 'nfs', 'cifs', 'smb3'))
_CLOCK_TICK_NS = 20_000_000  # the kernel stamps files with a clock this coarse at worst


class Filesystem(NamedTuple):
    """One mounted filesystem, as the scan cache and a snapshot's mount lines need it."""

    type: str
    device: str
    options: str
    uuid: str  # '' when nobody tells
    root: bytes  # directory of the filesystem that is mounted at mount_point
    mount_point: bytes
    identity: str  # the same for the same filesystem wherever it is mounted
    granularity_ns: int  # two changes closer than this may bear the same time
    has_stable_inodes: bool
    has_true_ctime: bool

    def inner_path(self, path: bytes) -> bytes:
        """An absolute path below mount_point, as a path from the top of the filesystem itself."""
        below = path[len(self.mount_point) :] if self.mount_point != b'/' else path
        return os.path.normpath(self.root + b'/' + below).replace(b'//', b'/')

    def mount_line(self, path: bytes, skipped: bool = False) -> str:
        """The value of a snapshot's mount line; path is from the top of the snapshot."""
        pairs = [
            ('path', quote.quote(path or b'.')),
            ('type', self.type),
            ('device', quote.quote(os.fsencode(self.device))),
            ('options', quote.quote(os.fsencode(self.options))),
            ('uuid', self.uuid),
            ('root', quote.quote(self.root)),
            ('access', 'ro' if 'ro' in self.options.split(',') else 'rw'),
            ('granularity_ns', str(self.granularity_ns)),
            ('skipped', 'yes' if skipped else ''),
        ]
        return ' '.join(f'{name}={text}' for name, text in pairs if text)


def filesystem(path: bytes, fd: int) -> Filesystem:
    """The filesystem that path (absolute, no symlinks) is on; fd: path, open."""
    best = None
    for mount in _mounts():
        if _is_below(path, mount[0]) and (best is None or len(mount[0]) >= len(best[0])):
            best = mount
    point, root, type, source, options = best or (b'/', b'/', 'unknown', 'none', '')
    uuid = _uuid(source)
    return Filesystem(
        type,
        source,
        options,
        uuid,
        root,
        point,
        _identity(fd, type, source, uuid),
        granularity_ns(type),
        type not in _FAT and not type.startswith('fuse'),
        type not in _FAT,
    )


def place(inner_path: bytes) -> bytes:
    """A directory's path within its filesystem as 32 bytes, however long: what the scan cache knows it by."""
    here = b''
    for name in inner_path.split(b'/'):
        if name:
            here = place_below(here, name)
    return here


def place_below(parent: bytes, name: bytes) -> bytes:
    return hashlib.sha256(parent + name).digest()


def granularity_ns(type: str) -> int:
    if type in _FAT:
        return 2_000_000_000
    return 1_000_000_000 if type in _WHOLE_SECONDS or type.startswith('fuse') else _CLOCK_TICK_NS


def _mounts() -> list[tuple[bytes, bytes, str, str, str]]:
    """(mount point, root within the filesystem, type, source, options) of every mount, later ones on top."""
    mounts = []
    try:
        with open('/proc/self/mountinfo', 'rb') as file:
            for line in file:
                before, _, after = line.rstrip(b'\n').partition(b' - ')
                fields, words = before.split(b' '), after.split(b' ')
                if len(fields) < 6 or len(words) < 3:
                    continue
                options = b','.join((fields[5], words[-1])).decode('ascii', 'replace').split(',')
                source = os.fsdecode(_unescape(words[1]))
                point, root, type = _unescape(fields[4]), _unescape(fields[3]), words[0].decode('ascii', 'replace')
                mounts.append((point, root, type, source, ','.join(dict.fromkeys(options))))
    except OSError:
        pass
    return mounts


def _unescape(field: bytes) -> bytes:
    return re.sub(rb'\\([0-7]{3})', lambda match: bytes((int(match[1], 8) & 255,)), field)


def _is_below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b'/') + b'/')


def _uuid(source: str) -> str:
    try:
        device = os.stat(source).st_rdev
        for name in os.listdir('/dev/disk/by-uuid'):
            if device and os.stat('/dev/disk/by-uuid/' + name).st_rdev == device:
                return name
    except OSError:
        pass
    return ''


def _identity(fd: int, type: str, source: str, uuid: str) -> str:
    try:
        status = os.statvfs(fd)
    except OSError:
        return f'{type}:{uuid or source}'
    # ext4 and btrfs make f_fsid from their UUID; where it is 0 only the source's name is left
    return f'{type}:{uuid or status.f_fsid or source}:{status.f_blocks * status.f_frsize}'
