"""faultyfs - a read-only FUSE filesystem that shows a directory as a failing drive would

    python3 faultyfs.py MOUNTPOINT DIRECTORY FAULTS [SUBTYPE]

FAULTS is a file that is looked at anew for each operation; a line of it is one of
    bad PATH FROM TO    a read that touches these bytes gives EIO
    hang PATH           a read does not come back while this line is there
    stall PATH          asking for its extended attributes does not come back while this line is there
    closed PATH         opening or listing gives EIO
    gone                everything gives ENOTCONN
The first two are printed when they come to pass.  PATH is from the top, without a slash before it, and without
blanks; "." is the top.
"""

import errno
import os
import sys
import time

import mfusepy


class Faulty(mfusepy.Operations):
    use_ns = True

    def __init__(self, directory, faults):
        self._directory, self._faults = directory, faults

    def _path(self, path):
        if self._lines('gone'):
            raise mfusepy.FuseOSError(errno.ENOTCONN)
        return os.path.join(self._directory, path.lstrip('/'))

    def _lines(self, what, path=None):
        """What stands behind the path in lines of that kind."""
        name = path and (path.lstrip('/') or '.')
        with open(self._faults) as file:
            words = [line.split() for line in file]
        return [rest for kind, *rest in filter(None, words) if kind == what and (not rest or rest[0] == name)]

    def _check_closed(self, path):
        if self._lines('closed', path):
            raise mfusepy.FuseOSError(errno.EIO)

    def getattr(self, path, fh=None):
        status = os.lstat(self._path(path))
        names = ('st_mode', 'st_nlink', 'st_uid', 'st_gid', 'st_size', 'st_blocks', 'st_ino', 'st_rdev')
        times = {f'st_{name}': getattr(status, f'st_{name}_ns') for name in ('atime', 'mtime', 'ctime')}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path, fh):
        self._check_closed(path)
        return ['.', '..', *os.listdir(self._path(path))]

    def readlink(self, path):
        return os.readlink(self._path(path))

    def open(self, path, flags):
        self._check_closed(path)
        return os.open(self._path(path), os.O_RDONLY)

    def listxattr(self, path):
        while self._lines('stall', path):
            time.sleep(0.05)
        return []

    def release(self, path, fh):
        os.close(fh)
        return 0

    def read(self, path, size, offset, fh):
        if self._lines('hang', path):
            print('hang', path, flush=True)
        while self._lines('hang', path):
            time.sleep(0.05)
        self._path(path)
        for _, start, end in self._lines('bad', path):
            if int(start) < offset + size and offset < int(end):
                print('bad', path, flush=True)
                raise mfusepy.FuseOSError(errno.EIO)
        return os.pread(fh, size, offset)


if __name__ == '__main__':
    faulty = Faulty(os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3]))
    subtype = sys.argv[4] if len(sys.argv) > 4 else 'faulty'
    mfusepy.FUSE(faulty, sys.argv[1], foreground=True, ro=True, fsname='faultyfs', subtype=subtype, attr_timeout=0)
