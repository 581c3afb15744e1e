"""Asks the kernel of a file what Python's os does not: statx(2)."""

import ctypes
import errno
import os
import struct
from typing import NamedTuple

_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_BASIC_AND_BTIME = 0xFFF
_BTIME = 0x800
_NS = 1_000_000_000
# struct statx of linux/stat.h: mask, attributes, nlink, uid, gid, mode, ino, size, blocks, atime, btime, ctime, mtime,
# rdev, dev
_LAYOUT = struct.Struct('=I4xQIIIH2xQQQ8x qI4x qI4x qI4x qI4x IIII')

_libc = ctypes.CDLL(None, use_errno=True)


class Status(NamedTuple):
    """As os.stat_result, by the same names, and what only statx tells; as a plain tuple, marshal can hold it."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_rdev: int
    st_atime_ns: int
    st_blocks: int  # of 512 bytes
    btime_ns: int | None  # None where the filesystem does not keep it


def make_status():
    """A status() of its own: of two threads each needs one."""
    try:
        call = _libc.statx
    except AttributeError:
        return _without_statx
    call.argtypes = ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p
    buffer = ctypes.create_string_buffer(256)
    address, unpack, makedev = ctypes.addressof(buffer), _LAYOUT.unpack_from, os.makedev

    def status(fd: int, name: bytes = b'') -> Status:
        """Of an open file, or of a name in an open directory, not followed.  Raises OSError."""
        if call(fd, name, _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW, _BASIC_AND_BTIME, address):
            number = ctypes.get_errno()
            if number in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a sandbox that does not know it
                return _without_statx(fd, name)
            raise OSError(number, os.strerror(number))
        found = unpack(buffer)
        mask, _, links, uid, gid, mode, inode, size, blocks, atime, atime_ns, btime, btime_ns = found[:13]
        ctime, ctime_ns, mtime, mtime_ns, rdev_major, rdev_minor, major, minor = found[13:]
        return Status(
            mode,
            inode,
            makedev(major, minor),
            links,
            uid,
            gid,
            size,
            mtime * _NS + mtime_ns,
            ctime * _NS + ctime_ns,
            makedev(rdev_major, rdev_minor),
            atime * _NS + atime_ns,
            blocks,
            btime * _NS + btime_ns if mask & _BTIME else None,
        )

    return status


def _without_statx(fd: int, name: bytes = b'') -> Status:
    found = os.stat(name, dir_fd=fd, follow_symlinks=False) if name else os.fstat(fd)
    return Status(*[getattr(found, field) for field in Status._fields[:-1]], None)


status = make_status()
