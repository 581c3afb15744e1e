"""repack: objects change their place and their codec, and nothing else; whatever happens, none is lost."""

import contextlib
import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chkfs import errors
from chkfs.storage import cache, codec, fsck, objects, pack, publish, repack, salvage
from chkfs.storage import store as stores
from chkfs.text import key as keys
from chkfs.text import piecelist

KIB, MIB = 1 << 10, 1 << 20
CODECS = tuple(codec.SUFFIXES)


def noise(size, seed):
    return hashlib.shake_128(seed.encode()).digest(size)


def text(size, seed):
    return noise(size // 8, seed).hex().encode() * 4


MEDIUM, RANDOM = text(300 * KIB, 'medium'), noise(270 * KIB, 'random')
PIECES = text(260 * KIB, 'piece'), noise(10 * KIB, 'piece')
LISTED = b''.join(PIECES)
LOOSE_TREE = b'#mtree\n# chkfs tree 1\n# ' + text(400 * KIB, 'tree') + b'\n'


def fill(store, put):
    """Three packs, small files of both types, a loose list, and larger files that stay."""
    put(store, 'blob', *(text(3 * KIB, f'a{n}') for n in range(40)), MEDIUM)
    put(store, 'tree', *(b'#mtree\n# %d\n' % n for n in range(20)))
    put(store, 'blob', *(text(2 * KIB, f'c{n}') for n in range(40)), b'', text(3 * KIB, 'a3'), RANDOM)
    put(store, 'blob', b'small and loose', text(50 * KIB, 'loose'), *PIECES, loose=True)
    put(store, 'tree', LOOSE_TREE, loose=True)
    add_file(store, path_of(LISTED, '.list'), piecelist.format([(keys.of(piece), len(piece)) for piece in PIECES]))


def path_of(blob, suffix=''):
    return f'objects/blob/{keys.of(blob)[:2]}/{keys.of(blob)}{suffix}'


@pytest.fixture
def full(store, put):
    fill(store, put)
    return store


def everything(root):
    """(type, key) to the SHA-256 of each object, as a reader finds it who comes now and knows nothing."""
    reader = objects.Objects(root, cache.ObjectCache(None))
    return {(type, key): digest(reader, type, key) for type in keys.TYPES for key in reader.keys(type)}


def digest(reader, type, key):
    found = hashlib.sha256()
    for block in reader.chunks(type, key):
        found.update(block)
    assert found.hexdigest() == key
    return found.hexdigest()


def problems(root):
    return list(fsck.Fsck(stores.Store(root)).check(full=True))


def run(store, codec_name=None, **settings):
    """Repacks as a process does that comes now; gives the outcome and the lines of problems."""
    lines = []
    work = repack.Repack(stores.Store(store.root), codec_name, report=lines.append, **settings)
    return work.run(), lines


def files(store, directory='packs'):
    """Path from the store's top to (size, inode) of all files below a directory."""
    found = {}
    for here, _, names in os.walk(os.path.join(store.root, directory.encode())):
        for name in names:
            path = os.path.join(here, name)
            status = os.lstat(path)
            found[os.fsdecode(os.path.relpath(path, store.root))] = status.st_size, status.st_ino
    return found


def packs(store):
    return sorted(path for path in files(store) if pack.codec_of(path[6:]))


def members(store, path):
    """Names in the order in which they lie in a pack."""
    full_path = os.path.join(store.root, path.encode())
    return [name for name, _ in pack.contents(full_path, pack.codec_of(path[6:]))]


def flip(store, path, at):
    path = os.path.join(store.root, path.encode())
    os.chmod(path, 0o600)
    with open(path, 'r+b') as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte[0] ^ 0x41,)))


def add_file(store, path, data):
    target = os.path.join(store.root, path.encode())
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, 'wb') as file:
        file.write(data)


def add_pack(store, plain, codec_name='gzip'):
    """Puts a pack of one frame into the store, under its right name."""
    data = codec.compress(codec_name, plain)
    name = f'pack-{keys.of(data)}.tar{codec.SUFFIXES[codec_name]}'
    add_file(store, f'packs/{name}', data)
    return f'packs/{name}'


