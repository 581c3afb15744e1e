"""pack: tar archives of frames; an index that is lost or bad costs nothing, a frame that is bad costs only itself."""

import copy
import hashlib
import io
import itertools
import os
import shutil
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import codec, pack
from chkfs.text import key

CODECS = tuple(codec.SUFFIXES)
SMALL = [b'object %d' % number for number in range(20)]
# about 300 KiB each and not compressible, so that four of them fill a frame
LARGE = [hashlib.shake_128(b'large %d' % number).digest(300_000 + number) for number in range(5)]
UNPACKERS = {'none': 'cat', 'gzip': 'gzip -dc', 'bzip2': 'bzip2 -dc', 'xz': 'xz -dc', 'zstd': 'zstd -dc'}


class Made:
    """A pack in a directory: its path, name, index, and what was put into it."""

    def __init__(self, directory, codec_name, members):
        """members: (kind of frame, member name, bytes)."""
        self.codec = codec_name
        self.contents = {name: data for _, name, data in members}
        path = os.path.join(directory, 'new')
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        with ThreadPoolExecutor(2) as pool:
            writer = pack.Writer(fd, codec_name, pool)
            for kind, name, data in members:
                writer.add(kind, name, data)
            self.name, self.index = writer.close()
        os.close(fd)
        self.places = writer.places
        self.path = os.fsencode(os.path.join(directory, self.name))
        os.rename(path, self.path)

    def read(self):
        with open(self.path, 'rb') as file:
            return file.read()

    def frames(self):
        """Offset to the plain bytes of each frame."""
        data = self.read()
        return {
            offset: b''.join(codec.decompress(self.codec, (data[offset : offset + length],)))
            for offset, length in {(place.offset, place.length) for place in self.places}
        }


def blob(data):
    return 'blob', f'blob/{key.of(data)}', data


def tree(data):
    return 'tree', f'tree/{key.of(data)}', data


def mixed():
    """Blobs and trees in turn, and a list, which travels with the trees."""
    members = [make(data) for data in LARGE + SMALL for make in (blob, tree)]
    listed = f'# chkfs list 1\n{key.of(LARGE[0])} 300000\n'.encode()
    return [*members, ('tree', f'blob/{key.of(b"whole")}.list', listed)]


@pytest.fixture(params=CODECS, scope='module')
def made_once(request, tmp_path_factory):
    return Made(tmp_path_factory.mktemp('pack'), request.param, mixed())


@pytest.fixture
def made(made_once, tmp_path):
    """A copy, to be damaged."""
    copied = copy.copy(made_once)
    copied.path = os.fsencode(shutil.copy(os.fsdecode(made_once.path), tmp_path))
    return copied


# ---- tar ----


@given(st.text('abcdef0123456789/.', min_size=1, max_size=100).filter(lambda name: not name.endswith('/')),
       st.integers(0, 2**40))  # fmt: skip
@example('blob/' + 'a' * 64 + '.list', 8**11 - 1)
@example('blob/' + 'a' * 64, 8**11)
@example('blob/' + 'a' * 64, 2**60)
@example('x', 0)
def test_headers_say_to_tarfile_what_they_say_to_us(name, size):
    header = pack.header(name, size)
    assert len(header) == 512
    found = tarfile.TarInfo.frombuf(header, 'utf-8', 'strict')
    assert (found.name, found.size, found.mode, found.uid, found.gid, found.mtime, found.type) == (
        name, size, 0o400, 0, 0, 0, tarfile.REGTYPE
    )  # fmt: skip
    assert header[257:265] == b'ustar\x0000'


def test_a_size_above_8_gib_is_base_256_and_below_octal():
    assert pack.header('x', 8**11 - 1)[124:136] == b'77777777777\0'
    assert pack.header('x', 8**11)[124:136] == b'\x80' + bytes(2) + (8**11).to_bytes(9, 'big')


