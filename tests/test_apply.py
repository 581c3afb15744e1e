"""apply: what a restore could not set is set later, and nothing else is touched."""

import os
import stat

import pytest

from chkfs import errors
from chkfs.restore import apply, checkout, destination, maker, missing
from chkfs.text import key, tree

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
TIME = 10**18


class Restored:
    """A restore under conditions, and what was left to be set."""

    def __init__(self, store, entry, path):
        self.store, self.path, self.file = store, path, missing.File(destination.whole(path))
        self.lines = []
        self.work = checkout.Checkout(store.objects, self.lines.append, keep=self.file.add)
        self.work.restore(entry, path)
        self.file.close()

    def entries(self):
        return list(missing.entries(self.file.path)) if self.file.lines else []

    def apply(self, entries=None, path=None):
        """Gives what was said."""
        said = []
        work = apply.Apply(maker.Maker(self.store.objects), said.append)
        work.run(self.entries() if entries is None else entries, path or self.path)
        assert work.problems == len(said)
        return said


@pytest.fixture
def restore(store, tmp_path):
    return lambda entry, name='out': Restored(store, entry, os.fsencode(tmp_path / name))


@pytest.fixture
def refuse(monkeypatch):
    """refuse(name of a function of os, ...) makes them fail until the context ends."""

    def fail(*_, **__):
        raise PermissionError(1, 'Operation not permitted')

    def patch(*names):
        context = monkeypatch.context()
        patched = context.__enter__()
        for name in names:
            patched.setattr(os, name, fail)
        return lambda: context.__exit__(None, None, None)

    return patch


@pytest.fixture
def copied(backup, restore, source, refuse):
    """copied(name='out') gives a Restored in which a file's names, a and b, are two files: it could not be linked."""
    with open(os.path.join(source, b'a'), 'wb') as file:
        file.write(b'same')
    os.link(os.path.join(source, b'a'), os.path.join(source, b'b'))
    root = backup(source).root

    def make(name='out'):
        stop = refuse('link')
        restored = restore(root, name)
        stop()
        return restored

    return make


@pytest.fixture
def full(source):
    """Of everything something."""
    os.makedirs(os.path.join(source, b'sub/deeper'))
    os.mkdir(os.path.join(source, b'other'))
    for name in (b'a', b'sub/b', b'sub/deeper/c \xff'):
        with open(os.path.join(source, name), 'wb') as file:
            file.write(name)
    os.link(os.path.join(source, b'a'), os.path.join(source, b'other/linked'))
    os.symlink(b'a', os.path.join(source, b'link'))
    os.mkfifo(os.path.join(source, b'sub/fifo'))
    if os.geteuid() == 0:
        os.mknod(os.path.join(source, b'sub/tty'), stat.S_IFCHR | 0o620, os.makedev(5, 1))
        for number, name in enumerate((b'', b'a', b'sub', b'sub/deeper', b'sub/fifo', b'link', b'sub/tty')):
            os.chown(os.path.join(source, name), 1000 + number, 2000 + number, follow_symlinks=False)
    os.chmod(os.path.join(source, b'a'), 0o6755)
    os.chmod(os.path.join(source, b'sub'), 0o2750)
    for directory, names, files in os.walk(source, topdown=False):
        for name in [*names, *files]:
            os.utime(os.path.join(directory, name), ns=(TIME, TIME), follow_symlinks=False)
    os.utime(source, ns=(TIME, TIME))
    return source


@AS_ROOT
@pytest.mark.parametrize(
    'refused',
    [
        ('fchown', 'chown'),
        ('fchmod', 'chmod'),
        ('utime',),
        ('mknod', 'mkfifo', 'symlink'),
        ('link',),
        ('fchown', 'chown', 'fchmod', 'chmod', 'utime', 'mknod', 'mkfifo', 'symlink', 'link'),
    ],
)
def test_what_could_not_be_set_is_listed_and_applying_it_makes_all_equal(
    backup, restore, full, refuse, tree_on_disk, refused
):
    root = backup(full).root
    stop = refuse(*refused)
    restored = restore(root)
    stop()
    assert tree_on_disk(restored.path) != tree_on_disk(full)
    assert restored.apply() == []
    assert tree_on_disk(restored.path) == tree_on_disk(full)
    assert restored.apply() == []
    assert tree_on_disk(restored.path) == tree_on_disk(full)


def test_when_all_could_be_set_nothing_is_listed(backup, restore, source):
    os.mkdir(os.path.join(source, b'dir'))
    assert restore(backup(source).root).entries() == []


def test_contents_that_were_damaged_come_from_a_store_that_is_whole(backup, restore, source, store, monkeypatch):
    with open(os.path.join(source, b'file'), 'wb') as file:
        file.write(b'contents')
    root = backup(source).root
    whole = type(store.objects).view

    def torn(self, type, key):
        if type == 'blob':
            raise errors.Damaged('torn')
        return whole(self, type, key)

    with monkeypatch.context() as context:
        context.setattr(type(store.objects), 'view', torn)
        restored = restore(root)
    assert [missing.kinds(entry) for entry in restored.entries()] == [[], ['entry']]
    assert not os.path.exists(os.path.join(restored.path, b'file'))
    assert restored.apply() == []
    with open(os.path.join(restored.path, b'file'), 'rb') as file:
        assert file.read() == b'contents'


