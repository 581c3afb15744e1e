"""Extended attributes of what is open, or of a path that is not followed, however its driver counts and lists them.

Python's own os.getxattr asks with 128 bytes first and takes any answer but ERANGE for the last word; ntfs-3g answers
EIO then.  Here there is always room for the longest value that Linux passes on.
"""

import ctypes
import errno
import os
import string

LONGEST = 1 << 16  # bytes of a value, the limit of Linux
NOT_OFFERED = frozenset((errno.ENOTSUP, errno.ENOSYS))

_ACLS = 'system.posix_acl_access', 'system.posix_acl_default'
_libc = ctypes.CDLL(None, use_errno=True)
_room = ctypes.create_string_buffer(LONGEST)
_HFS = 'osx.'
_LAST_LETTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits + '_-.:#'
# what listing a directory cannot tell on HFS+, and macOS writes
_HFS_NAMES = tuple(
    f'osx.com.apple.{name}'
    for name in (
        *('FinderInfo', 'ResourceFork', 'TextEncoding', 'quarantine', 'lastuseddate#PS', 'decmpfs', 'FinderTags'),
        *('metadata:_kMDItemUserTags', 'metadata:kMDItemWhereFroms', 'metadata:kMDItemFinderComment', 'rootless'),
        *('metadata:com_apple_backup_excludeItem', 'system.Security', 'system.mddb', 'diskimages.fsck'),
    )
)


def _declared(call, target):
    call.restype = ctypes.c_ssize_t
    call.argtypes = target, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t
    return call


_of_open = _declared(_libc.fgetxattr, ctypes.c_int)
_of_path = _declared(_libc.lgetxattr, ctypes.c_char_p)


def path_below(fd: int, name: bytes) -> bytes:
    """A path of a name in an open directory."""
    return b'/proc/self/fd/%d/%s' % (fd, name)


def names(target: int | bytes) -> list[str]:
    """What the filesystem lists.  Raises OSError."""
    return os.listxattr(target) if type(target) is int else os.listxattr(target, follow_symlinks=False)


def get(target: int | bytes, name: str) -> bytes:
    """Raises OSError: ENODATA when there is none of that name."""
    call = _of_open if type(target) is int else _of_path
    size = call(target, os.fsencode(name), _room, LONGEST)
    if size < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return _room.raw[:size] if size > LONGEST >> 1 else ctypes.string_at(_room, size)


def put(target: int | bytes, name: str, value: bytes) -> None:
    """Raises OSError."""
    if type(target) is int:
        os.setxattr(target, name, value)
    else:
        os.setxattr(target, name, value, follow_symlinks=False)


def remove_acls(target: int | bytes) -> None:
    """Removes the ACLs that something has, as from the directory that it was made in.  Raises OSError."""
    options = {} if type(target) is int else {'follow_symlinks': False}
    for name in _ACLS:
        try:
            os.getxattr(target, name, **options)
        except OSError:
            continue
        os.removexattr(target, name, **options)


def hfs_names(target: int | bytes) -> list[str]:
    """The same as names() on HFS+, whose driver cuts the last letter of osx.* names and does not list directories."""
    try:
        listed = names(target)
    except OSError as error:
        if error.errno not in (errno.ENODATA, *NOT_OFFERED):
            raise
        return [name for name in _HFS_NAMES if _is_there(target, name)]
    return sorted({_uncut(target, name) if name.startswith(_HFS) else name for name in listed})


def _uncut(target: int | bytes, name: str) -> str:
    """The name that a listed one is, or is the beginning of."""
    if name != _HFS and _is_there(target, name):
        return name
    candidates = [known for known in _HFS_NAMES if known[:-1] == name]
    candidates += [name + letter for letter in _LAST_LETTERS]
    return next((whole for whole in candidates if _is_there(target, whole)), name)


def _is_there(target: int | bytes, name: str) -> bool:
    try:
        get(target, name)
    except OSError:
        return False
    return True
