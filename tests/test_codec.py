"""codec: five ways to store bytes; what was changed or cut is never taken for the original."""

import bz2
import gzip
import hashlib
import lzma
import sys
import zlib

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import igzip_lib

from chkfs import errors
from chkfs.storage import codec

NAMES = tuple(codec.SUFFIXES)
COMPRESSED = tuple(name for name in NAMES if name != 'none')
READERS = {'gzip': gzip.decompress, 'bzip2': bz2.decompress, 'xz': lzma.decompress}
RANDOM = hashlib.shake_128(b'codec').digest(100_000)
TEXT = b''.join(b'line %d of a text that compresses\n' % number for number in range(3000))


@pytest.fixture(params=['isal', 'zlib'])
def gzip_library(request, monkeypatch):
    """Both libraries that can write and read gzip; the second stands in where isal is missing."""
    if request.param == 'zlib':
        monkeypatch.setitem(sys.modules, 'isal', None)
    return request.param


def plain(name, *blocks):
    return b''.join(codec.decompress(name, blocks))


def outcome(name, stream):
    """The plain bytes, or None for Damaged; anything else is an error of the test."""
    try:
        return plain(name, stream)
    except errors.Damaged:
        return None


# ---- round trips ----


@pytest.mark.parametrize('name', NAMES)
@given(data=st.binary(max_size=2000))
@settings(max_examples=30)
def test_any_bytes_survive(name, data):
    assert plain(name, codec.compress(name, data)) == data
    assert plain(name, codec.verified(name, data)) == data


@pytest.mark.parametrize('name', NAMES)
@given(parts=st.lists(st.binary(max_size=200), max_size=5), size=st.integers(1, 100))
@settings(max_examples=20)
def test_streams_end_to_end_decode_as_one_whatever_pieces_they_come_in(name, parts, size):
    whole = b''.join(codec.compress(name, part) for part in parts)
    blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert plain(name, *blocks) == b''.join(parts)


@pytest.mark.parametrize('name', NAMES)
def test_large_data_survive_in_small_blocks(name):
    data = TEXT * 12 + RANDOM * 5
    stream = codec.compress(name, data)
    blocks = [stream[at : at + 4096] for at in range(0, len(stream), 4096)]
    assert hashlib.sha256(plain(name, *blocks)).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize('name', COMPRESSED)
def test_streams_are_counted(name):
    whole = codec.compress(name, b'first') + codec.compress(name, b'second') + codec.compress(name, b'third')
    found = {}
    for number, part in codec.streams(name, (whole,)):
        found[number] = found.get(number, b'') + part
    assert found == {0: b'first', 1: b'second', 2: b'third'}


@pytest.mark.parametrize('name', READERS)
def test_the_standard_library_reads_what_is_written(name, gzip_library):
    stream = codec.compress(name, TEXT) + codec.compress(name, RANDOM)
    assert READERS[name](stream) == TEXT + RANDOM


def test_gzip_says_the_same_whatever_library_is_at_work(monkeypatch):
    streams = [codec.compress('gzip', TEXT), codec.compress('gzip', TEXT, light=True)]
    for module in ('isal', 'deflate'):
        monkeypatch.setitem(sys.modules, module, None)
    streams.append(codec.compress('gzip', TEXT))
    assert len(set(streams)) == 3  # so all three libraries were at work
    assert all(plain('gzip', stream) == TEXT for stream in streams)
    assert codec.verified('gzip', TEXT) == streams[2]
    monkeypatch.undo()
    assert all(plain('gzip', stream) == TEXT for stream in streams)


def test_gzip_bears_no_time_so_the_same_bytes_give_the_same_pack(gzip_library):
    assert codec.compress('gzip', TEXT)[4:8] == bytes(4)


def test_zstd_has_a_checksum_and_a_window_that_every_decoder_takes():
    stream = codec.compress('zstd', TEXT * 100)
    assert stream[:4] == codec.MAGICS['zstd']
    assert stream[4] & 0b100, 'the content checksum flag'
    assert stream[4] & 0b11 == 0, 'no dictionary'
    assert stream[4] & 0b100000 or stream[5] >> 3 <= 17, 'window at most 2^27'


