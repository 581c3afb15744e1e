"""Where something is restored to: made, or found empty, and closed to others until all is in it."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from chkfs import errors
from chkfs.restore import target
from chkfs.system import xattrs
from chkfs.text import quote

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_MODES = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS))  # what filesystems without them say


def split(path: bytes) -> tuple[bytes, bytes]:
    """(directory, name) of what may not be there yet, as the kernel goes: link/../x is beside what the link leads to.

    Of what ends in . or .. and of / the name is b'', and the directory all of it.
    """
    directory, name = os.path.split(path.rstrip(b'/') or b'/')
    if name in (b'', b'.', b'..'):
        return os.path.realpath(path), b''
    return os.path.realpath(directory), name


def whole(path: bytes) -> bytes:
    """The same from the root, by way of no symlink but the last name."""
    directory, name = split(path)
    return os.path.join(directory, name) if name else directory


def open_parent(path: bytes) -> tuple[int, bytes]:
    """(descriptor of the directory, name) of what is to be made.  Raises OSError, Error when something is there."""
    parent, name = split(path)
    if not name or path.endswith(b'/'):
        raise errors.Error(f"'{quote.readable(path)}' is no name of a file: say what it is to become")
    if os.path.lexists(path):
        raise errors.Error(f"'{quote.readable(path)}' exists: remove it, or name a destination that does not")
    return os.open(parent, _FLAGS), name


def open_directory(path: bytes, look: Callable[[int], None]) -> int:
    """A descriptor of an empty directory that is ours: nobody else can get into it until its owner and mode are set.

    look is called with it; when that raises anything, a directory that was made here is removed.
    Raises OSError, and Error when something is in it.
    """
    was_there = os.path.lexists(path)
    fd = _open_ours(path)
    try:
        look(fd)
        return fd
    except BaseException:
        os.close(fd)
        if not was_there:
            os.rmdir(path)
        raise


def gives_our_owner(fd: int) -> bool:
    """Whether what is made in a directory belongs to our user and group."""
    status = os.fstat(fd)
    return (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid()) and not status.st_mode & stat.S_ISGID


def _open_ours(path: bytes) -> int:
    try:
        os.mkdir(path, 0o700)
        is_new = is_private = True
    except FileExistsError:
        is_new = is_private = False
    if not os.path.isdir(path) or not _is_empty(path):
        raise _not_empty(path)
    fd = os.open(path, _FLAGS)
    try:
        target.remove_remains(fd)
        if not gives_our_owner(fd):
            is_ours = is_new or os.fstat(fd).st_uid == os.geteuid()  # new: where all belongs to whoever mounted it
            with contextlib.suppress(OSError) if is_ours else contextlib.nullcontext():
                os.fchown(fd, os.geteuid(), os.getegid())
            is_private = False
        xattrs.remove_acls(fd)  # else all that is made below would have those that are given to it
        if not is_private:
            _close_to_others(fd)
        if os.listdir(fd):
            raise _not_empty(path)
        return fd
    except BaseException:
        os.close(fd)
        raise


def _is_empty(path: bytes) -> bool:
    """But for what a dead run tried there."""
    return all(name.startswith(target.PREFIX) for name in os.listdir(path))


def _close_to_others(fd: int) -> None:
    try:
        os.fchmod(fd, 0o700)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def _not_empty(path: bytes) -> errors.Error:
    shown = quote.readable(path)
    return errors.Error(f"'{shown}' is not an empty directory: empty it, or name a destination that does not exist")