def member(data, name=None):
    name = name or f'blob/{keys.of(data)}'
    return pack.header(name, len(data)) + data + bytes(-len(data) % 512)


def nothing_is_left(store):
    return os.listdir(os.path.join(store.root, b'incoming')) == []


# ---- what it does ----


def test_small_packs_and_small_files_become_one_pack(full):
    before = everything(full.root)
    assert len(packs(full)) == 3
    outcome, lines = run(full)
    assert everything(full.root) == before and lines == [] and problems(full.root) == []
    assert len(packs(full)) == 1
    stay = {keys.of(data) for data in (MEDIUM, RANDOM, PIECES[0])}
    assert {path.split('/')[3][:64] for path in files(full, 'objects')} == stay
    assert f'blob/{keys.of(LISTED)}.list' in members(full, *packs(full))
    assert (outcome.before['packs'], outcome.after['packs']) == (3, 1)
    assert outcome.after['loose-trees'] == 0 and outcome.damaged_files == 0
    assert nothing_is_left(full)


def test_a_second_time_there_is_nothing_to_do(full):
    run(full)
    before = files(full, ''), os.stat(os.path.join(full.root, b'packs')).st_mtime_ns
    outcome, _ = run(full)
    assert outcome.removed_files == 0 and outcome.before == outcome.after
    assert (files(full, ''), os.stat(os.path.join(full.root, b'packs')).st_mtime_ns) == before


@pytest.mark.parametrize('old', CODECS)
@pytest.mark.parametrize('new', CODECS)
def test_every_codec_to_every_codec(make_store, put, old, new):
    store = make_store(old)
    fill(store, put)
    before = everything(store.root)
    _, lines = run(store, new)
    assert everything(store.root) == before and lines == [] and problems(store.root) == []
    assert [pack.codec_of(path[6:]) for path in packs(store)] == [new]
    suffixes = {path[64:].partition('.')[2] for path in files(store, 'objects/blob')}
    assert suffixes <= {'', codec.SUFFIXES[new][1:]}
    medium = [path for path in files(store, 'objects/blob') if keys.of(MEDIUM) in path]
    assert [path.partition(keys.of(MEDIUM))[2] for path in medium] == [codec.SUFFIXES[new]]
    if old != 'none' or new == 'none':  # what does not become smaller stays plain
        assert path_of(RANDOM) in files(store, 'objects/blob')
    assert run(store, new)[0].removed_files == 0


def test_nothing_to_do_in_an_empty_store(store):
    assert run(store)[0].removed_files == run(store, 'xz')[0].removed_files == 0


def test_one_small_pack_is_left_alone_and_so_is_one_of_another_codec(store, put, make_store):
    put(store, 'blob', b'one')
    before = files(store)
    run(store)
    assert files(store) == before
    add_pack(store, member(b'two') + bytes(1024), 'bzip2')
    add_pack(store, member(b'three') + bytes(1024), 'bzip2')
    before = files(store)
    run(store)
    assert files(store) == before
    run(store, 'gzip')
    assert len(packs(store)) == 1 and len(everything(store.root)) == 3


def test_the_order_of_objects_is_kept_and_trees_lie_apart(full):
    old = [members(full, path) for path in sorted(packs(full), key=lambda path: mtime(full, path))]
    run(full)
    (path,) = packs(full)
    new = members(full, path)
    for type in ('blob/', 'tree/'):
        wanted = list(dict.fromkeys(name for names in old for name in names if name.startswith(type)))
        assert [name for name in new if name in wanted] == wanted
    reader = objects.Objects(full.root, cache.ObjectCache(None))
    kinds = {}
    for place in reader.places(path[6:]):
        kinds.setdefault(place.offset, set()).add(place.name.startswith('blob/') and not place.name.endswith('.list'))
    assert all(len(kind) == 1 for kind in kinds.values())


def mtime(store, path):
    return os.stat(os.path.join(store.root, path.encode())).st_mtime_ns


