"""objects: any copy that verifies is served, no byte that does not is, and reading writes nothing."""

import bz2
import errno
import functools
import gzip
import hashlib
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent import futures

import pytest

from chkfs import errors
from chkfs.storage import cache, codec, pack, publish, store
from chkfs.storage.objects import DEEPEST_LIST, Objects, _entries
from chkfs.text import key, piecelist

KIB, MIB = 1 << 10, 1 << 20
CODECS = tuple(codec.SUFFIXES)


@functools.cache
def noise(size, seed=b''):
    return hashlib.shake_128(b'noise' + seed).digest(size)


TEXT = b'all work and no play makes a dull text\n' * 10_000  # 390 KB, so a file of its own
BIG = noise(9 * MIB)
COMPRESSORS = {
    '': bytes,
    '.gz': lambda data: gzip.compress(data, 1),
    '.bz2': lambda data: bz2.compress(data, 1),
    '.xz': lambda data: lzma.compress(data, preset=0),
    '.zst': lambda data: codec.compress('zstd', data),
}
EVERYTHING = {'small': b'small', 'empty': b'', 'text': TEXT, 'noise': noise(300 * KIB), 'big': BIG}


@pytest.fixture(params=CODECS, scope='module')
def full_once(request, tmp_path_factory):
    root = os.fsencode(tmp_path_factory.mktemp('full') / 'store')
    store.create(root, request.param)
    with store.Store(root, {'XDG_CACHE_HOME': str(tmp_path_factory.mktemp('cache'))}).writer() as writer:
        for data in EVERYTHING.values():
            writer.put('blob', data)
        writer.checkpoint()
        writer.put('tree', b'#mtree\n')
        writer.put('tree', BIG[::-1])
        writer.put('snapshot', b'chkfs-snapshot 1\n')
        writer.checkpoint()
    return root


@pytest.fixture
def full(full_once, tmp_path):
    """A store with an object of each form."""
    return store.Store(os.fsencode(shutil.copytree(os.fsdecode(full_once), tmp_path / 'full')))


def fresh(made):
    """The objects of a store as somebody without a cache sees them."""
    return Objects(made.root, cache.ObjectCache(None))


def path_of(made, name):
    return os.path.join(made.root, name.encode())


def loose_path(made, type, found, suffix=''):
    return path_of(made, f'objects/{type}/{found[:2]}/{found}{suffix}')


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path):
        os.chmod(path, 0o600)
    with open(path, 'wb') as file:
        file.write(data)


def read_file(path):
    with open(path, 'rb') as file:
        return file.read()


def add_loose(made, data, suffix='', type='blob', content=None):
    """Puts an object into a store by hand, under the key of data."""
    found = key.of(data)
    write(loose_path(made, type, found, suffix), data if content is None else content)
    return found


def add_list(made, whole, pieces, type='blob'):
    return add_loose(made, whole, '.list', type, piecelist.format(pieces))


def packs(made):
    """Paths of the packs, without their indexes."""
    directory = path_of(made, 'packs')
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if not name.endswith(b'.index')]


def indexes(made):
    directory = path_of(made, 'packs')
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.endswith(b'.index')]


def flip(path, at):
    data = bytearray(read_file(path))
    data[at] ^= 0xFF
    write(path, data)


def outcome(objects, type, found):
    """The bytes of an object, None when there are none to be had."""
    try:
        return objects.read(type, found)
    except (errors.Damaged, errors.NotFound):
        return None


def assert_complete(objects):
    for data in EVERYTHING.values():
        assert objects.read('blob', key.of(data)) == data
    assert objects.read('tree', key.of(b'#mtree\n')) == b'#mtree\n'
    assert objects.read('tree', key.of(BIG[::-1])) == BIG[::-1]
    assert objects.read('snapshot', key.of(b'chkfs-snapshot 1\n')) == b'chkfs-snapshot 1\n'


# ---- what is there ----


def test_everything_is_read_back(full):
    assert_complete(full.objects)
    assert_complete(fresh(full))