def test_xz_uses_lzma2_alone():
    stream = codec.compress('xz', TEXT)
    assert stream[6:8] == bytes((0, lzma.CHECK_CRC64))
    flags = stream[13]
    assert flags & 0b11 == 0, 'one filter'
    filter_at = 14 + (4 if flags & 0x40 else 0) + (4 if flags & 0x80 else 0)
    assert stream[filter_at] == 0x21, 'LZMA2'
    assert stream[filter_at + 2] <= 28, 'dictionary of at most 64 MiB'


@pytest.mark.parametrize('name', COMPRESSED)
def test_every_stream_begins_with_its_magic(name, gzip_library):
    assert codec.compress(name, b'').startswith(codec.MAGICS[name])


# ---- damage ----


@pytest.mark.parametrize('name', COMPRESSED)
@pytest.mark.parametrize('data', [b'', b'a short one', TEXT[:3000]], ids=['empty', 'short', 'text'])
def test_a_stream_cut_at_any_length_is_damaged(name, data, gzip_library):
    stream = codec.compress(name, data)
    for length in range(1, len(stream)):
        assert outcome(name, stream[:length]) is None, length


@pytest.mark.parametrize('name', COMPRESSED)
def test_a_second_stream_cut_at_any_length_is_damaged(name, gzip_library):
    first, second = codec.compress(name, b'whole'), codec.compress(name, b'cut')
    assert outcome(name, first) == b'whole'
    for length in range(1, len(second)):
        assert outcome(name, first + second[:length]) is None, length


@pytest.mark.parametrize('name', COMPRESSED)
@pytest.mark.parametrize('data', [b'a short one', TEXT[:3000], RANDOM[:700]], ids=['short', 'text', 'random'])
def test_a_flipped_bit_never_gives_other_bytes(name, data, gzip_library):
    stream = codec.compress(name, data)
    noticed = 0
    for at in range(len(stream)):
        for bit in (0x01, 0x80):
            changed = bytearray(stream)
            changed[at] ^= bit
            found = outcome(name, bytes(changed))
            assert found in (None, data), (at, bit)
            noticed += found is None
    assert noticed > 1.4 * len(stream)  # some bits of a header say nothing


@pytest.mark.parametrize('name', COMPRESSED)
def test_rubbish_behind_a_stream_is_damaged(name, gzip_library):
    assert outcome(name, codec.compress(name, b'data') + b'rubbish behind') is None


def test_without_compression_a_cut_shows_only_in_the_length():
    assert plain('none', b'data'[:3]) == b'dat'


