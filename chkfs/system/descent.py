"""Walks down and up a directory tree by file descriptors: any depth, no path longer than one name.

A symlink is never followed, and however deep the tree, only some descriptors are open at once: parents
closed on the way down are found again through "..", which must be the directory that was left.
"""

import os
import resource

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KEPT_OPEN = 100


class Descent:
    """Holds a stack of directories; fd is the descriptor of the innermost one."""

    def __init__(self, fd: int):
        """fd: the top directory, closed by close()."""
        self.fd = fd
        self._most_open = share_of_descriptors(_KEPT_OPEN)
        self._parents: list[tuple[int, int, int, bytes]] = []  # fd or -1, device, inode, name of the child

    @property
    def depth(self) -> int:
        return len(self._parents)

    def enter(self, name: bytes) -> None:
        """Goes into a subdirectory.  Raises OSError (ELOOP or ENOTDIR for what is not a directory)."""
        fd = os.open(name, _FLAGS, dir_fd=self.fd)
        if len(self._parents) < self._most_open:
            self._parents.append((self.fd, 0, 0, name))
        else:
            status = os.fstat(self.fd)
            os.close(self.fd)
            self._parents.append((-1, status.st_dev, status.st_ino, name))
        self.fd = fd

    def leave(self) -> None:
        """Goes back to the parent.  Raises OSError when it is not where it was."""
        fd, device, inode, _ = self._parents[-1]
        if fd < 0:
            fd = self._up(device, inode)
        os.close(self.fd)
        self.fd = fd
        self._parents.pop()

    def close(self) -> None:
        for fd, *_ in [*self._parents, (self.fd,)]:
            if fd >= 0:
                os.close(fd)
        self._parents, self.fd = [], -1

    def _up(self, device: int, inode: int) -> int:
        try:
            fd = os.open('..', _FLAGS, dir_fd=self.fd)
        except PermissionError:  # a directory that got its mode meanwhile, and lets nobody through
            return self._from_above()
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) == (device, inode):
            return fd
        os.close(fd)
        return self._from_above()

    def _from_above(self) -> int:
        """The parent, by the names from the nearest directory that is still open."""
        names = [name for *_, name in self._parents]
        start = max(level for level, parent in enumerate(self._parents) if parent[0] >= 0)
        return open_below(self._parents[start][0], names[start:-1])


def share_of_descriptors(most: int) -> int:
    """How many open files one thing may keep, as far as the system allows for a quarter of them."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if limit == resource.RLIM_INFINITY else min(most, limit // 4)


def open_below(fd: int, names: list[bytes]) -> int:
    """A new descriptor of the directory that names lead to from fd, following no symlink."""
    here = os.dup(fd)
    for name in names:
        try:
            below = os.open(name, _FLAGS, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here
