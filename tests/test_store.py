"""store: made once, opened carefully, and every damage to its config is said."""

import os
import shutil
import stat
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import codec, publish
from chkfs.storage import store as stores


@pytest.fixture
def root(tmp_path):
    return os.fsencode(tmp_path / 'new')


def config_path(root):
    return os.path.join(root, b'config')


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def write(path, data):
    with open(path, 'wb') as file:
        file.write(data)


# ---- making one ----


@pytest.mark.parametrize('compression', codec.SUFFIXES)
def test_a_new_store_can_be_opened(root, compression):
    assert stores.create(root, compression) is True
    made = stores.Store(root)
    assert made.config['compression'] == compression
    assert made.config['format'] == '1'
    assert uuid.UUID(made.config['id']).version == 4
    assert list(made.refs.names()) == [] and list(made.objects.keys('blob')) == []


def test_the_config_is_the_one_in_the_manual(root, monkeypatch):
    monkeypatch.setattr(uuid, 'uuid4', lambda: '01234567-89ab-4cde-8f01-23456789abcd')
    stores.create(root)
    assert read(config_path(root)).decode() == (
        '[store]\n\tformat = 1\n\tid = 01234567-89ab-4cde-8f01-23456789abcd\n'
        '[write]\n\tcompression = gzip\n\tchunker = fastcdc-2020\n'
        '\tchunk-minimum = 524288\n\tchunk-average = 2097152\n\tchunk-maximum = 8388608\n\tchunk-normalization = 1\n'
    )


def test_a_store_explains_itself_and_is_for_its_owner_only(root):
    stores.create(root)
    assert sorted(os.listdir(root)) >= [b'README', b'config', b'incoming', b'logs', b'objects', b'packs', b'refs']
    assert b'You need no chkfs to read it' in read(os.path.join(root, b'README'))
    for directory, names, _ in os.walk(root):
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700, names


def test_two_stores_have_two_ids(tmp_path):
    found = set()
    for name in ('a', 'b'):
        stores.create(os.fsencode(tmp_path / name))
        found.add(stores.Store(os.fsencode(tmp_path / name)).config['id'])
    assert len(found) == 2


def test_making_it_twice_changes_nothing(root):
    stores.create(root, 'xz')
    before = read(config_path(root))
    assert stores.create(root, 'gzip') is False
    assert read(config_path(root)) == before


def test_what_somebody_else_made_is_on_disk_before_it_is_called_a_store(root, monkeypatch):
    """They may have died before they synced it."""
    synced = []
    stores.create(root)
    monkeypatch.setattr(publish, 'sync_store', synced.append)
    assert not stores.create(root)
    assert synced == [root]


def test_a_store_that_somebody_else_makes_at_the_same_time_is_taken(root, monkeypatch):
    """Its config comes when this one has not found any."""
    exists = os.path.exists

    def late(path):
        monkeypatch.undo()
        found = exists(path)
        stores.create(root)
        return found

    monkeypatch.setattr(os.path, 'exists', late)
    assert not stores.create(root)


def test_an_empty_directory_is_taken_and_parents_are_made(tmp_path):
    (tmp_path / 'empty').mkdir()
    assert stores.create(os.fsencode(tmp_path / 'empty'))
    assert stores.create(os.fsencode(tmp_path / 'a' / 'b' / 'c'))


@pytest.mark.parametrize('foreign', ['file', '.hidden', 'photos'])
def test_a_directory_that_holds_something_is_refused_and_left_alone(root, foreign):
    os.mkdir(root)
    path = os.path.join(root, foreign.encode())
    os.mkdir(path) if foreign == 'photos' else write(path, b'precious')
    with pytest.raises(errors.Error, match='not empty'):
        stores.create(root)
    assert os.listdir(root) == [foreign.encode()]


def test_a_file_in_the_way_is_refused(root):
    write(root, b'precious')
    with pytest.raises(errors.Error):
        stores.create(root)
    assert read(root) == b'precious'


def test_an_unknown_compression_is_refused_before_anything_is_made(root):
    with pytest.raises(errors.Usage, match='gzip'):
        stores.create(root, 'lzo')
    assert not os.path.exists(root)


def test_a_compression_whose_library_is_missing_is_refused_before_anything_is_made(root, monkeypatch):
    for module in ('compression', 'compression.zstd', 'backports', 'backports.zstd'):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(errors.Error, match='pip install'):
        stores.create(root, 'zstd')
    assert not os.path.exists(root)


@pytest.mark.parametrize('step', range(9))
def test_an_interrupted_making_can_be_finished(root, monkeypatch, step):
    """A directory becomes a store with its config, which comes last."""

    class Death(BaseException):
        pass

    left = [step]

    def dying(real):
        def call(*arguments, **options):
            if not left[0]:
                raise Death
            left[0] -= 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(publish, 'make_directories', dying(publish.make_directories))
        patch.setattr(publish, 'replace', dying(publish.replace))
        try:
            stores.create(root)
        except Death:
            with pytest.raises(errors.Error, match='chkfs-init makes one'):
                stores.Store(root)
    stores.create(root)
    stores.Store(root)


