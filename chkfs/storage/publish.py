"""The only place that renames, syncs and removes: nothing else in chkfs makes a file of a store visible, or takes one
away.

A writer works in incoming/<run>/, which it holds with flock; the kernel lets go when the writer dies.
publish() syncs the filesystem, renames into place, and syncs again, so that nothing is ever visible
that a power cut could leave half-written.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chkfs import errors

INCOMING = b'incoming'
LEFT, DAMAGED = b'left-', b'damaged-'  # what is set aside in it: of dead runs, by chkfs-fsck
COPY = 'copy-'  # begins the name of a file in a run that holds only what is in the store already
_WAYS_OUT = {
    errno.ENOSPC: '; what is complete is safe: make room and run it again',
    errno.EDQUOT: '; what is complete is safe: make room and run it again',
    errno.EROFS: '; it is mounted read-only',
    errno.EIO: '; look at the disk of the store before you run it again',
}
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def storing():
    """Turns what the store's filesystem answers into an Error that says what to do."""
    try:
        yield
    except OSError as error:
        raise failure(error) from error


def failure(error: OSError) -> errors.Error:
    way_out = _WAYS_OUT.get(error.errno, '')
    return errors.Error(f'cannot write into the store: {errors.describe(error)}{way_out}')


def _hold(path: bytes, how: int) -> int:
    """A descriptor of a directory that holds its flock; -1 when the directory is gone, or is held by somebody else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    try:
        fcntl.flock(fd, how)
        if os.path.samestat(os.fstat(fd), os.lstat(path)):  # else it was taken away while we waited
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return -1


class DeadRun:
    """The directory of a writer that died, held by us.  Use as a context manager."""

    def __init__(self, root: bytes, name: bytes, fd: int):
        self._root, self._name, self._fd = root, name, fd
        self.shown = os.fsdecode(os.path.join(INCOMING, name))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._fd)

    def path_of(self, name: str) -> bytes:
        return os.path.join(self._root, INCOMING, self._name, os.fsencode(name))

    def names(self) -> list[str]:
        with storing():
            return sorted(os.listdir(self._fd))

    def dismiss(self, rest: list[str]) -> str:
        """Removes what is in the store by now, and moves the rest (names) aside: to the path given, if any."""
        with storing():
            for name in self.names():
                if name not in rest:
                    os.unlink(name, dir_fd=self._fd)
            path = os.path.join(self._root, INCOMING, self._name)
            if not rest:
                os.rmdir(path)
                return ''
            left = os.path.join(INCOMING, LEFT + self._name)
            os.rename(path, os.path.join(self._root, left))
            return os.fsdecode(left)


def dead_runs(root: bytes) -> Iterator[DeadRun]:
    """The runs in incoming/ that nobody holds any more, each held by us then."""
    incoming = os.path.join(root, INCOMING)
    try:
        names = sorted(os.listdir(incoming))
    except FileNotFoundError:
        return
    for name in names:
        if not name.startswith((LEFT, DAMAGED)):
            with storing():
                fd = _hold(os.path.join(incoming, name), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fd >= 0:
                yield DeadRun(root, name, fd)


class Run:
    """One writer's directory under incoming/.  Use as a context manager; leaving it empties it."""

    def __init__(self, root: bytes):
        """root: path of the store.  Raises Error where the store cannot be written."""
        self._root = root
        incoming = os.path.join(root, INCOMING)
        stamp = time.strftime('%Y%m%dT%H%M%S', time.gmtime())
        name = f'{stamp}-{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}'
        self.path = os.path.join(incoming, os.fsencode(name.replace('/', '-')))
        with storing():
            self._fd = -1
            while self._fd < 0:
                _make_private(incoming)
                os.mkdir(self.path, 0o700)
                self._fd = _hold(self.path, fcntl.LOCK_EX)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Removes what was not published, and lets go."""
        with contextlib.suppress(OSError):  # what stays is only clutter
            for name in os.listdir(self.path):
                os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)
        os.close(self._fd)

    def write(self, name: str, *parts) -> None:
        """Writes a new file that holds the parts (buffers) one after the other."""
        fd = self.create(name)
        try:
            for part in parts:
                write_all(fd, part)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise
        close(fd)

    def create(self, name: str) -> int:
        """A descriptor of a new file in the run's directory, readable by its owner only."""
        with storing():
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            return os.open(os.path.join(self.path, name.encode()), flags, 0o400)

    def publish(self, places: list[tuple[str, str]]) -> None:
        """Moves files of this run into the store: (name here, path from the store's root), in this order.

        All of them are on disk before the first can be seen, and when this returns they stay visible
        whatever happens.  So does what was visible before, which may be why there is nothing to move: a writer that
        died before it synced it, or has not yet.  An object that is there already is replaced by its equal.
        """
        if not places:
            sync_store(self._root)
            return
        with storing():
            sync_filesystem(self._fd)
            made = set()
            for name, path in places:
                target = os.path.join(self._root, path.encode())
                directory = os.path.dirname(target)
                if directory not in made:
                    _make_private(directory)
                    made.add(directory)
                os.rename(os.path.join(self.path, name.encode()), target)
            sync_filesystem(self._fd)