def test_packs_are_as_large_as_they_may_be_and_not_larger(store, put):
    for number in range(8):
        put(store, 'blob', *(noise(100 * KIB, f'{number} {n}') for n in range(10)))
    before = everything(store.root)
    run(store, max_pack_bytes=4 * MIB)
    sizes = [files(store)[path][0] for path in packs(store)]
    assert len(sizes) in (2, 3) and max(sizes) <= 4 * MIB and sorted(sizes)[-2] >= 3 * MIB
    assert everything(store.root) == before
    assert run(store, max_pack_bytes=4 * MIB)[0].removed_files == 0


def test_a_pack_of_half_the_size_or_more_stays(store, put):
    put(store, 'blob', *(noise(100 * KIB, f'large {n}') for n in range(10)))
    (large,) = packs(store)
    for number in range(3):
        put(store, 'blob', b'%d' % number)
    run(store, max_pack_bytes=MIB)
    assert large in packs(store) and len(packs(store)) == 2


def test_many_members_make_another_pack(store, put, monkeypatch):
    monkeypatch.setattr(repack, '_MOST_MEMBERS', 30)
    put(store, 'blob', *(b'%d' % n for n in range(10)))
    put(store, 'blob', *(b'%d' % n for n in range(10, 70)), loose=True)
    before = everything(store.root)
    run(store)
    assert [len(members(store, path)) for path in packs(store)].count(30) == 2
    assert everything(store.root) == before


@pytest.mark.parametrize('settings', [('brotli',), (None, 1000)])
def test_what_cannot_be_asked_for(store, settings):
    with pytest.raises(errors.Usage):
        repack.Repack(store, *settings)


# ---- what is there more than once ----


def test_a_file_whose_object_is_in_a_large_pack_goes_without_a_new_pack(store, put):
    large = [noise(100 * KIB, f'large {n}') for n in range(10)]
    put(store, 'blob', *large)
    before = files(store)
    add_file(store, path_of(large[3]), large[3])
    outcome, _ = run(store, max_pack_bytes=MIB)
    assert outcome.removed_files == 1 and files(store) == before and files(store, 'objects/blob') == {}


def test_a_new_pack_that_has_the_name_of_an_old_one_does_not_go_with_it(store, put):
    """The same objects in the same order are the same file: the second copy is the first one."""
    put(store, 'blob', b'one', b'two')
    before = files(store)
    add_file(store, path_of(b'two'), b'two')
    outcome, _ = run(store)
    assert files(store) == before and outcome.removed_files == 1
    assert everything(store.root).keys() == {('blob', keys.of(b'one')), ('blob', keys.of(b'two'))}


def test_a_damaged_pack_is_replaced_by_a_new_one_that_is_what_its_name_says(store, put):
    put(store, 'blob', b'one', b'two')
    (path,) = packs(store)
    add_file(store, path_of(b'one'), b'one')
    add_file(store, path_of(b'two'), b'two')
    flip(store, path, 40)
    run(store)
    assert everything(store.root).keys() == {('blob', keys.of(b'one')), ('blob', keys.of(b'two'))}


def test_a_damaged_copy_in_a_pack_is_no_first_copy(store, put):
    large = [noise(100 * KIB, f'large {n}') for n in range(30)]
    put(store, 'blob', *large)
    (path,) = packs(store)
    add_file(store, path_of(large[0]), large[0])
    flip(store, path, 50 * KIB)
    run(store, max_pack_bytes=MIB)
    assert len(packs(store)) == 2
    assert objects.Objects(store.root, cache.ObjectCache(None)).read('blob', keys.of(large[0])) == large[0]


def test_an_object_twice_in_one_pack_and_in_another_is_there_once(store):
    add_pack(store, member(b'one') * 2 + member(b'two') + bytes(1024))
    add_pack(store, member(b'two') + member(b'three') + bytes(1024))
    assert run(store)[1] == []
    (path,) = packs(store)
    assert sorted(members(store, path)) == sorted(f'blob/{keys.of(data)}' for data in (b'one', b'two', b'three'))