@pytest.mark.parametrize('name', ['.config.0123abcd', '.README.0123abcd'])
def test_a_half_written_config_does_not_keep_a_store_from_being_made(root, name):
    os.mkdir(root)
    write(os.path.join(root, name.encode()), b'[store]\n\tform')
    assert stores.create(root)


def test_a_disk_that_refuses_is_an_error(root, monkeypatch):
    def refuse(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'mkdir', refuse)
    with pytest.raises(errors.Error, match='No space left'):
        stores.create(root)


# ---- opening one ----


def test_what_is_no_store_is_said_with_a_way_out(tmp_path, root):
    write(os.fsencode(tmp_path / 'file'), b'')
    for path in (root, os.fsencode(tmp_path), os.fsencode(tmp_path / 'file')):
        with pytest.raises(errors.Error, match='chkfs-init makes one'):
            stores.Store(path)


def test_another_format_is_said_and_where_to_read_on(root):
    stores.create(root)
    data = read(config_path(root))
    for other in (b'2', b'one', b'', b'0', b'1.0'):
        write(config_path(root), data.replace(b'format = 1', b'format = ' + other))
        with pytest.raises(errors.Error, match='README explains it'):
            stores.Store(root)


def test_of_another_format_only_the_number_need_be_known(root):
    stores.create(root)
    write(config_path(root), b'[store]\n\tformat = 2\n')
    with pytest.raises(errors.Error):
        stores.Store(root)


def test_unknown_settings_do_no_harm(root):
    stores.create(root)
    write(
        config_path(root), read(config_path(root)) + b'\tcolour = red\n[future]\n\tthing = 1\n# a remark\n; another\n'
    )
    assert stores.Store(root).config['colour'] == 'red'


@pytest.mark.parametrize(
    'old, new',
    [
        (b'[store]', b''),
        (b'[store]', b'[store'),
        (b'[write]', b'[store]'),
        (b'id = ', b'id = x'),
        (b'id = ', b'identity = '),
        (b'compression = gzip', b'compression = lzo'),
        (b'compression = gzip', b'compression'),
        (b'compression = gzip', b'compression ='),
        (b'fastcdc-2020', b'fastcdc-2016'),
        (b'= 524288', b'= half'),
        (b'= 524288', b'= -1'),
        (b'= 524288', b'= 8388608'),
        (b'= 524288', b'= 0'),
        (b'= 524288', b'= ' + b'9' * 5000),
        (b'= 8388608', b'= 99999999999'),
        (b'normalization = 1', b'normalization = 9'),
        (b'normalization = 1', b'normalization = 1\n\tchunk-normalization = 1'),
        (b'format = 1', b'format = 1\n\tformat = 1'),
        (b'gzip', b'gz\xffip'),
        (b'gzip', b'gz\0ip'),
    ],
)
def test_a_damaged_config_is_an_error_that_names_the_store(root, old, new):
    stores.create(root)
    data = read(config_path(root))
    assert data.count(old) >= 1
    write(config_path(root), data.replace(old, new, 1))
    with pytest.raises(errors.Error) as caught:
        stores.Store(root)
    assert os.fsdecode(root) in str(caught.value)


def test_a_config_cut_at_any_length_is_an_error_or_whole(root):
    stores.create(root)
    data = read(config_path(root))
    for length in range(len(data)):
        write(config_path(root), data[:length])
        try:
            assert stores.Store(root).config['chunk-normalization'] == '1'
            assert length == len(data) - 1
        except errors.Error:
            pass


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda text: text.encode('utf-8', 'surrogatepass')),
       st.integers(0, 300), st.integers(0, 300))  # fmt: skip
def test_a_config_of_any_bytes_raises_only_errors(tmp_path_factory, data, start, stop):
    root = os.fsencode(tmp_path_factory.getbasetemp() / 'hostile')
    stores.create(root)
    good = read(config_path(root))
    try:
        for hostile in (data, good[:start] + data + good[stop:], b'[store]\nformat = 1\n' + data):
            write(config_path(root), hostile)
            try:
                stores.Store(root)
            except errors.Error:
                pass
    finally:
        write(config_path(root), good)


def test_a_config_that_is_a_directory_is_an_error(root):
    stores.create(root)
    os.unlink(config_path(root))
    os.mkdir(config_path(root))
    with pytest.raises(errors.Error):
        stores.Store(root)


# ---- finding it ----


