"""What NTFS keeps, through the extended attributes by which ntfs-3g and the kernel's ntfs3 show it.

Neither lists them: they are asked for by name.  What both show becomes the same tag.
"""

import errno
import struct
from collections.abc import Callable
from typing import NamedTuple

from chkfs.system import xattrs

ATTRIBUTES, TIMES, CREATED = 'system.ntfs_attrib', 'system.ntfs_times', 'system.ntfs_crtime'
ACL = ('system.ntfs_acl', 'system.ntfs_security')  # as ntfs-3g calls it, and as ntfs3 does
SHORT_NAME = 'system.ntfs_dos_name'
REPARSE_POINT, _DIRECTORY = 0x400, 0x10000010  # attribute bits; the higher one is that of an index
TAGS = {
    'ntfs.acl': ACL,
    'ntfs.reparse': ('system.ntfs_reparse_data',),
    'ntfs.object': ('system.ntfs_object_id',),
    'ntfs.ea': ('system.ntfs_ea',),
}
_EPOCH = 116_444_736_000_000_000  # 1970 in units of 100 ns since 1601
_ABSENT = frozenset((errno.ENODATA, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT))


class Told(NamedTuple):
    attributes: int
    btime_ns: int | None
    short_name: bytes
    values: list[tuple[str, bytes]]  # of tags of TAGS

    @property
    def directory_letter(self) -> str:
        """'d' for a reparse point that is a directory below: it may look like anything."""
        return 'd' if self.attributes & REPARSE_POINT and self.attributes & _DIRECTORY else ''


def ask(target: int | bytes, fail: Callable[[str, OSError], None]) -> Told | None:
    """What NTFS tells of it, None on another filesystem; fail is called with a tag and why it cannot be had."""

    def get(tag: str, *names: str) -> bytes:
        for name in names:
            try:
                return xattrs.get(target, name)
            except OSError as error:
                is_top = tag == 'short' and error.errno == errno.EPERM  # which has none, and ntfs-3g says it so
                if error.errno not in _ABSENT and not is_top:
                    fail(tag, error)
        return b''

    attributes = get('dos', ATTRIBUTES)
    if len(attributes) != 4:
        return None
    bits, times = struct.unpack('=I', attributes)[0], get('btime', TIMES)
    created = struct.unpack_from('=Q', times)[0] if len(times) >= 8 else 0
    values = [
        (tag, value)
        for tag, names in TAGS.items()
        if (tag != 'ntfs.reparse' or bits & REPARSE_POINT) and (value := get(tag, *names))
    ]
    return Told(bits, (created - _EPOCH) * 100 if created else None, get('short', SHORT_NAME), values)


def name_of(tag: str, is_ntfs_3g: bool) -> str | None:
    """The attribute by which a driver takes what a tag tells; None when it does not."""
    if tag in ('ntfs.acl', 'dos'):
        return ACL[not is_ntfs_3g] if tag == 'ntfs.acl' else ATTRIBUTES
    names = {'short': SHORT_NAME, 'btime': CREATED} | {tag: names[0] for tag, names in TAGS.items()}
    return names[tag] if is_ntfs_3g else None


def pack_time(ns: int) -> bytes:
    """As ntfs-3g takes it.  Raises struct.error outside of what NTFS can hold."""
    return struct.pack('=Q', ns // 100 + _EPOCH)