def test_two_lists_of_one_object_are_both_kept(store, put):
    halves, whole = (b'a' * 1000, b'b' * 1000), b'a' * 1000 + b'b' * 1000
    put(store, 'blob', *halves, whole[:500], whole[500:])
    name = f'blob/{keys.of(whole)}.list'
    lists = [
        piecelist.format([(keys.of(part), len(part)) for part in parts])
        for parts in (halves, (whole[:500], whole[500:]))
    ]
    for found in lists:
        add_pack(store, member(found, name) + bytes(1024))
    run(store)
    there = [
        data
        for path in packs(store)
        for each, data in pack.contents(os.path.join(store.root, path.encode()), 'gzip')
        if each == name
    ]
    assert sorted(there) == sorted(lists)


def test_what_was_published_before_a_death_is_not_written_again(full):
    """A death between the new pack and the removal of what is in it."""
    saved = os.fsencode(full.root) + b'.saved'
    shutil.copytree(full.root, saved)
    before = everything(full.root)
    run(full, 'xz', max_pack_bytes=MIB)
    (made,) = packs(full)
    shutil.copytree(saved, full.root, dirs_exist_ok=True)
    assert len(packs(full)) == 4
    size = files(full)[made]
    run(full, 'xz', max_pack_bytes=MIB)
    assert packs(full) == [made] and files(full)[made] == size
    assert everything(full.root) == before


# ---- what is damaged stays ----


@pytest.mark.parametrize('where', [0, 12, 3000, -30, -2])
@pytest.mark.parametrize('codec_name', [None, 'zstd', 'none'])
def test_a_damaged_pack_stays_and_the_others_are_gathered(full, where, codec_name):
    path = max(packs(full), key=lambda each: files(full)[each][0])
    flip(full, path, where)
    damaged = files(full)[path]
    reader = objects.Objects(full.root, cache.ObjectCache(None))
    before = {(type, key) for type in keys.TYPES for key in reader.keys(type) if is_whole(full, type, key)}
    outcome, lines = run(full, codec_name)
    assert outcome.damaged_files == len(lines) == 1 and path in lines[0]
    assert files(full)[path] == damaged and f'packs/{pack.index_name(path[6:])}' in files(full)
    assert len(packs(full)) == 2
    assert all(is_whole(full, *each) for each in before)


def is_whole(store, type, key):
    try:
        digest(objects.Objects(store.root, cache.ObjectCache(None)), type, key)
        return True
    except errors.Error:
        return False


@pytest.mark.parametrize(
    'plain',
    [
        member(b'good') + member(b'bad', f'blob/{keys.of(b"good one")}') + bytes(1024),
        member(b'good') + bytes(512) + member(b'hidden behind a block of zeros') + bytes(1024),
        member(b'good') + member(b'what', '../../etc/passwd') + bytes(1024),
        member(b'good') + b'something' + bytes(1024),
        member(b'good') + pack.header(f'blob/{keys.of(b"x")}', 5000),
    ],
)
@pytest.mark.parametrize('codec_name', ['gzip', 'none'])
def test_a_pack_with_anything_strange_in_it_stays(store, put, plain, codec_name):
    path = add_pack(store, plain, codec_name)
    put(store, 'blob', b'other')
    put(store, 'blob', b'another')
    outcome, lines = run(store, 'bzip2')
    assert path in files(store) and path in lines[0] and outcome.damaged_files == 1
    assert is_whole(store, 'blob', keys.of(b'other')) and is_whole(store, 'blob', keys.of(b'good'))


@pytest.mark.parametrize('codec_name', CODECS)
def test_bytes_between_frames_keep_a_pack_where_it_is(store, codec_name):
    parts = [member(noise(5000, 'one')), b'\1' * 512, member(noise(5000, 'two')), bytes(1024)]
    data = b''.join(part if part[0] == 1 else codec.compress(codec_name, part) for part in parts)
    path = f'packs/pack-{keys.of(data)}.tar{codec.SUFFIXES[codec_name]}'
    add_file(store, path, data)
    _, lines = run(store, 'xz' if codec_name != 'xz' else 'gzip')
    assert path in files(store) and len(lines) == 1


