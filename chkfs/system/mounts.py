"""What is mounted where: each filesystem's type, identity, and what it can be trusted with."""

import hashlib
import os
import re
from typing import NamedTuple

from chkfs.system import drive
from chkfs.text import quote

# Filesystems that hold no files but the kernel's own state: never entered, unless they are asked for by name.
PSEUDO = frozenset(
    'proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs tracefs pstore bpf configfs efivarfs '
    'fusectl hugetlbfs mqueue binfmt_misc nsfs rpc_pipefs autofs selinuxfs'.split()
)
_CLOCK_TICK_NS = 20_000_000  # the kernel stamps files with a clock this coarse at worst
_GETTIMEOFDAY = {  # the system call's number
    **dict.fromkeys('aarch64 riscv64 loongarch64'.split(), 169),
    **dict.fromkeys('i386 i586 i686 armv6l armv7l ppc ppc64 ppc64le s390x'.split(), 78),
    'x86_64': 96,
}
_MS_BIND = 4096  # linux/mount.h
_SECOND = 1_000_000_000


class Trust(NamedTuple):
    """What a driver keeps.

    granularity_ns: two changes closer than this may bear the same time.  has_stable_inodes: a file has the same
    inode number when the drive is mounted again.  has_true_ctime: ctime moves with every change, and is kept.
    has_unique_inodes: no two directories have one number at one moment.
    """

    granularity_ns: int = _CLOCK_TICK_NS
    has_stable_inodes: bool = True
    has_true_ctime: bool = True
    has_unique_inodes: bool = True


_WHOLE_SECONDS = Trust(_SECOND)
_FAT = Trust(2 * _SECOND, False, False)  # inode numbers are counted up at each look; ctime is the mtime, or nothing
_UNKNOWN = Trust(_SECOND, False, False, False)
_SERVER = Trust(_SECOND, has_unique_inodes=False)  # which may export several filesystems as one

# By driver: kernel ones by their type, those in user space by a name as in _fuse_driver.  Seen in mounts before and
# after a remount with kernel 6.12 (kernel ones), or with Debian 12's packages; step of time and fate of ctime likewise.
_TRUST = {
    **dict.fromkeys('ext4 xfs btrfs f2fs tmpfs ramfs jfs reiserfs erofs ntfs3 udf'.split(), Trust()),
    **dict.fromkeys('ext2 ext3 iso9660 squashfs hfsplus cramfs romfs minix ufs'.split(), _WHOLE_SECONDS),
    'hfs': Trust(_SECOND, has_true_ctime=False),
    'vfat': _FAT,
    'msdos': _FAT,
    'exfat': _FAT._replace(granularity_ns=_CLOCK_TICK_NS),  # keeps hundredths of a second
    **dict.fromkeys('nfs nfs4 cifs smb3 9p ceph afs virtiofs'.split(), _SERVER),
    'fuse2fs': _WHOLE_SECONDS,  # inodes of ext
    'ntfs-3g': Trust(_CLOCK_TICK_NS),  # inodes are the numbers in the MFT, times are 100 ns; no links of directories
    'squashfuse': _WHOLE_SECONDS,
    'exfat-fuse': _FAT._replace(has_unique_inodes=False),  # inodes in the order of looking
    'fusefat': _FAT._replace(has_unique_inodes=False),
    'fuseiso': _UNKNOWN._replace(has_true_ctime=True),  # that of Rock Ridge; inodes in the order of looking
}
# What a driver in user space is, when it does not say, by the first bytes of what it reads.
_MAGIC = (
    (3, b'NTFS    ', 'ntfs-3g'),
    (3, b'EXFAT   ', 'exfat-fuse'),
    (1080, b'\x53\xef', 'fuse2fs'),
    (0, b'hsqs', 'squashfuse'),
    (32769, b'CD001', 'fuseiso'),
)
_MAGIC_BYTES = 32774
_SUBTYPES = {'fuse.' + name: name for name in ('fuse2fs', 'ntfs-3g', 'squashfuse', 'exfat-fuse', 'fusefat', 'fuseiso')}
_SUBTYPES |= {f'fuse.ext{number}': 'fuse2fs' for number in '234'}
_SUBTYPES |= {'fuse.lowntfs-3g': 'ntfs-3g', 'fuse.exfat': 'exfat-fuse'}
# Those whose statfs gives a number made of their UUID, and not of the device that they happen to be on.
_FSID_IS_UUID = frozenset('ext2 ext3 ext4 btrfs ntfs3 zfs overlay tmpfs'.split())
_IMMUTABLE = frozenset('squashfs squashfuse cramfs romfs iso9660 fuseiso erofs'.split())
# Options that change which names and metadata there are: what was seen with others does not count.
_VIEWS = ('norock', 'nojoliet', 'nouser_xattr', 'noacl', 'upperdir=')
_NO_LINKED_DIRECTORIES = frozenset('ext2 ext3 ext4 xfs btrfs f2fs tmpfs vfat msdos exfat ntfs3'.split())
_LOCAL_TIME = frozenset('vfat msdos exfat hfs'.split())


