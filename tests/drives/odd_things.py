"""Fills directories with what old drives hold: every kind of entry, name, time and metadata that a filesystem takes."""

import fcntl
import hashlib
import os
import socket
import stat
import struct
import subprocess

BLOCK = 1 << 16
LONG_VALUE_BYTES = 60_000  # of an extended attribute: too long for a line of a tree
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FLAGS = {'i': 0x10, 'a': 0x20, 'd': 0x40, 'A': 0x80, 'S': 0x8, 'C': 0x800000}
CAPABILITY = bytes.fromhex('0100000200200000000000000000000000000000')  # cap_net_raw=ep

ASCII_NAMES = [b'-n', b' leading', b'trailing ', b'#hash', b'50%s', b'a=b', b"it's", b'$(id)', b'%41']
UTF8_NAMES = ['Grüße.txt'.encode(), 'Gru\u0308\u00dfe.txt'.encode(), '日本語'.encode(), '😀'.encode()]
ODD_ASCII_NAMES = [b'new\nline', b'tab\t', b'*?[x]', b'back\\slash', b'a:b', b'"quoted"', b'dot.']
OTHER_NAMES = [b'caf\xe9', b'caf\x82', b'\x83e\x83X\x83g', b'\xd2\xf5\xf3', b'\xc3\x28', b'\xff\xfe\x01']


def write(path: bytes, data: bytes) -> None:
    with open(path, 'wb') as file:
        file.write(data)


def noise(size: int, seed: bytes) -> bytes:
    """Bytes that do not compress, the same in every run."""
    return hashlib.shake_256(seed).digest(size)


