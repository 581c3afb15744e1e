"""revision: names of things, as in git."""

import os

import pytest

from chkfs import errors
from chkfs.storage import revision
from chkfs.text import key, snapshot, tree


class Made:
    """Three snapshots of a small tree, the newest at refs/backups/photos."""

    def __init__(self, store, put):
        self.store = store
        self.blob = put(store, 'blob', b'content')
        line = f'size=7 time=1.000000000 sha256digest={self.blob}'
        self.sub = put(store, 'tree', tree.build([
            tree.parse_line(f'./inner\\040file type=file mode=0644 {line}'),
            tree.parse_line(f'./Gr\\303\\274n type=file mode=0644 {line}'),
        ]))  # fmt: skip
        self.top = put(store, 'tree', tree.build([
            tree.parse_line(f'./file type=file mode=0644 {line}'),
            tree.parse_line(f'./a:b type=file mode=0644 {line}'),
            tree.parse_line('./link type=link mode=0777 link=file'),
            tree.parse_line(f'./sub type=dir mode=0755 tags=tree:{self.sub}'),
        ]))  # fmt: skip
        self.snapshots = []
        for number in range(3):
            parents = [('parent', self.snapshots[-1])] if self.snapshots else []
            made = snapshot.Snapshot(
                [('root', f'. type=dir mode=0755 tags=tree:{self.top}'), *parents], f'number {number}'
            )
            self.snapshots.append(put(store, 'snapshot', made.format()))
            store.refs.update('refs/backups/photos', self.snapshots[-1], reason=str(number))

    def key(self, name):
        return revision.resolve(self.store, name).key


@pytest.fixture
def made(store, put):
    return Made(store, put)


def test_a_ref_is_its_snapshot_by_any_of_its_names(made):
    for name in ('photos', 'backups/photos', 'refs/backups/photos', 'photos~0', 'photos@{0}'):
        assert revision.resolve_object(made.store, name) == ('snapshot', made.snapshots[2])


def test_a_tilde_goes_back_along_first_parents(made):
    assert [made.key(name) for name in ('photos~', 'photos~1', 'photos~2', 'photos~~', 'photos~1~1')] == [
        made.snapshots[number] for number in (1, 1, 0, 0, 0)
    ]
    assert made.key(made.snapshots[2] + '~2') == made.snapshots[0]
    assert made.key(made.snapshots[1][:12] + '~') == made.snapshots[0]


def test_of_several_parents_the_first_counts(made, put):
    merged = snapshot.Snapshot(
        [
            ('root', f'. type=dir mode=0755 tags=tree:{made.top}'),
            ('parent', made.snapshots[1]),
            ('parent', made.snapshots[2]),
        ]
    )
    found = put(made.store, 'snapshot', merged.format())
    assert made.key(found + '~') == made.snapshots[1]


def test_a_number_in_braces_goes_back_along_the_log(made):
    assert [made.key(f'photos@{{{number}}}') for number in range(3)] == made.snapshots[::-1]
    made.store.refs.update('refs/backups/photos', made.snapshots[0])
    assert made.key('photos') == made.key('photos@{0}') == made.key('photos@{3}') == made.snapshots[0]
    assert made.key('photos@{1}~1') == made.snapshots[1]


@pytest.mark.parametrize(
    'name',
    [
        'photos~3',
        'photos~99999999999',
        'photos@{3}',
        'nothing',
        'nothing~1',
        'nothing@{1}',
        '',
        ':',
        '~1',
        '@{1}',
        'photos^',
        'photos@{x}',
        'photos~x',
        'photos@{-1}',
        'photos~1@{1}',
        'PHOTOS',
        'a' * 64,
        'a' * 65,
        'abc',
        '../config',
        'refs/backups',
        'photos~1photos',
        'photos@{1}@{1}',
        'refs/backups/photos/',
        'photos ',
        'zzzz',
    ],
)
def test_a_name_of_nothing_is_not_found(made, name):
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, name)