def test_sizes_types_and_keys_agree_with_the_contents(full):
    for objects in (full.objects, fresh(full)):
        for data in EVERYTHING.values():
            assert objects.size('blob', key.of(data)) == len(data)
            assert b''.join(objects.chunks('blob', key.of(data))) == data
            assert bytes(objects.view('blob', key.of(data))) == data
            assert objects.types(key.of(data)) == ['blob']
        assert sorted(objects.keys('tree')) == sorted([key.of(b'#mtree\n'), key.of(BIG[::-1])])
        assert list(objects.keys('snapshot')) == [key.of(b'chkfs-snapshot 1\n')]
        listed = list(objects.keys('blob'))
        assert len(listed) == len(set(listed))
        assert {key.of(data) for data in EVERYTHING.values()} <= set(listed)
        assert all(key.of(objects.read('blob', found)) == found for found in listed)


def test_keys_are_found_by_prefix_in_every_form(full):
    for found in full.objects.keys('blob'):
        for length in (4, 5, 64):
            assert found in list(full.objects.keys('blob', found[:length]))
    assert list(full.objects.keys('blob', '0' * 64)) == []


def test_a_key_stored_twice_is_listed_once(store, put):
    found = put(store, 'blob', b'twice')
    add_loose(store, b'twice')
    add_loose(store, b'twice', '.gz', content=gzip.compress(b'twice'))
    assert list(store.objects.keys('blob')) == [found]


def test_files_that_are_no_objects_are_passed_over(store, put):
    found = put(store, 'blob', b'small')
    for name in (
        'objects/blob/ab/junk',
        'objects/blob/ab/.tmp',
        'objects/junk/x',
        'objects/blob/README',
        'packs/junk',
        'packs/pack-x.tar',
        f'packs/pack-{"a" * 64}.tar.gz.part',
    ):
        write(path_of(store, name), b'junk')
    os.mkdir(path_of(store, f'packs/pack-{"b" * 64}.tar.gz'))
    objects = fresh(store)
    assert [list(objects.keys(type)) for type in key.TYPES] == [[found], [], []]
    assert objects.read('blob', found) == b'small'


def test_counts_say_what_there_is(store, put):
    put(store, 'blob', b'1', b'2', noise(300 * KIB))
    put(store, 'tree', b'3')
    put(store, 'snapshot', b'4')
    counts = store.objects.count()
    disk = sum(os.path.getsize(path) for path in packs(store) + indexes(store))
    assert counts == {
        'packed-blobs': 2, 'packed-trees': 1, 'packs': 2, 'pack-bytes': disk,
        'loose-blobs': 1, 'loose-trees': 0, 'loose-snapshots': 1, 'loose-bytes': 300 * KIB + 1,
    }  # fmt: skip


def test_what_is_not_there_is_not_found(store):
    objects = store.objects
    for type in key.TYPES:
        assert not objects.has(type, 'a' * 64)
        with pytest.raises(errors.NotFound):
            objects.read(type, 'a' * 64)
        with pytest.raises(errors.NotFound):
            objects.size(type, 'a' * 64)


def test_a_type_is_a_name_space_of_its_own(store, put):
    found = put(store, 'blob', b'a blob')
    assert not store.objects.has('tree', found)
    with pytest.raises(errors.NotFound):
        store.objects.read('tree', found)


def test_an_empty_store_without_packs_directory_can_be_read(store):
    shutil.rmtree(path_of(store, 'packs'))
    shutil.rmtree(path_of(store, 'objects'))
    assert list(fresh(store).keys('blob')) == []


def test_what_another_process_adds_is_found_after_a_miss(store, put):
    reader = fresh(store)
    packed, loose = key.of(b'packed later'), key.of(noise(300 * KIB))
    for found in (packed, loose):
        with pytest.raises(errors.NotFound):
            reader.read('blob', found)
    put(store, 'blob', b'packed later', noise(300 * KIB))
    assert reader.read('blob', packed) == b'packed later'
    assert reader.read('blob', loose) == noise(300 * KIB)


def test_what_another_process_packed_is_still_there(store, put):
    found = add_loose(store, b'loose, then packed')
    reader = fresh(store)
    assert reader.has('blob', found)
    os.unlink(loose_path(store, 'blob', found))
    put(store, 'blob', b'loose, then packed')
    assert reader.has('blob', found) and reader.types(found) == ['blob']