@pytest.mark.parametrize('name', COMPRESSED)
@given(data=st.binary(max_size=300))
@settings(max_examples=60)
def test_any_bytes_raise_only_damaged(name, data):
    stream = codec.compress(name, b'some plain bytes' * 20)
    for hostile in (data, codec.MAGICS[name] + data, stream[: len(stream) // 2] + data, stream[:12] + data):
        outcome(name, hostile)


@given(data=st.binary(max_size=300))
@settings(max_examples=60)
def test_any_bytes_raise_only_damaged_without_isal(data):
    stream = codec.compress('gzip', b'some plain bytes' * 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'isal', None)
        for hostile in (data, codec.MAGICS['gzip'] + data, stream[: len(stream) // 2] + data, stream[:12] + data):
            outcome('gzip', hostile)


# ---- bombs ----


@pytest.mark.parametrize('name', COMPRESSED)
def test_no_piece_is_larger_than_a_block_so_a_bomb_can_be_stopped(name, gzip_library):
    bomb = codec.compress(name, bytes(40 << 20))
    assert len(bomb) < 1 << 20
    taken = 0
    for part in codec.decompress(name, (bomb,)):
        assert 0 < len(part) <= codec.BLOCK_BYTES
        taken += len(part)
        if taken > 4 << 20:
            break
    else:
        pytest.fail('all of it came in few pieces')


@pytest.mark.parametrize('name', COMPRESSED)
def test_a_bomb_gives_all_its_bytes_when_it_is_not_stopped(name, gzip_library):
    size = (5 << 20) + 12345
    assert sum(map(len, codec.decompress(name, (codec.compress(name, bytes(size)),)))) == size


def test_an_xz_stream_that_wants_gigabytes_of_memory_is_damaged():
    filters = [{'id': lzma.FILTER_LZMA2, 'preset': 0, 'dict_size': 4 << 10}]
    stream = bytearray(lzma.compress(b'x', filters=filters))
    at = stream.index(b'\x21\x01', 12) + 2
    stream[at] = 40  # a dictionary of 4 GiB
    header_size = (stream[12] + 1) * 4
    stream[12 + header_size - 4 : 12 + header_size] = zlib.crc32(stream[12 : 12 + header_size - 4]).to_bytes(
        4, 'little'
    )
    assert outcome('xz', bytes(stream)) is None


# ---- choices ----


@pytest.mark.parametrize('name', COMPRESSED)
def test_compressing_pays_for_text_and_not_for_noise(name):
    assert codec.pays(name, TEXT) is True
    assert codec.pays(name, RANDOM) is False


def test_nothing_pays_without_a_codec_and_for_nothing():
    assert codec.pays('none', TEXT) is False
    assert codec.pays('gzip', b'') is False


def test_the_sample_comes_from_the_middle():
    assert codec.pays('gzip', RANDOM + bytes(200_000) + RANDOM) is True
    assert codec.pays('gzip', bytes(100_000) + RANDOM * 3 + bytes(100_000)) is False


@pytest.mark.parametrize('name', COMPRESSED)
def test_a_compressor_that_is_wrong_is_caught(name, monkeypatch):
    monkeypatch.setattr(codec, 'compress', lambda name, data, light, real=codec.compress: real(name, data[:-1] + b'?'))
    with pytest.raises(errors.Error, match='memory'):
        codec.verified(name, b'data!')


@pytest.mark.parametrize('light', [False, True])
def test_no_gzip_library_is_trusted_to_read_what_it_wrote(light, monkeypatch):
    """Its error might be the same both ways."""
    used = []
    for module, write, read in ((deflate, 'gzip_compress', 'gzip_decompress'), (igzip_lib, 'compress', 'decompress')):
        for name in (write, read):

            def noting(*arguments, kind=name == write, module=module, real=getattr(module, name)):
                used.append((kind, module))
                return real(*arguments)

            monkeypatch.setattr(module, name, noting)
    codec.verified('gzip', TEXT, light)
    assert dict(used) == ({True: igzip_lib, False: deflate} if light else {True: deflate, False: igzip_lib})


def test_a_missing_zstd_is_said_with_a_way_out(monkeypatch):
    for module in ('compression', 'compression.zstd', 'backports', 'backports.zstd'):
        monkeypatch.setitem(sys.modules, module, None)
    for attempt in (lambda: codec.compress('zstd', b''), lambda: plain('zstd', b'x')):
        with pytest.raises(errors.Error, match='pip install backports.zstd'):
            attempt()


def test_suffixes_are_those_of_the_tools():
    assert codec.SUFFIXES == {'none': '', 'gzip': '.gz', 'bzip2': '.bz2', 'xz': '.xz', 'zstd': '.zst'}
    assert codec.NAMES == {suffix: name for name, suffix in codec.SUFFIXES.items()}
    assert codec.DEFAULT == 'gzip'


@pytest.mark.parametrize('name', COMPRESSED)
@given(data=st.binary(max_size=3000), most=st.integers(0, 4000), cut=st.integers(0, 40))
@settings(max_examples=60)
def test_a_stream_in_one_piece_is_what_a_stream_in_blocks_is(name, data, most, cut):
    stream = codec.compress(name, data)
    assert codec.decompress_whole(name, stream, 3000) == data
    if len(data) > most:
        with pytest.raises(errors.Damaged):
            codec.decompress_whole(name, stream, most)
    if 0 < cut < len(stream):
        with pytest.raises(errors.Damaged):
            codec.decompress_whole(name, stream[:-cut], 3000)


@pytest.mark.parametrize('said', [0, 1, 2**32 - 1])
def test_a_gzip_stream_that_lies_about_its_size_is_damaged(said):
    stream = codec.compress('gzip', TEXT)[:-4] + said.to_bytes(4, 'little')
    with pytest.raises(errors.Damaged):
        codec.decompress_whole('gzip', stream, 10 * len(TEXT))


def test_without_libdeflate_a_stream_in_one_piece_is_read_as_well(monkeypatch):
    monkeypatch.setitem(sys.modules, 'deflate', None)
    stream = codec.compress('gzip', TEXT)
    assert codec.decompress_whole('gzip', stream, len(TEXT)) == TEXT
