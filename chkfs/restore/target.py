"""What the filesystem below a destination can hold, found by trying, in a directory of ours within it.

Where the type of the filesystem is known to hold everything, two things are tried all the same, since they differ
from one to the next: whether it tells upper from lower case, and whether it keeps exact times.
"""

import contextlib
import errno
import os
import re
import secrets
import stat

from chkfs.system import mounts

PREFIX = b'.chkfs-probe-'  # of the directory in which things are tried
LONGEST_NAME = 255  # bytes, wherever Linux has a say

_ORDINARY = frozenset(('ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'tmpfs', 'f2fs'))
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES))
_ODD_NAMES = (b'a:b', b'a.', b'a ', b' a', b'a\x01', b'a\n', b'a\xff', b'\\"*<>?|', b'con', b'n' * LONGEST_NAME)
# what every filesystem with long names takes: needs no trial
_HARMLESS = re.compile(rb'[A-Za-z0-9_-][A-Za-z0-9 ._-]{0,98}[A-Za-z0-9_-]|[A-Za-z0-9_]').fullmatch
_RESERVED = re.compile(rb'(?i)(con|prn|aux|nul|clock|com[0-9]|lpt[0-9])(\..*)?').fullmatch
_LONG_NAME = b'a Long_Name.with-two.dots'
_ONE_LETTER_TWO_FORMS = b'\xc3\xa9', b'e\xcc\x81'
_ODD_TIME_NS = 1_000_000_001_123_456_789
_GRAINS_NS = (1, 100, 1000, 10**6, 10**7, 10**9, 2 * 10**9)
# years 1, 1601, 1901, 1970, 1980; and 9999, 2486, 2446, 2107, 2106, 2038: where one filesystem or another ends
_FIRST_SECONDS = (-62135596800, -11644473600, -(2**31), 0, 315532800)
_LAST_SECONDS = (253402300799, 16299260424, 15032385535, 4354819198, 2**32 - 1, 2**31 - 1)
_A_LARGE_SIZE = 1 << 42