def test_a_pack_that_is_gone_before_its_writer_looks_again_is_harmless(store, put, monkeypatch):
    publish_as_before = publish.Run.publish

    def publish_and_lose(run, places):
        publish_as_before(run, places)
        for path in [*packs(store), *indexes(store)]:
            os.unlink(path)

    monkeypatch.setattr(publish.Run, 'publish', publish_and_lose)
    assert not store.objects.has('blob', put(store, 'blob', b'quick'))


def test_files_that_vanish_while_they_are_listed_are_passed_over(store, put, monkeypatch):
    found = put(store, 'blob', b'packed')
    put(store, 'blob', b'loose', loose=True)

    class Vanished:
        def __init__(self, entry):
            self.path, self.name = entry.path + b'.gone', entry.name + b'.gone'

        def stat(self):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def list_twice(path, as_before=_entries):
        for entry in as_before(path):
            yield entry
            yield Vanished(entry)

    counts = store.objects.count()
    monkeypatch.setattr('chkfs.storage.objects._entries', list_twice)
    assert store.objects.count() == counts
    assert fresh(store).read('blob', found) == b'packed'


# ---- the forms that people make by hand ----


@pytest.mark.parametrize('suffix, compress', COMPRESSORS.items())
@pytest.mark.parametrize('data', [b'small', TEXT, TEXT * 24], ids=['small', 'medium', 'big'])
def test_a_file_put_there_by_hand_is_an_object(store, suffix, compress, data):
    found = add_loose(store, data, suffix, content=compress(data))
    assert store.objects.read('blob', found) == data
    assert store.objects.size('blob', found) == len(data)
    assert list(store.objects.keys('blob')) == [found]


def test_a_list_put_there_by_hand_is_an_object(store, put):
    pieces = [b'one ', b'two ', noise(300 * KIB)]
    put(store, 'blob', *pieces)
    found = add_list(store, b''.join(pieces), [(key.of(piece), len(piece)) for piece in pieces])
    assert store.objects.read('blob', found) == b''.join(pieces)
    assert store.objects.size('blob', found) == len(b''.join(pieces))


def test_a_list_of_nothing_is_the_empty_object(store):
    assert store.objects.read('blob', add_list(store, b'', [])) == b''


def test_a_list_of_lists_can_be_read_while_it_is_not_too_deep(store, put):
    data = b'x'
    put(store, 'blob', data)
    for _ in range(DEEPEST_LIST - 1):
        piece, data = data, data * 2
        add_list(store, data, [(key.of(piece), len(piece))] * 2)
        assert fresh(store).read('blob', key.of(data)) == data


# ---- lost and damaged indexes ----


@pytest.mark.parametrize('with_cache', [True, False])
@pytest.mark.parametrize(
    'harm',
    [
        os.unlink,
        lambda path: write(path, b''),
        lambda path: write(path, read_file(path)[:-70]),
        lambda path: flip(path, 20),
        lambda path: write(path, bytes(4096)),
        lambda path: (os.unlink(path), os.mkdir(path)),
    ],
    ids=['lost', 'empty', 'cut', 'flipped', 'zeros', 'directory'],
)
def test_a_lost_or_damaged_index_costs_nothing(full, with_cache, harm):
    if with_cache:
        assert_complete(full.objects)
    for path in indexes(full):
        harm(path)
    assert_complete(store.Store(full.root).objects)


def test_an_index_of_another_pack_is_not_believed_blindly(store, put):
    one, two = put(store, 'blob', b'one' * 100), put(store, 'blob', b'a second one, longer' * 2000)
    first, second = indexes(store)
    data = read_file(first), read_file(second)
    write(first, data[1])
    write(second, data[0])
    objects = fresh(store)
    assert [outcome(objects, 'blob', found) in (None, expected) for found, expected in
            ((one, b'one' * 100), (two, b'a second one, longer' * 2000))] == [True, True]  # fmt: skip


# ---- damage and second copies ----


@pytest.mark.parametrize('codec_name', CODECS)
def test_no_flipped_byte_in_a_pack_gives_other_bytes(make_store, put, codec_name):
    made = make_store(codec_name)
    put(made, 'blob', b'first', b'second')
    (path,) = packs(made)
    put(made, 'tree', b't')
    good = read_file(path)
    for at in range(0, len(good), 7 if codec_name == 'none' else 1):
        write(path, good[:at] + bytes((good[at] ^ 0xFF,)) + good[at + 1 :])
        objects = fresh(made)
        for data in (b'first', b'second'):
            assert outcome(objects, 'blob', key.of(data)) in (data, None), at
        assert objects.read('tree', key.of(b't')) == b't'
    write(path, good)
    assert fresh(made).read('blob', key.of(b'first')) == b'first'


