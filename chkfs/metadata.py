"""What a filesystem tells of an entry besides its contents, as the tags of a tree's line (see chkfs-tree(5))."""

import os
import stat

from chkfs import statx, tree

# kinds of metadata that not every filesystem has, as bits
BTIME, CTIME, ATIME = (1 << number for number in range(3))

KINDS = {
    stat.S_IFREG: 'file',
    stat.S_IFDIR: 'dir',
    stat.S_IFLNK: 'link',
    stat.S_IFIFO: 'fifo',
    stat.S_IFSOCK: 'socket',
    stat.S_IFCHR: 'char',
    stat.S_IFBLK: 'block',
}


class Gatherer:
    """Makes the tags of entries.  What is asked for is a sum of kinds; a kind that is not to be had is left out."""

    def __init__(self):
        self.offered = 0  # kinds that some entry had

    def of_open(self, fd: int, kinds: int, status: statx.Status) -> str:
        """The tags of an open file or directory, each with a comma before it; status: of it."""
        return self._times(kinds, status)

    def of_name(self, fd: int, name: bytes, kinds: int) -> str:
        """The same of a name in an open directory; nothing when it is gone or tells nothing."""
        try:
            return self._times(kinds, statx.status(fd, name))
        except OSError:
            return ''

    def _times(self, kinds: int, status: statx.Status) -> str:
        text = ''
        if kinds & BTIME and status.btime_ns:  # 0: older than the filesystem's knowledge of it
            text = f',btime:{tree.format_time(status.btime_ns)}'
            self.offered |= BTIME
        if kinds & CTIME:
            text += f',ctime:{tree.format_time(status.st_ctime_ns)}'
            self.offered |= CTIME
        if kinds & ATIME:
            text += f',atime:{tree.format_time(status.st_atime_ns)}'
            self.offered |= ATIME
        return text


class Owners:
    """Names of owners and groups by number, each asked for once; b'' where there is none."""

    def __init__(self):
        self._users: dict[int, bytes] = {}
        self._groups: dict[int, bytes] = {}

    def user(self, uid: int) -> bytes:
        if uid not in self._users:
            import pwd

            self._users[uid] = _name(lambda: pwd.getpwuid(uid).pw_name)
        return self._users[uid]

    def group(self, gid: int) -> bytes:
        if gid not in self._groups:
            import grp

            self._groups[gid] = _name(lambda: grp.getgrgid(gid).gr_name)
        return self._groups[gid]


def _name(look_up) -> bytes:
    try:
        return os.fsencode(look_up())
    except (KeyError, OverflowError):
        return b''