@given(st.lists(st.binary(max_size=1500), max_size=8))
def test_members_of_a_frame_are_found_where_they_are(contents):
    named = [(f'blob/{key.of(data)}', data) for data in contents]
    plain = b''.join(pack.header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in named)
    assert [(name, plain[start : start + size]) for name, start, size in pack.members(plain)] == named
    assert list(pack.members(plain + bytes(1024) + b'rubbish' * 200)) == list(pack.members(plain))


def test_tarfile_reads_the_whole_pack(made):
    data = b''.join(codec.decompress(made.codec, (made.read(),)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive}
    assert found == made.contents
    assert data.endswith(bytes(1024))
    assert data.count(bytes(1024)) == 1 or made.codec != 'none'


def test_tar_and_sha256sum_read_the_whole_pack(made, tmp_path):
    script = f'{UNPACKERS[made.codec]} <"$1" | tar -xf - -C "$2" && cd "$2" && sha256sum blob/* tree/*'
    (tmp_path / 'out').mkdir()
    result = subprocess.run(
        ['sh', '-c', script, 'sh', made.path, str(tmp_path / 'out')], capture_output=True, check=True
    )
    assert result.stderr == b''
    lines = [line.split('  ') for line in result.stdout.decode().splitlines()]
    assert {name for _, name in lines} == set(made.contents)
    assert [name for digest, name in lines if not name.endswith(('/' + digest, '.list'))] == []


def test_the_line_in_the_readme_gets_one_object(made):
    place = next(place for place in pack.parse_index(made.index) if place.name == blob(SMALL[3])[1])
    script = (
        f'tail -c +{place.offset + 1} "$1" | head -c {place.length} | {UNPACKERS[made.codec]} | tar xO {place.name}'
    )
    assert subprocess.run(['sh', '-c', script, 'sh', made.path], capture_output=True, check=True).stdout == SMALL[3]


# ---- layout ----


def test_the_name_of_a_pack_is_its_sha256(made):
    assert made.name == f'pack-{key.of(made.read())}.tar{codec.SUFFIXES[made.codec]}'
    assert pack.codec_of(made.name) == made.codec
    assert pack.index_name(made.name) == f'pack-{key.of(made.read())}.index'


def test_no_frame_mixes_trees_and_lists_with_contents(made):
    frames = made.frames()
    assert len(frames) >= 4
    for plain in frames.values():
        kinds = {name.startswith('tree/') or name.endswith('.list') for name, *_ in pack.members(plain)}
        assert len(kinds) == 1


def test_frames_hold_whole_members_of_about_a_megabyte(made):
    sizes = [len(plain) for plain in made.frames().values()]
    assert sum(sizes) == sum(512 + len(data) + -len(data) % 512 for data in made.contents.values())
    assert max(sizes) < pack.FRAME_BYTES + (300 << 10)
    assert sum(size < pack.FRAME_BYTES for size in sizes) <= 2


def test_frames_lie_end_to_end_and_the_end_of_archive_comes_once_and_last(made):
    spans = sorted({(place.offset, place.length) for place in made.places})
    assert [offset for offset, _ in spans] == [0, *itertools.accumulate(length for _, length in spans[:-1])]
    end = sum(spans[-1])
    assert b''.join(codec.decompress(made.codec, (made.read()[end:],))) == bytes(1024)


def test_the_index_says_where_everything_is(made):
    frames = made.frames()
    places = pack.parse_index(made.index)
    assert sorted(places) == sorted(made.places) == places
    for place in places:
        found = {name: plain for name, plain in _members(frames[place.offset])}
        assert found[place.name] == made.contents[place.name]
        assert place.size == len(made.contents[place.name])


def _members(plain):
    return [(name, plain[start : start + size]) for name, start, size in pack.members(plain)]


def test_an_empty_pack_is_an_empty_archive(tmp_path):
    made = Made(tmp_path, 'gzip', [])
    assert made.index == f'# sha256 {key.of(b"")}\n'.encode()
    with tarfile.open(os.fsdecode(made.path)) as archive:
        assert archive.getnames() == []


def test_the_same_objects_give_the_same_pack(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    assert Made(tmp_path / 'a', 'gzip', mixed()).name == Made(tmp_path / 'b', 'gzip', mixed()).name


def test_bytes_counts_what_was_taken(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        fd = os.open(tmp_path / 'x', os.O_CREAT | os.O_RDWR)
        writer = pack.Writer(fd, 'none', pool)
        writer.add(*blob(b'12345'))
        writer.close()
        assert writer.bytes == 1024
        os.close(fd)


# ---- the index ----

places = st.builds(
    pack.Place,
    st.tuples(st.sampled_from(['blob/{}', 'tree/{}', 'blob/{}.list', 'tree/{}.list']), st.binary(max_size=3))
    .map(lambda pair: pair[0].format(key.of(pair[1]))),
    st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 2**63),
)  # fmt: skip


@given(st.lists(places, max_size=12))
def test_any_index_survives(found):
    assert pack.parse_index(pack.format_index(found)) == sorted(found)


def test_the_index_text_is_the_one_in_the_manual():
    one, two = 'blob/' + 'b' * 64, 'tree/' + 'a' * 64
    body = f'{one} 5 0 100\n{one}.list 7 100 50\n{two} 6 150 60\n'
    made = [pack.Place(two, 6, 150, 60), pack.Place(one + '.list', 7, 100, 50), pack.Place(one, 5, 0, 100)]
    assert pack.format_index(made).decode() == f'{body}# sha256 {key.of(body.encode())}\n'


INDEX = pack.format_index([pack.Place(blob(data)[1], len(data), 0, 99) for data in SMALL[:3]])


def test_an_index_that_is_cut_at_any_length_is_damaged():
    for length in range(len(INDEX) - 1):
        with pytest.raises(errors.Damaged):
            pack.parse_index(INDEX[:length])


def test_an_index_that_has_lost_only_its_last_newline_is_whole_or_damaged():
    try:
        assert pack.parse_index(INDEX[:-1]) == pack.parse_index(INDEX)
    except errors.Damaged:
        pass


def test_a_changed_byte_in_an_index_is_damaged():
    for at, change in itertools.product(range(len(INDEX)), (1, 0x20, 0x80)):
        data = bytearray(INDEX)
        data[at] ^= change
        with pytest.raises(errors.Damaged):
            pack.parse_index(bytes(data))


def sealed(body):
    return body + b'# sha256 ' + key.of(body).encode() + b'\n'


@given(st.binary(max_size=200))
def test_an_index_of_any_bytes_raises_only_damaged(data):
    for hostile in (data, sealed(data), sealed(data + b'\n'), sealed(b'blob/' + b'a' * 64 + data + b'\n')):
        try:
            pack.parse_index(hostile)
        except errors.Damaged:
            pass


@pytest.mark.parametrize(
    'line',
    [
        '',
        'blob/x 1 2 3',
        f'door/{"a" * 64} 1 2 3',
        f'blob/{"a" * 64} 1 2',
        f'blob/{"a" * 64} 1 2 3 4',
        f'blob/{"a" * 64} a 2 3',
        f'blob/{"a" * 64}.list.list 1 2 3',
        f'blob/{"A" * 64} 1 2 3',
        f'blob/{"a" * 64} {"9" * 5000} 2 3',
        'blob/ü 1 2 3',
    ],
)
def test_a_line_that_is_none_is_damaged_even_under_a_right_digest(line):
    with pytest.raises(errors.Damaged):
        pack.parse_index(sealed(line.encode() + b'\n'))


@pytest.mark.parametrize('numbers', ['-1 2 3', '1 -2 3', '1 2 -3', '+1 2 3', '1_0 2 3'])
def test_an_impossible_number_is_damaged(numbers):
    with pytest.raises(errors.Damaged):
        pack.parse_index(sealed(f'blob/{"a" * 64} {numbers}\n'.encode()))


@pytest.mark.parametrize(
    'name',
    [
        'pack-' + 'a' * 64 + '.index',
        'pack-' + 'a' * 63 + '.tar',
        'pack-' + 'a' * 64 + '.tar.lz',
        'a' * 64 + '.tar',
        'pack-' + 'a' * 64 + '.tar.gz.tmp',
        '',
        'pack-' + 'A' * 64 + '.tar',
        'pack-' + 'a' * 64,
    ],
)
def test_other_files_are_not_packs(name):
    assert pack.codec_of(name) is None


def test_the_suffix_of_a_pack_names_its_codec():
    found = {
        suffix: pack.codec_of('pack-' + 'a' * 64 + '.tar' + suffix) for suffix in ('', '.gz', '.bz2', '.xz', '.zst')
    }
    assert found == {'': 'none', '.gz': 'gzip', '.bz2': 'bzip2', '.xz': 'xz', '.zst': 'zstd'}


@given(st.text() | st.text('blobtresnaph/.0123456789abcdef', max_size=80))
def test_parse_name_raises_only_damaged(name):
    try:
        pack.parse_name(name)
    except errors.Damaged:
        pass


# ---- scanning a pack without its index ----


def by_content(places):
    """What a scan should find again: without compression it cannot tell frames apart, and offsets may differ."""
    return sorted((place.name, place.size) for place in places)


def test_a_scan_makes_the_index_anew(made):
    found = pack.scan(made.path, made.codec)
    if made.codec != 'none':
        assert pack.format_index(found) == made.index
    assert by_content(found) == by_content(made.places)


def test_what_a_scan_finds_can_be_read_there(made):
    data, frames = made.read(), {}
    for place in pack.scan(made.path, made.codec):
        span = slice(place.offset, place.offset + place.length)
        if place.offset not in frames:
            frames[place.offset] = dict(_members(b''.join(codec.decompress(made.codec, (data[span],)))))
        assert frames[place.offset][place.name] == made.contents[place.name]


def damaged(made, at, change=0xFF):
    data = bytearray(made.read())
    data[at] ^= change
    with open(made.path, 'wb') as file:
        file.write(data)


def test_a_scan_passes_over_a_damaged_frame_only(made):
    frames = sorted({(place.offset, place.length) for place in made.places})
    offset, length = frames[2]
    damaged(made, offset + length // 2)
    found = {place.name for place in pack.scan(made.path, made.codec)}
    hit = {place.name for place in made.places if place.offset == offset}
    lost = set(made.contents) - found
    assert lost <= hit and lost
    if made.codec == 'none':
        assert len(lost) == 1  # every member stands for itself there


def test_a_scan_of_a_pack_that_is_cut_finds_what_is_whole(made):
    offset, length = sorted({(place.offset, place.length) for place in made.places})[3]
    with open(made.path, 'r+b') as file:
        file.truncate(offset + length // 2)
    found = {place.name for place in pack.scan(made.path, made.codec)}
    assert found >= {place.name for place in made.places if place.offset < offset}
    assert not found & {place.name for place in made.places if place.offset > offset}


def test_a_scan_leaves_out_a_member_that_is_not_what_its_name_says(tmp_path):
    wrong = ('blob', blob(b'right')[1], b'wrong')
    made = Made(tmp_path, 'gzip', [blob(b'good'), wrong, tree(b'fine')])
    assert {place.name for place in pack.scan(made.path, 'gzip')} == {blob(b'good')[1], tree(b'fine')[1]}


@pytest.mark.parametrize('codec_name', CODECS)
@given(data=st.binary(max_size=2000))
@settings(max_examples=25)
def test_a_scan_of_any_file_raises_nothing(codec_name, data, tmp_path_factory):
    path = os.fsencode(tmp_path_factory.getbasetemp() / f'random-{codec_name}')
    whole = codec.compress(codec_name, pack.header(blob(b'x')[1], 1) + b'x' + bytes(511))
    for hostile in (data, codec.MAGICS.get(codec_name, b'blob/') + data, whole + data, data + whole):
        with open(path, 'wb') as file:
            file.write(hostile)
        assert isinstance(pack.scan(path, codec_name), list)


@pytest.mark.parametrize('codec_name', [name for name in CODECS if name != 'none'])
@pytest.mark.parametrize('before', [b'', b'rubbish', bytes(5000), b'\x1f\x8b\x08BZh\xfd7zXZ\0\x28\xb5\x2f\xfd'])
def test_a_scan_finds_frames_behind_rubbish(codec_name, before, tmp_path):
    made = Made(tmp_path, codec_name, [blob(b'found'), tree(b'too')])
    data = made.read()
    with open(made.path, 'wb') as file:
        file.write(before + data + before + data)
    names = [place.name for place in pack.scan(made.path, codec_name)]
    assert sorted(names) == sorted(2 * [blob(b'found')[1], tree(b'too')[1]])


def test_a_frame_that_is_a_bomb_is_passed_over(tmp_path):
    good = codec.compress('gzip', pack.header(blob(b'x')[1], 1) + b'x' + bytes(511))
    bomb = codec.compress('gzip', bytes(70 << 20))
    path = os.fsencode(tmp_path / 'bomb')
    with open(path, 'wb') as file:
        file.write(bomb + good)
    assert [place.name for place in pack.scan(path, 'gzip')] == [blob(b'x')[1]]


# ---- hostile frames ----


def forged(size_field, name=b'blob/' + b'a' * 64):
    return name.ljust(124, b'\0') + size_field.ljust(12, b'\0') + bytes(376)


@given(
    st.binary(max_size=3000)
    | st.lists(
        st.sampled_from(
            [b'00000000000', b'00000000010', b'77777777777', b'           ', b'0x1', b'\xff' * 12, b'8']
        ).map(forged)
        | st.binary(max_size=600)
        | st.just(bytes(512)),
        max_size=6,
    ).map(b''.join)
)
def test_a_frame_of_any_bytes_raises_only_damaged(plain):
    try:
        for name, start, size in itertools.islice(pack.members(plain), 100):
            assert 0 <= start <= start + size <= len(plain)
            assert isinstance(name, str)
    except errors.Damaged:
        pass


@pytest.mark.parametrize('field', [b'-0000001000', b'-0000000001', b'-7777777777'])
def test_a_negative_size_in_a_frame_is_damaged(field):
    with pytest.raises(errors.Damaged):
        list(itertools.islice(pack.members(forged(field) + bytes(512)), 100))


def test_a_negative_size_in_an_uncompressed_pack_is_passed_over(tmp_path):
    path = os.fsencode(tmp_path / 'forged')
    with open(path, 'wb') as file:
        file.write(forged(b'-0000001000') + pack.header(blob(b'x')[1], 1) + b'x' + bytes(511))
    assert [place.name for place in pack.scan(path, 'none')] == [blob(b'x')[1]]


@pytest.mark.parametrize('start, size, cost', [(520, 1, (4,)), (700, 40, (4,)), (100, 300, (4,)), (512, 545, (4, 5))])
def test_bytes_lost_from_an_uncompressed_pack_cost_those_members_only(tmp_path, start, size, cost):
    made = Made(tmp_path, 'none', [blob(data) for data in SMALL])
    data, begin = made.read(), 1024 * 4
    with open(made.path, 'wb') as file:
        file.write(data[: begin + start] + data[begin + start + size :])
    found = {place.name for place in pack.scan(made.path, 'none')}
    assert set(made.contents) - found <= {blob(SMALL[number])[1] for number in cost}


def test_a_damaged_header_in_an_uncompressed_pack_costs_one_member(tmp_path):
    made = Made(tmp_path, 'none', [blob(data) for data in SMALL])
    at = 1024 * 4 + 124 + 6  # in the size of the fifth member, which becomes 2 MiB
    damaged(made, at, ord('0') ^ ord('7'))
    found = {place.name for place in pack.scan(made.path, 'none')}
    assert found == set(made.contents) - {blob(SMALL[4])[1]}