@pytest.mark.parametrize('name', ['photos~' + '9' * 5000, 'photos@{' + '9' * 5000 + '}'])
def test_a_number_that_python_will_not_read_is_not_found(made, name):
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, name)


def test_steps_from_what_is_no_snapshot_are_not_found(made):
    for name in (made.blob + '~', made.top + '~1', made.blob + '@{0}', made.snapshots[0] + '@{0}'):
        with pytest.raises(errors.NotFound):
            revision.resolve(made.store, name)


# ---- keys ----


def test_a_key_is_itself_with_its_type(made):
    assert revision.resolve_object(made.store, made.blob) == ('blob', made.blob)
    assert revision.resolve_object(made.store, made.top) == ('tree', made.top)
    assert revision.resolve_object(made.store, made.snapshots[0]) == ('snapshot', made.snapshots[0])


@pytest.mark.parametrize('length', [4, 5, 12, 63, 64])
def test_the_beginning_of_a_key_is_enough_when_it_is_the_only_one(made, length):
    for found in (made.blob, made.top, *made.snapshots):
        assert made.key(found[:length]) == found


@pytest.mark.parametrize('length', [1, 2, 3])
def test_fewer_than_four_digits_are_no_key(made, length):
    with pytest.raises(errors.NotFound):
        made.key(made.blob[:length])


def two_alike(length):
    """Two blobs whose keys begin with the same digits."""
    seen, number = {}, 0
    while True:
        data = b'%d' % number
        start = key.of(data)[:length]
        if start in seen:
            return seen[start], data
        seen[start] = data
        number += 1


@pytest.mark.parametrize('loose', [False, True])
def test_a_beginning_of_several_keys_is_ambiguous(store, put, loose):
    one, two = two_alike(5)
    put(store, 'blob', one)
    put(store, 'blob', two, loose=loose)
    with pytest.raises(errors.Usage) as caught:
        revision.resolve(store, key.of(one)[:5])
    assert key.of(one)[:12] in str(caught.value) and key.of(two)[:12] in str(caught.value)
    length = len(os.path.commonprefix([key.of(one), key.of(two)]))
    assert revision.resolve(store, key.of(two)[: length + 1]).key == key.of(two)


def test_a_ref_that_looks_like_the_beginning_of_a_key_is_a_ref(made):
    name = made.blob[:6]
    made.store.refs.update(f'refs/tags/{name}', made.snapshots[0])
    assert made.key(name) == made.snapshots[0]
    assert made.key(made.blob[:7]) == made.blob


def test_the_same_bytes_as_blob_and_tree_mean_the_tree(store, put):
    data = tree.format(())
    put(store, 'blob', data)
    assert revision.resolve_object(store, key.of(data))[0] == 'blob'
    put(store, 'tree', data)
    assert revision.resolve_object(store, key.of(data))[0] == 'tree'
    assert revision.resolve_object(store, key.of(data)[:9])[0] == 'tree'


# ---- paths ----


@pytest.mark.parametrize(
    'path, what',
    [
        ('file', 'blob'),
        ('/file', 'blob'),
        ('sub/inner file', 'blob'),
        ('sub//inner file', 'blob'),
        ('sub/Grün', 'blob'),
        ('sub', 'sub'),
        ('sub/', 'sub'),
        ('a:b', 'blob'),
        ('', 'top'),
        ('.', 'top'),
    ],
)
def test_a_path_inside_a_snapshot(made, path, what):
    for base in ('photos', 'photos~2', made.snapshots[1][:10], made.top, made.top[:10]):
        found = revision.resolve(made.store, f'{base}:{path}')
        assert found.key == getattr(made, what)
        assert found.type == ('blob' if what == 'blob' else 'tree')


def test_an_entry_without_contents_has_no_key(made):
    found = revision.resolve(made.store, 'photos:link')
    assert (found.type, found.key, found.entry.link) == ('', None, b'file')


