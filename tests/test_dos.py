"""dos: attributes and short names of FAT, by a driver of the test's own."""

import errno
import fcntl
import os
import struct

import pytest

from chkfs.system import dos


@pytest.fixture
def fat(monkeypatch, source):
    """fat(bits, names) gives a descriptor on what answers as FAT does; what is set comes back in its list."""
    fds = []

    def make(bits, names=()):
        answers, was_set = list(names), []

        def entry(name):
            return struct.pack('=QQH256s6x', 0, 0, len(name), name)

        def ioctl(fd, request, argument):
            if request == 0x80047210:
                return struct.pack('=I', was_set[-1] if was_set else bits)
            if request == 0x40047211:
                was_set.append(struct.unpack('=I', argument)[0])
                return argument
            if request == 0x82307201 and len(argument) == 560:
                if not answers:
                    return 0
                short, long = answers.pop(0)
                argument[:] = entry(short) + entry(long)
                return 1
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

        monkeypatch.setattr(fcntl, 'ioctl', ioctl)
        fds.append(os.open(source, os.O_RDONLY))
        return fds[-1], was_set

    yield make
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize('bits, letters', [(0, ''), (0x21, 'ra'), (0x27, 'rhsa'), (0x10, ''), (0x4022, 'hae')])
def test_attributes_are_letters(fat, bits, letters):
    fd, _ = fat(bits)
    assert dos.letters(dos.get(fd)) == letters
    assert dos.bits(letters) == bits & ~0x10


def test_attributes_are_set_and_the_directory_stays_one(fat):
    fd, was_set = fat(0x30)
    dos.put(fd, dos.bits('rh'))
    assert was_set == [0x13]


def test_short_names_are_those_of_what_has_a_long_one(fat):
    long = 'Lange Namen sind schön.txt'.encode()
    fd, _ = fat(0, [(b'.', b''), (b'LANGEN~1.TXT', long), (b'README.TXT', b'README.TXT'), (b'SHORT', b'')])
    assert dos.short_names(fd) == {long: b'LANGEN~1.TXT'}


def test_elsewhere_there_are_none(source):
    fd = os.open(source, os.O_RDONLY)
    try:
        for ask in (dos.get, dos.short_names):
            with pytest.raises(OSError) as found:
                ask(fd)
            assert found.value.errno in (errno.ENOTTY, errno.EINVAL, errno.ENOTSUP)
    finally:
        os.close(fd)