@pytest.mark.parametrize('harm', ['lost', 'damaged', 'of what a repair left out'])
def test_what_an_index_does_not_name_is_gathered_all_the_same(full, harm):
    before = everything(full.root)
    for path in packs(full):
        index = f'packs/{pack.index_name(path[6:])}'
        if harm == 'lost':
            os.unlink(os.path.join(full.root, index.encode()))
        elif harm == 'damaged':
            flip(full, index, 20)
        else:
            os.unlink(os.path.join(full.root, index.encode()))
            add_file(full, index, pack.format_index([]))
    run(full)
    assert everything(full.root) == before and problems(full.root) == []


@pytest.mark.parametrize('codec_name', [None, 'zstd'])
@pytest.mark.parametrize('data', [b'small and loose', MEDIUM, LOOSE_TREE])
def test_a_damaged_file_stays(full, data, codec_name):
    (path,) = [each for each in files(full, 'objects') if keys.of(data) in each]
    flip(full, path, 10)
    before = files(full, 'objects')[path]
    _, lines = run(full, codec_name)
    assert files(full, 'objects')[path] == before
    assert len(lines) == 1 and path in lines[0]


def test_a_damaged_form_stays_beside_a_good_one_that_goes(store):
    path = path_of(MEDIUM)
    add_file(store, path, MEDIUM[:-1])
    add_file(store, path + '.gz', codec.compress('gzip', MEDIUM))
    _, lines = run(store, 'zstd')
    assert set(files(store, 'objects')) == {path, path + '.zst'} and len(lines) == 1
    assert everything(store.root) == {('blob', keys.of(MEDIUM)): keys.of(MEDIUM)}


def test_a_damaged_file_in_the_new_form_is_replaced(store):
    path = path_of(MEDIUM)
    add_file(store, path, MEDIUM)
    add_file(store, path + '.zst', codec.compress('zstd', MEDIUM)[:-9])
    _, lines = run(store, 'zstd')
    assert set(files(store, 'objects')) == {path + '.zst'} and lines == []
    assert everything(store.root) == {('blob', keys.of(MEDIUM)): keys.of(MEDIUM)}


@pytest.mark.parametrize('change', ['another piece', 'a piece that is missing', 'no list'])
def test_a_list_that_does_not_make_its_object_stays(full, change):
    path = path_of(LISTED, '.list')
    other = keys.of(MEDIUM) if change == 'another piece' else '0' * 64
    data = b'nonsense' if change == 'no list' else piecelist.format([(keys.of(PIECES[0]), 5), (other, 5)])
    os.unlink(os.path.join(full.root, path.encode()))
    add_file(full, path, data)
    _, lines = run(full)
    assert path in files(full, 'objects') and len(lines) == 1


def test_a_file_longer_than_ours_is_compressed_too(store, monkeypatch):
    monkeypatch.setattr(repack, '_STREAM_BYTES', MIB)
    data = text(objects.WHOLE_BYTES + MIB, 'long')
    add_file(store, path_of(data), data)
    for codec_name in ('gzip', 'bzip2', 'none'):
        run(store, codec_name)
        (path,) = files(store, 'objects')
        assert path.partition(keys.of(data))[2] == codec.SUFFIXES[codec_name]
        assert everything(store.root) == {('blob', keys.of(data)): keys.of(data)}


# ---- the disk ----


@pytest.mark.parametrize('victim', ['pack', 'index', 'file'])
def test_what_cannot_be_read_back_is_set_aside_and_nothing_is_removed(full, monkeypatch, victim):
    before, old = everything(full.root), files(full, 'packs') | files(full, 'objects')
    publish_as_before = publish.Run.publish

    def publish_badly(self, places):
        publish_as_before(self, places)
        for _, path in places:
            if {'pack': '.tar.' in path, 'index': '.index' in path, 'file': '/blob/' in path}[victim]:
                flip(full, path, 30)

    monkeypatch.setattr(publish.Run, 'publish', publish_badly)
    with pytest.raises(errors.Error, match='read back from disk'):
        run(full, 'zstd')
    monkeypatch.undo()
    now = files(full, 'packs') | files(full, 'objects')
    if victim != 'file':
        assert now == old
    assert all(name.startswith(b'damaged-') for name in os.listdir(os.path.join(full.root, b'incoming')))
    assert everything(full.root) == before


