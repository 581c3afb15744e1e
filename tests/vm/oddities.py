"""Fills a filesystem, through whatever driver it is mounted with, with the odd things that old drives hold."""

import contextlib
import fcntl
import os
import random
import stat

BIG_BYTES = 800 << 10  # together with all else less than a floppy disk holds
_OLD = 1234567891_123456789  # ns
_NAMES = [  # each is tried; no filesystem takes all of them
    b'plain.txt', b'UPPER.TXT', b'Mixed Case.txt', b'mixed case.txt', b' blank', b'-rf', b'a  b', b"it's", b'100%',
    b'#hash', b'semi;colon', b'quote"d', b'star*', b'what?', b'back\\slash', b'a:b', b'a|b', b'[x]', b'{x}', b'$(id)',
    b'dot.', b'many.dots.in.it', b'.hidden', b'new\nline', b'tab\t', b'del\x7f', 'Gr\xfc\xdfe.txt'.encode(),
    'e\u0301 apart.txt'.encode(), '\xe9 in one.txt'.encode(), '\u65e5\u672c\u8a9e'.encode(), b'___',
    '\U0001f600'.encode(), b'caf\x90.txt', b'\xff\xfe', b'l' * 31, b'l' * 200, b'CON', b'AUX.TXT',
]  # fmt: skip
_TIMES = {  # name, short enough for DOS, to ns
    b'y1979': 300000000_000000000,
    b'y1969': -86400_000000000,
    b'y2020.ns': 1600000000_123456789,
    b'y2049': 2500000000_000000000,
    b'odd': 1500000001_500000000,
}
_FAT_SET_ATTRIBUTES = 0x40047211
_DOS_ATTRIBUTES = {b'hidden': 2, b'system': 4, b'archived': 0x20, b'all of them': 0x26}
_SETFLAGS, _IMMUTABLE, _APPENDED = 0x40086602, 0x10, 0x20
_XATTRS = {
    b'with xattr': ('user.k', b'value\0\xff'),
    b'with long xattr': ('user.long', b'l' * 3000),
    b'with DOS attributes': ('system.dos_attrib', b'\x07'),
}
_XATTRS_OF_MACINTOSH = {
    b'with Finder information': ('osx.com.apple.FinderInfo', b'TEXTttxt' + bytes(24)),
    b'with type': ('hfs.type', b'TEXT'),
    b'with creator': ('hfs.creator', b'ttxt'),
}


class Filling:
    """What came of it: done, the names of what the filesystem took; refused, with the error, of what it did not."""

    def __init__(self, top: bytes):
        self.done: list[bytes] = []
        self.refused: dict[bytes, str] = {}
        self._top = top

    def path(self, name: bytes) -> bytes:
        return os.path.join(self._top, name)

    @contextlib.contextmanager
    def trying(self, name: bytes):
        try:
            yield
            self.done.append(name)
        except OSError as error:
            self.refused[name] = f'{type(error).__name__}: {error.strerror}'

    def write(self, name: bytes, data: bytes | None = None) -> None:
        with open(self.path(name), 'xb') as file:
            file.write(name * 3 + b'\n' if data is None else data)


def fill(top: bytes, driver: str) -> Filling:
    filling = Filling(top)
    filling.write(b'big', random.Random('big').randbytes(BIG_BYTES))
    filling.write(b'empty', b'')
    os.makedirs(filling.path(b'Folder/Inner/Empty'))
    filling.write(b'Folder/Inner/same', b'the same')
    filling.write(b'Folder/same', b'the same')
    for name in _NAMES:
        with filling.trying(name):
            filling.write(name)
    _make_links_and_devices(filling)
    _set_attributes(filling, {**_XATTRS, **(_XATTRS_OF_MACINTOSH if driver.startswith('hfs') else {})})
    _set_times(filling, top)
    return filling


def _make_links_and_devices(filling: Filling) -> None:
    making = {
        b'hard link': lambda path: os.link(filling.path(b'big'), path),
        b'symlink': lambda path: os.symlink(b'Folder/same', path),
        b'symlink to nowhere': lambda path: os.symlink('nowhere/\xfc'.encode(), path),
        b'fifo': os.mkfifo,
        b'device': lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(5, 1)),
    }
    for name, make in making.items():
        with filling.trying(name):
            make(filling.path(name))


def _set_attributes(filling: Filling, xattrs: dict[bytes, tuple[str, bytes]]) -> None:
    for name, mode in ((b'readonly', 0o444), (b'private', 0o600), (b'set id', 0o4755)):
        with filling.trying(name):
            filling.write(name)
            os.chmod(filling.path(name), mode)
    with filling.trying(b'owned'):
        filling.write(b'owned')
        os.chown(filling.path(b'owned'), 1234, 2345)
    for name, bits in _DOS_ATTRIBUTES.items():
        with filling.trying(name):
            filling.write(name)
            _set_bits(filling.path(name), _FAT_SET_ATTRIBUTES, bits)
    for name, (key, value) in xattrs.items():
        with filling.trying(name):
            filling.write(name)
            os.setxattr(filling.path(name), key, value)


def _set_times(filling: Filling, top: bytes) -> None:
    """Of everything, so that it is old when it is backed up; and of some files, special ones."""
    for name, time_ns in _TIMES.items():
        filling.write(name)
        with filling.trying(name):
            os.utime(filling.path(name), ns=(time_ns, time_ns))
    for directory, names, files in os.walk(top, topdown=False):
        for name in [*names, *files]:
            if name not in _TIMES:
                os.utime(os.path.join(directory, name), ns=(_OLD, _OLD), follow_symlinks=False)


def set_flags(filling: Filling) -> None:
    """Makes files that cannot be changed, nor removed, any more."""
    for name, bits in ((b'immutable', _IMMUTABLE), (b'append only', _APPENDED)):
        with filling.trying(name):
            filling.write(name)
            os.utime(filling.path(name), ns=(_OLD, _OLD))
            _set_bits(filling.path(name), _SETFLAGS, bits)


def _set_bits(path: bytes, request: int, bits: int) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, request, bits.to_bytes(4, 'little'))
    finally:
        os.close(fd)
