"""rescue: whatever can be read of a failing file is read, the rest is known to the byte, and it comes to an end."""

import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkfs.backup import rescue
from chkfs.storage import chunker
from chkfs.text import ranges

SECTOR, PAGE, MIB = 512, 4096, 1 << 20


class Disk:
    """A file of patterned bytes with bad places; a read fails when any sector (or page) of it is bad."""

    def __init__(self, size, bad, unit=SECTOR, short=False, error=errno.EIO):
        self.size, self.bad, self.short, self.error = size, ranges.join(bad), short, error
        self.unit = unit
        self.reads = self.failures = 0

    @property
    def lost(self):
        """The bad places in whole units."""
        whole = ((start // self.unit * self.unit, -(-end // self.unit) * self.unit) for start, end in self.bad)
        return ranges.common(ranges.join(whole), [(0, self.size)])

    def content(self, start, end):
        step = 1 << 16
        data = b''.join(hex(n).encode().rjust(16, b'.') * (step // 16) for n in range(start // step, end // step + 1))
        return data[start % step :][: end - start]

    def read(self, at, size):
        self.reads += 1
        end = min(at + size, self.size)
        hit = ranges.common(self.lost, [(at, end)]) if at < end else []
        if hit and self.short and hit[0][0] > at:
            end = hit[0][0]
        elif hit:
            self.failures += 1
            raise OSError(self.error, os.strerror(self.error))
        return self.content(at, end) if at < end else b''

    def expected(self):
        data = bytearray(self.content(0, self.size))
        for start, end in self.lost:
            data[start:end] = bytes(end - start)
        return bytes(data)


class Rescue(rescue.Rescue):
    """Knows what it could not read."""

    def __init__(self, read):
        super().__init__(read, instead=self._note)
        self.damaged = []

    def _note(self, start, end):
        self.damaged = ranges.join([*self.damaged, (start, end)])
        return rescue.zeros(end - start)


def rescued(disk, size=None):
    work = Rescue(disk.read)
    return b''.join(work.blocks(0, disk.size if size is None else size)), work


@pytest.mark.parametrize('short', [False, True])
@pytest.mark.parametrize('unit', [SECTOR, PAGE])
@pytest.mark.parametrize(
    'bad',
    [
        [],
        [(0, 1)],
        [(5_000_000, 5_000_001)],
        [(511, 513)],
        [(0, 512), (1024, 1536), (9_999_488, 10_000_000)],
        [(9_999_999, 10_000_000)],
        [(3 * MIB - 1, 3 * MIB + 1)],
        [(700_000, 900_000)],
        [(n * 100_000, n * 100_000 + 20) for n in range(100)],
        [(2_000_000, 2_100_000), (2_200_000, 2_300_000), (6_000_000, 6_000_512)],
    ],
)
def test_every_readable_sector_is_read_and_the_ranges_are_exact(bad, unit, short):
    disk = Disk(10_000_000, bad, unit, short)
    data, work = rescued(disk)
    assert work.damaged == disk.lost
    assert data == disk.expected()


@given(st.lists(st.tuples(st.integers(0, 3 * MIB), st.integers(1, 20_000)), max_size=8), st.booleans())
@settings(max_examples=60)
def test_any_few_bad_places_are_found_exactly(places, short):
    disk = Disk(3 * MIB, [(start, min(start + size, 3 * MIB)) for start, size in places], short=short)
    data, work = rescued(disk)
    assert (data, work.damaged) == (disk.expected(), disk.lost)


@pytest.mark.parametrize('error', sorted(rescue.BAD))
def test_all_that_the_kernel_says_of_bad_places_counts(error):
    disk = Disk(10_000, [(5000, 5001)], error=error)
    assert rescued(disk)[1].damaged == [(4608, 5120)]


def test_an_error_of_another_kind_is_none_of_ours():
    disk = Disk(10_000, [(5000, 5001)], error=errno.ENOTCONN)
    with pytest.raises(OSError, match='not connected'):
        rescued(disk)


def test_what_is_larger_than_a_window_is_given_in_order():
    disk = Disk(200 * MIB, [(n * 9 * MIB + 77, n * 9 * MIB + 78) for n in range(22)])
    work, at = Rescue(disk.read), 0
    for block in work.blocks(0, disk.size):
        if not any(start < at + len(block) and at < end for start, end in disk.lost):
            assert block == disk.content(at, at + len(block))
        at += len(block)
    assert (at, work.damaged) == (disk.size, disk.lost)


@pytest.mark.parametrize('size, bad', [
    (100 << 30, (0, 100 << 30)),
    (100 << 30, (1 << 30, 60 << 30)),
    (1 << 40, (7 * MIB + 512, (1 << 40) - 5 * MIB)),
])  # fmt: skip
def test_a_large_bad_area_costs_few_reads_and_its_edges_are_exact(size, bad, monkeypatch):
    disk = Disk(size, [bad])
    work = Rescue(lambda at, n: disk.read(at, n) and chunker.ZEROS[:n])
    if bad[0] > MIB:
        monkeypatch.setattr(disk, 'content', lambda start, end: b'.' * (end - start))
        list(work.blocks(bad[0] - MIB, bad[0] + MIB))
    work.damaged, disk.reads = [], 0
    end = min(bad[1] + MIB, size)
    given = sum(len(block) for block in work.blocks(bad[0], end))
    assert given == end - bad[0]
    assert work.damaged == [bad]
    assert disk.failures < rescue.MOST_FAILURES + 1000


def test_bad_places_without_number_are_given_up_in_blocks():
    """Every fifth page of 60 MiB is bad: after so many failures what is left is lost block by block."""
    disk = Disk(60 * MIB, [(n, n + 1) for n in range(0, 60 * MIB, 5 * PAGE)])
    data, work = rescued(disk)
    assert len(data) == 60 * MIB
    assert ranges.without(disk.lost, work.damaged) == []
    assert disk.failures <= rescue.MOST_FAILURES + 60
    for start, end in ranges.without([(0, disk.size)], work.damaged):
        assert data[start:end] == disk.content(start, end)


def test_a_file_that_has_become_shorter_ends_where_it_ends():
    disk = Disk(5 * MIB, [(2 * MIB, 2 * MIB + 1)])
    data, work = rescued(disk, 9 * MIB)
    assert data[: 5 * MIB] == disk.expected()


def test_unreadable_and_sparse_zeros_are_those_that_the_chunker_knows():
    blocks = list(rescue.zeros(3 * MIB + 5))
    assert [block is chunker.ZEROS for block in blocks] == [True, True, True, False]
    assert b''.join(blocks) == bytes(3 * MIB + 5)


def test_a_file_is_read_by_sectors_and_in_blocks_alike(tmp_path):
    data = os.urandom(10_000)
    path = tmp_path / 'file'
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        file = rescue.File(fd)
        for at, size in ((0, 512), (512, 512), (9728, 512), (9728, 272), (100, 512), (0, 4096), (20_000, 512)):
            assert file.read(at, size) == data[at : at + size]
    finally:
        os.close(fd)