def test_a_name_of_any_bytes_can_be_asked_for(store, put):
    blob = put(store, 'blob', b'x')
    top = put(
        store, 'tree', tree.build([tree.parse_line(f'./lat\\356n type=file mode=0644 size=1 sha256digest={blob}')])
    )
    assert revision.resolve(store, f'{top}:lat\udceen').key == blob


@pytest.mark.parametrize('path', ['nothing', 'sub/nothing', 'file/x', 'link/x', '..', 'sub/..', 'FILE'])
def test_a_path_that_leads_nowhere_is_not_found(made, path):
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, f'photos:{path}')


def test_a_path_inside_a_file_is_not_found(made):
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, made.blob + ':x')


# ---- trees ----


def test_a_snapshot_as_a_tree_is_its_root(made):
    for name in ('photos', made.snapshots[0], made.top, 'photos:'):
        found = revision.tree_of(made.store, name)
        assert (found.type, found.key, found.entry.name) == ('tree', made.top, b'.')
    assert revision.tree_of(made.store, 'photos:sub').key == made.sub
    assert revision.tree_of(made.store, made.blob).entry is None
    assert revision.tree_of(made.store, 'photos:file').type == 'blob'


def test_a_snapshot_of_one_file_is_that_file(store, put):
    blob = put(store, 'blob', b'alone')
    made = snapshot.Snapshot([('root', f'. type=file mode=0644 size=5 sha256digest={blob}')])
    found = put(store, 'snapshot', made.format())
    assert revision.tree_of(store, found)[:2] == ('blob', blob)


# ---- what is said of a name that means nothing ----


@pytest.mark.parametrize(
    'name, said',
    [
        ('photo', "no ref and no object 'photo': the nearest ref is 'photos', and chkfs-for-each-ref lists the refs"),
        ('xyzzy', "no ref and no object 'xyzzy': chkfs-for-each-ref lists the refs"),
        ('photos^', "cannot understand '^' in 'photos^': the parent of NAME is NAME~1"),
        ('photos:gone/x', "no 'gone' in the top directory"),
        ('photos:sub/gone/x', "no 'gone' in 'sub'"),
        ('photos:file/x', "'file' is not a directory"),
    ],
)
def test_a_name_that_means_nothing_is_told_with_what_is_there(made, name, said):
    with pytest.raises(errors.NotFound) as raised:
        revision.resolve(made.store, name)
    assert str(raised.value) == said


def test_a_path_is_refused_where_a_snapshot_is_wanted(made):
    with pytest.raises(errors.NotFound, match="'photos:sub' is a part of a snapshot"):
        revision.resolve_object(made.store, 'photos:sub')


# ---- damage ----


def test_a_damaged_ref_is_damaged_and_its_log_still_helps(made):
    with open(os.path.join(made.store.root, b'refs/backups/photos'), 'wb') as file:
        file.write(b'damage')
    with pytest.raises(errors.Damaged):
        revision.resolve(made.store, 'photos')


def test_a_snapshot_that_is_gone_or_damaged_is_an_error(made):
    path = os.path.join(made.store.root, f'objects/snapshot/{made.snapshots[1][:2]}/{made.snapshots[1]}'.encode())
    os.unlink(path)
    assert made.key('photos~1') == made.snapshots[1]
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, 'photos~2')
    with pytest.raises(errors.NotFound):
        revision.resolve(made.store, 'photos~1:file')
    with open(path, 'wb') as file:
        file.write(b'chkfs-snapshot 1\n')
    with pytest.raises(errors.Damaged):
        revision.resolve(made.store, 'photos~2')


def test_a_ref_to_something_that_is_no_snapshot_is_damaged(store, put):
    store.refs.update('refs/backups/bad', put(store, 'snapshot', b'not a snapshot'))
    with pytest.raises(errors.Damaged):
        revision.resolve(store, 'bad:file')
