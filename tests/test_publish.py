"""publish: what becomes visible is on disk first, and what fails leaves what was there."""

import errno
import fcntl
import os
import stat

import pytest

from chkfs import errors
from chkfs.storage import publish

WAYS_OUT = {
    errno.ENOSPC: 'make room',
    errno.EDQUOT: 'make room',
    errno.EROFS: 'read-only',
    errno.EIO: 'look at the disk',
}


@pytest.fixture
def fast_disk():
    """Here the disk is waited for."""


@pytest.fixture
def root(tmp_path):
    return os.fsencode(tmp_path)


@pytest.fixture
def steps(monkeypatch):
    """A list of what was synced and renamed, in order; everything still happens."""
    done = []
    rename, sync, sync_file = os.rename, publish.sync_filesystem, os.fsync

    def recorded_rename(old, new, **options):
        done.append(('rename', os.path.basename(new).decode()))
        rename(old, new, **options)

    def recorded_sync(fd):
        done.append(('syncfs', ''))
        sync(fd)

    def recorded_fsync(fd):
        kind = 'directory' if stat.S_ISDIR(os.fstat(fd).st_mode) else 'file'
        done.append(('fsync', kind))
        sync_file(fd)

    monkeypatch.setattr(os, 'rename', recorded_rename)
    monkeypatch.setattr(publish, 'sync_filesystem', recorded_sync)
    monkeypatch.setattr(os, 'fsync', recorded_fsync)
    return done


