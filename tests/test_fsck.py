"""fsck: every kind of damage is named with whom it hurts, and repair deletes nothing."""

import errno
import hashlib
import os
import shutil
import sqlite3

import pytest

from chkfs import errors
from chkfs.storage import fsck, pack, publish
from chkfs.storage import store as stores
from chkfs.text import key, piecelist, snapshot, tree

MEDIUM = hashlib.shake_128(b'medium').digest(300 << 10)


class Made:
    """A store with one snapshot of dir/small and medium, at refs/backups/photos."""

    def __init__(self, store, put):
        self.root = store.root
        self.small, self.medium = put(store, 'blob', b'small'), put(store, 'blob', MEDIUM)
        self.sub = put(store, 'tree', tree.build([self.file('small', self.small)]))
        below = tree.parse_line(f'./dir type=dir mode=0755 tags=tree:{self.sub}')
        self.top = put(store, 'tree', tree.build([below, self.file('medium', self.medium)]))
        self.snapshot = put(store, 'snapshot', self.text())
        store.refs.update('refs/backups/photos', self.snapshot)
        # without this all would still be in the frames that this process has unpacked
        self.store = stores.Store(store.root)

    @staticmethod
    def file(name, found):
        return tree.parse_line(f'./{name} type=file mode=0644 size=1 sha256digest={found}')

    def text(self, *lines):
        return snapshot.Snapshot(
            [('root', f'. type=dir mode=0755 tags=tree:{self.top}'), ('name', 'photos'), *lines]
        ).format()

    def path(self, name):
        return os.path.join(self.root, name.encode())

    def loose(self, type, found):
        return self.path(f'objects/{type}/{found[:2]}/{found}')

    def pack_of(self, name):
        """Path of the pack that holds a member, and of its index."""
        for index in os.listdir(self.path('packs')):
            if index.endswith(b'.index'):
                with open(os.path.join(self.path('packs'), index), 'rb') as file:
                    if any(place.name == name for place in pack.parse_index(file.read())):
                        return self.path('packs/' + os.fsdecode(index[:-6]) + '.tar.gz'), self.path(
                            'packs/' + os.fsdecode(index)
                        )
        raise AssertionError(name)

    def check(self, full=False, since=None):
        work = fsck.Fsck(stores.Store(self.root))
        return [(problem.kind, problem.where, problem.affects) for problem in work.check(full, since)]

    def leftovers(self):
        work = fsck.Fsck(stores.Store(self.root))
        list(work.check())
        return [found.where for found in work.leftovers]

    def repair(self, full=True):
        work = fsck.Fsck(stores.Store(self.root))
        list(work.check(full))
        return list(work.repair())


@pytest.fixture
def made(store, put):
    return Made(store, put)


def flip(path, at=100):
    os.chmod(path, 0o600)
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes((byte[0] ^ 0xFF,)))


@pytest.mark.parametrize('full', [False, True])
def test_a_whole_store_has_no_problem(made, full, store_on_disk):
    before = store_on_disk(made.store)
    assert made.check(full) == []
    assert made.check(full, made.snapshot) == []
    assert store_on_disk(made.store) == before
    assert made.repair(full) == []


def test_an_empty_store_has_no_problem(store):
    assert list(fsck.Fsck(store).check(True)) == []


@pytest.mark.parametrize('harm', ['lost', 'cut', 'flipped'])
def test_a_bad_index_is_named_and_rebuilt(made, harm):
    _, index = made.pack_of(f'blob/{made.small}')
    with open(index, 'rb') as file:
        good = file.read()
    if harm == 'lost':
        os.unlink(index)
    elif harm == 'cut':
        os.chmod(index, 0o600)
        os.truncate(index, 50)
    else:
        flip(index, 20)
    where = os.path.relpath(index, made.root).decode()
    assert made.check() == ([('index', where, ())] if harm != 'lost' else [])
    assert made.leftovers() == ([where] if harm == 'lost' else [])
    assert len(made.repair()) == 1
    assert made.leftovers() == []
    assert made.check(True) == []
    with open(index, 'rb') as file:
        assert file.read() == good


