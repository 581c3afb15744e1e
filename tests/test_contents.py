"""contents: what flows out of a file, with holes, with bad places, and with what was stored before."""

import errno
import os

import pytest

from chkfs.backup import contents
from chkfs.system import holes
from chkfs.text import key, ranges

MIB = 1 << 20


@pytest.fixture
def make(tmp_path):
    """make(data, size=None) gives an open file with that data, as long as size says."""
    opened = []

    def make_one(data, size=None):
        path = tmp_path / f'file{len(opened)}'
        path.write_bytes(data)
        if size is not None:
            os.truncate(path, size)
        opened.append(os.open(path, os.O_RDONLY))
        return opened[-1]

    yield make_one
    for fd in opened:
        os.close(fd)


class Bad:
    """Makes calls; what touches these ranges gives EIO, and every read is noted."""

    def __init__(self, *bad):
        self.bad, self.read_bytes, self.other = list(bad), 0, []

    def __call__(self, function, *arguments):
        if function in (os.fstat, holes.data):
            self.other.append(function)
            return function(*arguments)
        *_, size, at = arguments if function is os.pread else (*arguments, *arguments[::-1])
        if any(start < at + size and at < end for start, end in self.bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        data = function(*arguments)
        self.read_bytes += len(data)
        return data


def whole(file, bad=None, former=None):
    found = contents.Contents(file, former=former, call=bad or Bad())
    return b''.join(found.blocks()), found


@pytest.mark.parametrize('size', [0, 1, 5000, MIB, 3 * MIB + 1])
def test_a_healthy_file_is_what_it_is(make, size):
    data = os.urandom(size)
    found, told = whole(make(data))
    assert (found, told.data, told.damaged) == (data, None, [])


def test_holes_are_not_read(make):
    data = os.urandom(65536)
    calls = Bad()
    found, told = whole(make(data, 30 * MIB), calls)
    assert found == data + bytes(30 * MIB - 65536)
    assert told.data == [(0, 65536)] and calls.read_bytes == 65536
    assert calls.other == [os.fstat, holes.data]  # which may hang, too


def test_a_sparse_file_may_have_bad_places(make):
    data = os.urandom(65536)
    found, told = whole(make(data, 30 * MIB), Bad((5000, 5001)))
    assert told.damaged == [(4608, 5120)] and told.data == [(0, 65536)]
    assert found == data[:4608] + bytes(512) + data[5120:] + bytes(30 * MIB - 65536)


def test_a_file_of_which_nothing_can_be_read_is_an_error(make):
    found, told = whole(make(b'x' * 5000), Bad((0, 5000)))
    with pytest.raises(OSError, match='Input/output error'):
        told.check(5000)
    told.check(5001)


@pytest.mark.parametrize('size', [5000, 20 * MIB])
def test_what_was_stored_before_stands_for_what_is_bad_now(make, store, put, size):
    data = os.urandom(size)
    stored = bytearray(data)
    stored[1024:2048] = bytes(1024)
    put(store, 'blob', bytes(stored))
    former = contents.Former(store.objects, key.of(bytes(stored)), size, [(1024, 2048)])
    found, told = whole(make(data), Bad((0, 1), (1536, 2560), (size - 1, size)), former)
    assert told.damaged == [(1536, 2048)]
    assert found == data[:1536] + bytes(512) + data[2048:]
    assert b''.join(former.blocks(0, 512)) == data[:512], 'it can be asked again for what lies before'


def test_what_was_stored_before_and_is_lost_helps_nobody(make, store):
    former = contents.Former(store.objects, 'ab' * 32, 5000, [(0, 512)])
    data = os.urandom(5000)
    found, told = whole(make(data), Bad((512, 513)), former)
    assert told.damaged == [(512, 1024)] and ranges.total(told.damaged) == 512
    assert found == data[:512] + bytes(512) + data[1024:]
