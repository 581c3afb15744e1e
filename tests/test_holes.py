"""holes: what lseek tells of data and holes."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs.system import holes
from chkfs.text import ranges

BLOCK = 64 << 10  # no filesystem has larger ones


@pytest.mark.parametrize(
    'size, data',
    [
        (0, []),
        (1, [(0, 1)]),
        (BLOCK, []),
        (10 * BLOCK, [(0, BLOCK)]),
        (10 * BLOCK, [(9 * BLOCK, 10 * BLOCK)]),
        (10 * BLOCK + 5, [(BLOCK, 3 * BLOCK), (5 * BLOCK, 6 * BLOCK), (10 * BLOCK, 10 * BLOCK + 5)]),
        (1 << 40, [(1 << 39, (1 << 39) + BLOCK)]),
    ],
)
def test_the_data_of_a_sparse_file_is_found(tmp_path, size, data):
    fd = os.open(tmp_path / 'file', os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(fd, size)
        for start, end in data:
            os.pwrite(fd, b'x' * (end - start), start)
        assert holes.data(fd, size) == data
    finally:
        os.close(fd)


def test_where_nobody_tells_all_is_data(monkeypatch):
    def lseek(file, at, how):
        raise OSError(errno.EINVAL, 'no such thing')

    monkeypatch.setattr(os, 'lseek', lseek)
    assert holes.data(0, 4711) == [(0, 4711)]


@given(st.lists(st.sampled_from(['data', 'zeros', 'one zero piece']), max_size=12), st.data())
def test_what_is_written_is_what_was_given_and_no_more_is_written_than_data(tmp_path_factory, kinds, draws):
    """Chunks of 8 KiB; where data is said to be is drawn, and need not be true."""
    zero_piece = bytes(8192)
    made = {'data': lambda: os.urandom(8192), 'zeros': lambda: bytes(8192), 'one zero piece': lambda: zero_piece}
    chunks = [made[kind]() for kind in kinds]
    places = draws.draw(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 9000)), max_size=5))
    data = ranges.join((start, start + size) for start, size in places)
    path = tmp_path_factory.mktemp('holes') / 'file'
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        filler = holes.Filler(fd, data)
        for chunk in chunks:
            filler.write(chunk)
        filler.finish()
    finally:
        os.close(fd)
    whole = b''.join(chunks)
    assert path.read_bytes() == whole
    outside = ranges.without([(0, len(whole))], data)
    misplaced = sum(any(whole[start:end]) for start, end in outside)
    assert bool(filler.misplaced_bytes) == bool(misplaced)


def test_a_hole_is_not_written(tmp_path):
    fd = os.open(tmp_path / 'file', os.O_RDWR | os.O_CREAT)
    try:
        filler = holes.Filler(fd, [(1 << 20, (1 << 20) + BLOCK)])
        for chunk in (bytes(1 << 20), bytes(BLOCK), bytes(1 << 20)):
            filler.write(chunk)
        filler.finish()
        assert holes.data(fd, os.fstat(fd).st_size) == [(1 << 20, (1 << 20) + BLOCK)]
    finally:
        os.close(fd)
