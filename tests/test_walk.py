"""walk: stored trees, read without recursion and without trust."""

import pytest

from chkfs import errors
from chkfs.storage import walk
from chkfs.text import key, tree

KEY = 'ab' * 32


def line(name, text, tags=''):
    return tree.format_lines(name, text, tags)


def file_line(name, found=KEY):
    return line(name, f'type=file mode=0644 uid=0 gid=0 size=1 time=1.000000000 sha256digest={found}')


def dir_line(name, found):
    return line(name, 'type=dir mode=0755 uid=0 gid=0 time=1.000000000', f'tree:{found}')


@pytest.fixture
def make(store, put):
    """make(line, ...) stores a tree and gives its key; make.raw takes any bytes."""

    def make_tree(*lines):
        return put(store, 'tree', tree.format(lines))

    make_tree.raw = lambda data: put(store, 'tree', data)
    return make_tree


@pytest.fixture
def nested(make):
    inner = make(file_line(b'x'), file_line(b'y'))
    middle = make(file_line(b'a'), dir_line(b'inner', inner), file_line(b'z'))
    return make(
        file_line(b'1'),
        dir_line(b'middle', middle),
        dir_line(b'same', inner),
        line(b'up', 'type=link mode=0777 link=..'),
    )


def root(found):
    return tree.Entry(b'.', {'type': 'dir', 'tags': f'tree:{found}'})


def test_entries_come_in_order(store, nested):
    assert [entry.name for entry in walk.entries(store.objects, nested)] == [b'1', b'middle', b'same', b'up']


def test_everything_below_comes_a_directory_before_its_contents(store, nested):
    assert [path for path, _ in walk.below(store.objects, nested)] == [
        b'1',
        b'middle',
        b'middle/a',
        b'middle/inner',
        b'middle/inner/x',
        b'middle/inner/y',
        b'middle/z',
        b'same',
        b'same/x',
        b'same/y',
        b'up',
    ]
    assert [path for path, _ in walk.below(store.objects, nested, b'pre/')][:3] == [
        b'pre/1',
        b'pre/middle',
        b'pre/middle/a',
    ]


@pytest.mark.parametrize(
    'path, name',
    [
        (b'', b'.'),
        (b'/', b'.'),
        (b'.', b'.'),
        (b'1', b'1'),
        (b'middle', b'middle'),
        (b'middle/inner/x', b'x'),
        (b'/middle//inner/./x/', b'x'),
        (b'up', b'up'),
    ],
)
def test_a_path_leads_to_its_entry(store, nested, path, name):
    assert walk.find(store.objects, root(nested), path).name == name


@pytest.mark.parametrize(
    'path', [b'2', b'middle/2', b'1/x', b'up/1', b'middle/..', b'..', b'middle/inner/x/y', b'MIDDLE']
)
def test_a_path_that_leads_nowhere_is_not_found(store, nested, path):
    with pytest.raises(errors.NotFound):
        walk.find(store.objects, root(nested), path)


def test_a_path_in_what_is_no_directory_is_not_found(store):
    with pytest.raises(errors.NotFound):
        walk.find(store.objects, tree.Entry(b'.', {'type': 'file', 'sha256digest': KEY}), b'x')


@pytest.mark.parametrize(
    'bad',
    [
        './a/b type=file mode=0644\n',
        './.. type=dir mode=0755\n',
        './a\\000b type=fifo mode=0644\n',
        'rubbish\n',
        './x nonsense\n',
        './ type=fifo mode=0644\n',
    ],
)
def test_a_line_that_is_none_is_damaged_or_reported(store, make, bad):
    found = make.raw((tree.HEADER + file_line(b'a') + bad + file_line(b'z')).encode())
    with pytest.raises(errors.Damaged):
        walk.entries(store.objects, found)
    with pytest.raises(errors.Damaged):
        list(walk.below(store.objects, found))
    reported = []
    assert [entry.name for entry in walk.entries(store.objects, found, reported.append)] == [b'a', b'z']
    assert len(reported) == 1 and found in reported[0]


def test_a_missing_tree_is_reported_and_the_rest_is_walked(store, make):
    whole = make(file_line(b'x'))
    top = make(dir_line(b'gone', key.of(b'gone')), dir_line(b'whole', whole))
    with pytest.raises(errors.NotFound):
        list(walk.below(store.objects, top))
    reported = []
    assert [path for path, _ in walk.below(store.objects, top, report=reported.append)] == [
        b'gone',
        b'whole',
        b'whole/x',
    ]
    assert len(reported) == 1 and "'gone'" in reported[0]


def test_something_that_is_no_tree_is_reported_and_the_rest_is_walked(store, make):
    top = make(dir_line(b'bad', make.raw(b'no tree at all\n')), file_line(b'z'))
    reported = []
    assert [path for path, _ in walk.below(store.objects, top, report=reported.append)] == [b'bad', b'z']
    assert len(reported) == 1


def test_a_directory_whose_key_is_none_is_reported_and_the_rest_is_walked(store, make):
    top = make(dir_line(b'bad', 'not-a-key'), file_line(b'z'))
    reported = []
    assert [path for path, _ in walk.below(store.objects, top, report=reported.append)] == [b'bad', b'z']
    assert len(reported) == 1


def test_a_thousand_levels_are_walked_without_recursion(store):
    with store.writer() as writer:
        found = writer.put('tree', tree.format([file_line(b'bottom')]))
        for _ in range(1200):
            found = writer.put('tree', tree.format([dir_line(b'd', found)]))
        writer.checkpoint()
    paths = [path for path, _ in walk.below(store.objects, found)]
    assert len(paths) == 1201 and paths[-1] == b'd/' * 1200 + b'bottom'
    assert walk.find(store.objects, root(found), paths[-1]).name == b'bottom'


# ---- directories that are others again ----


@pytest.fixture
def looped(make):
    again = [line(b'loop', 'type=dir mode=0755', 'again:.'), line(b'more', 'type=dir mode=0755', 'again:b/c')]
    c = make(file_line(b'file'), line(b'gone', 'type=dir mode=0755', 'again:nowhere'))
    found = make(dir_line(b'b', make(dir_line(b'c', c))), *again)
    return tree.parse_line(f'. type=dir mode=0755 tags=tree:{found}')


@pytest.mark.parametrize(
    'path, real',
    [
        (b'', b''),
        (b'b/c', b'b/c'),
        (b'more', b'b/c'),
        (b'more/file', b'b/c/file'),
        (b'loop', b''),
        (b'loop/loop/more//file', b'b/c/file'),
        (b'more/gone', b'b/c/gone'),
    ],
)
def test_a_directory_that_is_another_one_again_is_found_as_that(store, looped, path, real):
    entry, found = walk.find_real(store.objects, looped, path)
    assert found == real
    assert entry == walk.find(store.objects, looped, real)


def test_nothing_is_found_below_one_that_leads_nowhere(store, looped):
    with pytest.raises(errors.NotFound):
        walk.find_real(store.objects, looped, b'more/gone/x')
