"""What FAT keeps of a file: attributes as letters (NTFS has the same and more), and short names."""

import fcntl
import os
import struct

_GET, _SET = 0x80047210, 0x40047211  # FAT_IOCTL_GET_ATTRIBUTES, FAT_IOCTL_SET_ATTRIBUTES
_READ_BOTH = 0x82307201  # VFAT_IOCTL_READDIR_BOTH
_INT = struct.Struct('=I')
_ENTRY_BYTES = 280  # of struct __fat_dirent: the short name's comes first, then the long one's
_LENGTH, _NAME = 16, 18  # where in it these are
# read-only, hidden, system, archive; temporary, sparse, link, compressed, offline, not indexed, encrypted
_LETTERS = (
    *((0x1, 'r'), (0x2, 'h'), (0x4, 's'), (0x20, 'a'), (0x100, 't'), (0x200, 'p'), (0x400, 'l'), (0x800, 'c')),
    *((0x1000, 'o'), (0x2000, 'n'), (0x4000, 'e')),
)


def get(fd: int) -> int:
    """Attributes of what is open.  Raises OSError: ENOTTY on other filesystems."""
    return _INT.unpack(fcntl.ioctl(fd, _GET, bytes(4)))[0]


def put(fd: int, bits: int) -> None:
    """Sets those that can be set, and clears the others.  Raises OSError."""
    kept = get(fd) & ~0x27
    fcntl.ioctl(fd, _SET, _INT.pack(kept | bits & 0x27))


def letters(bits: int) -> str:
    """Those of FAT: read-only, hidden, system, archive; then those of NTFS, as _LETTERS has them."""
    return ''.join(letter for bit, letter in _LETTERS if bits & bit)


def bits(text: str) -> int:
    return sum(bit for bit, letter in _LETTERS if letter in text)


def short_names(fd: int) -> dict[bytes, bytes]:
    """Long names in an open directory to short ones, of what has both.  Raises OSError: ENOTTY elsewhere."""
    found: dict[bytes, bytes] = {}
    directory = os.open('.', os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        room = bytearray(2 * _ENTRY_BYTES)
        while fcntl.ioctl(directory, _READ_BOTH, room):
            short, long = _name(room, 0), _name(room, _ENTRY_BYTES)
            if long and long != short:
                found[long] = short
    finally:
        os.close(directory)
    return found


def _name(room: bytearray, at: int) -> bytes:
    length = int.from_bytes(room[at + _LENGTH : at + _NAME], 'little')
    return bytes(room[at + _NAME : at + _NAME + length])