def test_what_nobody_could_read_is_not_listed(restore, store, put):
    line = './secret type=file mode=0600 size=3 tags=unread:EACCES'
    found = put(store, 'tree', (tree.HEADER + line + '\n').encode())
    restored = restore(tree.parse_line(f'. type=dir mode=0755 tags=tree:{found}'))
    assert restored.work.missing == 1 and restored.entries() == []


def test_one_entry_alone_is_applied_to_itself(restore, tmp_path, refuse):
    stop = refuse('utime')
    restored = restore(tree.parse_line('./x type=link mode=0777 time=5.000000000 link=no/such'))
    stop()
    assert restored.entries()[0].name == b'.'
    assert restored.apply() == []
    assert os.lstat(restored.path).st_mtime_ns == 5 * 10**9


def test_it_may_be_reached_by_a_symlink(backup, restore, full, refuse, tmp_path, tree_on_disk):
    (tmp_path / 'real/deep').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('real/deep')
    undo = refuse('chmod', 'fchmod')
    restored = restore(backup(full).root, 'link')
    other = restore(backup(full).root, 'link/../other')
    undo()
    assert restored.apply() == other.apply() == []
    assert other.file.path == os.fsencode(tmp_path / 'real/other.chkfs-missing.mtree')
    assert tree_on_disk(restored.path) == tree_on_disk(os.fsencode(tmp_path / 'real/other')) == tree_on_disk(full)


@pytest.mark.parametrize('inside', [b'', b'sub'])
def test_what_could_not_be_made_is_never_linked_to_something_else(store, put, tmp_path, inside):
    put(store, 'blob', b'other')
    lost = [f'./{name} type=file mode=0644 size=4 sha256digest={key.of(b"lost")} tags=hl:sub/a' for name in 'ab']
    other = f'./a type=file mode=0644 size=5 sha256digest={key.of(b"other")}'
    below = put(store, 'tree', (tree.HEADER + other + '\n').encode())
    directory = f'./sub type=dir mode=0755 tags=tree:{below}'
    found = put(store, 'tree', (tree.HEADER + '\n'.join([*lost, directory]) + '\n').encode())
    path, lines = os.fsencode(tmp_path / 'out'), []
    work = checkout.Checkout(store.objects, keep=lines.append, inside=inside)
    work.restore(tree.parse_line(f'. type=dir tags=tree:{found}'), path)
    assert work.missing == 2
    put(store, 'blob', b'lost')
    said = []
    apply.Apply(maker.Maker(store.objects), said.append).run([missing._parse(line) for line in lines], path)
    assert said == []
    for name, data in ((b'a', b'lost'), (b'b', b'lost'), (b'sub/a', b'other')):
        with open(os.path.join(path, name), 'rb') as file:
            assert file.read() == data
    assert os.path.samefile(os.path.join(path, b'a'), os.path.join(path, b'b'))


def test_a_directory_whose_tree_is_lost_is_listed_until_something_is_in_it(restore, put, store):
    found = put(store, 'tree', f'{tree.HEADER}./x type=dir mode=0755 tags=tree:{"ab" * 32}\n'.encode())
    restored = restore(tree.parse_line(f'. type=dir tags=tree:{found}'))
    assert [(each.name, missing.kinds(each)) for each in restored.entries()] == [(b'.', []), (b'x', [missing.ENTRY])]
    assert restored.apply() == ["'x': is empty, and what it held is not known: restore it again"]
    os.mkdir(os.path.join(restored.path, b'x', b'again'))
    assert restored.apply() == []


@pytest.mark.parametrize('is_changed', [False, True])
@pytest.mark.parametrize(
    'right',
    ['mode=4755 tags=', 'mode=2755 tags=', 'mode=0755 tags=xattr:security.capability:AQAAAgAgAAAAAAAAAAAAAAAAAAA=,'],
)
def test_a_program_that_was_changed_gets_no_rights(restore, store, backup, source, right, is_changed, monkeypatch):
    with open(os.path.join(source, b'program'), 'wb') as file:
        file.write(b'good')
    restored, given = restore(backup(source).root), []
    if is_changed:
        with open(os.path.join(restored.path, b'program'), 'wb') as file:
            file.write(b'evil')
    monkeypatch.setattr(os, 'fchmod', lambda fd, mode: given.append(mode))
    monkeypatch.setattr(os, 'setxattr', lambda *_, **__: None)
    line = f'./program type=file size=4 sha256digest={key.of(b"good")} {right}missing:mode'
    said = restored.apply([entry(line)])
    if is_changed:
        assert said == ["'program': is not what it was: it gets no set-id bit or capability, nor anything else"]
    assert bool(given) != is_changed


