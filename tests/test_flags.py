"""flags: inode flags as letters, by a driver of the test's own that takes only some."""

import errno
import fcntl
import os
import struct

import pytest

from chkfs.system import flags


@pytest.fixture
def inode(monkeypatch):
    """inode(bits, takes) answers as an inode does that takes these bits, all at once or not at all; gives its bits."""

    def make(bits, takes):
        now = [bits]

        def ioctl(fd, request, argument):
            if request == 0x80086601:
                return struct.pack('=I4x', now[0])
            wanted = struct.unpack('=I4x', argument)[0]
            if wanted & ~now[0] & ~takes:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            now[0] = wanted
            return argument

        monkeypatch.setattr(fcntl, 'ioctl', ioctl)
        return now

    return make


@pytest.mark.parametrize(
    'bits, letters',
    [(0, ''), (0x80000, ''), (0x80010, 'i'), (0xF0, 'iadA'), (0x800000, 'C'), (0x10000000, ''), (0x1000, '')],
)
def test_only_what_a_person_can_set_is_a_letter(inode, bits, letters):
    inode(bits, 0)
    assert flags.get(-1) == letters


def test_what_the_filesystem_set_stays(inode):
    now = inode(0x80000, 0xFFFFFFFF)
    assert flags.put(-1, 'iA') == ''
    assert now == [0x80090]


def test_what_is_refused_is_told_and_the_rest_is_set(inode):
    now = inode(0x80000, 0x10 | 0x40)
    assert set(flags.put(-1, 'iCdA')) == set('CA')
    assert now == [0x80050]


def test_a_flag_that_is_ignored_is_refused_too(inode, monkeypatch):
    inode(0, 0xFFFFFFFF)
    real = fcntl.ioctl
    monkeypatch.setattr(fcntl, 'ioctl', lambda fd, request, argument: real(fd, 0x80086601, b''))
    assert flags.put(-1, 'C') == 'C'