def test_a_damaged_pack_is_passed_over_when_there_is_a_good_file(full):
    for path in packs(full):
        for at in range(10, os.path.getsize(path), 37):
            flip(path, at)
    for data in (b'small', b''):
        assert outcome(fresh(full), 'blob', key.of(data)) is None
        add_loose(full, data)
        assert fresh(full).read('blob', key.of(data)) == data
    assert full.objects.read('blob', key.of(TEXT)) == TEXT


def test_a_damaged_file_is_passed_over_when_there_is_a_good_pack(store, put):
    found = put(store, 'blob', b'packed and loose')
    add_loose(store, b'packed and loose', content=b'packed and lost!')
    add_loose(store, b'packed and loose', '.gz', content=b'not gzip')
    assert store.objects.read('blob', found) == b'packed and loose'
    assert fresh(store).read('blob', found) == b'packed and loose'


@pytest.mark.parametrize('good', COMPRESSORS)
def test_one_good_file_among_damaged_ones_is_enough(store, good):
    for suffix, compress in COMPRESSORS.items():
        content = compress(TEXT) if suffix == good else compress(TEXT)[:-9] + b'x'
        found = add_loose(store, TEXT, suffix, content=content)
    add_list(store, TEXT, [('a' * 64, len(TEXT))])
    assert store.objects.read('blob', found) == TEXT


def test_a_list_stands_in_for_a_damaged_file_and_a_file_for_a_broken_list(store, put):
    half = len(TEXT) // 2
    put(store, 'blob', TEXT[:half], TEXT[half:])
    found = add_list(store, TEXT, [(key.of(TEXT[:half]), half), (key.of(TEXT[half:]), half)])
    add_loose(store, TEXT, content=TEXT[:-1])
    assert store.objects.read('blob', found) == TEXT
    add_list(store, TEXT, [('a' * 64, 5)])
    add_loose(store, TEXT)
    assert fresh(store).read('blob', found) == TEXT


