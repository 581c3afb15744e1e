"""Directories that were met before in the same source: cycles, hard-linked directories, bind mounts."""

import os

from chkfs.system import descent, mounts

_BTRFS_HOLLOW = 2  # the inode of every place where a snapshot lacks a subvolume: they are empty, and not one directory


class Met:
    """Which directory was met where.  Paths are relative to the top, whose path is b''."""

    def __init__(self, fd: int, source: bytes):
        """fd: the top of the source, open; source: its absolute path."""
        self._fd, self._source = os.dup(fd), source
        self._above: dict[tuple[int, int], bytes] = {}  # device and inode of the directories on the way, to paths
        self._left: dict[tuple[int, int], bytes] = {}  # of those that were left, and are wholly in the tree
        self.points = mounts.points_below(source)

    def close(self) -> None:
        os.close(self._fd)

    def enter(self, identity: tuple[int, int], path: bytes) -> None:
        """identity: device and inode."""
        self._above.setdefault(identity, path)

    def leave(self, identity: tuple[int, int], path: bytes, is_complete: bool) -> None:
        """is_complete: everything that can be seen through this name is in the tree, or said to be missing there."""
        if self._above.get(identity) == path:
            del self._above[identity]
        if is_complete:
            self._left.setdefault(identity, path)

    def find(self, identity: tuple[int, int], path: bytes, filesystem: mounts.Filesystem) -> bytes | None:
        """Where the directory that was opened at path was met before; None for a new one, and in any doubt.

        An inode number alone proves nothing: it may have been given to a new directory, or mean nothing at all.
        """
        first = self._above.get(identity)
        if first is not None:
            return first if self._is_one(identity, first, path, filesystem) else None
        first = self._left.get(identity)
        if first is None or not self._is_one(identity, first, path, filesystem):
            return None
        # a mount hides what lies below it, here or there
        hides = any(mounts.points_below(self._absolute(one)) for one in (first, path))
        return None if hides else first

    def _is_one(self, identity: tuple[int, int], first: bytes, path: bytes, filesystem: mounts.Filesystem) -> bool:
        """Whether both paths lead to one directory now; at path it is open, so that its number is in use."""
        if filesystem.type == 'btrfs' and identity[1] == _BTRFS_HOLLOW:
            return False
        try:
            fd = descent.open_below(self._fd, first.split(b'/') if first else [])
        except OSError:
            return False
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if (status.st_dev, status.st_ino) != identity:
            return False
        return filesystem.has_unique_inodes or self._is_bind_mount(first, path)

    def _is_bind_mount(self, first: bytes, path: bytes) -> bool:
        """Whether the table of mounts says that path is what first is."""
        absolute = self._absolute(path)
        return absolute in self.points and mounts.where(absolute) == mounts.where(self._absolute(first))

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self._source, path) if path else self._source
