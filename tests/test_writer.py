"""writer: every size to its form, nothing visible before its time, nothing stored twice."""

import errno
import hashlib
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import chunker, codec, pack, publish, store
from chkfs.storage import writer as writers
from chkfs.text import key, tree

KIB, MIB = 1 << 10, 1 << 20
CODECS = tuple(codec.SUFFIXES)


def noise(size, seed=b''):
    """Bytes that do not compress, always the same."""
    return hashlib.shake_128(b'noise' + seed).digest(size)


def text(size):
    return (b'all work and no play makes a dull text\n' * (size // 39 + 1))[:size]


SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG = b'small', text(300 * KIB), noise(300 * KIB), noise(9 * MIB)


def files(store, top=b'.'):
    """Paths of all files below a directory of the store."""
    found = []
    for directory, _, names in os.walk(os.path.join(store.root, top)):
        found += [os.path.relpath(os.path.join(directory, name), store.root).decode() for name in names]
    return sorted(found)


def objects_on_disk(store):
    return [name for name in files(store) if name.startswith(('objects/', 'packs/'))]


def members(store):
    """Name to size of what lies in the packs, by their indexes."""
    found = {}
    for name in files(store, b'packs'):
        if name.endswith('.index'):
            with open(os.path.join(store.root, name.encode()), 'rb') as file:
                found.update({place.name: place.size for place in pack.parse_index(file.read())})
    return found


def reopened(old):
    return store.Store(old.root)


def is_empty(store):
    return objects_on_disk(store) == [] and os.listdir(os.path.join(store.root, b'incoming')) == []


# ---- sizes and forms ----


@pytest.mark.parametrize('codec_name', CODECS)
@pytest.mark.parametrize('type', ['blob', 'tree'])
def test_every_size_goes_to_its_form_and_comes_back(make_store, put, codec_name, type):
    made = make_store(codec_name)
    for data in (SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG, b''):
        assert put(made, type, data) == hashlib.sha256(data).hexdigest()
    loose = {name.rpartition('/')[2]: name for name in files(made, b'objects')}
    packed = {f'{type}/{key.of(SMALL)}', f'{type}/{key.of(b"")}', f'{type}/{key.of(BIG)}.list'}
    for data, suffix in ((MEDIUM_TEXT, codec.SUFFIXES[codec_name]), (MEDIUM_NOISE, '')):
        found = key.of(data)
        if type == 'tree':
            packed.add(f'tree/{found}')  # a tree must not be visible before the blobs that it names
        else:
            assert loose.pop(found + suffix) == f'objects/blob/{found[:2]}/{found}{suffix}'
    assert members(made).keys() == packed
    # what is left are the pieces: blobs, named by their bytes, that do not compress
    assert 2 <= len(loose) <= 18
    for name, path in loose.items():
        assert path == f'objects/blob/{name[:2]}/{name}'
    for objects in (made.objects, reopened(made).objects):
        for data in (SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG, b''):
            assert objects.read(type, key.of(data)) == data
            assert objects.has(type, key.of(data)) and objects.size(type, key.of(data)) == len(data)


@pytest.mark.parametrize(
    'size, form', [(256 * KIB - 1, 'packed'), (256 * KIB, 'loose'), (8 * MIB, 'loose'), (8 * MIB + 1, 'listed')]
)
def test_the_sizes_where_the_form_changes(store, put, size, form):
    found = put(store, 'blob', text(size))
    forms = {
        'packed': f'blob/{found}' in members(store),
        'loose': f'objects/blob/{found[:2]}/{found}.gz' in files(store),
        'listed': f'blob/{found}.list' in members(store),
    }
    assert [name for name, is_so in forms.items() if is_so] == [form]


@pytest.mark.parametrize('codec_name', CODECS)
def test_a_snapshot_is_always_a_plain_file(make_store, put, codec_name):
    made = make_store(codec_name)
    for data in (b'tiny', text(400 * KIB)):
        found = put(made, 'snapshot', data)
        path = os.path.join(made.root, f'objects/snapshot/{found[:2]}/{found}'.encode())
        with open(path, 'rb') as file:
            assert file.read() == data
    assert files(made, b'packs') == []


def test_a_list_names_its_pieces_in_order(store, put):
    found = put(store, 'blob', BIG)
    head, *lines = read_member(store, f'blob/{found}.list').decode().splitlines()
    assert head == '# chkfs list 1'
    pieces = [store.objects.read('blob', line.split()[0]) for line in lines]
    assert b''.join(pieces) == BIG
    assert [int(line.split()[1]) for line in lines] == [len(piece) for piece in pieces]


def read_member(store, name):
    (pack_path,) = [
        os.path.join(store.root, path.encode()) for path in files(store, b'packs') if not path.endswith('.index')
    ]
    return subprocess.run(['tar', 'xOf', pack_path, name], capture_output=True, check=True).stdout


@pytest.mark.parametrize('codec_name', CODECS)
def test_tar_reads_every_pack_and_every_name_is_a_digest(make_store, put, codec_name, tmp_path):
    made = make_store(codec_name)
    put(made, 'blob', *[b'blob %d' % number for number in range(50)])
    put(made, 'tree', *[b'tree %d' % number for number in range(50)], BIG)
    out = tmp_path / 'out'
    out.mkdir()
    for path in files(made, b'packs'):
        if not path.endswith('.index'):
            subprocess.run(['tar', 'xf', os.path.join(made.root, path.encode()), '-C', out], check=True)
    unpacked = [os.path.join(directory, name) for directory, _, names in os.walk(out) for name in names]
    assert len(unpacked) == 101
    for path in unpacked:
        with open(path, 'rb') as file:
            assert path.endswith('.list') or key.of(file.read()) == os.path.basename(path)


@pytest.mark.parametrize('codec_name', CODECS)
def test_no_frame_mixes_trees_and_contents(make_store, codec_name):
    made = make_store(codec_name)
    with made.writer() as writer:
        for number in range(200):
            writer.put('blob', b'blob %d' % number)
            writer.put('tree', b'tree %d' % number)
        writer.put('blob', BIG)
        writer.checkpoint()
    frames = {}
    for name in files(made, b'packs'):
        if name.endswith('.index'):
            with open(os.path.join(made.root, name.encode()), 'rb') as file:
                for place in pack.parse_index(file.read()):
                    is_tree = place.name.startswith('tree/') or place.name.endswith('.list')
                    frames.setdefault(place.offset, set()).add(is_tree)
    assert len(frames) == 2
    assert all(len(kinds) == 1 for kinds in frames.values())


def test_published_files_are_read_only_for_their_owner(store, put):
    put(store, 'blob', SMALL, MEDIUM_NOISE, MEDIUM_TEXT)
    put(store, 'snapshot', b'snapshot')
    assert len(objects_on_disk(store)) == 5
    for name in objects_on_disk(store):
        assert stat.S_IMODE(os.stat(os.path.join(store.root, name.encode())).st_mode) == 0o400


@given(st.lists(st.binary(max_size=100_000).map(lambda data: data * 7), max_size=4))
@settings(max_examples=15)
def test_blocks_give_what_the_whole_gives(tmp_path_factory, blocks):
    root = os.fsencode(tmp_path_factory.mktemp('blocks') / 'store')
    store.create(root, 'none')
    with store.Store(root).writer() as writer:
        whole = b''.join(blocks)
        assert writer.put_blocks('blob', iter(blocks)) == (key.of(whole), len(whole))
        assert writer.put('blob', whole) == key.of(whole)
        writer.checkpoint()
        assert writer.written_objects == 1


@pytest.mark.parametrize('block', [1 * MIB, 3 * MIB + 17, 9 * MIB])
def test_a_big_object_gets_the_same_pieces_however_it_flows(make_store, put, block):
    one, two = make_store('none', 'one'), make_store('none', 'two')
    put(one, 'blob', BIG)
    with two.writer() as writer:
        assert writer.put_blocks('blob', (BIG[at : at + block] for at in range(0, len(BIG), block))) == (
            key.of(BIG),
            len(BIG),
        )
        writer.checkpoint()
    assert objects_on_disk(one) == objects_on_disk(two)


def test_loose_writes_small_objects_as_files(store, put):
    found = put(store, 'tree', b'small but loose', loose=True)
    assert objects_on_disk(store) in ([f'objects/tree/{found[:2]}/{found}'], [f'objects/tree/{found[:2]}/{found}.gz'])
    big = put(store, 'blob', BIG, loose=True)
    assert f'objects/blob/{big[:2]}/{big}.list' in files(store)
    assert files(store, b'packs') == []
    assert reopened(store).objects.read('blob', big) == BIG


@pytest.mark.parametrize('role', ['loose', 'worker'])
def test_a_list_that_is_a_file_comes_after_all_of_its_pieces(store, monkeypatch, role):
    last = noise(100 * KIB, b'the last piece')
    monkeypatch.setattr(writers.chunker, 'cut', lambda blocks, settings: [BIG, last])
    whole, rename = [], os.rename
    big = key.of(BIG + last)

    def record(old, new):
        rename(old, new)
        if f'objects/blob/{big[:2]}/{big}.list' in files(store):
            whole.append(reopened(store).objects.read('blob', big) == BIG + last)

    monkeypatch.setattr(os, 'rename', record)
    with store.writer(loose=role == 'loose') as writer:
        if role == 'worker':
            writer.put('blob', last)  # in the pack that becomes visible last
            writer.prepare_to_branch()
            branch = writer.branch()
            branch.put('blob', BIG + last)
            writer.gather = lambda: [branch.seal()]
        else:
            writer.put('blob', BIG + last)
        writer.checkpoint()
    assert whole and all(whole)


# ---- deduplication ----


@pytest.mark.parametrize('data', [SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG], ids=['small', 'text', 'noise', 'big'])
def test_the_same_bytes_are_written_once(store, store_on_disk, data):
    with store.writer() as writer:
        writer.put('blob', data)
        writer.put('blob', data)
        writer.checkpoint()
        written = writer.written_objects
        assert written == len(set(store.objects.keys('blob')))
        writer.put('blob', data)
        writer.checkpoint()
        assert writer.written_objects == written
    before = objects_on_disk(store)
    for again in (store, reopened(store)):
        with again.writer() as writer:
            assert writer.has('blob', key.of(data))
            writer.put('blob', data)
            writer.checkpoint()
            assert writer.written_objects == 0
    assert objects_on_disk(store) == before


def test_small_blobs_that_the_store_has_are_told_from_others(store, put):
    packed, alone = b'in a pack', b'a file of its own'
    put(store, 'blob', packed)
    put(store, 'blob', alone, loose=True)
    with reopened(store).writer() as writer:
        for data in (packed, b'new', alone, b'new'):
            writer.put('blob', data)
        writer.checkpoint()
        assert writer.written_objects == 1
    assert reopened(store).objects.read('blob', key.of(b'new')) == b'new'


def test_another_thread_may_seal_when_the_own_one_hangs(store, put):
    put(store, 'blob', b'stored before')
    again = reopened(store)
    with again.writer() as writer:
        writer.put('blob', b'stored before')
        writer.put('blob', b'new')
        with ThreadPoolExecutor(1) as pool:
            sealed = pool.submit(writer.seal).result()
        assert f'blob/{key.of(b"new")}' in [place.name for _, places in sealed.packs for place in places]
        assert again.objects.cache.has('blob', key.of(b'stored before'))
        assert again.objects.cache._is_on_disk


def test_the_same_bytes_may_be_a_blob_and_a_tree(store, put):
    put(store, 'blob', b'same')
    assert store.objects.types(key.of(b'same')) == ['blob']
    put(store, 'tree', b'same')
    put(store, 'snapshot', b'same')
    assert store.objects.types(key.of(b'same')) == ['blob', 'tree', 'snapshot']


def test_two_writers_at_once_may_write_the_same(make_store):
    made = make_store()
    with reopened(made).writer() as one, reopened(made).writer() as two:
        for writer in (one, two):
            for data in (SMALL, MEDIUM_NOISE):
                writer.put('blob', data)
            writer.put('blob', b'and one of its own %d' % id(writer))
        one.checkpoint()
        two.checkpoint()
    objects = reopened(made).objects
    assert objects.read('blob', key.of(SMALL)) == SMALL
    assert objects.read('blob', key.of(MEDIUM_NOISE)) == MEDIUM_NOISE
    assert len(list(objects.keys('blob'))) == 4


def test_an_insertion_into_a_big_file_costs_little(store):
    with store.writer() as writer:
        writer.put('blob', BIG)
        first = writer.written_objects
        writer.put('blob', BIG[: 4 * MIB] + b'inserted' + BIG[4 * MIB :])
        assert writer.written_objects - first <= 4
        writer.checkpoint()


@pytest.mark.parametrize('type, data', [('snapshot', b'a snapshot'), ('blob', MEDIUM_NOISE)])
@pytest.mark.parametrize('left', [b'', b'half of i'])
def test_an_existing_object_of_the_wrong_size_is_not_trusted(store, put, type, data, left):
    found = key.of(data)
    path = os.path.join(store.root, f'objects/{type}/{found[:2]}/{found}'.encode())
    os.makedirs(os.path.dirname(path))
    with open(path, 'wb') as file:
        file.write(left)
    put(store, type, data)
    assert reopened(store).objects.read(type, found) == data


# ---- when things become visible ----


def test_nothing_is_visible_before_the_checkpoint(store):
    with store.writer() as writer:
        for data in (SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG):
            writer.put('blob', data)
        assert objects_on_disk(store) == []
        assert list(reopened(store).objects.keys('blob')) == []
        writer.checkpoint()
        seen = reopened(store).objects
        assert all(seen.read('blob', key.of(data)) == data for data in (SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG))


def test_leaving_without_a_checkpoint_leaves_nothing(store):
    with store.writer() as writer:
        for data in (SMALL, MEDIUM_TEXT, MEDIUM_NOISE, BIG):
            writer.put('blob', data)
    assert is_empty(store)


def test_an_error_leaves_nothing_but_earlier_checkpoints(store):
    with pytest.raises(RuntimeError):
        with store.writer() as writer:
            writer.put('blob', b'safe')
            writer.checkpoint()
            writer.put('blob', b'not safe')
            raise RuntimeError
    assert list(reopened(store).objects.keys('blob')) == [key.of(b'safe')]
    assert os.listdir(os.path.join(store.root, b'incoming')) == []


def test_an_empty_checkpoint_writes_nothing(store):
    with store.writer() as writer:
        writer.checkpoint()
        writer.checkpoint()
    assert is_empty(store)


def test_loose_objects_come_before_the_pack_that_may_name_them_and_the_index_last(store, monkeypatch):
    order, rename = [], os.rename

    def record(old, new):
        order.append(os.path.relpath(new, store.root).decode())
        rename(old, new)

    monkeypatch.setattr(os, 'rename', record)
    with store.writer() as writer:
        writer.put('tree', b'a tree that names the others')
        writer.put('tree', noise(400 * KIB, b'a large one'))
        writer.put('blob', SMALL)
        writer.put('blob', MEDIUM_NOISE)
        writer.put('blob', BIG)
        writer.checkpoint()
    assert {name.partition('/')[0] for name in order[:-2]} == {'objects'}
    assert order[-2].endswith('.tar.gz') and order[-1].endswith('.index')


@pytest.mark.parametrize('limit', ['CHECKPOINT_BYTES', 'CHECKPOINT_OBJECTS', 'CHECKPOINT_SECONDS'])
def test_a_checkpoint_is_due_after_enough_bytes_objects_or_time(store, monkeypatch, limit):
    monkeypatch.setattr(
        writers, limit, {'CHECKPOINT_BYTES': 3, 'CHECKPOINT_OBJECTS': 3, 'CHECKPOINT_SECONDS': 0}[limit]
    )
    calls = []
    with store.writer() as writer:
        writer.sealing = lambda: lambda: calls.append(objects_on_disk(store))
        writer.put('blob', b'1')
        if limit != 'CHECKPOINT_SECONDS':
            writer.checkpoint_if_due()
            assert calls == []
        writer.put('blob', b'2')
        writer.put('blob', b'3')
        writer.checkpoint_if_due()  # begins it
        writer.put('blob', b'4')
        writer.checkpoint()
        assert list(map(len, calls)) == [2, 4]  # the pack and its index were there already
        assert writer.has('blob', key.of(b'1'))


def test_a_big_file_is_secured_on_the_way(store, monkeypatch):
    monkeypatch.setattr(writers, 'CHECKPOINT_BYTES', MIB)
    seen = []
    with store.writer() as writer:
        writer.sealing = lambda: lambda: seen.append(len(files(store, b'objects')))
        data = os.urandom(30 * MIB)
        writer.put('blob', data)
        assert seen and seen[0] > 0
        assert f'blob/{key.of(data)}.list' not in members(store)
        writer.checkpoint()
    assert reopened(store).objects.read('blob', key.of(data)) == data


# ---- deaths ----


class Death(BaseException):
    pass


def test_a_death_at_any_rename_leaves_every_visible_object_whole(make_store, monkeypatch):
    rename = os.rename
    for steps in range(60):
        made = make_store('none', f'store{steps}')
        left = [steps]

        def die(old, new, left=left):
            if not left[0]:
                raise Death
            left[0] -= 1
            rename(old, new)

        with monkeypatch.context() as patch:
            patch.setattr(os, 'rename', die)
            try:
                with made.writer() as writer:
                    for data in (SMALL, MEDIUM_NOISE, BIG, b'x'):
                        writer.put('blob', data)
                    writer.put('tree', b'names them all')
                    writer.checkpoint()
                died = False
            except Death:
                died = True
        objects = reopened(made).objects
        for type in ('blob', 'tree'):
            for found in objects.keys(type):
                assert key.of(objects.read(type, found)) == found
        if objects.has('tree', key.of(b'names them all')):
            assert all(objects.has('blob', key.of(data)) for data in (SMALL, MEDIUM_NOISE, BIG, b'x'))
        assert died == (len(files(made, b'packs')) < 2)
        if not died:
            break
        with reopened(made).writer() as writer:
            for data in (SMALL, MEDIUM_NOISE, BIG, b'x'):
                writer.put('blob', data)
            writer.checkpoint()
        assert all(
            reopened(made).objects.read('blob', key.of(data)) == data for data in (SMALL, MEDIUM_NOISE, BIG, b'x')
        )
    assert 5 < steps < 59


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_is_an_error_and_leaves_nothing(store, monkeypatch, number):
    writing = [0]
    write = os.write

    def refuse(fd, data):
        writing[0] += len(data)
        if writing[0] > 400 * KIB:
            raise OSError(number, os.strerror(number))
        return write(fd, data)

    monkeypatch.setattr(os, 'write', refuse)
    with pytest.raises(errors.Error, match='make room' if number == errno.ENOSPC else 'look at the disk'):
        with store.writer() as writer:
            for seed in range(20):
                writer.put('blob', noise(300 * KIB, b'%d' % seed))
            writer.checkpoint()
    assert is_empty(store)


def test_a_compressor_that_is_wrong_publishes_nothing(store, monkeypatch):
    compress = codec.compress

    def wrong(name, data, light=False):
        return compress(name, data[:-1] + b'?' if len(data) > 1024 else data)

    monkeypatch.setattr(codec, 'compress', wrong)
    with pytest.raises(errors.Error, match='memory'):
        with store.writer() as writer:
            writer.put('blob', b'a' * 2000)
            writer.checkpoint()
    assert is_empty(store)


def test_a_failed_sync_publishes_nothing(store, monkeypatch):
    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(publish, 'sync_filesystem', fail)
    with pytest.raises(errors.Error):
        with store.writer() as writer:
            writer.put('blob', SMALL)
            writer.put('blob', MEDIUM_NOISE)
            writer.checkpoint()
    assert is_empty(store)


@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a filesystem')
def test_a_really_full_disk_ends_cleanly_and_what_was_there_stays(make_store, put, tmp_path):
    mount_point = tmp_path / 'full'
    mount_point.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mount_point], capture_output=True).returncode:
        pytest.skip('cannot mount here')
    try:
        made = make_store('none', 'full/store')
        put(made, 'blob', b'safe')
        with pytest.raises(errors.Error, match='make room'):
            put(made, 'blob', *[noise(500 * KIB, b'%d' % seed) for seed in range(8)])
        assert list(reopened(made).objects.keys('blob')) == [key.of(b'safe')]
        assert reopened(made).objects.read('blob', key.of(b'safe')) == b'safe'
        assert os.listdir(os.path.join(made.root, b'incoming')) == []
        assert put(made, 'blob', b'there is room again') == key.of(b'there is room again')
    finally:
        subprocess.run(['umount', mount_point], check=True)