@pytest.mark.parametrize('name', ['text', 'noise', 'big'])
def test_a_damaged_only_copy_is_damaged_and_the_rest_is_served(full, name):
    data = EVERYTHING[name]
    if name == 'big':
        victims = [line.split()[0] for line in _list_of_big(full)]
        path = loose_path(full, 'blob', victims[1])
    else:
        (path,) = [
            path for suffix in codec.NAMES if os.path.exists(path := loose_path(full, 'blob', key.of(data), suffix))
        ]
    flip(path, os.path.getsize(path) // 2)
    for objects in (full.objects, fresh(full)):
        with pytest.raises(errors.Damaged):
            objects.read('blob', key.of(data))
        assert objects.has('blob', key.of(data))
        for other, expected in EVERYTHING.items():
            if other != name:
                assert objects.read('blob', key.of(expected)) == expected


def _list_of_big(made):
    for path in packs(made):
        codec_name = pack.codec_of(os.fsdecode(os.path.basename(path)))
        plain = b''.join(codec.decompress(codec_name, (read_file(path),)))
        for name, start, size in pack.members(plain):
            if name == f'blob/{key.of(BIG)}.list':
                return plain[start : start + size].decode().splitlines()[1:]
    raise AssertionError('no list')


def test_a_frame_that_is_damaged_costs_no_other_frame(store, put):
    contents = [noise(200 * KIB, b'%d' % number) for number in range(12)]
    put(store, 'blob', *contents)
    (path,) = packs(store)
    flip(path, 1000)
    objects = fresh(store)
    lost = [data for data in contents if outcome(objects, 'blob', key.of(data)) is None]
    assert 1 <= len(lost) <= 6
    assert all(objects.has('blob', key.of(data)) for data in lost)


@pytest.mark.parametrize('content', [b'', b'sma', b'small and more', b'SMALL'])
def test_a_file_that_is_not_what_its_name_says_is_damaged(store, content):
    found = add_loose(store, b'small', content=content)
    with pytest.raises(errors.Damaged, match=found):
        store.objects.read('blob', found)


def test_a_pack_that_vanishes_while_the_store_is_open_is_not_found(store, put):
    found, other = put(store, 'blob', b'goes'), put(store, 'tree', b'stays')
    objects = fresh(store)
    for path in [*packs(store), *indexes(store)]:
        if b'goes' not in path and objects.cache.find('blob', found)[0][0].encode()[:69] in path:
            os.unlink(path)
    assert outcome(objects, 'blob', found) is None
    assert not objects.has('blob', found)
    assert objects.read('tree', other) == b'stays'


def test_a_pack_that_is_cut_still_gives_what_is_whole(store, put):
    contents = [noise(200 * KIB, b'%d' % number) for number in range(12)]
    put(store, 'blob', *contents)
    (path,) = packs(store)
    write(path, read_file(path)[: 1500 * KIB])
    objects = fresh(store)
    found = [outcome(objects, 'blob', key.of(data)) for data in contents]
    assert [seen == data or seen is None for seen, data in zip(found, contents)] == [True] * 12
    assert 5 <= sum(seen is not None for seen in found) <= 7


# ---- damage behind the first megabytes ----


def in_pieces(objects, found):
    """What a reader of chunks has when it is done, and whether it was told of damage."""
    taken = []
    try:
        for chunk in objects.chunks('blob', found):
            taken.append(bytes(chunk))
        return b''.join(taken), True
    except errors.Error:
        return b''.join(taken), False


@pytest.mark.parametrize('second', ['whole', 'damaged', 'none'])
@pytest.mark.parametrize('first', ['cut', 'flipped'])
def test_no_byte_comes_twice_when_a_long_plain_copy_is_damaged_at_its_end(store, first, second):
    data = noise(12 * MIB)
    harmed = data[:-1000] if first == 'cut' else data[:-1000] + b'x' + data[-999:]
    found = add_loose(store, data, content=harmed)
    if second != 'none':
        content = codec.compress('zstd', data)
        add_loose(store, data, '.zst', content=content if second == 'whole' else content[:-100])
    taken, is_whole = in_pieces(store.objects, found)
    assert taken == data if is_whole else harmed.startswith(taken)


@pytest.mark.parametrize('second', ['whole', 'damaged', 'none'])
def test_no_byte_comes_twice_when_a_long_compressed_copy_is_damaged_at_its_end(store, second):
    data = noise(12 * MIB)
    found = add_loose(store, data, '.gz', content=codec.compress('gzip', data)[:-100])
    if second != 'none':
        content = codec.compress('zstd', data)
        add_loose(store, data, '.zst', content=content if second == 'whole' else content[:-100])
    taken, is_whole = in_pieces(store.objects, found)
    assert taken == data if is_whole else data.startswith(taken)


def test_no_byte_comes_twice_when_the_disk_fails_in_the_middle(store, monkeypatch):
    data = noise(12 * MIB)
    found = add_loose(store, data)
    blocks = []

    class Failing:
        """A file whose tenth block cannot be read."""

        def __init__(self, path, *arguments, **options):
            self.file = open(path, *arguments, **options)
            self.is_object = os.fsencode(path).endswith(found.encode())

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def read(self, *size):
            blocks.append(1)
            if self.is_object and self.file.tell() >= 10 * MIB:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return self.file.read(*size)

    from chkfs.storage import objects

    monkeypatch.setattr(objects, 'open', Failing, raising=False)
    taken, is_whole = in_pieces(store.objects, found)
    assert blocks, 'the failing file was read'
    assert not is_whole and data.startswith(taken)


def test_a_big_object_with_a_damaged_piece_gives_a_beginning_and_an_error(full):
    victim = [line.split()[0] for line in _list_of_big(full)][-1]
    flip(loose_path(full, 'blob', victim), 100)
    taken, is_whole = in_pieces(full.objects, key.of(BIG))
    assert not is_whole and BIG.startswith(taken) and len(taken) > 0


def test_a_big_object_that_is_not_read_to_its_end_waits_for_no_thread(full, monkeypatch):
    """It may be the garbage collector that drops it, with locks of threading in its hands."""
    waited = []
    shutdown = futures.ThreadPoolExecutor.shutdown

    def noting(pool, wait=True, **options):
        waited.append(wait)
        shutdown(pool, wait=wait, **options)

    monkeypatch.setattr(futures.ThreadPoolExecutor, 'shutdown', noting)
    chunks = full.objects.chunks('blob', key.of(BIG))
    next(chunks)
    chunks.close()
    assert waited == [False]
    assert b''.join(full.objects.chunks('blob', key.of(BIG))) == BIG
    assert waited == [False, True]


# ---- hostile lists ----


def test_a_list_that_names_itself_is_damaged(store):
    found = add_list(store, b'ouroboros', [(key.of(b'ouroboros'), 9)])
    with pytest.raises(errors.Damaged, match='itself'):
        store.objects.read('blob', found)


def test_the_size_of_a_list_is_that_of_its_pieces_which_are_not_read(store):
    found = add_list(store, b'large', [('ab' * 32, 9), ('cd' * 32, 1 << 50)])
    assert store.objects.size('blob', found) == 9 + (1 << 50)


def test_lists_that_name_each_other_are_damaged(store):
    add_list(store, b'a', [(key.of(b'b'), 1)])
    add_list(store, b'b', [(key.of(b'a'), 1)])
    for data in (b'a', b'b'):
        with pytest.raises(errors.Damaged):
            store.objects.read('blob', key.of(data))


def test_lists_that_are_too_deep_are_damaged(store, put):
    put(store, 'blob', b'x')
    below = b'x'
    for level in range(DEEPEST_LIST + 1):
        above = b'%d' % level
        add_list(store, above, [(key.of(below), 1)])
        below = above
    with pytest.raises(errors.Damaged):
        store.objects.read('blob', key.of(below))


@pytest.mark.parametrize('missing', [0, 1, 2])
def test_a_list_with_a_missing_piece_is_an_error(store, put, missing):
    pieces = [b'one', b'two', b'three']
    put(store, 'blob', *[piece for number, piece in enumerate(pieces) if number != missing])
    found = add_list(store, b''.join(pieces), [(key.of(piece), len(piece)) for piece in pieces])
    with pytest.raises((errors.Damaged, errors.NotFound)):
        store.objects.read('blob', found)
    assert outcome(store.objects, 'blob', key.of(pieces[missing - 1])) == pieces[missing - 1]


def test_a_list_in_the_wrong_order_is_damaged(store, put):
    put(store, 'blob', b'one', b'two')
    found = add_list(store, b'onetwo', [(key.of(b'two'), 3), (key.of(b'one'), 3)])
    with pytest.raises(errors.Damaged):
        store.objects.read('blob', found)


@pytest.mark.parametrize('content', [b'', b'# chkfs list 2\n', b'rubbish', piecelist.HEADER.encode() + b'x 1\n'])
def test_a_list_that_is_none_is_damaged(store, content):
    found = add_loose(store, b'whole', '.list', content=content)
    with pytest.raises(errors.Damaged):
        store.objects.read('blob', found)


@pytest.mark.parametrize('size', [0, 1, 10**15])
def test_a_size_in_a_list_that_is_wrong_does_no_harm(store, put, size):
    """Sizes are for seeking; the digests decide."""
    piece = noise(300 * KIB)
    put(store, 'blob', piece)
    found = add_list(store, piece * 2, [(key.of(piece), size)] * 2)
    assert outcome(store.objects, 'blob', found) in (piece * 2, None)


# ---- hostile indexes ----


@pytest.mark.parametrize(
    'numbers',
    ['5 0 0', '5 999999999 5', '-5 0 100', '5 -100 100', '5 -1000000000000000 1000000000000000', f'{2**70} 0 100'],
)
def test_an_index_of_impossible_numbers_does_not_stop_other_packs(store, put, numbers):
    put(store, 'blob', b'the victim')
    good = put(store, 'tree', b'in another pack')
    victim = key.of(b'the victim')
    (path,) = [path for path in indexes(store) if victim.encode() in read_file(path)]
    body = f'blob/{victim} {numbers}\n'.encode()
    write(path, body + b'# sha256 ' + key.of(body).encode() + b'\n')
    objects = fresh(store)
    assert outcome(objects, 'blob', victim) in (b'the victim', None)
    assert objects.read('tree', good) == b'in another pack'


# ---- reading writes nothing ----


def test_reading_never_writes_into_the_store(full, store_on_disk, tmp_path):
    for path in indexes(full)[:1]:
        os.unlink(path)
    subprocess.run(['chmod', '-R', 'a-w', full.root], check=True)
    before = store_on_disk(full)
    for attempt in range(2):
        objects = store.Store(full.root).objects
        assert_complete(objects)
        for type in key.TYPES:
            list(objects.keys(type))
        objects.count()
        assert outcome(objects, 'blob', 'a' * 64) is None
        if attempt == 0:
            shutil.rmtree(tmp_path / 'cache')
    assert store_on_disk(full) == before


@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a filesystem')
def test_a_store_on_a_read_only_mount_can_be_read(full, tmp_path):
    mounted = tmp_path / 'read-only'
    mounted.mkdir()
    bind = ['mount', '--bind', os.fsdecode(full.root), mounted]
    if subprocess.run(bind, capture_output=True).returncode:
        pytest.skip('cannot mount here')
    try:
        subprocess.run(['mount', '-o', 'remount,ro,bind', mounted], check=True)
        with pytest.raises(OSError):
            (mounted / 'test').write_bytes(b'')
        made = store.Store(os.fsencode(mounted))
        assert_complete(made.objects)
        with pytest.raises(errors.Error, match='read-only'):
            made.writer()
    finally:
        subprocess.run(['umount', mounted], check=True)


# ---- caches change nothing ----


def test_deleting_the_cache_changes_nothing(full, tmp_path):
    with_cache = [list(full.objects.keys(type)) for type in key.TYPES]
    shutil.rmtree(tmp_path / 'cache')
    again = store.Store(full.root).objects
    assert [list(again.keys(type)) for type in key.TYPES] == with_cache
    assert_complete(again)


@pytest.mark.parametrize('how', ['damaged', 'unreadable'])
def test_a_pack_that_was_mended_is_read_again(store, put, monkeypatch, how):
    """Say from a mirror: under the same name, so of the same size."""
    from chkfs.storage import store as stores

    found = put(store, 'blob', b'was damaged for a while')
    for path in indexes(store):
        os.unlink(path)
    (path,) = packs(store)
    good = read_file(path)
    shutil.rmtree(os.environ['XDG_CACHE_HOME'])
    with monkeypatch.context() as patch:
        if how == 'damaged':
            flip(path, 100)
        else:
            patch.setattr(pack, 'scan', lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, 'Input/output error')))
        assert outcome(stores.Store(store.root).objects, 'blob', found) is None
    write(path, good)
    assert fresh(store).read('blob', found) == b'was damaged for a while'
    assert stores.Store(store.root).objects.read('blob', found) == b'was damaged for a while'


