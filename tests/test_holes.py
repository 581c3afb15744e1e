"""holes: what lseek tells of data and holes."""

import errno
import os

import pytest

from chkfs import holes

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