class Target:
    """Open until close(), which removes what was made; after that, only what was asked before is known.

    lacks: kinds of entries (as in tree.TYPES, and 'hard link') that cannot be made, and 'owner', 'mode', 'xattr'.
    """

    def __init__(self, path: bytes, fd: int):
        """An empty directory, open as fd.  Raises OSError when nothing can be made in it."""
        self._parent = os.dup(fd)
        self._name = PREFIX + secrets.token_hex(4).encode()
        self._fd = -1
        self._held: dict[bytes, bool] = {}
        self._same: dict[tuple[bytes, bytes], bool] = {}
        self.lacks: set[str] = set()
        self.is_limited = True
        self.keeps_case = True
        self._takes_long_names = False
        self.owner = -1, -1  # of what is made there
        self.grain_ns = 1
        self._largest = _A_LARGE_SIZE
        self.first_ns, self.last_ns = -(1 << 90), 1 << 90
        try:
            self._make_directory()
            self._fd = os.open(self._name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._parent)
            self.tells_case = not _exists(self._parent, self._name.upper())
            is_ordinary = mounts.type_of(os.path.realpath(path)) in _ORDINARY
            has_exact_times = self._keeps_time(self._fd, _ODD_TIME_NS) == _ODD_TIME_NS
            self.is_limited = not (is_ordinary and self.tells_case and has_exact_times)
            if self.is_limited:
                self._try_all()
        except BaseException:
            self.close()
            raise

    def _make_directory(self) -> None:
        try:
            os.mkdir(self._name, 0o700, dir_fd=self._parent)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._name = secrets.token_hex(4).encode()  # msdos takes eight letters
            os.mkdir(self._name, 0o700, dir_fd=self._parent)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        if self._parent >= 0:
            remove(self._parent, self._name)
            os.close(self._parent)
        self._fd = self._parent = -1

    def holds(self, name: bytes) -> bool:
        """Whether a file of that name can be made, and has that name then."""
        if not self.is_limited:
            return len(name) <= LONGEST_NAME
        if self._takes_long_names and _HARMLESS(name) and not _RESERVED(name):
            return True
        if name not in self._held and self._fd >= 0:
            self._held[name] = self._try_name(name)
        return self._held.get(name, True)

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether two names that it holds are one and the same to it."""
        if one == other or not self.is_limited:
            return one == other
        pair = min(one, other), max(one, other)
        if pair not in self._same and self._fd >= 0:
            self._make_file(pair[0])
            self._same[pair] = _exists(self._fd, pair[1])
            os.unlink(pair[0], dir_fd=self._fd)
        return self._same.get(pair, False)

    def keeps_time(self, time_ns: int) -> bool:
        return self.first_ns <= time_ns <= self.last_ns and time_ns % self.grain_ns == 0

    def takes_size(self, size: int) -> bool:
        """Whether a file may be so large, as far as the system says so beforehand."""
        return size <= self._largest

    # ---- trials ----

    def _try_all(self) -> None:
        self.keeps_case = self._try_name(b'Aa', exactly=True)
        self._takes_long_names = self.holds(_LONG_NAME)
        held = [self.holds(name) for name in _ODD_NAMES]
        file = self._make_file(b'f', is_kept=True)
        try:
            self._largest = _A_LARGE_SIZE if _can(os.lseek, file, _A_LARGE_SIZE, os.SEEK_SET) else _largest(file)
            self._try_attributes(file)
            self._try_kinds()
            self._try_times(file)
        finally:
            os.close(file)
            os.unlink(b'f', dir_fd=self._fd)
        tells_names = self.tells_case and self.keeps_case and all(held) and not self.is_same(*_ONE_LETTER_TWO_FORMS)
        keeps_times = self.grain_ns == 1 and self.first_ns <= -(2**31) * 10**9
        self.is_limited = not (tells_names and keeps_times and not self.lacks and self._largest == _A_LARGE_SIZE)

    def _make_file(self, name: bytes, is_kept: bool = False) -> int:
        fd = os.open(name, _CREATE, 0o600, dir_fd=self._fd)
        if not is_kept:
            os.close(fd)
        return fd

    def _try_name(self, name: bytes, exactly: bool = False) -> bool:
        """Where case is not told, a name may be listed in the case of one that was tried before: the kernel's cache."""
        try:
            self._make_file(name)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            return False
        found, wanted = os.listdir(self._fd), os.fsdecode(name)
        is_held = wanted in found
        if not exactly and not (self.tells_case and self.keeps_case):
            is_held |= wanted.lower() in map(str.lower, found)
        for other in {wanted, *found}:
            with contextlib.suppress(OSError):
                os.unlink(other, dir_fd=self._fd)
        return is_held

    def _try_attributes(self, file: int) -> None:
        self.owner = os.fstat(file)[4:6]
        # a mode that no mount option would give by itself
        if not _can(os.fchmod, file, 0o640) or stat.S_IMODE(os.fstat(file).st_mode) != 0o640:
            self.lacks.add('mode')
        if os.geteuid() == 0:
            another = self.owner[0] + 1, self.owner[1] + 1
            if not _can(os.fchown, file, *another) or os.fstat(file)[4:6] != another:
                self.lacks.add('owner')
        if not _can(os.setxattr, file, 'user.chkfs', b'1'):
            self.lacks.add('xattr')

    def _try_kinds(self) -> None:
        trials = {
            'link': lambda: os.symlink('x', 'link', dir_fd=self._fd),
            'fifo': lambda: os.mkfifo('fifo', 0o600, dir_fd=self._fd),
            'socket': lambda: os.mknod('socket', stat.S_IFSOCK | 0o600, dir_fd=self._fd),
            'hard link': lambda: os.link('f', 'hard link', src_dir_fd=self._fd, dst_dir_fd=self._fd),
        }
        if os.geteuid() == 0:
            trials['char'] = lambda: os.mknod('char', stat.S_IFCHR | 0o600, os.makedev(1, 3), dir_fd=self._fd)
            trials['block'] = lambda: os.mknod('block', stat.S_IFBLK | 0o600, os.makedev(7, 0), dir_fd=self._fd)
        for kind, trial in trials.items():
            if not _can(trial):
                self.lacks.add(kind)
            with contextlib.suppress(OSError):
                os.unlink(kind, dir_fd=self._fd)

    def _try_times(self, file: int) -> None:
        kept = self._keeps_time(file, _ODD_TIME_NS)
        self.grain_ns = next((grain for grain in _GRAINS_NS if _ODD_TIME_NS // grain * grain == kept), _GRAINS_NS[-1])
        for seconds in (*_FIRST_SECONDS, _FIRST_SECONDS[-1]):
            self.first_ns = seconds * 10**9
            if self._keeps_time(file, self.first_ns) == self.first_ns:
                break
        for seconds in _LAST_SECONDS:
            even = seconds // 2 * 2 * 10**9
            self.last_ns = seconds * 10**9 + 10**9 - 1
            if self._keeps_time(file, even) == even:
                break

    def _keeps_time(self, file: int, time_ns: int) -> int | None:
        """What becomes of a time."""
        return os.fstat(file).st_mtime_ns if _can(os.utime, file, ns=(time_ns, time_ns)) else None


def remove(parent: int, name: bytes) -> None:
    """Removes a directory of trials, also one that a dead process left."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except OSError:
        return
    try:
        for each in os.listdir(fd):
            os.unlink(each, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def remove_remains(fd: int) -> None:
    """Removes from a directory that is otherwise empty what trials left there."""
    names = [os.fsencode(name) for name in os.listdir(fd)]
    if all(name.startswith(PREFIX) for name in names):
        for name in names:
            remove(fd, name)


def _largest(file: int) -> int:
    """The largest size that the system lets one seek to."""
    low, high = 0, _A_LARGE_SIZE
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _can(os.lseek, file, middle, os.SEEK_SET) else (low, middle)
    return low


def _exists(fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
        return True
    except OSError:
        return False


def _can(do, *arguments, **named) -> bool:
    try:
        do(*arguments, **named)
        return True
    except OSError as error:
        if error.errno in _NO_ROOM - {errno.EACCES}:
            raise
        return False
    except OverflowError:
        return False