@pytest.mark.parametrize('change', ['offset = offset + 1', 'length = 1', 'type = 1 - type'])
def test_a_cache_that_is_wrong_changes_no_answer(store, put, change):
    from chkfs.storage import store as stores

    found = put(store, 'blob', b'where am I?')
    with sqlite3.connect(os.path.join(os.fsdecode(store._caches), 'objects.sqlite')) as database:
        database.execute(f'UPDATE object SET {change}')
    assert stores.Store(store.root).objects.read('blob', found) == b'where am I?'


def test_an_object_that_is_missing_does_not_cost_the_cache(store, put):
    put(store, 'blob', b'here')
    epoch = store.objects.cache.epoch
    with pytest.raises(errors.NotFound):
        store.objects.read('blob', key.of(b'not here'))
    assert store.objects.cache.epoch == epoch and store.objects.cache.has('blob', key.of(b'here'))


def test_a_copy_whose_library_is_missing_is_passed_over(store, monkeypatch):
    found = add_loose(store, TEXT, '.zst', content=codec.compress('zstd', TEXT))
    half = len(TEXT) // 2
    add_loose(store, TEXT[:half])
    add_loose(store, TEXT[half:])
    add_list(store, TEXT, [(key.of(TEXT[:half]), half), (key.of(TEXT[half:]), half)])
    for module in ('compression', 'compression.zstd', 'backports', 'backports.zstd'):
        monkeypatch.setitem(sys.modules, module, None)
    assert store.objects.read('blob', found) == TEXT