class Filesystem(NamedTuple):
    """One mounted filesystem, as the scan cache and a snapshot's mount lines need it."""

    type: str
    device: str
    options: str
    uuid: str  # '' when nobody tells
    root: bytes  # directory of the filesystem that is mounted at mount_point
    mount_point: bytes
    identity: str  # the same for the same filesystem wherever it is mounted; '' when that cannot be told
    granularity_ns: int  # this and the next three as in Trust, in its order
    has_stable_inodes: bool
    has_true_ctime: bool
    has_unique_inodes: bool = True
    driver: str = ''  # 'kernel', or the name of a program; '' for one in user space that is not known
    label: bytes = b''
    size: int = -1  # bytes
    zone_ns: int = 0  # what the driver adds to the local times on the drive
    drives: tuple[drive.Drive, ...] = ()
    twin: str = ''  # another device mounted now that says that it is the same filesystem

    @property
    def keeps_local_time(self) -> bool:
        return self.type in _LOCAL_TIME

    @property
    def may_be_endless(self) -> bool:
        """Whether it may go round in a circle that neither the kernel nor inode numbers show."""
        return not self.has_unique_inodes and self.type != 'overlay'

    @property
    def may_link_directories(self) -> bool:
        """Whether one directory may have two names without a mount."""
        return self.type not in _NO_LINKED_DIRECTORIES

    @property
    def is_served(self) -> bool:
        """Whether a program serves it, which may never answer."""
        return self.type.startswith('fuse')

    @property
    def is_read_only(self) -> bool:
        return _is_read_only(self.options)

    def inner_path(self, path: bytes) -> bytes:
        """An absolute path below mount_point, as a path from the top of the filesystem itself."""
        return _inside(self.root, self.mount_point, path)

    def mount_line(self, path: bytes, skipped: bool = False) -> str:
        """The value of a snapshot's mount line; path is from the top of the snapshot."""
        pairs = [
            ('path', quote.quote(path or b'.')),
            ('type', quote.quote(os.fsencode(self.type))),
            ('driver', quote.quote(os.fsencode(self.driver))),
            ('device', quote.quote(os.fsencode(self.device))),
            ('options', quote.quote(os.fsencode(self.options))),
            ('uuid', quote.quote(os.fsencode(self.uuid))),
            ('label', quote.quote(self.label)),
            ('root', quote.quote(self.root)),
            ('size', str(self.size) if self.size >= 0 else ''),
            ('access', 'ro' if self.is_read_only else 'rw'),
            ('granularity_ns', str(self.granularity_ns)),
            ('drives', ','.join(quote.quote(each.device) for each in self.drives)),
            ('skipped', 'yes' if skipped else ''),
        ]
        return ' '.join(f'{name}={text}' for name, text in pairs if text)


class _Mount(NamedTuple):
    """A line of mountinfo."""

    point: bytes
    root: bytes  # within the filesystem
    type: str
    source: str
    options: str
    number: bytes  # of its device, as major:minor


def filesystem(path: bytes, fd: int) -> Filesystem:
    """The filesystem that path (absolute, no symlinks) is on; fd: path, open."""
    mounts = _mounts()
    told = _innermost(mounts, path)
    mount = _with_real_source(told)
    driver, kind = _driver(mount, fd)
    trust = _trust(mount, kind, fd)
    volume = drive.volume(mount.source, mount.type, fd)
    size, fsid = _statistics(fd)
    twin = _twin(mount, volume.uuid, mounts)
    drives = tuple(drive.drives(mount.source))
    return Filesystem(
        mount.type,
        told.source,
        mount.options,
        volume.uuid,
        mount.root,
        mount.point,
        _identity(mount, kind, volume.uuid, size, fsid, trust, drives, twin),
        *trust,
        driver,
        volume.label,
        size,
        _zone_ns(mount),
        drives,
        twin,
    )