def test_an_index_of_another_pack_is_named_costs_nothing_and_is_rebuilt(made, put):
    other = put(made.store, 'blob', b'in another pack')
    (_, wrong), (_, index) = made.pack_of(f'blob/{other}'), made.pack_of(f'blob/{made.small}')
    with open(index, 'rb') as file:
        good = file.read()
    os.unlink(index)
    shutil.copy(wrong, index)
    assert stores.Store(made.root, {}).objects.read('blob', made.small) == b'small'
    assert made.check(True) == [('index', os.path.relpath(index, made.root).decode(), ())]
    made.repair()
    assert made.check(True) == []
    with open(index, 'rb') as file:
        assert file.read() == good


@pytest.mark.parametrize('log', [None, b'', b'rubbish\n', bytes(200)])
def test_a_log_that_does_not_tell_of_its_ref_is_named_and_completed(made, log):
    path = made.path('logs/refs/backups/photos')
    os.unlink(path)
    if log is not None:
        with open(path, 'wb') as file:
            file.write(log)
    assert made.check() == [('log', 'logs/refs/backups/photos', ())]
    assert len(made.repair()) == 1
    assert [change.new for change in made.store.refs.log('refs/backups/photos')] == [made.snapshot]
    assert made.check() == [] and made.repair() == []


def test_a_line_of_a_log_that_was_cut_short_is_no_problem(made):
    with open(made.path('logs/refs/backups/photos'), 'ab') as file:
        file.write(b'0123')
    assert made.check() == []
    assert made.leftovers() == ['logs/refs/backups/photos']


def test_a_wrong_list_does_not_come_along_out_of_a_damaged_pack(made):
    """A list cannot be verified by its name: what says otherwise than its pieces is left behind."""
    data = hashlib.shake_128(b'big').digest(9 << 20)
    with made.store.writer() as writer:
        big = writer.put('blob', data)
        writer.checkpoint()
    path, _ = made.pack_of(f'blob/{big}.list')
    objects = stores.Store(made.root, {}).objects
    (row,) = objects.cache.find('blob', big)
    listed = bytes(objects.packed_copy(f'blob/{big}.list', *row[:1], *row[3:]))
    assert not objects.is_wrong_list(big, listed)
    lines = listed.splitlines(keepends=True)
    for wrong in (b'', listed[:-3], lines[0], b''.join([lines[0], *lines[:0:-1]])):
        assert objects.is_wrong_list(big, wrong)
    missing = piecelist.format([('0' * 64, 1)])
    assert not objects.is_wrong_list(big, missing)


def test_fsck_does_not_believe_a_cache_that_lacks_an_object(made):
    assert made.check() == []
    with sqlite3.connect(os.path.join(os.fsdecode(made.store._caches), 'objects.sqlite')) as database:
        database.execute('DELETE FROM object WHERE key = ?', (bytes.fromhex(made.small),))
    assert made.check() == []


def test_a_lost_pack_is_found_by_what_misses_it(made):
    path, index = made.pack_of(f'blob/{made.small}')
    os.unlink(path)
    assert made.check() == [('missing', f'blob/{made.small}', (f'{made.snapshot}:dir/small',))]
    assert made.leftovers() == [os.path.relpath(index, made.root).decode()]


def test_a_lost_file_is_found_by_what_misses_it(made):
    os.unlink(made.loose('blob', made.medium))
    assert made.check() == [('missing', f'blob/{made.medium}', (f'{made.snapshot}:medium',))]


def test_a_damaged_pack_is_found_by_reading_all(made):
    path, _ = made.pack_of(f'blob/{made.small}')
    flip(path, 15)
    where = os.path.relpath(path, made.root).decode()
    assert made.check() == []
    assert made.check(True) == [
        ('damaged', where, ()),
        ('damaged', f'blob/{made.small}', ()),
        ('missing', f'blob/{made.small}', (f'{made.snapshot}:dir/small',)),
    ]


@pytest.mark.parametrize('codec_name', ['gzip', 'none'])
def test_what_is_whole_in_a_damaged_pack_moves_to_a_new_one(make_store, put, codec_name):
    store = make_store(codec_name)
    whole = tree.HEADER.encode()
    small, big = b'lost' * 1000, hashlib.shake_128(b'big').digest(9 << 20)
    put(store, 'tree', whole)
    put(store, 'blob', small, big)  # its list is in the pack, in a frame of its own
    harmed = next(name for name in packs_of(store) if f'blob/{key.of(small)}' in names_in(store, name))
    flip(store.objects.pack_path(harmed), 700 if codec_name == 'none' else 20)
    work = fsck.Fsck(stores.Store(store.root))
    assert {problem.where for problem in work.check(True)} == {f'packs/{harmed}', f'blob/{key.of(small)}'}
    assert len(list(work.repair())) == 1
    again = stores.Store(store.root)
    assert list(fsck.Fsck(again).check(True)) == [] and list(fsck.Fsck(again).repair()) == []
    assert not again.objects.has('blob', key.of(small))
    assert again.objects.read('blob', key.of(big)) == big and again.objects.read('tree', key.of(whole)) == whole