def test_a_store_that_cannot_be_written_is_an_error(store):
    os.rmdir(os.path.join(store.root, b'incoming'))
    publish.replace(os.path.join(store.root, b'incoming'), b'a file')
    with pytest.raises(errors.Error, match='cannot write into the store'):
        store.writer()


def test_the_empty_tree_is_an_object_like_any_other(store, put):
    assert put(store, 'tree', tree.format(())) == key.of(tree.HEADER.encode())


def test_a_loose_list_is_published_after_all_of_its_pieces(store, monkeypatch):
    moved, rename = [], os.rename
    monkeypatch.setattr(os, 'rename', lambda old, new: (moved.append(new), rename(old, new)))
    with store.writer(loose=True) as writer:
        writer.put('blob', noise(9 * MIB + 50_000, b'4'))
        writer.checkpoint()
    assert not any(b'/packs/' in name for name in moved)
    assert moved[-1].endswith(b'.list')


def test_an_object_whose_close_fails_ends_the_run(store, monkeypatch):
    close = os.close

    def fail(fd):
        path = os.readlink(f'/proc/self/fd/{fd}')
        close(fd)
        if '/incoming/' in path and '/blob-' in path:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with store.writer() as writer:
        monkeypatch.setattr(os, 'close', fail)
        with pytest.raises(errors.Error):
            writer.put('blob', MEDIUM_NOISE)
            writer.checkpoint()