def test_what_takes_the_place_of_an_entry_is_left_alone(store, source):
    os.mkdir(os.path.join(source, b'x'), 0o700)
    fd = os.open(source, os.O_RDONLY)
    try:
        with pytest.raises(errors.Error, match='is no file any more'):
            maker.Maker(store.objects).set(fd, entry('./x type=file mode=0755'), b'x', maker.Outcome())
    finally:
        os.close(fd)
    assert stat.S_IMODE(os.stat(os.path.join(source, b'x')).st_mode) == 0o700


def entry(line):
    return tree.parse_line(line)


@pytest.mark.parametrize('name', [b'x', b'sub/x'])
def test_no_symlink_is_followed(restore, backup, source, tmp_path, name):
    (tmp_path / 'victim').mkdir()
    (tmp_path / 'victim' / 'x').write_bytes(b'')
    before = os.stat(tmp_path / 'victim' / 'x')
    restored = restore(backup(source).root)
    if name == b'x':
        os.symlink(tmp_path / 'victim' / 'x', os.path.join(restored.path, b'x'))
    else:
        os.symlink(tmp_path / 'victim', os.path.join(restored.path, b'sub'))
    said = restored.apply([entry(f'./{name.decode()} type=file mode=0777 time=1.000000000 tags=missing:mode')])
    assert len(said) == 1
    assert os.stat(tmp_path / 'victim' / 'x').st_mtime_ns == before.st_mtime_ns


def test_another_type_is_left_alone(restore, backup, source):
    restored = restore(backup(source).root)
    os.mkfifo(os.path.join(restored.path, b'x'), 0o600)
    said = restored.apply([entry('./x type=file mode=0777 tags=missing:mode')])
    assert said == ["'x': is no file"]
    assert stat.S_IMODE(os.stat(os.path.join(restored.path, b'x')).st_mode) == 0o600


def test_a_copy_that_was_changed_does_not_become_a_link(copied):
    restored = copied()
    with open(os.path.join(restored.path, b'b'), 'wb') as file:
        file.write(b'edited')
    said = restored.apply()
    assert len(said) == 1 and 'not the same any more' in said[0]
    with open(os.path.join(restored.path, b'b'), 'rb') as file:
        assert file.read() == b'edited'


def test_what_a_run_that_died_left_behind_takes_the_place_of_the_copy(copied):
    restored, other = copied(), copied('other')
    os.link(os.path.join(restored.path, b'a'), os.path.join(restored.path, b'.chkfs-link'))
    assert restored.apply() == []
    assert sorted(os.listdir(restored.path)) == [b'a', b'b']
    assert os.path.samefile(os.path.join(restored.path, b'a'), os.path.join(restored.path, b'b'))
    with open(os.path.join(other.path, b'.chkfs-link'), 'wb') as file:
        file.write(b'not ours')
    assert len(other.apply()) == 1
    assert sorted(os.listdir(other.path)) == [b'.chkfs-link', b'a', b'b']


def test_a_name_is_given_back_unless_it_is_taken(backup, restore, source):
    for name in (b'dir/new', b'taken', b'blocked'):
        os.makedirs(os.path.join(source, name))
    restored = restore(backup(source).root)
    said = restored.apply(
        [
            entry('./dir type=dir mode=0755 time=3.000000000 tags=name:\\377dir,missing:name'),
            entry('./dir/new type=dir mode=0700 time=5.000000000 tags=name:old\\072one,missing:name'),
            entry('./blocked type=dir mode=0755 tags=name:taken,missing:name'),
        ]
    )
    assert said == ["'blocked': cannot be named 'taken' again: that is there"]
    assert sorted(os.listdir(restored.path)) == [b'blocked', b'taken', b'\xffdir']
    renamed = os.stat(os.path.join(restored.path, b'\xffdir/old:one'))
    assert (renamed.st_mtime_ns, stat.S_IMODE(renamed.st_mode)) == (5 * 10**9, 0o700)
    assert os.stat(os.path.join(restored.path, b'\xffdir')).st_mtime_ns == 3 * 10**9


@pytest.mark.parametrize('tag', ['name:..', 'name:a/b', 'name:', 'hl:../x', 'hl:', 'hl:/etc/passwd'])
def test_a_name_or_a_link_that_leads_elsewhere_is_refused(backup, restore, source, tag):
    with open(os.path.join(source, b'x'), 'wb'):
        pass
    restored = restore(backup(source).root)
    kind = 'name' if tag.startswith('name') else 'hard\\040link'
    said = restored.apply([entry(f'./x type=file mode=0644 tags={tag},missing:{kind}')])
    assert len(said) == 1 and 'not the name of a directory entry' in said[0]


def test_a_directory_that_is_not_there_is_an_error(store, tmp_path):
    with pytest.raises(errors.Error, match='cannot open'):
        apply.Apply(maker.Maker(store.objects), print).run([], os.fsencode(tmp_path / 'none' / 'such'))