def packs_of(store):
    return [name for name in os.listdir(os.path.join(os.fsdecode(store.root), 'packs')) if pack.codec_of(name)]


def names_in(store, pack_name):
    return [place.name for place in store.objects.places(pack_name)]


def test_a_damaged_file_is_found_by_reading_all_and_set_aside(made):
    path = made.loose('blob', made.medium)
    flip(path)
    where = os.path.relpath(path, made.root).decode()
    assert made.check() == []
    assert made.check(True) == [
        ('damaged', where, ()),
        ('missing', f'blob/{made.medium}', (f'{made.snapshot}:medium',)),
    ]
    assert len(made.repair()) == 1
    assert not os.path.exists(path)
    kept = [name for top, _, names in os.walk(made.path('incoming')) for name in names]
    assert [name.startswith(made.medium.encode()) or made.medium.encode() in name for name in kept] == [True]


def test_an_empty_file_is_found_without_reading(made):
    path = made.loose('blob', made.medium)
    os.chmod(path, 0o600)
    os.truncate(path, 0)
    assert [problem[:2] for problem in made.check()][0] == ('damaged', os.path.relpath(path, made.root).decode())


def test_a_damaged_file_with_a_good_copy_hurts_nobody(made):
    with open(made.loose('blob', made.medium) + b'.gz', 'wb') as file:
        file.write(b'not gzip')
    assert made.check(True) == [('damaged', f'objects/blob/{made.medium[:2]}/{made.medium}.gz', ())]


def test_a_damaged_ref_is_named(made):
    with open(made.path('refs/backups/photos'), 'wb') as file:
        file.write(b'damage')
    assert made.check() == [('ref', 'refs/backups/photos', ())]


def test_a_ref_to_nothing_is_named(made):
    made.store.refs.update('refs/backups/photos', 'a' * 64)
    assert made.check() == [('ref', 'refs/backups/photos', ())]


@pytest.mark.parametrize('content', [b'', b'no snapshot'])
def test_a_damaged_snapshot_is_named(made, content):
    path = made.loose('snapshot', made.snapshot)
    os.chmod(path, 0o600)
    with open(path, 'wb') as file:
        file.write(content)
    kinds = {problem[:2] for problem in made.check()}
    assert {('damaged', f'snapshot/{made.snapshot}'), ('ref', 'refs/backups/photos')} <= kinds


def test_a_missing_parent_is_named(made, put):
    put(made.store, 'snapshot', made.text(('parent', 'a' * 64)))
    assert ('missing', f'snapshot/{"a" * 64}', ()) in made.check()


@pytest.mark.parametrize(
    'line', ['rubbish', './../x type=fifo mode=0644', './x type=file mode=0644 size=1 sha256digest=123']
)
def test_a_bad_line_of_a_tree_is_named_with_its_path(made, put, line):
    bad = put(made.store, 'tree', (tree.HEADER + line + '\n').encode())
    made.top = put(made.store, 'tree', tree.build([tree.parse_line(f'./bad type=dir mode=0755 tags=tree:{bad}')]))
    found = put(made.store, 'snapshot', made.text())
    (problem,) = made.check()
    assert problem[0] == 'damaged' and problem[2][0].startswith(f'{found}:bad')


@pytest.mark.parametrize(
    'name',
    [
        'packs/junk',
        'objects/blob/ab/junk',
        'objects/x/ab/y',
        'packs/pack-a.index',
        f'objects/blob/cd/{"ab" * 32}',
    ],
)
def test_what_does_not_belong_there_is_named(made, name):
    os.makedirs(os.path.dirname(made.path(name)), exist_ok=True)
    with open(made.path(name), 'wb') as file:
        file.write(b'junk')
    assert made.check(True) == [('stray', name, ())]
    made.repair()
    assert os.path.exists(made.path(name))


@pytest.mark.parametrize('name', ['objects/junk', 'objects/blob/junk'])
def test_a_file_where_directories_belong_is_named(made, name):
    with open(made.path(name), 'wb') as file:
        file.write(b'junk')
    assert [problem[0] for problem in made.check(True)] == ['stray']


