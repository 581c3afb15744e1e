"""cache: whatever happens to its files costs time, never an answer."""

import gc
import os
import shutil
import sqlite3
import threading
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkfs.storage import cache, pack
from chkfs.storage.objects import Objects
from chkfs.text import key

PACK_A, PACK_B = f'pack-{"a" * 64}.tar.gz', f'pack-{"b" * 64}.tar.gz'
KEYS = [key.of(b'%d' % number) for number in range(4)]
PLACES = {
    PACK_A: [pack.Place(f'blob/{KEYS[0]}', 5, 0, 100), pack.Place(f'tree/{KEYS[1]}', 6, 100, 50)],
    PACK_B: [pack.Place(f'blob/{KEYS[0]}', 5, 200, 70), pack.Place(f'blob/{KEYS[2]}.list', 7, 0, 200)],
}
STAMPS = {PACK_A: '1000 1', PACK_B: '2000 1'}


@pytest.fixture
def path(tmp_path):
    return os.fsencode(tmp_path / 'deep' / 'objects.sqlite')


@pytest.fixture
def loads():
    return []


@pytest.fixture
def load(loads):
    def load_one(name):
        loads.append(name)
        return PLACES[name]

    return load_one


def synced(path, load, stamps=STAMPS):
    made = cache.ObjectCache(path)
    made.sync(stamps, load)
    return made


def assert_knows_all(found):
    assert sorted(found.find('blob', KEYS[0])) == [(PACK_A, False, 5, 0, 100), (PACK_B, False, 5, 200, 70)]
    assert found.find('tree', KEYS[1]) == [(PACK_A, False, 6, 100, 50)]
    assert found.find('blob', KEYS[2]) == [(PACK_B, True, 7, 0, 200)]
    assert [found.has('blob', each) for each in KEYS] == [True, False, True, False]
    assert [found.has('tree', each) for each in KEYS] == [False, True, False, False]
    assert {row for row in found.keys('blob')} == {(KEYS[0], False, 5), (KEYS[2], True, 7)}


# ---- the object cache ----


@pytest.mark.parametrize('where', ['file', 'memory'])
def test_the_indexes_are_merged(path, load, where):
    assert_knows_all(synced(path if where == 'file' else None, load))


def test_a_second_run_loads_no_index_again(path, load, loads):
    synced(path, load)
    assert sorted(loads) == [PACK_A, PACK_B]
    assert_knows_all(synced(path, load))
    assert len(loads) == 2


def test_a_pack_that_vanished_is_forgotten(path, load, loads):
    synced(path, load)
    found = synced(path, load, {PACK_A: '1000 1'})
    assert not found.has('blob', KEYS[2]) and found.find('blob', KEYS[2]) == []
    assert found.find('blob', KEYS[0]) == [(PACK_A, False, 5, 0, 100)]
    assert [row[0] for row in found.keys('blob')] == [KEYS[0]]
    assert_knows_all(synced(path, load))
    assert loads[2:] == [PACK_B]


def test_a_pack_with_another_stamp_is_loaded_anew(path, load, loads):
    synced(path, load)
    synced(path, load, {**STAMPS, PACK_A: '1000 2'})
    assert loads[2:] == [PACK_A]


def test_a_pack_just_published_is_known_at_once_and_later(path, load, loads):
    found = synced(path, load, {PACK_A: '1000 1'})
    found.add(PACK_B, '2000 1', PLACES[PACK_B])
    assert_knows_all(found)
    assert_knows_all(synced(path, load))
    assert loads == [PACK_A]


def test_the_same_pack_twice_is_harmless(path, load):
    found = synced(path, load)
    found.add(PACK_A, '1000 1', PLACES[PACK_A])
    assert_knows_all(found)


def test_objects_that_moved_to_another_pack_leave_the_epoch_as_it_is(path, load):
    moved = f'pack-{"c" * 64}.tar.xz'
    epoch = synced(path, load).epoch
    found = synced(path, lambda name: [*PLACES[PACK_A], *PLACES[PACK_B][1:]], {moved: '1'})
    assert found.find('blob', KEYS[0]) == [(moved, False, 5, 0, 100)]
    assert found.epoch == epoch
    assert synced(path, load, {PACK_A: '1000 1'}).epoch != epoch  # KEYS[2] is nowhere any more


def test_a_pack_that_another_process_added_while_we_listed_is_not_forgotten(path, load):
    ours = synced(path, load, {PACK_A: '1000 1'})
    before = ours.pack_names()
    synced(path, load)
    ours.sync({PACK_A: '1000 1'}, load, STAMPS.get, before)
    assert_knows_all(ours)


