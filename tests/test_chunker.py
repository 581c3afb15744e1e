"""chunker: the cuts are part of the format, so they are pinned here."""

import hashlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import chunker

SMALL = chunker.Parameters(1024, 4096, 16384, 1)
DATA = hashlib.shake_128(b'chkfs golden').digest(24 << 20)


def lengths(data, parameters=SMALL):
    return [len(piece) for piece in chunker.cut((data,), parameters)]


def test_the_default_cuts_are_the_ones_that_stores_have():
    assert hashlib.sha256(DATA[:1000]).hexdigest() == '2d8123962f118e6dc539df756ec002073079f2db69b8df8d6fcd448a8897231a'
    assert chunker.Parameters() == (524288, 2097152, 8388608, 1)
    assert lengths(DATA, chunker.Parameters()) == [
        3932822, 3864229, 1375759, 1412216, 3149636, 4757294, 3332629, 2766259, 574980
    ]  # fmt: skip


def test_the_cuts_with_other_parameters_are_pinned_too():
    assert lengths(DATA[:100_000]) == [
        4579,
        6367,
        3982,
        9171,
        2063,
        2019,
        4402,
        5814,
        3488,
        4517,
        2459,
        1084,
        5157,
        1139,
        4146,
        7019,
        11546,
        7670,
        1063,
        1227,
        2298,
        4423,
        4367,
    ]


@pytest.mark.parametrize(
    'normalization, expected',
    [
        (0, [10946, 1610, 2372, 9171, 2063, 2019, 4402, 5814, 2216, 1272, 3442, 1075, 2459, 1084, 5157, 1139, 3759]),
        (2, [4579, 5071, 5278, 8901, 2333, 2019, 4402, 5016, 4286, 4165, 2811, 6241, 4898]),
        (3, [4428, 4367, 4400, 4571, 5878, 4384, 5356, 5240, 3261, 4451, 4190, 5554, 3920]),
    ],
)
def test_the_cuts_of_each_normalization_are_pinned(normalization, expected):
    assert lengths(DATA[:60_000], SMALL._replace(normalization=normalization)) == expected


def test_zeros_are_cut_at_the_maximum():
    assert lengths(bytes(50_000)) == [16384, 16384, 16384, 848]


def test_nothing_has_no_pieces():
    assert list(chunker.cut(())) == list(chunker.cut((b'', b''))) == []


def test_what_is_shorter_than_the_minimum_is_one_piece():
    assert list(chunker.cut((b'ab', b'', b'c'), SMALL)) == [b'abc']


@given(st.lists(st.integers(1, 60_000), max_size=30), st.integers(0, 150_000))
def test_the_cuts_do_not_depend_on_how_the_blocks_came(sizes, start):
    data = DATA[start : start + 200_000]
    blocks, at = [], 0
    for size in sizes:
        blocks.append(data[at : at + size])
        at += size
    blocks.append(data[at:])
    assert [len(piece) for piece in chunker.cut(iter(blocks), SMALL)] == lengths(data)


@pytest.mark.parametrize('block', [1 << 16, 1 << 20, (1 << 20) - 1, 5_000_000, 24 << 20])
def test_the_default_cuts_do_not_depend_on_the_block_size(block):
    blocks = (DATA[at : at + block] for at in range(0, len(DATA), block))
    pieces = list(chunker.cut(blocks))
    assert [len(piece) for piece in pieces] == lengths(DATA, chunker.Parameters())
    assert hashlib.sha256(b''.join(pieces)).digest() == hashlib.sha256(DATA).digest()


@settings(max_examples=25)
@given(st.lists(st.one_of(st.none(), st.integers(0, 60_000), st.just(-1)), max_size=6))
def test_known_zeros_are_cut_as_any_zeros_are(parts):
    """None: a run of known zeros; -1: zeros that nobody knows of; a number: so many other bytes."""
    blocks = [chunker.ZEROS if n is None else bytes(20_000) if n < 0 else DATA[n : 2 * n] for n in parts]
    plain = [bytes(len(block)) if block is chunker.ZEROS else block for block in blocks]
    pieces = list(chunker.cut(blocks, SMALL))
    assert [len(piece) for piece in pieces] == [len(piece) for piece in chunker.cut(plain, SMALL)]
    assert b''.join(pieces) == b''.join(plain)


def test_the_pieces_of_known_zeros_are_one_object():
    pieces = list(chunker.cut([DATA[:50_000], *[chunker.ZEROS] * 64, DATA[:50_000]]))
    assert [len(piece) for piece in pieces[1:8]] == [8 << 20] * 7
    assert len({id(piece) for piece in pieces[1:7]}) == 1
    assert sum(map(len, pieces)) == 100_000 + (64 << 20)


@given(st.integers(0, 400_000), st.binary(max_size=3000))
def test_the_pieces_end_to_end_are_the_data_and_keep_to_the_sizes(start, data):
    data = data + DATA[start : start + 3 * len(data) + start % 70_000]
    pieces = list(chunker.cut((data,), SMALL))
    assert b''.join(pieces) == data
    assert all(SMALL.minimum <= len(piece) <= SMALL.maximum for piece in pieces[:-1])
    assert all(0 < len(piece) <= SMALL.maximum for piece in pieces[-1:])


@pytest.mark.parametrize('at', [0, 1, 100_000, 250_000, 399_999])
@pytest.mark.parametrize('inserted', [b'x', b'some words', bytes(5000)])
def test_an_insertion_changes_only_pieces_near_it(at, inserted):
    data = DATA[:400_000]
    before = set(chunker.cut((data,), SMALL))
    after = set(chunker.cut((data[:at] + inserted + data[at:],), SMALL))
    assert len(before) > 70
    assert len(after - before) <= 8


@pytest.mark.parametrize(
    'parameters',
    [
        chunker.Parameters(0),
        chunker.Parameters(minimum=4 << 20),
        chunker.Parameters(average=16 << 20),
        chunker.Parameters(maximum=1 << 20),
        chunker.Parameters(maximum=32 << 20),
        chunker.Parameters(normalization=4),
        chunker.Parameters(normalization=-1),
        chunker.Parameters(-1, -1, -1, 1),
    ],
)
def test_sizes_that_cannot_be_worked_with_are_refused(parameters):
    with pytest.raises(ValueError):
        chunker.check(parameters)


@pytest.mark.parametrize('parameters', [chunker.Parameters(), SMALL, chunker.Parameters(64, 256, 1024, 0)])
def test_sizes_that_are_taken_do_work(parameters):
    chunker.check(parameters)
    assert b''.join(chunker.cut((DATA[:100_000],), parameters)) == DATA[:100_000]


def test_the_missing_library_is_said_with_a_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyfastcdc', None)
    with pytest.raises(errors.Error, match='pip install pyfastcdc'):
        list(chunker.cut((b'data',)))