def fail_with(number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def read(*parts):
    with open(os.path.join(*parts), 'rb') as file:
        return file.read()


def incoming(root):
    return os.listdir(os.path.join(root, b'incoming'))


# ---- runs ----


def test_a_run_syncs_before_the_first_rename_and_after_the_last(root, steps):
    with publish.Run(root) as run:
        for name in ('one', 'two', 'three'):
            run.write(name, name.encode())
        run.publish([('two', 'objects/a/two'), ('one', 'objects/a/one'), ('three', 'packs/three')])
        assert steps == [('syncfs', ''), ('rename', 'two'), ('rename', 'one'), ('rename', 'three'), ('syncfs', '')]
    assert read(root, b'objects/a/one') == b'one'
    assert read(root, b'packs/three') == b'three'


def test_publishing_nothing_syncs_what_others_made_visible(root, steps):
    with publish.Run(root) as run:
        run.publish([])
    assert steps == [('syncfs', '')]


def test_nothing_is_visible_before_it_is_published(root):
    with publish.Run(root) as run:
        run.write('one', b'data')
        assert os.listdir(root) == [b'incoming']
        assert os.path.dirname(run.path) == os.path.join(root, b'incoming')


def test_leaving_a_run_empties_incoming(root):
    with publish.Run(root) as run:
        run.write('one', b'data')
        run.write('two', b'data')
        run.publish([('two', 'two')])
    assert incoming(root) == []
    assert read(root, b'two') == b'data'


def test_an_error_inside_a_run_empties_incoming_too(root):
    with pytest.raises(RuntimeError):
        with publish.Run(root) as run:
            run.write('one', b'data')
            raise RuntimeError
    assert incoming(root) == []


def test_two_runs_do_not_meet(root):
    with publish.Run(root) as one, publish.Run(root) as two:
        assert one.path != two.path
        one.write('same', b'1')
        two.write('same', b'2')
        one.publish([('same', 'one')])
        two.publish([('same', 'two')])
    assert (read(root, b'one'), read(root, b'two')) == (b'1', b'2')


def test_a_run_is_held_with_flock_which_ends_with_it(root):
    with publish.Run(root) as run:
        other = os.open(run.path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_published_files_are_for_their_owner_to_read_only(root):
    with publish.Run(root) as run:
        run.write('one', b'a', memoryview(b'bc'), b'')
        run.publish([('one', 'objects/blob/aa/one')])
    assert read(root, b'objects/blob/aa/one') == b'abc'
    assert stat.S_IMODE(os.stat(os.path.join(root, b'objects/blob/aa/one')).st_mode) == 0o400
    assert stat.S_IMODE(os.stat(os.path.join(root, b'objects/blob/aa')).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(os.path.join(root, b'incoming')).st_mode) == 0o700


def test_published_directories_between_are_for_their_owner_only(root):
    old = os.umask(0o022)
    try:
        with publish.Run(root) as run:
            run.write('one', b'data')
            run.publish([('one', 'objects/blob/aa/one')])
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(os.path.join(root, b'objects/blob')).st_mode) == 0o700


def test_an_object_that_is_there_is_replaced_by_its_equal(root):
    for _ in range(2):
        with publish.Run(root) as run:
            run.write('one', b'data')
            run.publish([('one', 'one')])
    assert read(root, b'one') == b'data'


@pytest.mark.parametrize('number', WAYS_OUT)
@pytest.mark.parametrize(
    'step, where',
    [('entering', 'mkdir'), ('inside', 'open'), ('inside', 'write'), ('inside', 'rename'), ('inside', 'mkdir')],
)
def test_a_refusal_of_the_disk_is_an_error_that_says_what_to_do(root, monkeypatch, number, step, where):
    with pytest.raises(errors.Error, match=WAYS_OUT[number]) as caught:
        if step == 'entering':
            monkeypatch.setattr(os, where, fail_with(number))
        with publish.Run(root) as run:
            monkeypatch.setattr(os, where, fail_with(number))
            run.write('one', b'data')
            run.publish([('one', 'deep/one')])
    assert caught.value.status == errors.FATAL
    assert os.strerror(number) in str(caught.value)
    assert not os.path.exists(os.path.join(root, b'deep/one'))


@pytest.mark.parametrize('number', WAYS_OUT)
def test_a_failed_sync_leaves_nothing_visible(root, monkeypatch, number):
    monkeypatch.setattr(publish, 'sync_filesystem', fail_with(number))
    with pytest.raises(errors.Error, match=WAYS_OUT[number]):
        with publish.Run(root) as run:
            run.write('one', b'data')
            run.publish([('one', 'one')])
    assert os.listdir(root) == [b'incoming'] and incoming(root) == []


def test_a_failed_second_sync_is_not_passed_over(root, monkeypatch):
    answers = [lambda fd: None, fail_with(errno.EIO)]
    monkeypatch.setattr(publish, 'sync_filesystem', lambda fd: answers.pop(0)(fd))
    with publish.Run(root) as run:
        run.write('one', b'data')
        with pytest.raises(errors.Error, match='Input/output error'):
            run.publish([('one', 'one')])


def test_a_rename_that_fails_leaves_the_earlier_ones_and_no_later_one(root, monkeypatch):
    rename = os.rename
    monkeypatch.setattr(
        os, 'rename', lambda old, new: fail_with(errno.EIO)() if new.endswith(b'two') else rename(old, new)
    )
    with pytest.raises(errors.Error):
        with publish.Run(root) as run:
            for name in ('one', 'two', 'three'):
                run.write(name, b'data')
            run.publish([(name, name) for name in ('one', 'two', 'three')])
    assert sorted(os.listdir(root)) == [b'incoming', b'one']
    assert incoming(root) == []


def test_a_store_that_cannot_be_written_is_an_error(root):
    blocked = os.path.join(root, b'file')
    publish.replace(blocked, b'')
    with pytest.raises(errors.Error, match='cannot write into the store'):
        publish.Run(blocked)


def test_syncfs_really_is_called():
    with open(__file__) as file:
        publish.sync_filesystem(file.fileno())
    with pytest.raises(OSError) as caught:
        publish.sync_filesystem(-1)
    assert caught.value.errno == errno.EBADF


# ---- write_all ----


def test_write_all_goes_on_after_short_writes(root, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, 'write', lambda fd, data: write(fd, data[:3]))
    fd = os.open(os.path.join(root, b'file'), os.O_CREAT | os.O_WRONLY)
    publish.write_all(fd, b'0123456789')
    os.close(fd)
    assert read(root, b'file') == b'0123456789'


# ---- replace ----


def test_replace_syncs_the_file_then_renames_then_syncs_the_directory(root, steps):
    publish.replace(os.path.join(root, b'ref'), b'new')
    assert steps == [('fsync', 'file'), ('rename', 'ref'), ('fsync', 'directory')]
    assert read(root, b'ref') == b'new'
    assert stat.S_IMODE(os.stat(os.path.join(root, b'ref')).st_mode) == 0o600
    assert os.listdir(root) == [b'ref']


@pytest.mark.parametrize('where', ['write', 'fsync', 'rename', 'open'])
def test_a_replace_that_fails_leaves_the_old_content_and_no_stray_file(root, monkeypatch, where):
    path = os.path.join(root, b'ref')
    publish.replace(path, b'old')
    with monkeypatch.context() as patch:
        patch.setattr(os, where, fail_with(errno.ENOSPC))
        with pytest.raises(errors.Error, match='make room'):
            publish.replace(path, b'new')
    assert read(path) == b'old'
    assert os.listdir(root) == [b'ref']


def test_an_interrupted_replace_leaves_no_stray_file(root, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'rename', interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish.replace(os.path.join(root, b'ref'), b'new')
    assert os.listdir(root) == []


def test_replace_can_set_a_file_with_the_longest_name(root):
    path = os.path.join(root, b'n' * 255)
    publish.replace(path, b'new')
    assert read(path) == b'new'


# ---- append ----


@pytest.fixture
def log(root):
    fd = os.open(os.path.join(root, b'log'), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield fd
    os.close(fd)


def test_append_adds_and_syncs(root, log, steps):
    publish.append(log, b'one\n')
    publish.append(log, b'two\n')
    assert read(root, b'log') == b'one\ntwo\n'
    assert steps == [('fsync', 'file')] * 2


def test_append_ends_a_line_that_was_cut_short(root, log):
    os.write(log, b'whole\nhal')
    publish.append(log, b'next\n')
    assert read(root, b'log') == b'whole\nhal\nnext\n'


def test_an_append_that_fails_is_an_error(log, monkeypatch):
    monkeypatch.setattr(os, 'fsync', fail_with(errno.EIO))
    with pytest.raises(errors.Error, match='look at the disk'):
        publish.append(log, b'one\n')


# ---- directories ----


def test_every_new_directory_is_synced_into_its_parent(root, steps):
    publish.make_directories(root, b'a/b/c')
    assert os.path.isdir(os.path.join(root, b'a/b/c'))
    assert steps == [('fsync', 'directory')] * 3
    publish.make_directories(root, b'a/b/d')
    assert len(steps) == 4
    publish.make_directories(root, b'a/b/d')
    assert len(steps) == 4


def test_a_file_in_the_way_of_a_directory_is_an_oserror(root):
    publish.replace(os.path.join(root, b'a'), b'')
    with pytest.raises(OSError):
        publish.make_directories(root, b'a/b')


@pytest.mark.parametrize('number', [errno.EINVAL, errno.EIO])
def test_a_filesystem_that_cannot_sync_directories_is_forgiven_but_no_other_error(root, monkeypatch, number):
    monkeypatch.setattr(os, 'fsync', fail_with(number))
    if number == errno.EINVAL:
        publish.sync_directory(root)
    else:
        with pytest.raises(OSError):
            publish.sync_directory(root)


@pytest.mark.parametrize('made_by_another', [True, False])
def test_a_directory_that_somebody_else_makes_at_the_same_time_is_taken(root, monkeypatch, made_by_another):
    mkdir = os.mkdir

    def race(path, mode=0o777):
        if made_by_another:
            mkdir(path, mode)
        else:
            publish.replace(path, b'a file')
        mkdir(path, mode)

    monkeypatch.setattr(os, 'mkdir', race)
    if made_by_another:
        publish.make_directories(root, b'a/b')
        assert os.path.isdir(os.path.join(root, b'a/b'))
    else:
        with pytest.raises(FileExistsError):
            publish.make_directories(root, b'a')


# ---- removing second copies ----


@pytest.fixture
def copies(root):
    """Two packs and their indexes; the first copy is packs/new."""
    with publish.Run(root) as run:
        for name in ('new', 'old', 'old.index'):
            run.write(name, b'content')
        run.publish([(name, f'packs/{name}') for name in ('new', 'old', 'old.index')])
    return publish.drop_cached(root, 'packs/new')


def there(root):
    return sorted(os.listdir(os.path.join(root, b'packs')))


def test_second_copies_go_packs_first_and_each_group_is_on_disk_before_the_next(root, copies, steps, monkeypatch):
    unlink = os.unlink
    monkeypatch.setattr(os, 'unlink', lambda path: (steps.append(('unlink', os.path.basename(path))), unlink(path)))
    publish.remove_second_copies(root, ['packs/old.index', 'packs/old'], [copies])
    assert steps == [('syncfs', ''), ('unlink', b'old'), ('syncfs', ''), ('unlink', b'old.index'), ('syncfs', '')]
    assert there(root) == [b'new']


@pytest.mark.parametrize(
    'change', ['gone', 'another file of that name', 'written to', 'is to go itself', 'a link to it']
)
def test_nothing_is_removed_unless_the_first_copy_is_the_file_that_was_read_back(root, copies, change):
    new, old = os.path.join(root, b'packs/new'), os.path.join(root, b'packs/old')
    paths = ['packs/old', 'packs/old.index']
    if change == 'gone':
        os.unlink(new)
    elif change == 'another file of that name':
        publish.replace(new, b'content')
    elif change == 'written to':
        os.chmod(new, 0o600)
        with open(new, 'ab') as file:
            file.write(b' and more')
    elif change == 'is to go itself':
        paths = ['packs/old', 'packs/new']
    else:
        os.unlink(old)
        os.link(new, old)
    before = there(root)
    with pytest.raises(errors.Error, match='nothing removed|No such file'):
        publish.remove_second_copies(root, paths, [copies])
    assert there(root) == before


def test_nothing_is_removed_without_a_first_copy(root, copies):
    with pytest.raises(errors.Error, match='no first copy'):
        publish.remove_second_copies(root, ['packs/old'], [])
    assert there(root) == [b'new', b'old', b'old.index']


def test_nothing_is_removed_when_any_path_is_not_there(root, copies):
    with pytest.raises(errors.Error):
        publish.remove_second_copies(root, ['packs/old', 'packs/none'], [copies])
    assert there(root) == [b'new', b'old', b'old.index']


def test_a_file_that_is_dropped_from_the_cache_is_read_from_disk(root):
    for name in ('ours', 'control'):
        publish.replace(os.path.join(root, name.encode()), bytes(1 << 20))
        assert cached_bytes(root, name) == 1 << 20
    fd = os.open(os.path.join(root, b'control'), os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    if cached_bytes(root, 'control'):
        pytest.skip('this filesystem is its own cache, or does not tell what is cached')
    publish.drop_cached(root, 'ours')
    assert cached_bytes(root, 'ours') == 0


def cached_bytes(root, name):
    """How much can be read without waiting for the disk; all of it where the system does not tell."""
    fd = os.open(os.path.join(root, name.encode()), os.O_RDONLY)
    try:
        return os.preadv(fd, [bytearray(1 << 20)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return 0
    except OSError:
        return 1 << 20
    finally:
        os.close(fd)


def test_a_symbolic_link_is_no_file_of_the_store(root):
    os.symlink('elsewhere', os.path.join(root, b'link'))
    with pytest.raises(errors.Error):
        publish.drop_cached(root, 'link')


def test_a_lock_is_held_by_one_and_let_go_of(root):
    waited = []
    with publish.lock(root, 'packs', lambda: waited.append(1)):
        fd = os.open(os.path.join(root, b'packs'), os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
    assert not waited