def test_what_another_copy_of_the_store_has_does_not_count(path, load):
    ours = synced(path, load, {PACK_A: '1000 1'})
    synced(path, load)
    ours.renew()
    assert not ours.has('blob', KEYS[2])
    assert ours.find('blob', KEYS[0]) == [(PACK_A, False, 5, 0, 100)]


def test_what_another_process_moved_is_known_where_it_is_now(path, load):
    moved = f'pack-{"c" * 64}.tar.xz'
    ours = cache.ObjectCache(path)
    ours.sync({PACK_A: '1000 1'}, load, {moved: '1'}.get)
    synced(path, lambda name: PLACES[PACK_A], {moved: '1'})
    ours.add(PACK_B, '2000 1', [])
    assert ours.has('tree', KEYS[1])
    assert ours.find('tree', KEYS[1]) == [(moved, False, 6, 100, 50)]
    assert [row[0] for row in ours.keys('tree')] == [KEYS[1]]


def test_keys_come_in_order_and_by_prefix(path):
    many = sorted(key.of(b'%d' % number) for number in range(300))
    places = [pack.Place(f'blob/{each}', 1, 0, 1) for each in many]
    found = synced(path, lambda name: places, {PACK_A: '1'})
    assert [row[0] for row in found.keys('blob')] == many
    for prefix in (many[7][:4], many[7][:5], many[7], 'a', 'ab'):
        assert [row[0] for row in found.keys('blob', prefix)] == [each for each in many if each.startswith(prefix)]
    assert list(found.keys('tree')) == []


def test_more_keys_than_are_fetched_at_once_all_come(path):
    many = sorted(key.of(b'%d' % number) for number in range(20_500))
    found = synced(path, lambda name: [pack.Place(f'blob/{each}', 1, 0, 1) for each in many], {PACK_A: '1'})
    listed = [row[0] for row in found.keys('blob')]
    assert list(dict.fromkeys(listed)) == many


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: b'this is no database' * 500,
        lambda data: b'',
        lambda data: data[:100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:1000] + bytes(len(data) - 1000),
        lambda data: data[:16] + b'\xff' * 84 + data[100:],
        lambda data: data[:4096] + b'\x55' * (len(data) - 4096),
    ],
    ids=['text', 'empty', 'header only', 'half', 'zeros', 'bad header', 'bad pages'],
)
def test_a_damaged_file_changes_no_answer(path, load, damage):
    synced(path, load)
    gc.collect()  # closes it: a connection of Python's is part of a cycle
    assert os.listdir(os.path.dirname(path)) == [b'objects.sqlite']
    with open(path, 'rb') as file:
        data = file.read()
    with open(path, 'wb') as file:
        file.write(damage(data))
    assert_knows_all(synced(path, load))
    assert_knows_all(synced(path, load))


def test_a_file_that_is_no_database_is_made_anew_and_used(path, load, loads):
    os.makedirs(os.path.dirname(path))
    with open(path, 'wb') as file:
        file.write(b'this is no database' * 500)
    synced(path, load)
    assert_knows_all(synced(path, load))
    assert len(loads) == 2


def test_a_file_of_another_version_is_made_anew(path, load, loads):
    synced(path, load)
    with sqlite3.connect(os.fsdecode(path)) as database:
        database.execute('PRAGMA user_version = 99')
        database.execute('DROP TABLE object')
    assert_knows_all(synced(path, load))
    assert_knows_all(synced(path, load))
    assert len(loads) == 4


def test_a_cache_that_is_begun_anew_knows_nothing_and_is_used_again(path, load, loads):
    made = cache.ObjectCache(path)
    made.sync(STAMPS, load)
    made.begin_anew()
    assert not made.has('blob', KEYS[0])
    made.sync(STAMPS, load)
    assert made.has('blob', KEYS[0])
    loads.clear()
    cache.ObjectCache(path).sync(STAMPS, load)
    assert loads == []


def test_deleting_the_cache_changes_no_answer(path, load, loads):
    synced(path, load)
    os.unlink(path)
    assert_knows_all(synced(path, load))
    assert len(loads) == 4


def test_deleting_the_cache_while_it_is_used_changes_no_answer(path, load):
    found = synced(path, load)
    for name in os.listdir(os.path.dirname(path)):
        os.unlink(os.path.join(os.path.dirname(path), name))
    assert_knows_all(found)
    found.sync(STAMPS, load)
    assert_knows_all(found)


