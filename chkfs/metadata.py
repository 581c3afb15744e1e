"""What a filesystem tells of an entry besides its contents."""

import os
import stat

KINDS = {
    stat.S_IFREG: 'file',
    stat.S_IFDIR: 'dir',
    stat.S_IFLNK: 'link',
    stat.S_IFIFO: 'fifo',
    stat.S_IFSOCK: 'socket',
    stat.S_IFCHR: 'char',
    stat.S_IFBLK: 'block',
}


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