class OnDisk(NamedTuple):
    """A file of the store that was synced and thrown out of the page cache; this file, not just its name."""

    path: str  # from the top of the store
    device: int
    inode: int
    size: int
    mtime_ns: int


def drop_cached(root: bytes, path: str) -> OnDisk:
    """Syncs a file of the store and drops it from the page cache, so that whoever reads it next reads the disk."""
    with storing():
        fd = os.open(os.path.join(root, path.encode()), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            return _identity(path, os.fstat(fd))
        finally:
            os.close(fd)


def _identity(path: str, status: os.stat_result) -> OnDisk:
    return OnDisk(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def remove_second_copies(root: bytes, paths: list[str], first_copies: Iterable[OnDisk]) -> None:
    """Removes files of the store: the only place that does.

    The caller has read back first_copies from disk since drop_cached() gave them, has found in them, byte for byte
    and verified against its key, every object that the files at paths hold, and holds lock() since before it chose
    the paths.  Raises Error, and removes nothing, when one of first_copies is not that very file any more, or is
    about to be removed itself.  An index goes after its pack, and after the removal of that is on disk.
    """
    with storing():
        firsts = list(first_copies)
        if paths and not firsts:
            raise errors.Error('nothing removed: there is no first copy')
        for first in firsts:
            if first != _identity(first.path, os.lstat(os.path.join(root, first.path.encode()))):
                raise errors.Error(f"nothing removed: '{first.path}' is not the file any more that was read back")
        files = {(first.device, first.inode) for first in firsts}
        for path in paths:
            status = os.lstat(os.path.join(root, path.encode()))
            if (status.st_dev, status.st_ino) in files:
                raise errors.Error(f"nothing removed: '{path}' is the first copy itself")
        if paths:
            sync_filesystem_of(root)  # a first copy may be of a writer that died between its renames and its sync
        indexes = [path for path in paths if path.endswith('.index')]
        for group in ([path for path in paths if path not in indexes], indexes):
            for path in group:
                os.unlink(os.path.join(root, path.encode()))
            if group:
                sync_filesystem_of(root)


def remove_index(root: bytes, path: str) -> None:
    """Removes the index of a pack that is gone; the caller has found all that it names in packs that are there."""
    with storing():
        os.unlink(os.path.join(root, path.encode()))


@contextlib.contextmanager
def lock(root: bytes, path: str, when_waiting: Callable[[], None] = lambda: None):
    """Holds flock on a directory of the store; the kernel lets go of it when this process dies.

    when_waiting is called once if another process has it.
    """
    with storing():
        directory = os.path.join(root, path.encode())
        _make_private(directory)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with storing():
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                when_waiting()
                fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _make_private(path: bytes) -> None:
    """A directory and those above it, for their owner only whatever the umask is."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _make_private(os.path.dirname(path))
        _make_private(path)  # another writer may just have made it


def write_all(fd: int, data) -> None:
    """os.write until all is written."""
    view = memoryview(data)
    with storing():
        while view:
            view = view[os.write(fd, view) :]


def close(fd: int) -> None:
    """os.close of something written: some filesystems say only now that the disk is full."""
    with storing():
        os.close(fd)


def sync_filesystem(fd: int) -> None:
    """syncfs(2): everything written to the filesystem of fd is on disk, or OSError."""
    if _libc.syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_directory(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a filesystem that has nothing to sync there
            raise
    finally:
        os.close(fd)


def make_directories(root: bytes, path: bytes) -> None:
    """Makes root/path and every directory between, each of them synced."""
    missing = []
    here = path
    while here and not os.path.isdir(os.path.join(root, here)):
        missing.append(here)
        here = os.path.dirname(here)
    for here in reversed(missing):
        try:
            os.mkdir(os.path.join(root, here), 0o700)
        except FileExistsError:
            if not os.path.isdir(os.path.join(root, here)):
                raise
        sync_directory(os.path.join(root, os.path.dirname(here)))


def replace(path: bytes, data: bytes, mode: int = 0o600) -> None:
    """Sets a small file to data: written beside, synced, renamed, the directory synced.

    Readers skip the name beside, which begins with a dot.
    """
    directory, name = os.path.split(path)
    beside = os.path.join(directory, b'.' + name[:200] + b'.' + os.urandom(4).hex().encode())
    with storing():
        fd = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        try:
            write_all(fd, data)
            os.fsync(fd)
            os.rename(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        finally:
            os.close(fd)
        sync_directory(directory)


def append(fd: int, data: bytes) -> None:
    """Adds to a log, and syncs it; a line that an earlier death cut short is ended first."""
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b'\n':
        data = b'\n' + data
    with storing():
        write_all(fd, data)
        os.fsync(fd)


def sync_store(root: bytes) -> None:
    """All that can be seen in the store is on disk when this returns, whoever wrote it."""
    with storing():
        sync_filesystem_of(root)


def set_aside(root: bytes, path: str) -> str:
    """Moves a damaged file out of readers' sight, into incoming/damaged-...; gives its new path."""
    new = f'incoming/{DAMAGED.decode()}{os.urandom(4).hex()}-{os.path.basename(path)}'
    with storing():
        os.rename(os.path.join(root, path.encode()), os.path.join(root, new.encode()))
        sync_filesystem_of(root)
    return new


def sync_filesystem_of(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)