@pytest.mark.parametrize('codec_name', [None, 'bzip2'])
def test_a_full_disk_at_any_write_loses_nothing(full, monkeypatch, codec_name):
    before = everything(full.root)
    write, left = os.write, [0]

    def write_or_fail(fd, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    for number in range(200):
        left[0] = number
        monkeypatch.setattr(os, 'write', write_or_fail)
        try:
            run(full, codec_name)
            break
        except errors.Error as error:
            assert 'make room' in str(error)
        finally:
            monkeypatch.undo()
        assert nothing_is_left(full)
    assert 3 < number < 199
    assert everything(full.root) == before and problems(full.root) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which('mount'), reason='needs root, to mount')
def test_a_disk_that_is_really_full(tmp_path, put):
    mount = tmp_path / 'small'
    mount.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', mount], capture_output=True).returncode:
        pytest.skip('mounting is not allowed here')
    try:
        root = os.fsencode(mount / 'store')
        stores.create(root)
        store = stores.Store(root)
        for number in range(8):
            put(store, 'blob', *(noise(100 * KIB, f'{number} {n}') for n in range(10)))
        before = everything(root)
        filler = mount / 'filler'
        with contextlib.suppress(OSError), open(filler, 'wb', buffering=0) as file:
            while True:
                file.write(bytes(MIB))
        with pytest.raises(errors.Error, match='No space left on device; what is complete is safe: make room'):
            run(store)
        assert everything(root) == before and nothing_is_left(store)
        os.truncate(filler, os.path.getsize(filler) - 9 * MIB)
        run(store)
        assert everything(root) == before and len(packs(store)) == 1
    finally:
        subprocess.run(['umount', '-l', mount], check=True)


def test_new_packs_are_read_from_disk_before_anything_goes(full, monkeypatch):
    """The order: synced, renamed, synced; synced once more and dropped from the cache, read; then removed."""
    done = []
    for module, name in ((os, 'rename'), (os, 'unlink'), (os, 'posix_fadvise')):
        monkeypatch.setattr(module, name, recording(done, name, getattr(module, name)))
    monkeypatch.setattr(publish, 'sync_filesystem', lambda fd: done.append('sync'))
    monkeypatch.setattr(pack, 'digest', recording(done, 'digest', pack.digest))
    monkeypatch.setattr(objects.Objects, 'pack_members', recording(done, 'read', objects.Objects.pack_members))
    run(full)
    at = done.index('rename')
    assert done[at - 1 : at + 4] == ['sync', 'rename', 'rename', 'sync', 'posix_fadvise']
    assert done[at + 4 : at + 7] == ['posix_fadvise', 'digest', 'read']
    assert 'unlink' not in done[: at + 7] and done[at + 7] == 'sync'
    removed = done[at + 8 :]
    assert removed == ['unlink'] * 8 + ['sync'] + ['unlink'] * 3 + ['sync']  # 3 packs, 5 files; then 3 indexes


def recording(done, name, function):
    def recorded(*args, **options):
        done.append(name)
        return function(*args, **options)

    return recorded


# ---- others at the same time ----


def test_a_reader_that_knew_the_old_places_finds_everything(full):
    reader = objects.Objects(full.root, cache.ObjectCache(None))
    everywhere = list(everything(full.root))
    for type, key in everywhere:
        assert reader.has(type, key)  # it has listed every directory
    run(full, 'xz')
    for type, key in everywhere:
        digest(reader, type, key)
        assert reader.has(type, key)
        assert reader.types(key) == [type] and reader.size(type, key) >= 0
    assert [(type, key) for type in keys.TYPES for key in sorted(reader.keys(type))] == sorted(
        everywhere, key=lambda each: (keys.TYPES.index(each[0]), each[1])
    )


