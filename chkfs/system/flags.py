"""Inode flags, as chattr(1) sets them: those that a person can set, written as the letters of lsattr(1)."""

import contextlib
import fcntl
import struct

_GET, _SET = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
_ROOM = bytes(8)
_INT = struct.Struct('=I4x')
_LETTERS = (
    *((0x1, 's'), (0x2, 'u'), (0x8, 'S'), (0x10000, 'D'), (0x10, 'i'), (0x20, 'a'), (0x40, 'd'), (0x80, 'A')),
    *((0x4, 'c'), (0x4000, 'j'), (0x8000, 't'), (0x20000, 'T'), (0x800000, 'C'), (0x2000000, 'x')),
    *((0x40000000, 'F'), (0x20000000, 'P'), (0x400, 'm')),
)
_LOCKS = 0x30  # i and a
_known: dict[int, str] = {}


def get(fd: int) -> str:
    """Raises OSError: ENOTTY and others where the filesystem has none."""
    bits = _bits(fd)
    return letters(bits) if bits else ''


def letters(bits: int) -> str:
    if bits not in _known:
        _known[bits] = ''.join(letter for bit, letter in _LETTERS if bits & bit)
    return _known[bits]


def put(fd: int, text: str) -> str:
    """Sets flags, in addition to those that are set; gives the letters that the filesystem does not take.

    Raises OSError where it takes none at all.
    """
    bits = _bits(fd)
    wanted = sum(bit for bit, letter in _LETTERS if letter in text)
    try:
        fcntl.ioctl(fd, _SET, _INT.pack(bits | wanted))
    except OSError:
        _put_each(fd, bits, wanted)
    return letters(wanted & ~_bits(fd))


def lift(fd: int) -> str:
    """Takes those flags away that keep everything else from being set; gives them, '' for none."""
    try:
        bits = _bits(fd)
        if bits & _LOCKS:
            fcntl.ioctl(fd, _SET, _INT.pack(bits & ~_LOCKS))
    except OSError:
        return ''
    return letters(bits & _LOCKS)


def _bits(fd: int) -> int:
    return _INT.unpack(fcntl.ioctl(fd, _GET, _ROOM))[0]


def _put_each(fd: int, bits: int, wanted: int) -> None:
    for bit, _ in sorted(_LETTERS, key=lambda pair: pair[1] in 'ia'):  # after these no other can be set
        if wanted & bit & ~bits:
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, _SET, _INT.pack(bits | bit))
                bits |= bit