def test_the_option_comes_before_the_environment_and_that_before_here(root, monkeypatch):
    stores.create(root)
    monkeypatch.chdir(os.fsdecode(root))
    assert stores.find('/option', {'CHKFS_STORE': '/environment'}) == b'/option'
    assert stores.find(None, {'CHKFS_STORE': '/environment'}) == b'/environment'
    assert stores.find(None, {}) == b'.'
    assert stores.find('', {'CHKFS_STORE': ''}) == b'.'
    assert stores.find('/lat\udcee', {}) == b'/lat\xee'


def test_without_any_the_ways_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.Error, match='CHKFS_STORE'):
        stores.find(None, {})


def test_a_store_of_any_name_works(tmp_path):
    root = os.path.join(os.fsencode(tmp_path), b'lat\xeen %s\n')
    stores.create(root)
    made = stores.Store(root)
    with made.writer() as writer:
        found = writer.put('blob', b'x')
        writer.checkpoint()
    assert stores.Store(root).objects.read('blob', found) == b'x'


def test_a_relative_store_is_kept_when_the_directory_changes(root, monkeypatch, tmp_path):
    stores.create(root)
    monkeypatch.chdir(os.fsdecode(root))
    made = stores.Store(b'.')
    monkeypatch.chdir(tmp_path)
    assert made.root == root
    assert list(made.objects.keys('blob')) == []


def test_chunks_are_cut_as_the_config_says(root):
    stores.create(root, 'none')
    data = (
        read(config_path(root))
        .replace(b'524288', b'65536')
        .replace(b'2097152', b'131072')
        .replace(b'8388608', b'262144')
    )
    write(config_path(root), data)
    made = stores.Store(root)
    with made.writer() as writer:
        found = writer.put('blob', os.urandom(9 << 20))
        assert writer.written_objects > 34
        writer.checkpoint()
    assert made.objects.size('blob', found) == 9 << 20


def test_a_copy_of_a_store_is_a_store_of_its_own(make_store, tmp_path):
    original = make_store()
    shutil.copytree(original.root, os.fsencode(tmp_path / 'copy'))
    copy = stores.Store(os.fsencode(tmp_path / 'copy'))
    with original.writer() as ours, copy.writer() as theirs:
        found = theirs.put('blob', b'only in the copy')
        theirs.checkpoint()
        ours.put('blob', b'anything')
        ours.checkpoint()
        assert not ours.has('blob', found)


# ---- what explains it ----

NAMES = ['README', 'restore.sh', 'restore.py']


def explaining(root, name):
    return os.path.join(root, name.encode())


def test_a_new_store_explains_itself(root):
    stores.create(root)
    assert stores.outdated(root) == {}
    assert [name for name, _ in stores.WRITTEN] == NAMES


@pytest.mark.parametrize('name', NAMES)
def test_what_the_golden_stores_hold_is_of_an_earlier_version_or_this_one(root, name):
    stores.create(root)
    golden = os.path.join(os.path.dirname(__file__), 'data/store-1/gzip', name)
    write(explaining(root, name), read(golden))
    assert stores.outdated(root).get(name) in (None, stores.EARLIER)


@pytest.mark.parametrize('name', NAMES)
def test_a_missing_and_an_altered_one_are_told_apart(root, name):
    stores.create(root)
    write(explaining(root, name), b'altered')
    assert stores.outdated(root) == {name: stores.ALTERED}
    os.unlink(explaining(root, name))
    assert stores.outdated(root) == {name: stores.MISSING}


def test_refresh_keeps_the_old_one_beside(root):
    stores.create(root)
    write(explaining(root, 'README'), b'altered')
    assert stores.refresh(root, (stores.MISSING, stores.EARLIER)) == []
    assert stores.refresh(root) == ['README']
    assert stores.outdated(root) == {}
    beside = [name for name in os.listdir(root) if name.startswith(b'README.')]
    assert [read(os.path.join(root, name)) for name in beside] == [b'altered']
    assert stores.refresh(root) == []


def test_a_writer_writes_what_is_missing_and_not_what_somebody_altered(root):
    stores.create(root)
    os.unlink(explaining(root, 'restore.sh'))
    write(explaining(root, 'README'), b'altered')
    with stores.Store(root).writer():
        pass
    assert stores.outdated(root) == {'README': stores.ALTERED}


def test_a_writer_that_cannot_write_them_leaves_it_to_the_objects_to_say_so(root, monkeypatch):
    def refuse(*_):
        raise OSError(30, 'Read-only file system')

    stores.create(root)
    os.unlink(explaining(root, 'README'))
    monkeypatch.setattr(publish, 'replace', refuse)
    stores.Store(root).writer()
    assert stores.outdated(root) == {'README': stores.MISSING}


def test_a_cache_that_cannot_even_be_looked_for_is_none_of_our_directories(store, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/dev/null')
    assert list(stores.Store(store.root).own_directories.values()) == ['the store itself']