def type_of(path: bytes) -> str:
    """The type of the filesystem that an absolute path without symlinks is on: no device is asked for it."""
    return _innermost(_mounts(), path).type


def where(path: bytes) -> tuple[bytes, bytes]:
    """(device as mountinfo has it, path within the filesystem) of an absolute path: the same for a bind mount of it."""
    mount = _innermost(_mounts(), path)
    return mount.number, _inside(mount.root, mount.point, path)


def points_below(path: bytes) -> dict[bytes, bytes]:
    """The mount points below an absolute path, each with the number of its device as mountinfo has it."""
    return {mount.point: mount.number for mount in _mounts() if mount.point != path and _is_below(mount.point, path)}


def _is_read_only(options: str) -> bool:
    return 'ro' in options.split(',')


def _inside(root: bytes, point: bytes, path: bytes) -> bytes:
    below = path[len(point) :] if point != b'/' else path
    return os.path.normpath(root + b'/' + below).replace(b'//', b'/')


def bind(source_fd: int, target_fd: int) -> None:
    """Mounts one open directory on another one; needs root.  Raises OSError."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    source, target = (f'/proc/self/fd/{fd}'.encode() for fd in (source_fd, target_fd))
    if library.mount(source, target, None, ctypes.c_ulong(_MS_BIND), None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def place(inner_path: bytes) -> bytes:
    """A directory's path within its filesystem as 32 bytes, however long: what the scan cache knows it by."""
    here = b''
    for name in inner_path.split(b'/'):
        if name:
            here = place_below(here, name)
    return here


def place_below(parent: bytes, name: bytes) -> bytes:
    return hashlib.sha256(parent + name).digest()


