"""Gives what has been restored the attributes that its tags tell of: the other half of metadata.

They are set after owner and mode, since a change of those takes ACLs and capabilities away: first ACLs, then other
xattrs, then times, and flags last, since what is immutable takes nothing more.
"""

import base64
import binascii
import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable

from chkfs import errors
from chkfs.system import dos, flags, ntfs, xattrs
from chkfs.text import quote, tree

FAT, NTFS_3G, NTFS3 = 'fat', 'ntfs-3g', 'ntfs3'  # targets that take more than others
_SET = ('xattr:', 'flags:', 'atime:')
_SET_ON_FAT = ('dos:',)
_SET_ON_NTFS = ('btime:', 'dos:', 'short:', 'ntfs.')
_CAPABILITY, _ACCESS = 'security.capability', 'system.posix_acl_access'
_GROUP_OBJ = 4  # the tag of the owning group in an ACL
_OF_DOS = {  # tags that only FAT and NTFS take to what they tell of, as chkfs-metadata(7) calls it
    'dos': 'DOS attributes',
    'short': 'short names',
    'ntfs.acl': 'NTFS ACLs',
    'ntfs.reparse': 'reparse data',
    'ntfs.object': 'object ids',
    'ntfs.ea': 'EAs',
}

Fail = Callable[[str, BaseException | str], None]


def target_of(fd: int) -> str:
    """FAT, NTFS_3G, NTFS3 or '': which filesystem something open is on, as far as it matters here."""
    try:
        dos.get(fd)
        return FAT
    except OSError:
        pass
    for name, target in ((ntfs.TIMES, NTFS_3G), (ntfs.ATTRIBUTES, NTFS3)):
        try:
            xattrs.get(fd, name)
            return target
        except OSError:
            pass
    return ''


def wanted(entry: tree.Entry, target: str) -> tuple[str, ...]:
    """Those tags of an entry that a target may take."""
    if 'tags' not in entry.fields:
        return ()
    starts = _SET + _set_on(target)
    return tuple(tag for tag in entry.tags() if tag.startswith(starts))


def left_out(entry: tree.Entry, target: str) -> list[str]:
    """What else an entry has that other filesystems than a target would take."""
    text = entry.fields.get('tags', '')
    if 'dos:' not in text and 'short:' not in text and 'ntfs.' not in text:
        return []
    taken = _set_on(target)
    return [kind for tag, kind in _OF_DOS.items() if not f'{tag}:'.startswith(taken) and entry.tag(tag) is not None]


def _set_on(target: str) -> tuple[str, ...]:
    return _SET_ON_FAT if target == FAT else _SET_ON_NTFS if target else ()


def make_reparse_point(fd: int, entry: tree.Entry) -> None:
    """What set_last makes a junction or a symlink as Windows has them.  Raises OSError."""
    if 'd' in (entry.tag('dos') or ''):
        os.mkdir(entry.name, 0o700, dir_fd=fd)
    else:
        os.close(os.open(entry.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=fd))


def times(tags: tuple[str, ...], time_ns: int) -> tuple[int, int]:
    """Of access and change, for os.utime; that of access is the other one when nothing is known.  Raises Damaged."""
    atime = next((tag[6:] for tag in tags if tag.startswith('atime:')), None)
    return time_ns if atime is None else tree.parse_time(atime), time_ns


def set_first(
    target: int | bytes, tags: tuple[str, ...], read: Callable[[str], bytes], fail: Fail, has_owner: bool
) -> None:
    """Before the times: ACLs and other xattrs.  read gives a blob by its key; fail takes a kind and why not."""
    for tag in sorted((tag for tag in tags if tag.startswith('xattr:')), key=lambda tag: ':system.' not in tag):
        kind = 'xattr'
        try:
            name = os.fsdecode(quote.unquote(tag.split(':')[1]))
            kind = 'ACL' if name.startswith('system.posix_acl') else 'xattr'
            if name == _CAPABILITY and not has_owner:
                fail(kind, 'the owner could not be set')
                continue
            value = _value(tag, read)
            try:
                xattrs.put(target, name, value)
            except OSError:
                if name == _ACCESS and type(target) is int:
                    _keep_group_out(target, value)
                raise
        except (OSError, ValueError, IndexError, errors.Error) as error:  # ValueError: NUL in a name
            fail(kind, error)


def _keep_group_out(fd: int, acl: bytes) -> None:
    """Leaves the group no more than a list gives it: in a mode, its bits are those of all whom the list names.

    The format is that of linux/posix_acl_xattr.h.
    """
    for at in range(4, len(acl) - 7, 8):
        tag, rights = struct.unpack_from('<HH', acl, at)
        if tag == _GROUP_OBJ:
            with contextlib.suppress(OSError):
                mode = stat.S_IMODE(os.fstat(fd).st_mode)
                os.fchmod(fd, mode & ~(~rights << 3 & 0o070))


def set_before_contents(fd: int, tags: tuple[str, ...]) -> None:
    """Of an empty file: flags that have no effect on what is there already.  set_last tells what was refused."""
    letters = ''.join(letter for tag in tags if tag.startswith('flags:') for letter in tag[6:] if letter in 'Ccm')
    if letters:
        with contextlib.suppress(OSError):
            flags.put(fd, letters)


def set_last(target: int | bytes, kept: str, tags: tuple[str, ...], read: Callable[[str], bytes], fail: Fail) -> None:
    """After the times; kept: what target_of gave.  Flags only of what is open."""
    if kept in (NTFS_3G, NTFS3):
        _set_on_ntfs(target, kept == NTFS_3G, tags, read, fail)
    for tag in tags:
        kind, _, text = tag.partition(':')
        try:
            if kind == 'flags' and type(target) is int and (refused := flags.put(target, text)):
                fail('flags', f'{refused} refused')
            elif kind == 'dos' and kept == FAT and type(target) is int:
                dos.put(target, dos.bits(text))
        except OSError as error:
            fail(kind, error)


def _set_on_ntfs(
    target: int | bytes, is_ntfs_3g: bool, tags: tuple[str, ...], read: Callable[[str], bytes], fail: Fail
) -> None:
    values = {}
    for tag in tags:
        kind, _, text = tag.partition(':')
        try:
            if kind in ntfs.TAGS:
                values[kind] = _value(tag, read)
            elif kind == 'short':
                values[kind] = quote.unquote(text)
            elif kind == 'btime':
                values[kind] = ntfs.pack_time(tree.parse_time(text))
            elif kind == 'dos':
                values[kind] = struct.pack('=I', dos.bits(text))
        except (ValueError, struct.error, errors.Error) as error:
            fail(kind, error)
    for kind, value in values.items():
        name = ntfs.name_of(kind, is_ntfs_3g)
        try:
            if name is None:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            xattrs.put(target, name, value)
        except OSError as error:
            fail(kind, error)


def _value(tag: str, read: Callable[[str], bytes]) -> bytes:
    """Raises Error, and ValueError for what is no base64."""
    text = tag.rpartition(':')[2]
    if text.startswith('@'):
        return read(text[1:])
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f'not base64: {text[:80]!r}') from error