def set_flags(path: bytes, letters: str) -> None:
    """As chattr(1) does."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = struct.unpack('i', fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(4)))[0]
        for letter in letters:
            found |= FLAGS[letter]
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack('i', found))
    finally:
        os.close(fd)


def fill_plainly(top: bytes, names: list[bytes] = UTF8_NAMES) -> None:
    """What every filesystem takes: files and directories."""
    path = lambda *parts: os.path.join(top, *parts)
    os.mkdir(path(b'empty'))
    os.makedirs(path(*[b'deep %d' % depth for depth in range(30)]))
    write(path(*[b'deep %d' % depth for depth in range(30)], b'bottom'), b'far below\n')
    write(path(b'plain'), b'contents\n')
    write(path(b'nothing'), b'')
    write(path(b'LONGNAME.text'), b'long\n')
    write(path(b'large'), noise(700_000, b'large'))
    write(path(b'n' * 200), b'a long name\n')
    os.mkdir(path(b'names'))
    for name in (*ASCII_NAMES, *names):
        write(path(b'names', name), b'named ' + name)
    for name, time_ns in ((b'plain', 1_000_000_000 * 10**9), (b'nothing', 1_353_624_000 * 10**9)):
        os.utime(path(name), ns=(time_ns + 86400 * 10**9, time_ns))


def fill_as_unix(top: bytes) -> None:
    """Owners, modes, times, links, devices, holes."""
    path = lambda *parts: os.path.join(top, *parts)
    os.mkdir(path(b'modes'))
    for mode in (0o000, 0o444, 0o640, 0o777, 0o4755, 0o2755, 0o6711):
        write(path(b'modes', b'%o' % mode), b'mode %o\n' % mode)
        os.chown(path(b'modes', b'%o' % mode), 1234, 567)
        os.chmod(path(b'modes', b'%o' % mode), mode)
    for name, mode in ((b'sticky', 0o1777), (b'closed', 0o555), (b'group', 0o2770)):
        os.mkdir(path(name))
        write(path(name, b'inside'), name)
        os.chmod(path(name), mode)
    os.mkdir(path(b'links'))
    write(path(b'links', b'one'), b'several names\n')
    os.link(path(b'links', b'one'), path(b'links', b'two'))
    os.link(path(b'links', b'one'), path(b'empty of files'))
    os.symlink(b'one', path(b'links', b'to one'))
    os.symlink(b'/nowhere/at all', path(b'links', b'dangling'))
    os.symlink(b'x' * 300, path(b'links', b'long'))
    os.mkfifo(path(b'fifo'), 0o600)
    os.chown(path(b'fifo'), 1, 2)
    os.mknod(path(b'char'), stat.S_IFCHR | 0o620, os.makedev(5, 1))
    os.mknod(path(b'block'), stat.S_IFBLK | 0o600, os.makedev(7, 99))
    os.lchown(path(b'links', b'dangling'), 4321, 765)
    os.utime(path(b'links', b'dangling'), ns=(10**18 + 5, 10**18 + 7), follow_symlinks=False)
    times = {b'before 1970': -1_500_000_000, b'exact': 1_234_567_890_123_456_789, b'after 2038': 4_000_000_000 * 10**9}
    for name, time_ns in times.items():
        write(path(name), name)
        os.utime(path(name), ns=(1_100_000_000_987_654_321, time_ns))


def fill_oddly(top: bytes) -> None:
    """Names of any bytes, hard links of what is no file, sockets, sparse files."""
    path = lambda *parts: os.path.join(top, *parts)
    for name in (*ODD_ASCII_NAMES, *OTHER_NAMES, b'm' * 255):
        write(path(b'names', name), b'named ' + name)
    os.symlink(b'caf\xe9\n', path(b'links', b'to other bytes'))
    os.link(path(b'fifo'), path(b'links', b'fifo'))
    os.link(path(b'links', b'dangling'), path(b'links', b'dangling too'))
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(top, os.O_RDONLY)
        try:
            listening.bind(b'/proc/self/fd/%d/socket' % here)
        finally:
            os.close(here)
    fill_sparsely(top)


def fill_sparsely(top: bytes) -> None:
    """Holes at the beginning, in the middle and at the end, nothing but a hole, and zeros that are no hole."""
    for name, blocks, size in (
        (b'sparse', {3: b'a', 4: b'b', 9: b'c'}, 16 * BLOCK),
        (b'hole', {}, 8 << 20),
        (b'zeros', {number: b'\0' for number in range(4)}, 4 * BLOCK),
        (b'begins with data', {0: b'd'}, 40 * BLOCK + 5),
    ):
        with open(os.path.join(top, name), 'wb') as file:
            for number, byte in blocks.items():
                os.pwrite(file.fileno(), byte * BLOCK, number * BLOCK)
            file.truncate(size)
            os.fsync(file.fileno())


def fill_xattrs(top: bytes, longest: int, with_symlinks: bool = True) -> None:
    """Extended attributes of each name space, binary, empty and long ones; access control lists."""
    path = lambda *parts: os.path.join(top, *parts)
    os.mkdir(path(b'xattrs'))
    for name in (b'user', b'trusted', b'security', b'long', b'acl'):
        write(path(b'xattrs', name), name)
    os.setxattr(path(b'xattrs', b'user'), 'user.text', b'bar')
    os.setxattr(path(b'xattrs', b'user'), 'user.binary', bytes(range(256)))
    os.setxattr(path(b'xattrs', b'user'), 'user.empty', b'')
    os.setxattr(path(b'xattrs', b'user'), b'user.\xc3\xa9=,:%', b'odd name')
    os.setxattr(path(b'xattrs', b'long'), 'user.long', noise(longest, b'long'))
    os.setxattr(path(b'xattrs', b'trusted'), 'trusted.t', b'x')
    os.setxattr(path(b'xattrs', b'security'), 'security.capability', CAPABILITY)
    os.setxattr(path(b'xattrs', b'security'), 'security.other', b'label')
    os.setxattr(path(b'xattrs'), 'user.of.directory', b'dir')
    os.setxattr(top, 'user.of.top', b'top')
    if with_symlinks:
        os.setxattr(path(b'links', b'long'), 'trusted.of.link', b'link', follow_symlinks=False)
        os.setxattr(path(b'fifo'), 'trusted.of.fifo', b'fifo')
    os.mkdir(path(b'shared'))
    for command in (
        ['setfacl', '-m', 'u:1234:rw,g:567:r,m::rwx', path(b'xattrs', b'acl')],
        ['setfacl', '-m', 'u:4321:rwx', path(b'shared')],
        ['setfacl', '-d', '-m', 'u:1234:rwx,g:567:x', path(b'shared')],
    ):
        subprocess.run(command, check=True)
    write(path(b'shared', b'inherits'), b'its list came from the directory\n')


def fill_flags(top: bytes, letters: str) -> None:
    """Files and directories with each flag.  They cannot be changed afterwards."""
    flagged = os.path.join(top, b'flags')
    os.mkdir(flagged)
    for letter in letters:
        write(os.path.join(flagged, letter.encode()), b'' if letter == 'C' else b'flag\n')
        set_flags(os.path.join(flagged, letter.encode()), letter)
    for letter in set(letters) & {'i', 'a'}:
        directory = os.path.join(flagged, b'directory ' + letter.encode())
        os.mkdir(directory)
        write(os.path.join(directory, b'inside'), b'below\n')
        set_flags(directory, letter)