def test_a_repair_that_dies_between_two_refs_is_completed_by_the_next(made):
    shutil.rmtree(made.path('refs'))
    shutil.rmtree(made.path('logs'))
    work = fsck.Fsck(stores.Store(made.root))
    list(work.check())
    next(work.repair())  # as far as its first ref
    made.repair()
    assert stores.Store(made.root).refs.read('refs/backups/photos') == made.snapshot


@pytest.mark.parametrize('harm', ['refs and logs lost', 'ref damaged, log lost'])
def test_of_two_snapshots_the_parent_is_the_older_one_whatever_the_clocks_said(made, put, harm):
    first = put(made.store, 'snapshot', made.text(('finished', '2026-01-01T00:00:09.000000000Z')))
    later = made.text(('parent', first), ('finished', '2026-01-01T00:00:05.000000000Z'))
    last = put(made.store, 'snapshot', later)
    shutil.rmtree(made.path('logs'))
    if harm == 'refs and logs lost':
        shutil.rmtree(made.path('refs'))
    else:
        with open(made.path('refs/backups/photos'), 'wb') as file:
            file.write(b'junk')
    made.repair()
    assert stores.Store(made.root).refs.read('refs/backups/photos') == last


def test_a_disk_that_fails_ends_the_repair(made, monkeypatch):
    shutil.rmtree(made.path('refs'))
    shutil.rmtree(made.path('logs'))

    def fail(path, data):
        raise errors.Error('cannot write into the store: No space left on device')

    with monkeypatch.context() as patched:
        patched.setattr(publish, 'replace', fail)
        with pytest.raises(errors.Error):
            made.repair()
    made.repair()
    assert stores.Store(made.root).refs.read('refs/backups/photos') == made.snapshot


def test_since_what_is_no_snapshot_is_an_error(made):
    with pytest.raises(errors.Error):
        made.check(since=made.medium)


def test_since_leaves_out_what_is_reached_from_there(made):
    os.unlink(made.loose('blob', made.medium))
    assert made.check(since=made.snapshot) == []


def test_a_lost_ref_is_brought_back(made):
    os.unlink(made.path('refs/backups/photos'))
    work = fsck.Fsck(made.store)
    assert list(work.check()) == []
    assert [found.key for found in work.dangling] == [made.snapshot]
    assert len(list(work.repair())) == 2
    assert (
        made.store.refs.read('refs/backups/photos')
        == made.store.refs.read(f'refs/recovered/{made.snapshot}')
        == made.snapshot
    )
    assert made.repair() == []


@pytest.mark.parametrize('name', ['refs/backups/photos', 'refs/recovered/{}'])
@pytest.mark.parametrize('log', ['kept', 'lost'])
def test_a_damaged_ref_is_set_from_its_log_or_else_from_the_snapshots(made, name, log):
    name = name.format(made.snapshot)
    made.store.refs.update(name, made.snapshot)
    for ref in {'refs/backups/photos', name}:
        with open(made.path(ref), 'wb'):
            pass
        if log == 'lost':
            os.unlink(made.path('logs/' + ref))
    made.repair()
    assert {made.store.refs.read(ref) for ref in ('refs/backups/photos', name)} == {made.snapshot}
    assert made.check() == [] and made.repair() == []


def test_a_damaged_recovered_ref_without_a_log_is_set_by_its_name(made):
    with open(made.path('refs/backups/other'), 'wb') as file:
        file.write(b'this one nobody knows')
    os.makedirs(made.path('refs/recovered'))
    with open(made.path(f'refs/recovered/{made.snapshot}'), 'wb'):
        pass
    made.repair()
    assert made.store.refs.read(f'refs/recovered/{made.snapshot}') == made.snapshot
    assert made.check() == [('ref', 'refs/backups/other', ())]


@pytest.mark.parametrize('harm', ['snapshot lost', 'snapshot damaged', 'never was one'])
def test_a_ref_to_no_snapshot_goes_back_to_the_newest_value_that_is_one(made, put, harm):
    newer = put(made.store, 'snapshot', made.text(('finished', '2026-01-01T00:00:00.000000000Z')))
    made.store.refs.update('refs/backups/photos', newer)
    if harm == 'snapshot lost':
        os.unlink(made.loose('snapshot', newer))
    elif harm == 'never was one':
        made.store.refs.update('refs/backups/photos', 'a' * 64)
    else:
        flip(made.loose('snapshot', newer))
    newest = newer if harm == 'never was one' else made.snapshot
    made.repair()
    assert made.store.refs.read('refs/backups/photos') == newest
    assert newer in [change.new for change in made.store.refs.log('refs/backups/photos')]