def test_a_list_that_moved_is_found_by_who_knew_its_old_place(full):
    run(full)
    reader = objects.Objects(full.root, cache.ObjectCache(None))
    run(full, 'xz')
    assert [key for key, _ in reader.pieces('blob', keys.of(LISTED))] == [keys.of(piece) for piece in PIECES]


def test_what_is_listed_while_a_repack_goes_by_is_complete(full):
    reader = objects.Objects(full.root, cache.ObjectCache(None))
    listed = []
    for number, key in enumerate(reader.keys('blob')):
        listed.append(key)
        if number == 20:
            run(full, 'bzip2')
    assert sorted(listed) == sorted(key for type, key in everything(full.root) if type == 'blob')
    assert len(listed) == len(set(listed))


def test_a_writer_that_began_before_stores_nothing_again(full):
    with full.writer() as writer:
        writer.put('blob', b'new')
        run(full, 'xz')
        for data in (text(3 * KIB, 'a3'), b'', MEDIUM):
            writer.put('blob', data)
        writer.checkpoint()
        assert writer.written_objects == 1
    assert len(packs(full)) == 2


def test_what_the_scan_cache_knows_stays_valid(full):
    valid = full._losses()
    run(full, 'xz')
    assert stores.Store(full.root)._losses() == valid


def test_a_backup_after_a_repack_reads_no_file_again(store, backup, source, later, monkeypatch):
    for number in range(20):
        with open(os.path.join(source, b'%d' % number), 'wb') as file:
            file.write(b'%d' % number)
    first = backup(source)
    with open(os.path.join(source, b'more'), 'wb') as file:
        file.write(b'more')
    backup(source)
    run(store)
    again = backup(source, store=stores.Store(store.root))
    assert again.written_objects == 0 and first.result.read_bytes > 0 and again.result.read_bytes == 0


def test_a_second_one_waits_for_the_first(full):
    before, notes, waits = files(full), [], threading.Event()

    def note(line):
        notes.append(line)
        waits.set()

    with ThreadPoolExecutor() as pool:
        with publish.lock(full.root, 'packs'):
            outcome = pool.submit(run, full, note=note)
            assert waits.wait(60)
            assert files(full) == before and notes == ['waiting for another chkfs-repack to end']
        assert outcome.result()[0].after['packs'] == 1