@pytest.mark.parametrize('obstacle', ['a file above', 'a directory there'])
def test_where_no_file_can_be_made_the_cache_lives_in_memory(tmp_path, load, obstacle):
    if obstacle == 'a file above':
        (tmp_path / 'file').write_bytes(b'')
        path = tmp_path / 'file' / 'objects.sqlite'
    else:
        path = tmp_path / 'objects.sqlite'
        path.mkdir()
    assert_knows_all(synced(os.fsencode(path), load))


def test_a_locked_database_is_not_waited_for_for_ever(path, load, monkeypatch):
    monkeypatch.setattr(cache, '_BUSY_SECONDS', 0.01)
    synced(path, load, {})
    holder = sqlite3.connect(os.fsdecode(path), isolation_level=None)
    holder.execute('BEGIN EXCLUSIVE')
    assert_knows_all(synced(path, load))
    holder.execute('ROLLBACK')
    holder.close()


def test_two_processes_may_use_one_cache(path, load):
    one, two = synced(path, load, {PACK_A: '1000 1'}), synced(path, load, {PACK_A: '1000 1'})
    assert one.has('blob', KEYS[0]) and two.has('blob', KEYS[0])  # both hold a reader's view now
    one.add(PACK_B, '2000 1', PLACES[PACK_B])
    two.sync(STAMPS, load)
    assert_knows_all(one)
    assert_knows_all(two)


@pytest.mark.parametrize('way', ['stays', 'vanishes', 'memory'])
def test_what_is_put_away_is_closed_and_comes_back(store, put, way):
    found = put(store, 'blob', b'x')
    objects = Objects(store.root, cache.ObjectCache(None)) if way == 'memory' else store.objects
    with objects.cache.put_away():
        is_open = [name for name in os.listdir('/proc/self/fd') if os.fsdecode(store._caches) in _link_of(name)]
        if way == 'vanishes':
            shutil.rmtree(store._caches)
            with open(store._caches, 'wb'):
                pass
    assert way == 'memory' or is_open == []
    assert objects.has('blob', found) and objects.read('blob', found) == b'x'


def _link_of(fd):
    try:
        return os.readlink(f'/proc/self/fd/{fd}')
    except OSError:
        return ''


# ---- where caches lie ----


def test_the_directory_follows_xdg():
    assert cache.directory({'XDG_CACHE_HOME': '/c', 'HOME': '/h'}, 'id') == b'/c/chkfs/id'
    assert cache.directory({'HOME': '/h'}, 'id') == b'/h/.cache/chkfs/id'
    assert cache.directory({'XDG_CACHE_HOME': '', 'HOME': '/h'}, 'id') == b'/h/.cache/chkfs/id'


def test_a_relative_cache_home_is_ignored():
    assert cache.directory({'XDG_CACHE_HOME': 'c', 'HOME': '/h'}, 'id') == b'/h/.cache/chkfs/id'


def test_without_home_it_is_that_of_whoever_runs_it(monkeypatch, tmp_path):
    import pwd

    entry = types.SimpleNamespace(pw_dir=str(tmp_path))
    monkeypatch.setattr(pwd, 'getpwuid', lambda uid: entry)
    assert cache.directory({}, 'id') == os.fsencode(tmp_path / '.cache/chkfs/id')
    entry.pw_dir = str(tmp_path / 'none')
    assert cache.directory({}, 'id') is None
    monkeypatch.setattr(pwd, 'getpwuid', lambda uid: {}[uid])
    assert cache.directory({'HOME': ''}, 'id') is None


def test_a_home_of_any_bytes_is_taken():
    assert cache.directory({'HOME': '/h\udcff'}, 'id') == b'/h\xff/.cache/chkfs/id'


# ---- the scan cache ----

ROW = cache.Directory(b's' * 32, KEYS[0], {b'a': (b'r' * 40, KEYS[1]), b'\xff\n': (b'', KEYS[2])})
file_names = st.binary(min_size=1, max_size=255).map(lambda raw: raw.replace(b'\0', b'0').replace(b'/', b'1'))


@pytest.fixture
def scans(tmp_path):
    return cache.ScanCache(os.fsencode(tmp_path / 'deep' / 'scan.sqlite'))


def test_a_directory_is_remembered(scans, tmp_path):
    scans.remember([('ext4:1', b'/a', ROW), ('ext4:1', b'/b', ROW._replace(tree='', signature=b''))])
    for found in (scans, cache.ScanCache(os.fsencode(tmp_path / 'deep' / 'scan.sqlite'))):
        assert found.signature('ext4:1', b'/a') == (b's' * 32, KEYS[0])
        assert found.files('ext4:1', b'/a') == ROW.files
        assert found.signature('ext4:1', b'/b') == (b'', '')