def test_a_backup_that_ends_while_it_checks_is_no_damage(made, put, monkeypatch):
    work = fsck.Fsck(stores.Store(made.root))

    def another_backup():
        found = put(made.store, 'blob', b'new and loose', loose=True)
        made.top = put(made.store, 'tree', tree.build([made.file('new', found)]), loose=True)
        made.snapshot = put(made.store, 'snapshot', made.text(('parent', made.snapshot)))
        made.store.refs.update('refs/backups/photos', made.snapshot)

    for name in ('_check_loose', '_read_refs', '_check_snapshots', '_check_refs'):

        def after(*arguments, real=getattr(work, name)):
            yield from real(*arguments)
            another_backup()

        monkeypatch.setattr(work, name, after)
    assert list(work.check()) == []


@pytest.fixture
def refuse(monkeypatch):
    """refuse(path): nobody may list that directory, or look up a name in it."""

    def make(path):
        for call in ('scandir', 'listdir', 'stat'):

            def fail(what, *rest, real=getattr(os, call), **options):
                if not isinstance(what, int) and os.fsencode(what).startswith(path):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), what)
                return real(what, *rest, **options)

            monkeypatch.setattr(os, call, fail)

    return make


def test_refs_that_cannot_be_listed_are_not_taken_for_lost(made, refuse):
    work = fsck.Fsck(stores.Store(made.root))
    refuse(made.path('refs/backups'))
    with pytest.raises(errors.Error, match='Permission denied'):
        list(made.store.refs.names())
    assert [problem[:2] for problem in work.check(True)] == [('unreadable', 'refs')]
    assert work.dangling == [] and list(work.repair()) == []


def test_objects_that_cannot_be_looked_at_are_not_taken_for_missing(made, refuse):
    work = fsck.Fsck(stores.Store(made.root))
    where = f'objects/blob/{made.medium[:2]}'
    refuse(made.path(where))
    assert [(problem.kind, problem.where, problem.affects) for problem in work.check(True)] == [
        ('unreadable', where, ()),
        ('unreadable', f'blob/{made.medium}', (f'{made.snapshot}:medium',)),
    ]
    with pytest.raises(errors.Error, match='Permission denied'):
        made.store.objects.read('blob', made.medium)


def test_repair_takes_no_byte_away(made):
    """Whatever was in the store before is in it afterwards, if only set aside."""

    def contents():
        found = set()
        for top, _, names in os.walk(made.root):
            for name in names:
                with open(os.path.join(top, name), 'rb') as file:
                    found.update(file.read().splitlines() if b'/logs/' in top else [file.read()])
        return found

    flip(made.loose('blob', made.medium))
    flip(made.pack_of(f'blob/{made.small}')[0], 15)
    flip(made.pack_of(f'tree/{made.top}')[1], 15)
    os.unlink(made.path('refs/backups/photos'))
    before = contents()
    made.repair()
    assert before <= contents()


def test_a_piece_that_is_missing_is_missed(store, put):
    big = hashlib.shake_128(b'big').digest(9 << 20)
    found = put(store, 'blob', big)
    line = f'./big type=file mode=0644 size={len(big)} sha256digest={found}'
    top = put(store, 'tree', tree.build([tree.parse_line(line)]))
    text = snapshot.Snapshot([('root', f'. type=dir mode=0755 tags=tree:{top}')]).format()
    store.refs.update('refs/backups/big', put(store, 'snapshot', text))
    pieces = [
        os.path.join(directory, name)
        for directory, _, names in os.walk(os.path.join(store.root, b'objects/blob'))
        for name in names
    ]
    os.unlink(pieces[0])
    (problem,) = fsck.Fsck(stores.Store(store.root)).check()
    assert problem.kind == 'damaged' and 'piece' in problem.detail and problem.affects[0].endswith(':big')


def test_an_empty_ref_is_rebuilt(made):
    with open(made.path('refs/backups/photos'), 'wb'):
        pass
    made.repair(False)
    assert made.store.refs.read('refs/backups/photos') == made.snapshot