def start(function):
    """Runs a function in a child process; gives its process id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    return child


def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_many_at_once_of_different_codecs(full):
    before = everything(full.root)
    for _ in range(3):
        children = [
            start(lambda name=name: run(full, name, max_pack_bytes=MIB)) for name in ('xz', 'zstd', 'gzip', 'none')
        ]
        assert [status_of(child) for child in children] == [0] * 4
        assert everything(full.root) == before and problems(full.root) == []
        assert len(packs(full)) == 1
    assert nothing_is_left(full)


@pytest.mark.parametrize('first, second', [(None, 'xz'), ('xz', None), ('xz', 'gzip'), ('zstd', 'zstd')])
def test_where_locks_are_good_for_nothing_what_was_read_back_is_looked_at_again(full, monkeypatch, first, second):
    """On some network filesystem: a second repack runs from begin to end just before the first one removes."""
    monkeypatch.setattr(publish, 'lock', lambda *_: contextlib.nullcontext())
    before = everything(full.root)
    remove_as_before = publish.remove_second_copies

    def remove_later(root, paths, firsts):
        monkeypatch.setattr(publish, 'remove_second_copies', remove_as_before)
        run(full, second)
        remove_as_before(root, paths, firsts)

    monkeypatch.setattr(publish, 'remove_second_copies', remove_later)
    with pytest.raises(errors.Error):
        run(full, first)
    assert everything(full.root) == before
    run(full, 'gzip')
    assert everything(full.root) == before and problems(full.root) == []


def test_writers_meanwhile(full, put):
    before = everything(full.root)
    more = [text(2 * KIB, f'more {n}') for n in range(60)]

    def write():
        for at in range(0, 60, 3):
            put(stores.Store(full.root), 'blob', *more[at : at + 3], text(3 * KIB, f'a{at % 40}'), loose=at % 2 == 0)

    writers = [start(write) for _ in range(2)]
    for name in ('xz', None, 'zstd', None, 'gzip') * 3:
        run(full, name)
    assert [status_of(child) for child in writers] == [0, 0]
    run(full)
    assert everything(full.root) == before | {('blob', keys.of(data)): keys.of(data) for data in more}
    assert problems(full.root) == []


# ---- death ----


STEPS = ((os, 'rename'), (os, 'unlink'), (os, 'mkdir'), (os, 'rmdir'), (os, 'write'), (publish, 'sync_filesystem'))


def die_at(number, function):
    """In a child process: kills it before the step of that number which changes the store."""
    left = [number]

    def patched(as_before):
        def step(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return as_before(*args, **options)

        return step

    for module, name in STEPS:
        setattr(module, name, patched(getattr(module, name)))
    function()


@pytest.mark.parametrize('codec_name', [None, 'zstd'])
def test_killed_at_every_step(full, codec_name):
    saved = full.root + b'.saved'
    shutil.copytree(full.root, saved)
    before = everything(full.root)
    for number in range(1000):
        status = status_of(start(lambda at=number: die_at(at, lambda: run(full, codec_name, max_pack_bytes=MIB))))
        assert everything(full.root) == before
        assert problems(full.root) == []
        if status == 0:
            break
        assert status == -signal.SIGKILL
        _, lines = run(full, codec_name, max_pack_bytes=MIB)
        assert lines == [] and everything(full.root) == before and problems(full.root) == []
        assert len(packs(full)) == 1
        shutil.rmtree(full.root)
        shutil.copytree(saved, full.root)
    assert 20 < number < 999


@pytest.mark.parametrize('codec_name', [None, 'zstd'])
def test_what_a_dead_one_leaves_in_incoming_is_cleared_away(full, codec_name):
    before, left = everything(full.root), 0
    for number in range(3, 12):
        status = status_of(start(lambda at=number: die_at(at, lambda: run(full, codec_name))))
        assert status in (0, -signal.SIGKILL)
        left += sum(len(os.listdir(path)) for path in runs(full))
        with full.writer() as writer:
            salvage.salvage(writer, full.root)
            assert writer.written_objects == 0
        assert nothing_is_left(full) and everything(full.root) == before
    assert left > 0


def runs(store):
    incoming = os.path.join(store.root, b'incoming')
    return [os.path.join(incoming, name) for name in os.listdir(incoming)]


def test_killed_at_random_moments_and_started_again(full):
    before, dice = everything(full.root), random.Random(1)
    deaths = 0
    for number in range(25):
        child = start(lambda name=CODECS[number % 5]: run(full, name, max_pack_bytes=MIB))
        threading.Event().wait(dice.random() * 0.3)
        os.kill(child, signal.SIGKILL)
        deaths += status_of(child) != 0
        assert everything(full.root) == before
    assert deaths > 3
    run(full, 'gzip')
    assert everything(full.root) == before and problems(full.root) == []


@pytest.mark.parametrize('moment', range(0, 60, 7))
def test_stopped_at_any_step(full, moment):
    before = everything(full.root)
    left = [moment]

    def step(path, work):
        left[0] -= 1
        if left[0] < 0:
            raise errors.Interrupted('stop')

    with contextlib.suppress(errors.Interrupted):
        run(full, 'xz', step=step)
    assert everything(full.root) == before and nothing_is_left(full)


def test_an_index_that_a_death_left_goes_and_one_of_a_lost_pack_stays(store, put):
    """What that names is nowhere else; it may help to find out what was lost."""
    put(store, 'blob', b'one')
    (pack_of_one,) = packs(store)
    add_file(store, f'packs/pack-{"0" * 64}.index', pack.format_index([pack.Place(f'blob/{keys.of(b"one")}', 3, 0, 9)]))
    assert problems(store.root) == []
    lost = f'packs/pack-{"1" * 64}.index'
    add_file(store, lost, pack.format_index([pack.Place(f'blob/{keys.of(b"lost")}', 4, 0, 9)]))
    run(store)
    assert set(files(store)) == {pack_of_one, f'packs/{pack.index_name(pack_of_one[6:])}', lost}