def test_what_is_not_known_is_nothing(scans):
    scans.remember([('ext4:1', b'/a', ROW)])
    for place in (('ext4:2', b'/a'), ('ext4:1', b'/A')):
        assert scans.signature(*place) is None
        assert scans.files(*place) == {}


def test_a_later_row_replaces_the_earlier(scans):
    scans.remember([('ext4:1', b'/a', ROW)])
    scans.remember([('ext4:1', b'/a', cache.Directory(b'n' * 32, KEYS[3], {}))])
    assert scans.signature('ext4:1', b'/a') == (b'n' * 32, KEYS[3])
    assert scans.files('ext4:1', b'/a') == {}


@given(st.dictionaries(file_names, st.tuples(st.binary(max_size=255), st.binary(min_size=32, max_size=32)), max_size=9))
@settings(max_examples=40)
def test_any_files_survive(tmp_path_factory, files):
    scans = cache.ScanCache(os.fsencode(tmp_path_factory.mktemp('scan') / 'scan.sqlite'))
    files = {name: (record, raw.hex()) for name, (record, raw) in files.items()}
    scans.remember([('ext4:1', b'/', cache.Directory(b'', '', files))])
    assert scans.files('ext4:1', b'/') == files


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b'a', b'\0', b'\x28', b'\xff', b'x' * 40, b'k' * 32])).map(b''.join)
)
@settings(max_examples=40)
def test_damaged_files_of_a_row_raise_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('scan') / 'scan.sqlite'
    cache.ScanCache(os.fsencode(path)).remember([('ext4:1', b'/a', ROW)])
    with sqlite3.connect(path) as database:
        database.execute('UPDATE directory SET files = ?', (data,))
    assert cache.ScanCache(os.fsencode(path)).files('ext4:1', b'/a') == {}


@pytest.mark.parametrize('column', ['signature', 'tree', 'files'])
@pytest.mark.parametrize('value', [None, 1, 'text', b'short'])
def test_a_row_with_values_of_another_kind_raises_nothing(tmp_path, column, value):
    path = tmp_path / 'scan.sqlite'
    cache.ScanCache(os.fsencode(path)).remember([('ext4:1', b'/a', ROW)])
    with sqlite3.connect(path) as database:
        database.execute(f'UPDATE directory SET {column} = ?', (value,))
    scans = cache.ScanCache(os.fsencode(path))
    assert scans.signature('ext4:1', b'/a') != (ROW.signature, ROW.tree) or column == 'files'
    assert scans.files('ext4:1', b'/a') == (ROW.files if column != 'files' else {})


def test_without_a_file_nothing_is_known_and_nothing_remembered():
    scans = cache.ScanCache(None)
    scans.remember([('ext4:1', b'/a', ROW)])
    assert scans.signature('ext4:1', b'/a') is None and scans.files('ext4:1', b'/a') == {}


@pytest.mark.parametrize('content', [b'no database' * 999, b''])
def test_a_damaged_scan_cache_is_made_anew(tmp_path, content):
    path = tmp_path / 'scan.sqlite'
    path.write_bytes(content)
    for expected in (None, (b's' * 32, KEYS[0])):
        scans = cache.ScanCache(os.fsencode(path))
        assert scans.signature('ext4:1', b'/a') == expected
        scans.remember([('ext4:1', b'/a', ROW)])


def test_a_scan_cache_that_breaks_while_it_is_used_is_only_off(tmp_path):
    path = tmp_path / 'scan.sqlite'
    scans = cache.ScanCache(os.fsencode(path))
    scans.remember([('ext4:1', b'/a', ROW)])
    with sqlite3.connect(path) as database:
        database.execute('DROP TABLE directory')
    assert scans.signature('ext4:1', b'/a') is None
    assert scans.files('ext4:1', b'/a') == {}
    scans.remember([('ext4:1', b'/a', ROW)])


def test_a_scan_cache_where_no_file_can_be_made_is_off(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    scans = cache.ScanCache(os.fsencode(tmp_path / 'file' / 'scan.sqlite'))
    scans.remember([('ext4:1', b'/a', ROW)])
    assert scans.signature('ext4:1', b'/a') is None


def test_renewing_in_another_thread_loads_nothing_again(tmp_path):
    loaded = []
    found = cache.ObjectCache(os.fsencode(tmp_path / 'objects.sqlite'))
    found.sync({'pack-1.tar': 'stamp'}, lambda name: loaded.append(name) or [])
    assert not found.has('blob', 'ab' * 32)  # which begins to read
    thread = threading.Thread(target=found.renew)
    thread.start()
    thread.join()
    assert not found.has('blob', 'ab' * 32) and loaded == ['pack-1.tar']
    found.close()