def _innermost(mounts: list[_Mount], path: bytes) -> _Mount:
    """The mount that an absolute path is on."""
    best = None
    for mount in mounts:
        if _is_below(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best or _Mount(b'/', b'/', 'unknown', 'none', '', b'')


def _driver(mount: _Mount, fd: int) -> tuple[str, str]:
    """(name to be told, key of _TRUST)."""
    if mount.type != 'fuse' and mount.type != 'fuseblk' and not mount.type.startswith('fuse.'):
        return 'kernel', mount.type
    if mount.type in _SUBTYPES:
        return (_SUBTYPES[mount.type],) * 2
    if mount.type.startswith('fuse.'):
        return mount.type[5:], mount.type
    try:
        os.getxattr(fd, 'system.ntfs_attrib')
        return 'ntfs-3g', 'ntfs-3g'
    except OSError:
        pass
    start = drive.first_bytes(mount.source, _MAGIC_BYTES)
    name = next((name for at, magic, name in _MAGIC if start[at : at + len(magic)] == magic), '')
    return name, name or mount.type


def _with_real_source(mount: _Mount) -> _Mount:
    """For a filesystem in user space that does not say what it reads: the same with that as its source."""
    source = mount.source
    if not mount.type.startswith('fuse') or re.search('^/|:', source):
        return mount
    connection = mount.number.partition(b':')[2]
    found = drive.served_from(int(connection), mount.point) if connection.isdigit() else ''
    return mount._replace(source=found or source)


def _trust(mount: _Mount, kind: str, fd: int) -> Trust:
    """What the table says, and what can be seen: a filesystem may keep whole seconds without having to."""
    trust = _TRUST.get(kind)
    if trust is None:
        # an unknown driver of the kernel keeps its inodes, but whether they tell directories apart is another question
        trust = _UNKNOWN if mount.type.startswith('fuse') else Trust(has_unique_inodes=False)
    if kind in ('cifs', 'smb3') and 'serverino' not in mount.options.split(','):
        trust = trust._replace(has_stable_inodes=False)
    try:
        has_fractions = os.fstat(fd).st_ctime_ns % _SECOND != 0
    except OSError:
        has_fractions = False
    if not has_fractions and trust.granularity_ns < _SECOND:  # as ext4 with inodes of 128 bytes
        trust = trust._replace(granularity_ns=_SECOND)
    return trust


def _statistics(fd: int) -> tuple[int, int]:
    """(size in bytes, f_fsid) of the filesystem; -1 and 0 where it does not tell."""
    try:
        status = os.statvfs(fd)
    except OSError:
        return -1, 0
    return status.f_blocks * status.f_frsize, status.f_fsid


def _identity(
    mount: _Mount, kind: str, uuid: str, size: int, fsid: int, trust: Trust, drives: tuple[drive.Drive, ...], twin: str
) -> str:
    """What the scan cache knows a filesystem by.

    Its UUID and size, and serial numbers of the drive: a copy of a drive has the UUID, too, but may have been read
    with other errors.  A device's name is none: the next drive gets it.  Never the mount point or st_dev.
    """
    name = uuid or (f'{fsid:x}' if fsid and mount.type in _FSID_IS_UUID else '')
    mark = drive.mark(mount.source, drives)
    if kind in _IMMUTABLE and not name:
        start = drive.first_bytes(mount.source, 4096)
        name = hashlib.sha256(start).hexdigest()[:32] if start else ''
    if kind == 'hfs' and not name:  # when it was made, and its name: Inside Macintosh: Files, Master Directory Blocks
        start = drive.first_bytes(mount.source, 1088)
        name = (start[1026:1030] + start[1060:1088]).hex()
    if not name and not drive.is_device(mount.source) and re.search('[/:]', mount.source):
        name = mount.source  # a server's, or a directory shown once more
    if not name:
        is_strict = trust.has_stable_inodes and trust.has_true_ctime
        if not is_strict and (not mark or any(each.is_removable for each in drives)):
            return ''  # of a reader of floppies or cards, the serial number tells nothing of what is in it
        name = '' if mark else mount.source  # inodes and ctimes are as good as a name
    is_fixed = kind in _IMMUTABLE or _is_read_only(mount.options)
    image = drive.image_of(mount.source, drives) if is_fixed else ''
    if image:  # which nobody changes by way of this mount: when it changes, a better copy took its place
        mark += f'@{os.stat(image).st_mtime_ns}'
    views = ','.join(option for option in mount.options.split(',') if option.startswith(_VIEWS))
    beside = ''
    if twin and drive.mark(twin, drive.drives(twin)) == drive.mark(mount.source, drives):
        beside = f'beside {mount.source}'  # nothing else tells which is which, so neither is known from before
    parts = (kind, name, str(size), mark, views, beside)
    return ':'.join(parts).rstrip(':')


def _twin(mount: _Mount, uuid: str, mounts: list[_Mount]) -> str:
    """The source of another mounted filesystem with that UUID, which then is a copy; '' as a rule."""
    if not uuid or not drive.is_device(mount.source):
        return ''
    for other in mounts:
        if other.type != mount.type or other.number == mount.number or other.source == mount.source:
            continue
        if not drive.is_device(other.source):
            continue
        try:
            fd = os.open(other.point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if drive.volume(other.source, other.type, fd).uuid == uuid:
                return other.source
        finally:
            os.close(fd)
    return ''


def _zone_ns(mount: _Mount) -> int:
    """What a driver of a filesystem that holds local times adds to make them UTC (fs/fat/misc.c, fs/hfs/hfs_fs.h)."""
    if mount.type not in _LOCAL_TIME:
        return 0
    minutes = None
    for option in mount.options.split(','):
        word, _, value = option.partition('=')
        if option == 'tz=UTC':
            minutes = 0
        elif word == 'time_offset' and re.fullmatch('-?[0-9]{1,4}', value):
            minutes = -int(value)
    if minutes is None:
        uses_system = mount.type != 'exfat' or 'sys_tz' in mount.options.split(',')
        minutes = _minutes_west() if uses_system else 0
    return minutes * 60 * _SECOND


def _minutes_west() -> int:
    """The kernel's own time zone: minutes from its local time to UTC.  It is set at boot, and not by TZ.

    The C library says 0 since glibc 2.31, so the kernel itself is asked; where it is not known how to, it is 0, too.
    """
    import ctypes

    zone, number = (ctypes.c_int * 2)(), _GETTIMEOFDAY.get(os.uname().machine)
    if number is None or ctypes.CDLL(None).syscall(number, None, ctypes.byref(zone)):
        return 0
    return zone[0]


def _mounts() -> list[_Mount]:
    """Every mount, later ones on top."""
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
                mounts.append(_Mount(point, root, type, source, ','.join(dict.fromkeys(options)), fields[2]))
    except OSError:
        pass
    return mounts


def _unescape(field: bytes) -> bytes:
    return re.sub(rb'\\([0-7]{3})', lambda match: bytes((int(match[1], 8) & 255,)), field)


def _is_below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b'/') + b'/')