def test_a_branch_publishes_nothing(store, monkeypatch):
    monkeypatch.setattr(writers, 'CHECKPOINT_BYTES', 2 * MIB)
    with store.writer() as writer:
        writer.prepare_to_branch()
        other = writer.branch()
        other.put_blocks('blob', [BIG])  # a file that grew since it was listed
        began = other._publication is not None
        other.seal()
        for pool in (other._pool, other._publisher):
            if pool is not None:
                pool.shutdown()
        assert not began


def test_no_thread_is_left_when_processes_are_about_to_branch_off(store):
    with store.writer() as writer:
        before = threading.active_count()
        for number in range(300):
            writer.put('blob', noise(20_000, b'%d' % number))
        writer.put('blob', noise(1 << 20, b'loose'))
        assert threading.active_count() > before
        writer.prepare_to_branch()
        assert threading.active_count() == before
        writer.put('blob', b'and on it goes')
        writer.checkpoint()
    assert reopened(store).objects.read('blob', key.of(b'and on it goes')) == b'and on it goes'


def test_known_zeros_are_hashed_once_as_a_piece_and_stored_once(store, monkeypatch):
    hashed = []
    real = key.of
    monkeypatch.setattr(key, 'of', lambda piece: hashed.append(len(piece)) or real(piece))
    with store.writer() as writer:
        found, size = writer.put_blocks('blob', [b'head', *[chunker.ZEROS] * 100, b'tail'])
        writer.checkpoint()
    plain = b'head' + bytes(100 << 20) + b'tail'
    assert (found, size) == (real(plain), len(plain))
    assert hashed.count(8 * MIB) <= 2, 'the piece that begins with the head, and the one that is zeros'
    assert b''.join(store.objects.chunks('blob', found)) == plain


def test_a_piece_that_repeats_is_read_once(store):
    with store.writer() as writer:
        found, _ = writer.put_blocks('blob', [chunker.ZEROS] * 64)
        writer.checkpoint()
    chunks = list(store.objects.chunks('blob', found))
    assert len(chunks) == 8 and len({id(chunk) for chunk in chunks}) == 1
