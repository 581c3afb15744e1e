"""endless.py HOW DIR - a filesystem without an end, mounted at DIR, for t0640

counted: two directories that are the top again, and another inode number at each look.
constant: directories and files, and one inode number for all of them; and a directory that is the top again.
growing: a directory in a directory in a directory, each with a new name.
"""

import errno
import itertools
import os
import stat
import sys

import mfusepy

HOW, POINT = sys.argv[1:]
TIME_NS = 10**18
FILES = {
    'counted': {b'file': b'hello world\n'},
    'constant': {b'one': b'one\n', b'two': b'two\n'},
    'growing': {b'file': b'hello world\n'},
}[HOW]
numbers = itertools.count(2)


class Endless(mfusepy.Operations):
    use_ns = True

    def names(self, path):
        """(directories, files) of a directory."""
        parts = [part for part in os.fsencode(path).split(b'/') if part]
        if HOW == 'counted':
            return [b'self', b'sub'], [b'file']
        if HOW == 'growing':
            return [b'directory-%d' % len(parts)], []
        real = [part for part in parts if part != b'self']
        return (([b'one', b'two', b'self'], []) if not real else ([], real[-1:]))

    def inode(self):
        return 1 if HOW == 'constant' else next(numbers)

    def getattr(self, path, fh=None):
        parent, _, name = os.fsencode(path).rpartition(b'/')
        directories, files = self.names(parent)
        if path == '/' or name in directories:
            return {'st_mode': stat.S_IFDIR | 0o755, 'st_nlink': 2, 'st_mtime': TIME_NS, 'st_ino': self.inode()}
        if name in files:
            size = len(FILES[name])
            return {
                'st_mode': stat.S_IFREG | 0o644, 'st_nlink': 1, 'st_mtime': TIME_NS, 'st_ino': self.inode(), 'st_size': size,
            }  # fmt: skip
        raise mfusepy.FuseOSError(errno.ENOENT)

    def readdir(self, path, fh):
        directories, files = self.names(path)
        kinds = [(name, stat.S_IFDIR) for name in directories] + [(name, stat.S_IFREG) for name in files]
        top = [('.', {'st_ino': 1, 'st_mode': stat.S_IFDIR}, 0), ('..', {'st_ino': 1, 'st_mode': stat.S_IFDIR}, 0)]
        return top + [(os.fsdecode(name), {'st_ino': self.inode(), 'st_mode': kind}, 0) for name, kind in kinds]

    def open(self, path, flags):
        return 0

    def read(self, path, size, offset, fh):
        return FILES[os.fsencode(path).rpartition(b'/')[2]][offset : offset + size]


mfusepy.FUSE(Endless(), POINT, foreground=True, ro=True, use_ino=True, nothreads=True)
