"""ingest: a live directory becomes trees; what is unchanged is not read, what goes wrong is said and passed over."""

import errno
import gc
import os
import shutil
import socket
import stat
import subprocess
import threading
import time

import pytest

from chkfs import errors
from chkfs.backup import exclude, jobs, level
from chkfs.backup import ingest as ingests
from chkfs.storage import cache
from chkfs.storage import store as stores
from chkfs.storage import writer as writers
from chkfs.system import crew, dos, metadata, mounts
from chkfs.text import key, tree

OLD = 10**18  # ns: some day in 2001
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


def write(*parts, data=b'data', time_ns=OLD):
    """Makes a file with an old time, and the directories above it."""
    path = os.path.join(*parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
    os.utime(path, ns=(time_ns, time_ns))
    return path


def mount(*arguments):
    if subprocess.run(['mount', *arguments], capture_output=True).returncode:
        pytest.skip('cannot mount here')


def unmount(path):
    subprocess.run(['umount', '-l', path], check=True)


@pytest.fixture
def opened(monkeypatch):
    """opened(name, action) calls action just before a file or directory of that name is opened."""
    actions, real = {}, os.open

    def hooked(path, flags, *arguments, **options):
        name = os.path.basename(os.fsencode(path))
        if name in actions and not flags & os.O_CREAT:
            actions[name]()
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, 'open', hooked)
    return actions.__setitem__


@pytest.fixture
def full(source):
    """A source with some of everything, all of it old."""
    write(source, b'a')
    write(source, b'empty', data=b'')
    write(source, b'medium', data=os.urandom(300 << 10))
    write(source, b'sub', b'deep', b'er', b'file', data=b'deep')
    write(source, b'sub', b'other', data=b'other')
    write(source, 'Grüße'.encode(), data=b'utf-8')
    write(source, b'lat\xeen', data=b'latin')
    os.mkdir(os.path.join(source, b'no files'))
    os.symlink(b'nowhere', os.path.join(source, b'link'))
    os.mkfifo(os.path.join(source, b'fifo'))
    os.link(os.path.join(source, b'a'), os.path.join(source, b'sub', b'same as a'))
    return source


def raise_error(number):
    raise OSError(number, os.strerror(number))


# ---- what is stored ----


def times(path):
    """The tags of birth and change, as stat(1) tells them."""
    told = subprocess.run(['stat', '-c', '%.9W %.9Z', path], check=True, capture_output=True, text=True).stdout.split()
    return f'btime:{told[0]},ctime:{told[1]}' if told[0] != '0.000000000' else f'ctime:{told[1]}'


def test_a_tree_is_exactly_what_the_manual_says(store, backup, source, later):
    write(source, b'file', data=b'hello')
    write(source, 'ü'.encode(), data=b'')
    os.symlink(b'a b', os.path.join(source, b'link'))
    os.utime(os.path.join(source, b'link'), ns=(0, -1), follow_symlinks=False)
    os.mkdir(os.path.join(source, b'dir'))
    os.utime(os.path.join(source, b'dir'), ns=(0, 5))
    for name, mode in ((b'file', 0o6640), ('ü'.encode(), 0o400), (b'dir', 0o1777)):
        os.chmod(os.path.join(source, name), mode)
    owners = metadata.Owners()
    uid, gid = os.geteuid(), os.getegid()
    owner = f'uid={uid} gid={gid} uname={owners.user(uid).decode()} gname={owners.group(gid).decode()}'
    dir, file, link, umlaut, top = (
        times(os.path.join(source, name)) for name in (b'dir', b'file', b'link', 'ü'.encode(), b'.')
    )
    expected = (
        '#mtree\n# chkfs tree 1\n. type=dir\n'
        f'./dir type=dir mode=1777 {owner} time=0.000000005 tags=tree:{key.of(tree.format(()))},{dir}\n'
        f'./file type=file mode=6640 {owner} size=5 time=1000000000.000000000 sha256digest={key.of(b"hello")}'
        f' tags={file}\n'
        f'./link type=link mode=0777 {owner} time=-1.999999999 link=a\\040b tags={link}\n'
        '# ü\n'
        f'./\\303\\274 type=file mode=0400 {owner} size=0 time=1000000000.000000000'
        f' sha256digest={key.of(b"")} tags=enc:utf-8,{umlaut}\n'
    )
    found = backup(source)
    assert store.objects.read('tree', found.root.key).decode() == expected
    status = os.lstat(source)
    mtime = tree.format_time(status.st_mtime_ns)
    assert found.result.root == (
        f'. type=dir mode={stat.S_IMODE(status.st_mode):04o} {owner} time={mtime}'
        f' tags=tree:{key.of(expected.encode())},{top}'
    )


def test_everything_is_stored_and_counted(backup, full, later):
    found = backup(full)
    assert sorted(found.entries) == sorted(
        [
            b'a',
            b'empty',
            b'medium',
            b'sub',
            b'sub/deep',
            b'sub/deep/er',
            b'sub/deep/er/file',
            b'sub/other',
            'Grüße'.encode(),
            b'lat\xeen',
            b'no files',
            b'link',
            b'fifo',
            b'sub/same as a',
        ]
    )
    assert found.read(b'sub/deep/er/file') == b'deep'
    assert found.read(b'lat\xeen') == b'latin'
    sizes = 4 + 0 + (300 << 10) + 4 + 5 + 5 + 5 + 4
    assert (found.result.files, found.result.bytes, found.result.skipped, found.result.changed) == (8, sizes, 0, 0)
    assert found.result.read_bytes == sizes
    assert found.lines == [] and len(found.result.mounts) == 1
    for entry in found.entries.values():
        tree.check(entry)


def test_every_kind_of_entry_is_stored(store, backup, source, monkeypatch):
    monkeypatch.chdir(os.fsdecode(source))
    os.mkfifo('fifo', 0o620)
    server = socket.socket(socket.AF_UNIX)
    server.bind('sock')
    server.close()
    for name, target in (
        (b'dangling', b'no/such'),
        (b'odd', b'\xff\n \\#%'),
        (b'long', b'x' * 4000),
        (b'self', b'self'),
    ):
        os.symlink(target, name)
    found = backup(source)
    assert {
        path: (entry.type, entry.link if entry.type == 'link' else None) for path, entry in found.entries.items()
    } == {
        b'fifo': ('fifo', None),
        b'sock': ('socket', None),
        b'dangling': ('link', b'no/such'),
        b'odd': ('link', b'\xff\n \\#%'),
        b'long': ('link', b'x' * 4000),
        b'self': ('link', b'self'),
    }


@AS_ROOT
def test_devices_are_stored_by_their_numbers(backup, source):
    os.mknod(os.path.join(source, b'c'), stat.S_IFCHR | 0o620, os.makedev(5, 1))
    os.mknod(os.path.join(source, b'b'), stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    entries = backup(source).entries
    assert (entries[b'c'].type, entries[b'c'].device) == ('char', (5, 1))
    assert (entries[b'b'].type, entries[b'b'].device) == ('block', (259, 70000))


@AS_ROOT
def test_owners_without_a_name_are_stored_by_number(backup, source):
    os.chown(write(source, b'file'), 3_987_654, 3_987_655)
    fields = backup(source).entries[b'file'].fields
    assert (fields['uid'], fields['gid'], 'uname' in fields, 'gname' in fields) == ('3987654', '3987655', False, False)


def test_every_name_of_a_file_carries_the_same_first_name(backup, source):
    write(source, b'z, first')
    for name in (b'sub/two', b'sub/three', b'sub/deep/four'):
        os.makedirs(os.path.dirname(os.path.join(source, name)), exist_ok=True)
        os.link(os.path.join(source, b'z, first'), os.path.join(source, name))
    write(source, b'sub/single')
    entries = backup(source).entries
    linked = {path: entry.tag('hl') for path, entry in entries.items() if entry.type == 'file'}
    assert linked == {b'z, first': 'z\\054\\040first', b'sub/two': 'z\\054\\040first', b'sub/three': 'z\\054\\040first',
                      b'sub/deep/four': 'z\\054\\040first', b'sub/single': None}  # fmt: skip
    assert len({entries[path].key for path in linked if path != b'sub/single'}) == 1


def test_a_hard_linked_file_is_read_once(backup, source, later):
    write(source, b'a', data=b'x' * 1000)
    os.link(os.path.join(source, b'a'), os.path.join(source, b'b'))
    found = backup(source)
    assert found.entries[b'a'].key == found.entries[b'b'].key == key.of(b'x' * 1000)
    assert found.written_objects == 2  # the blob and the tree


def test_a_directory_that_is_moved_keeps_its_tree(backup, source):
    write(source, b'one', b'file')
    write(source, b'one', b'sub', b'other')
    os.makedirs(os.path.join(source, b'deep', b'er'))
    before = backup(source).entries
    os.rename(os.path.join(source, b'one'), os.path.join(source, b'deep', b'er', b'two'))
    after = backup(source).entries
    assert before[b'one'].key == after[b'deep/er/two'].key
    assert before[b'one'].key not in (before[b'deep'].key, after[b'deep'].key)


def test_no_number_of_a_device_or_an_inode_gets_into_a_tree(make_store, backup, source, tmp_path, later):
    """Two copies of the same directory tell the same, but for their own times."""
    write(source, b'file')
    os.link(os.path.join(source, b'file'), os.path.join(source, b'second'))
    os.utime(source, ns=(OLD, OLD))
    copied = os.fsencode(tmp_path / 'copied')
    subprocess.run(['cp', '-a', source, copied], check=True)
    assert backup(source).copied == backup(copied).copied


def test_three_hundred_levels_of_names_of_255_bytes(backup, source):
    fd, name = os.open(source, os.O_RDONLY), b'n' * 255
    for _ in range(300):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(b'bottom', os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    found = backup(source)
    paths = list(found.entries)
    assert len(paths) == 301 and paths[-1] == (name + b'/') * 300 + b'bottom'
    assert found.result.files == 1 and found.result.skipped == 0


def test_a_thousand_files_in_one_directory(backup, source, later):
    for number in range(1000):
        write(source, b'%d' % number, data=b'%d' % number)
    found = backup(source)
    assert found.result.files == len(found.entries) == 1000
    assert backup(source).result.read_bytes == 0


# ---- sources ----


def test_one_file_may_be_a_source(store, backup, source, later):
    path = write(source, b'file', data=b'alone')
    found = backup(path)
    assert (found.root.name, found.root.type, found.root.key) == (b'.', 'file', key.of(b'alone'))
    assert found.root.time_ns == OLD
    assert store.objects.read('blob', found.root.key) == b'alone'
    assert (found.result.files, found.result.bytes) == (1, 5)


def test_a_symlink_to_a_directory_is_followed_as_a_source(backup, source, tmp_path):
    write(source, b'file')
    os.symlink(source, os.fsencode(tmp_path / 'link'))
    assert list(backup(os.fsencode(tmp_path / 'link')).entries) == [b'file']


@pytest.mark.parametrize('kind', ['missing', 'fifo', 'dangling'])
def test_a_source_that_cannot_be_stored_is_an_error(backup, source, kind):
    path = os.path.join(source, b'x')
    if kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'dangling':
        os.symlink(b'nowhere', path)
    with pytest.raises(errors.Error):
        backup(path)


def test_a_relative_source_is_taken(backup, source, monkeypatch):
    write(source, b'sub', b'file')
    monkeypatch.chdir(os.fsdecode(source))
    assert list(backup(b'sub').entries) == [b'file']
    assert sorted(backup(b'.').entries) == [b'sub', b'sub/file']


# ---- the second run ----


def test_a_second_run_reads_nothing_and_writes_nothing(backup, full, later, opened, store_on_disk, store):
    first = backup(full)
    before = store_on_disk(store)
    opens = []
    for name in (b'a', b'empty', b'medium', b'file', b'other', b'same as a', 'Grüße'.encode(), b'lat\xeen'):
        opened(name, lambda name=name: opens.append(name))
    second = backup(full)
    assert second.result.root == first.result.root
    assert (second.result.read_bytes, second.written_objects, opens) == (0, 0, [])
    assert (second.result.files, second.result.bytes) == (first.result.files, first.result.bytes)
    after, incoming = store_on_disk(store), os.path.join(store.root, b'incoming')
    del before[incoming], after[incoming]  # where every writer has a directory for a while
    assert after == before


def test_without_the_cache_the_second_run_reads_everything_and_stores_the_same(backup, full, later, tmp_path):
    first = backup(full)
    shutil.rmtree(tmp_path / 'cache')
    second = backup(full)
    assert second.result.root == first.result.root
    assert second.result.read_bytes == first.result.read_bytes > 0
    assert second.written_objects == 0


def test_a_run_without_any_cache_stores_the_same(backup, full, later):
    assert backup(full, cache=cache.ScanCache(None)).result.root == backup(full).result.root


def test_only_what_changed_is_read_again(backup, full, later):
    backup(full)
    write(full, b'sub', b'other', data=b'changed!')
    second = backup(full)
    assert second.result.read_bytes == 8
    assert second.read(b'sub/other') == b'changed!'
    assert second.written_objects == 3  # the blob, sub, the top


def test_changed_content_of_the_same_size_and_mtime_is_seen(backup, source, later):
    path = write(source, b'file', data=b'before')
    assert backup(source).read(b'file') == b'before'
    ctime = os.lstat(path).st_ctime_ns
    while os.lstat(path).st_ctime_ns == ctime:
        write(source, b'file', data=b'after!')
    assert os.lstat(path).st_mtime_ns == OLD and os.path.getsize(path) == 6
    assert backup(source).read(b'file') == b'after!'


def test_a_file_replaced_by_another_of_the_same_looks_is_seen(backup, source, later):
    write(source, b'file', data=b'before')
    backup(source)
    write(source, b'new', data=b'after!')
    os.rename(os.path.join(source, b'new'), os.path.join(source, b'file'))
    assert backup(source).read(b'file') == b'after!'


@pytest.mark.parametrize('change', ['mode', 'mtime', 'name', 'new', 'removed', 'symlink'])
def test_every_change_of_a_directory_is_seen(backup, source, later, change):
    write(source, b'sub', b'file')
    write(source, b'sub', b'other')
    os.symlink(b'old', os.path.join(source, b'sub', b'link'))
    first = backup(source)
    path = os.path.join(source, b'sub', b'file')
    if change == 'mode':
        os.chmod(path, 0o611)
    elif change == 'mtime':
        os.utime(path, ns=(OLD, OLD + 1))
    elif change == 'name':
        os.rename(path, path + b'2')
    elif change == 'new':
        write(source, b'sub', b'third')
    elif change == 'removed':
        os.unlink(path)
    else:
        os.unlink(os.path.join(source, b'sub', b'link'))
        os.symlink(b'new', os.path.join(source, b'sub', b'link'))
    second = backup(source)
    assert second.result.root != first.result.root
    assert second.result.read_bytes <= 4
    assert second.result.root == backup(source, cache=cache.ScanCache(None)).result.root


def test_a_new_first_name_of_a_file_changes_its_other_names(backup, source, later):
    write(source, b'b', b'name')
    os.link(os.path.join(source, b'b', b'name'), os.path.join(source, b'b', b'second'))
    assert backup(source).entries[b'b/second'].tag('hl') == 'b/name'
    os.link(os.path.join(source, b'b', b'name'), os.path.join(source, b'a'))
    found = backup(source)
    assert {path: entry.tag('hl') for path, entry in found.entries.items() if entry.type == 'file'} == {
        b'a': 'a', b'b/name': 'a', b'b/second': 'a'
    }  # fmt: skip


def test_a_moved_directory_is_stored_under_its_new_name(backup, source, later):
    write(source, b'one', b'file')
    first = backup(source)
    os.rename(os.path.join(source, b'one'), os.path.join(source, b'two'))
    second = backup(source)
    assert list(second.entries) == [b'two', b'two/file']
    assert second.entries[b'two'].key == first.entries[b'one'].key


def test_two_sources_on_one_filesystem_share_what_is_known(backup, source, later):
    write(source, b'sub', b'file')
    backup(source)
    again = backup(os.path.join(source, b'sub'))
    assert again.result.read_bytes == 0 and list(again.entries) == [b'file']


# ---- the racy ----


@pytest.fixture
def fat(monkeypatch):
    """The source is on a filesystem that keeps neither ctimes nor inodes, and times to two seconds only."""
    real = mounts.filesystem
    lie = {'type': 'vfat', 'granularity_ns': 2 * 10**9, 'has_stable_inodes': False, 'has_true_ctime': False}
    monkeypatch.setattr(mounts, 'filesystem', lambda path, fd: real(path, fd)._replace(**lie))


def test_what_changed_just_now_is_read_again_the_next_time(backup, source, monkeypatch):
    """Its time may not tell a later change: it may be made within the same tick of the clock."""
    path = write(source, b'racy', data=b'new')  # with an old mtime, but a ctime of now
    monkeypatch.setattr(time, 'time_ns', lambda: os.lstat(path).st_ctime_ns + 10**6)
    assert backup(source).result.read_bytes == 3
    assert backup(source).result.read_bytes == 3


def test_what_has_the_mtime_of_now_is_read_again_even_without_ctime(backup, source, fat, monkeypatch):
    monkeypatch.setattr(time, 'time_ns', lambda: OLD)
    write(source, b'racy', data=b'new', time_ns=OLD - 10**9)
    write(source, b'old', data=b'settled', time_ns=OLD - 10**10)
    assert backup(source).result.read_bytes == 10
    assert backup(source).result.read_bytes == 3


def test_a_change_within_the_same_tick_is_seen(backup, source, fat, monkeypatch):
    """Neither size nor time tells of it, and there is nothing else on such a filesystem."""
    clock = [OLD + 10**6]
    monkeypatch.setattr(time, 'time_ns', lambda: clock[0])
    write(source, b'file', data=b'before')
    assert backup(source).read(b'file') == b'before'
    write(source, b'file', data=b'after!')
    clock[0] += 3600 * 10**9
    assert backup(source).read(b'file') == b'after!'
    assert backup(source).result.read_bytes == 0


def test_a_change_of_a_symlink_within_the_same_tick_is_seen(backup, source, fat, monkeypatch):
    clock, path = [OLD + 10**6], os.path.join(source, b'link')
    monkeypatch.setattr(time, 'time_ns', lambda: clock[0])
    for target in (b'before', b'after!'):
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)
        os.utime(path, ns=(OLD, OLD), follow_symlinks=False)
        assert backup(source).entries[b'link'].link == target
        clock[0] += 3600 * 10**9


def test_after_a_while_the_racy_is_settled(backup, source, later):
    write(source, b'file', time_ns=OLD)
    backup(source)
    later(60)
    assert backup(source).result.read_bytes == 0


@pytest.mark.parametrize('time_ns', [4_102_444_800 * 10**9, -(10**18), 0, 2**31 * 10**9, -1])
def test_times_of_the_far_future_and_past_are_recognised(backup, source, later, time_ns):
    path = write(source, b'file', time_ns=time_ns)
    if os.lstat(path).st_mtime_ns != time_ns:
        pytest.skip('this filesystem has no such times')
    found = backup(source)
    assert found.entries[b'file'].time_ns == time_ns
    assert backup(source).result.read_bytes == 0


# ---- rows and what they name ----


def test_nothing_is_believed_of_a_store_that_lost_its_objects(store, backup, full, later):
    first = backup(full)
    for name in (b'packs', b'objects'):
        shutil.rmtree(os.path.join(store.root, name))
        os.mkdir(os.path.join(store.root, name))
    again = backup(full, store=stores.Store(store.root))
    assert again.result.root == first.result.root
    assert again.read(b'a') == b'data' and len(again.entries) == 14


@pytest.mark.parametrize('form', ['loose', 'packed'])
def test_contents_that_the_store_lost_are_stored_again(store, backup, source, later, put, form):
    data = os.urandom(300 << 10) if form == 'loose' else b'small'
    write(source, b'file', data=data)
    put(store, 'blob', data)  # first, so that it lies in another pack than the tree
    lost = [os.path.join(top, name) for top, _, names in os.walk(store.root) for name in names if len(name) >= 64]
    assert backup(source).read(b'file') == data
    for path in lost:
        os.unlink(path)
    reopened = stores.Store(store.root)
    assert not reopened.objects.has('blob', key.of(data))
    assert backup(source, store=reopened).read(b'file') == data


def test_rows_become_valid_only_with_their_objects(store, backup, full, later):
    """A run that dies before its checkpoint leaves a cache that knows nothing of it."""

    class Death(BaseException):
        pass

    def die(path, result):
        if path == b'sub':
            raise Death

    with pytest.raises(Death):
        backup(full, step=die)
    assert list(store.objects.keys('blob')) == []
    found = backup(full)
    assert found.result.read_bytes == found.result.bytes


def test_after_a_death_only_what_was_not_secured_is_read_again(store, backup, source, later, monkeypatch):
    class Death(BaseException):
        pass

    monkeypatch.setattr(writers, 'CHECKPOINT_BYTES', 100 << 10)
    monkeypatch.setattr(jobs, 'BATCH_FILES', 1)
    for directory in (b'a', b'b', b'c'):
        for number in range(20):
            write(source, directory, b'%d' % number, data=os.urandom(10 << 10))

    def die(path, result):
        if path == b'c':
            raise Death

    with pytest.raises(Death):
        backup(source, step=die)
    found = backup(source)
    assert found.result.bytes == 600 << 10
    assert found.result.read_bytes <= 300 << 10
    assert found.result.root == backup(source, cache=cache.ScanCache(None)).result.root


def test_an_interrupted_run_secures_what_it_read(backup, source, later, monkeypatch):
    monkeypatch.setattr(jobs, 'BATCH_FILES', 1)
    write(source, b'a', b'file', data=b'x' * 1000)
    write(source, b'b', b'file', data=b'y' * 100)

    def stop(path, result):
        if path == b'b':
            raise errors.Interrupted

    with pytest.raises(errors.Interrupted):
        backup(source, step=stop)
    assert backup(source).result.read_bytes == 100


def test_a_run_may_be_interrupted_before_it_has_looked_at_anything(backup, source):
    write(source, b'a', b'file')

    def stop(path, result):
        raise errors.Interrupted

    with pytest.raises(errors.Interrupted):
        backup(source, step=stop)
    assert backup(source).result.files == 1


# ---- what goes wrong ----


@pytest.mark.parametrize('number, word', [(errno.EACCES, 'EACCES'), (errno.EIO, 'EIO'), (errno.ENXIO, 'ENXIO')])
def test_a_file_that_cannot_be_opened_is_tagged_and_counted(backup, full, opened, later, number, word):
    opened(b'other', lambda: raise_error(number))
    found = backup(full)
    entry = found.entries[b'sub/other']
    assert (entry.type, entry.size, entry.key, entry.tag('unread')) == ('file', 5, None, word)
    tree.check(entry)
    assert found.result.skipped == 1
    assert len(found.lines) == 1 and "'sub/other'" in found.lines[0] and os.strerror(number) in found.lines[0]
    assert found.read(b'sub/deep/er/file') == b'deep' and len(found.entries) == 14


def test_a_file_that_cannot_be_read_is_tried_again_the_next_time(backup, full, opened, later):
    opened(b'other', lambda: raise_error(errno.EIO))
    assert backup(full).result.skipped == 1
    opened(b'other', lambda: None)
    found = backup(full)
    assert found.read(b'sub/other') == b'other'
    assert (found.result.skipped, found.result.read_bytes) == (0, 5)


@pytest.fixture
def failing(monkeypatch):
    """failing(path, start, end, ...): reads of the file that touch bytes of these ranges give EIO."""
    real, bad = os.pread, {}

    def check(fd, start, end):
        for low, high in bad.get(os.fstat(fd).st_ino, ()):
            if start < high and low < end:
                raise_error(errno.EIO)

    def pread(fd, size, at):
        check(fd, at, at + size)
        return real(fd, size, at)

    def preadv(fd, buffers, at):
        data = pread(fd, len(buffers[0]), at)
        buffers[0][: len(data)] = data
        return len(data)

    def read(fd, size):
        check(fd, 0, size)
        return real(fd, size, 0)

    for function in (pread, preadv, read):
        monkeypatch.setattr(os, function.__name__, function)

    def fail(path, *edges):
        bad[os.stat(path).st_ino] = list(zip(edges[::2], edges[1::2]))

    return fail


@pytest.mark.parametrize('size', [5000, 300 << 10, 20 << 20])
def test_what_can_be_read_of_a_failing_file_is_stored_and_what_not_is_said(backup, source, failing, later, size):
    data = os.urandom(size)
    path = write(source, b'bad', data=data)
    write(source, b'good')
    failing(path, 600, 601, size - 1, size)
    tail = (size - 1) // 512 * 512
    expected = data[:512] + bytes(512) + data[1024:tail] + bytes(size - tail)
    for _ in range(2):  # it is tried again: the second run has nothing from the first
        found = backup(source)
        assert found.read(b'bad') == expected
        assert found.entries[b'bad'].tag('damaged') == f'512-1024+{tail}-{size}'
        assert (found.result.damaged, found.result.skipped) == (1, 0)
        assert found.lines == [f"'bad' is damaged: {512 + size - tail} bytes lost: 512-1024, {tail}-{size}"]
        assert found.read(b'good') == b'data'
    failing(path)
    found = backup(source)
    assert found.read(b'bad') == data
    assert found.entries[b'bad'].tag('damaged') is None and not found.lines


@pytest.mark.parametrize('size', [8000, 300 << 10, 20 << 20])
@pytest.mark.parametrize('alone', [False, True])
def test_a_better_reading_replaces_a_worse_one_range_by_range(backup, source, failing, later, size, alone):
    data = os.urandom(size)
    path = write(source, b'bad', data=data)
    top = path if alone else source
    failing(path, 0, 1024, 4096, 4600)
    first = backup(top)
    failing(path, 512, 2048)
    second = backup(top, before=first)
    entry = second.root if alone else second.entries[b'bad']
    assert entry.tag('damaged') == '512-1024'
    assert second.store.objects.read('blob', entry.key) == data[:512] + bytes(512) + data[1024:]
    failing(path, 0, size)  # nothing at all: what there was is kept
    third = backup(top, before=second)
    assert third.root.key == second.root.key
    assert third.result.damaged == 1 and third.lines == ["'bad' is damaged: 512 bytes lost: 512-1024"]
    failing(path, 4096, 4097)
    fourth = backup(top, before=third)
    entry = fourth.root if alone else fourth.entries[b'bad']
    assert entry.tag('damaged') is None and entry.key == key.of(data)
    assert fourth.result.damaged == 0 and not fourth.lines


def test_no_thread_reads_on_in_what_was_stored_before(backup, source, failing, later):
    """Else it ends when Python happens to clear up, perhaps while another thread begins and holds its locks."""
    path = write(source, b'bad', data=os.urandom(20 << 20))
    failing(path, 0, 1024)
    first = backup(source)
    failing(path, 512, 2048)
    before = threading.enumerate()
    gc.disable()
    try:
        assert backup(source, before=first).result.damaged == 1
        for thread in set(threading.enumerate()).difference(before):  # nobody waits for those that are about to end
            thread.join(60)
            assert not thread.is_alive()
    finally:
        gc.enable()


def test_a_file_that_was_whole_is_kept_when_it_fails(backup, source, failing, later):
    path = write(source, b'bad', data=b'x' * 5000)
    first = backup(source)
    failing(path, 0, 100)
    second = backup(source, before=first, cache=cache.ScanCache(None))
    assert second.entries[b'bad'] == first.entries[b'bad']
    assert (second.result.damaged, second.result.skipped) == (0, 0)
    assert second.lines == ["'bad' cannot be read as well as before: 512 bytes lost: kept as it was stored then"]


def test_a_damaged_file_that_cannot_even_be_opened_is_kept(backup, source, failing, opened, later):
    path = write(source, b'bad', data=b'x' * 5000)
    failing(path, 0, 100)
    first = backup(source)
    opened(b'bad', lambda: raise_error(errno.EIO))
    second = backup(source, before=first)
    assert second.entries[b'bad'] == first.entries[b'bad'] and second.result.damaged == 1
    assert second.lines == ["'bad' cannot be read as well as before: Input/output error: kept as it was stored then"]


@pytest.mark.parametrize('change', ['size', 'time', 'path'])
def test_what_was_stored_of_another_file_helps_nobody(backup, source, failing, later, change):
    path = write(source, b'bad', data=b'x' * 5000)
    failing(path, 0, 100)
    first = backup(source)
    if change == 'size':
        write(source, b'bad', data=b'y' * 5001)
    elif change == 'time':
        write(source, b'bad', data=b'y' * 5000, time_ns=OLD + 1)
    else:
        os.rename(path, path + b'2')
        path += b'2'
    failing(path, 4096, 4097)
    second = backup(source, before=first)
    (found,) = second.entries.values()
    assert found.tag('damaged') == '4096-4608' and second.read(found.name)[4096:4608] == bytes(512)


def test_a_backup_before_that_is_lost_does_no_harm(backup, source, failing, later):
    path = write(source, b'bad', data=b'x' * 5000)
    failing(path, 0, 100)
    first = backup(source)
    for name in os.listdir(os.path.join(first.store.root, b'packs')):
        os.unlink(os.path.join(first.store.root, b'packs', name))
    first.store.objects.look_again()
    failing(path, 4096, 4097)
    with pytest.raises(errors.NotFound):
        first.read(b'bad')
    second = backup(source, before=first)
    assert second.entries[b'bad'].tag('damaged') == '4096-4608'


@pytest.mark.parametrize('size', [5000, 300 << 10])
def test_a_file_of_which_nothing_can_be_read_is_tagged(backup, source, failing, size):
    failing(write(source, b'bad', data=b'x' * size), 0, size)
    write(source, b'good')
    found = backup(source)
    assert found.entries[b'bad'].tag('unread') == 'EIO' and found.entries[b'bad'].key is None
    assert (found.result.damaged, found.result.skipped) == (0, 1)
    assert found.read(b'good') == b'data'


def test_many_bad_places_are_told_by_a_blob(backup, source, failing):
    size = 4096 * 512 * 2
    data = os.urandom(size)
    path = write(source, b'bad', data=data)
    failing(path, *[edge for at in range(0, size, 8192) for edge in (at, at + 1)])
    found = backup(source)
    tag = found.entries[b'bad'].tag('damaged')
    lines = found.store.objects.read('blob', tag.removeprefix('@')).decode()
    assert tag.startswith('@') and lines.startswith('0-512\n8192-8704\n')
    shown = '0-512, 8192-8704, 16384-16896, 24576-25088, 32768-33280'
    assert found.lines[0].endswith(f' lost: {shown} and {size // 8192 - 5} more ranges')


@pytest.mark.parametrize('size', [100 << 10, 300 << 10, 3 << 20, 30 << 20])
def test_holes_are_known(backup, source, later, size):
    path = write(source, b'sparse', data=b'')
    with open(path, 'r+b') as file:
        os.pwrite(file.fileno(), b'x' * 4096, 64 << 10)
        os.truncate(file.fileno(), size)
    write(source, b'hole', data=b'')
    os.truncate(os.path.join(source, b'hole'), size)
    for name in (b'sparse', b'hole'):
        os.utime(os.path.join(source, name), ns=(OLD, OLD))
    found = backup(source)
    assert found.entries[b'sparse'].tag('data') == f'{64 << 10}-{68 << 10}'
    assert found.entries[b'hole'].tag('data') == '0-0'
    assert found.entries[b'hole'].key == key.of(bytes(size))
    assert found.read(b'sparse') == bytes(64 << 10) + b'x' * 4096 + bytes(size - (68 << 10))
    again = backup(source)
    assert again.root == found.root and again.result.read_bytes == 0


@pytest.mark.parametrize('number, word', [(errno.EACCES, 'EACCES'), (errno.EIO, 'EIO')])
def test_a_directory_that_cannot_be_entered_is_tagged_and_counted(backup, full, opened, later, number, word):
    opened(b'deep', lambda: raise_error(number))
    found = backup(full)
    assert found.entries[b'sub/deep'].tag('unread') == word
    assert found.result.skipped == 1 and "'sub/deep'" in found.lines[0]
    assert b'sub/deep/er' not in found.entries and b'sub/other' in found.entries
    opened(b'deep', lambda: None)
    assert backup(full).read(b'sub/deep/er/file') == b'deep'


def test_a_directory_that_cannot_be_listed_is_tagged_and_counted(backup, full, later, monkeypatch):
    victim = os.stat(os.path.join(full, b'sub', b'deep')).st_ino
    for name in ('listdir', 'scandir'):

        def failing(path='.', real=getattr(os, name)):
            if isinstance(path, int) and os.fstat(path).st_ino == victim:
                raise_error(errno.EIO)
            return real(path)

        monkeypatch.setattr(os, name, failing)
    found = backup(full)
    assert found.entries[b'sub/deep'].tag('unread') == 'EIO'
    assert found.result.skipped == 1 and "'sub/deep'" in found.lines[0]
    monkeypatch.undo()


def test_a_file_that_vanishes_is_left_out_and_said(backup, full, opened, later):
    opened(b'other', lambda: os.unlink(os.path.join(full, b'sub', b'other')))
    found = backup(full)
    assert b'sub/other' not in found.entries and len(found.entries) == 13
    assert found.result.skipped == 1 and found.lines == ["'sub/other' vanished"]


def test_a_directory_that_vanishes_is_left_out_and_said(backup, full, opened, later):
    opened(b'no files', lambda: os.path.isdir(path := os.path.join(full, b'no files')) and os.rmdir(path))
    found = backup(full)
    assert b'no files' not in found.entries and found.lines == ["'no files' vanished"]


def test_a_file_that_grows_all_the_time_is_stored_as_last_seen(backup, source, opened, later):
    path = write(source, b'growing', data=b'0')

    def grow():
        with open(path, 'ab', buffering=0) as file:
            file.write(b'123')

    opened(b'growing', grow)
    found = backup(source)
    entry = found.entries[b'growing']
    data = found.read(b'growing')
    assert entry.tag('changed') == '1' and entry.size == len(data) > 4
    assert data == (b'0' + b'123' * 9)[: len(data)]
    assert found.result.changed == 1 and "'growing' changed" in found.lines[0]
    opened(b'growing', lambda: None)
    second = backup(source)
    assert second.entries[b'growing'].tag('changed') is None
    assert second.result.read_bytes == second.entries[b'growing'].size == os.path.getsize(path)


@pytest.mark.parametrize('size', [10, 300 << 10])
@pytest.mark.parametrize('change', [b'', b'shorter', b'x' * (310 << 10)])
def test_a_file_that_changes_once_is_stored_as_it_then_is(backup, source, opened, later, size, change):
    path = write(source, b'file', data=b'y' * size)
    changes = [lambda: write(source, b'file', data=change, time_ns=OLD + 10**9)]
    opened(b'file', lambda: changes and changes.pop()())
    found = backup(source)
    assert found.read(b'file') == change
    assert (found.entries[b'file'].size, found.entries[b'file'].time_ns) == (len(change), OLD + 10**9)
    assert found.entries[b'file'].tag('changed') is None and found.result.changed == 0
    assert os.path.exists(path)


def test_a_directory_replaced_by_a_symlink_is_not_followed(backup, full, opened, later, tmp_path):
    outside = os.fsencode(tmp_path / 'outside')
    write(outside, b'secret')

    def swap():
        os.rename(os.path.join(full, b'sub', b'deep'), os.path.join(full, b'moved'))
        os.symlink(outside, os.path.join(full, b'sub', b'deep'))
        opened(b'deep', lambda: None)

    opened(b'deep', swap)
    found = backup(full)
    assert not any(path.endswith(b'secret') for path in found.entries)
    assert found.result.skipped == 1


@pytest.mark.parametrize('kind', ['fifo', 'symlink', 'directory'])
def test_a_file_replaced_by_something_else_is_not_read_through(backup, source, opened, later, tmp_path, kind):
    path = write(source, b'file')
    write(os.fsencode(tmp_path), b'secret', data=b'the secret')

    def swap():
        if os.path.isfile(path) and not os.path.islink(path):
            os.unlink(path)
            if kind == 'fifo':
                os.mkfifo(path)
            elif kind == 'symlink':
                os.symlink(os.fsencode(tmp_path / 'secret'), path)
            else:
                os.mkdir(path)

    opened(b'file', swap)
    found = backup(source)
    assert found.result.skipped == 1
    assert found.entries[b'file'].key is None and found.entries[b'file'].tag('unread')


def test_an_entry_that_cannot_be_looked_at_is_counted_and_the_rest_is_stored(backup, full, later, monkeypatch):
    stat_of = os.stat

    def failing(path, **options):
        if os.fsencode(path) == b'other' if isinstance(path, (str, bytes)) else False:
            raise_error(errno.EIO)
        return stat_of(path, **options)

    monkeypatch.setattr(os, 'stat', failing)
    found = backup(full)
    assert found.result.skipped == 1 and "'sub/other'" in found.lines[0]
    assert found.read(b'sub/deep/er/file') == b'deep'


def test_a_store_that_takes_no_more_ends_the_run_with_an_error(store, backup, full, monkeypatch):
    write_real = os.write

    def refuse(fd, data):
        if b'/incoming/' in os.fsencode(os.readlink(f'/proc/self/fd/{fd}')):
            raise_error(errno.ENOSPC)
        return write_real(fd, data)

    monkeypatch.setattr(os, 'write', refuse)
    with pytest.raises(errors.Error, match='make room'):
        backup(full)
    assert os.listdir(os.path.join(store.root, b'incoming')) == []


# ---- what is left out ----


def test_the_store_itself_is_left_out(backup, make_store, source, tmp_path):
    write(source, b'file')
    inside = make_store(name='source/sub/store')
    found = backup(source, store=inside, own_directories=inside.own_directories)
    assert sorted(found.entries) == [b'file', b'sub']
    assert found.notes == ["'sub/store' is the store itself: left out"]
    assert (found.lines, found.result.skipped) == ([], 0)


def test_the_store_as_the_source_is_refused(store, backup):
    with pytest.raises(errors.Error, match='the store itself'):
        backup(store.root, own_directories=store.own_directories)


def test_the_cache_is_left_out(backup, make_store, source, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', os.fsdecode(source) + '/.cache')
    one, two = make_store(name='one'), make_store(name='two')
    assert one.objects and two.objects
    write(source, b'.cache/other')
    found = backup(source, store=one, own_directories=one.own_directories)
    assert sorted(found.entries) == [b'.cache', b'.cache/other']
    assert found.notes == ["'.cache/chkfs' is the cache of chkfs: left out"]


def test_patterns_leave_out_files_and_whole_directories(backup, full, later, opened):
    opens = []
    opened(b'er', lambda: opens.append(1))
    found = backup(full, patterns=exclude.Patterns(['deep/', '*.none', 'other', '/a']))
    assert sorted(found.entries) == sorted(
        [b'empty', b'medium', b'sub', 'Grüße'.encode(), b'lat\xeen', b'no files', b'link', b'fifo', b'sub/same as a']
    )
    assert opens == [] and found.result.skipped == 0
    assert len(backup(full).entries) == 14
    assert len(backup(full, patterns=exclude.Patterns(['*'])).entries) == 0


def test_of_a_cache_only_its_tag_is_kept(backup, source, later):
    signature = b'Signature: 8a477f597d28d172789f06886806bc55\n'
    write(source, b'cache', b'CACHEDIR.TAG', data=signature)
    write(source, b'cache', b'large')
    write(source, b'cache', b'sub', b'file')
    write(source, b'no cache', b'CACHEDIR.TAG', data=b'something else')
    write(source, b'no cache', b'file')
    found = backup(source, exclude_caches=True)
    assert sorted(found.entries) == [
        b'cache',
        b'cache/CACHEDIR.TAG',
        b'no cache',
        b'no cache/CACHEDIR.TAG',
        b'no cache/file',
    ]
    assert len(backup(source).entries) == 8


# ---- mounts ----


@AS_ROOT
@pytest.mark.parametrize(
    'inner, outer, again', [(b'loop', b'', '.'), (b'a/b/loop', b'a', 'a'), (b'a b/c', b'a b', 'a\\040b')]
)
def test_a_directory_that_contains_itself_is_an_entry_and_no_walk(backup, source, inner, outer, again):
    loop = os.path.join(source, inner)
    os.makedirs(loop)
    write(source, b'file')
    mount('--bind', os.path.join(source, outer), loop)
    try:
        found = backup(source)
    finally:
        unmount(loop)
    entry = found.entries[inner]
    assert (entry.type, entry.tag('again'), entry.key) == ('dir', again, None)
    assert not any(path.startswith(inner + b'/') for path in found.entries)
    assert len(found.notes) == 1 and 'again: not entered' in found.notes[0]
    tree.check(entry)


def test_a_directory_that_contains_itself_is_recognised_without_root_too(backup, source, later, monkeypatch):
    """The same by a lie: entering a/b comes out at a."""
    write(source, b'a', b'file')
    os.mkdir(os.path.join(source, b'a', b'b'))
    real = os.open

    def looped(path, flags, *arguments, **options):
        if path == b'b' and options.get('dir_fd') is not None:
            return real(b'.', flags, *arguments, **options)
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, 'open', looped)
    found = backup(source)
    assert found.entries[b'a/b'].tag('again') == 'a'
    assert sorted(found.entries) == [b'a', b'a/b', b'a/file']


@AS_ROOT
@pytest.mark.parametrize('one_file_system', [False, True])
def test_another_filesystem_is_entered_or_not_and_always_told(backup, source, one_file_system):
    point = os.path.join(source, b'mnt')
    os.mkdir(point)
    write(source, b'file')
    mount('-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', point)
    try:
        write(point, b'inside')
        found = backup(source, one_file_system=one_file_system)
    finally:
        unmount(point)
    assert sorted(found.entries) == [b'file', b'mnt'] + [b'mnt/inside'] * (not one_file_system)
    assert len(found.result.mounts) == 2
    told = dict(pair.split('=', 1) for pair in found.result.mounts[1].split(' '))
    assert (told['path'], told['type'], told.get('skipped')) == ('mnt', 'tmpfs', 'yes' if one_file_system else None)
    if one_file_system:
        assert found.entries[b'mnt'].key == key.of(tree.format(()))


@AS_ROOT
def test_the_kernels_own_filesystems_are_not_entered(backup, source):
    point = os.path.join(source, b'proc')
    os.mkdir(point)
    mount('--bind', '/proc', point)
    try:
        found = backup(source)
    finally:
        unmount(point)
    assert list(found.entries) == [b'proc']
    assert ' skipped=yes' in found.result.mounts[1]
    assert found.notes == ["'proc' is a proc mount: not entered"]


@AS_ROOT
def test_the_same_filesystem_mounted_elsewhere_is_recognised(backup, source, tmp_path, later):
    write(source, b'sub', b'file')
    backup(source)
    elsewhere = os.fsencode(tmp_path / 'elsewhere')
    os.mkdir(elsewhere)
    mount('--bind', source, elsewhere)
    try:
        found = backup(elsewhere)
    finally:
        unmount(elsewhere)
    assert found.result.read_bytes == 0 and sorted(found.entries) == [b'sub', b'sub/file']


def test_reading_leaves_the_access_times_alone_where_it_can(backup, source):
    if os.geteuid():
        pytest.skip('only root may read any file without touching its time')
    path = write(source, b'file')
    os.utime(path, ns=(OLD - 10**15, OLD))
    backup(source)
    assert os.lstat(path).st_atime_ns == OLD - 10**15


def test_an_empty_directory_is_the_empty_tree(backup, source):
    assert backup(source).root.key == key.of(tree.format(())) == key.of(tree.HEADER.encode())


def test_ingest_tells_how_far_it_is(backup, full, later):
    steps = []
    backup(full, step=lambda path, result: steps.append((path, result.files)))
    assert steps[0] == (b'', 0) and steps[-1][1] > 0
    assert {b'', b'sub', b'sub/deep', b'sub/deep/er', b'no files'} <= {path for path, _ in steps}


# ---- workers ----


@pytest.fixture
def many(source):
    """So much that workers are called for: small files with copies among them, links, and one that is listed."""
    for directory in range(12):
        for number in range(60):
            data = b'%d %d' % (directory, number) if number % 3 else b'the same in all %d' % number
            write(source, b'%d' % directory, b'below', b'%d' % number, data=data * 50)
        write(source, b'%d' % directory, b'medium', data=b'%d' % (directory % 4) * (300 << 10))
    write(source, b'5', b'big', data=os.urandom(9 << 20))
    os.link(os.path.join(source, b'0', b'below', b'1'), os.path.join(source, b'7', b'again'))
    os.symlink(b'5', os.path.join(source, b'link'))
    return source


def test_workers_give_what_one_process_gives(make_store, backup, many, later, monkeypatch):
    pids = []
    fork = os.fork
    monkeypatch.setattr(os, 'fork', lambda: pids.append(fork()) or pids[-1])
    shared = backup(many, store=make_store(name='shared'))
    assert len(pids) >= 2
    monkeypatch.setattr(jobs, '_MANY_FILES', 10**9)
    monkeypatch.setattr(jobs, '_MANY_BYTES', 10**12)
    alone = backup(many, store=make_store(name='alone'))
    assert shared.result.__dict__ == alone.result.__dict__
    for type in key.TYPES:
        objects = [stores.Store(each.store.root).objects for each in (shared, alone)]
        assert list(objects[0].keys(type)) == list(objects[1].keys(type))
    assert os.listdir(os.path.join(shared.store.root, b'incoming')) == []


def test_a_job_has_no_more_directories_than_can_be_handed_over():
    assert jobs.BATCH_FILES <= crew.MOST_DESCRIPTORS  # of each at least one file


def test_workers_read_nothing_of_what_is_known(backup, many, later):
    first = backup(many)
    second = backup(many)
    assert (second.result.root, second.result.read_bytes, second.lines) == (first.result.root, 0, [])


def test_files_that_several_workers_meet_are_stored_once(backup, source, later, store):
    for directory in range(40):
        for number in range(50):
            write(source, b'%d' % directory, b'%d' % number, data=b'%d' % number * 1000)
    backup(source)
    counts = store.objects.count()
    assert counts['packed-blobs'] <= 50 + 10  # two that store the same at the same moment are harmless


def test_checkpoints_with_workers_publish_leaves_first(store, backup, many, later, monkeypatch):
    monkeypatch.setattr(writers, 'CHECKPOINT_BYTES', 200 << 10)
    rename = os.rename
    checked = []

    def check(old, new):
        rename(old, new)
        if b'/packs/' in new and len(checked) < 16:
            objects = stores.Store(store.root, environment={}).objects
            for tree_key in objects.keys('tree'):
                for entry in tree.parse(objects.read('tree', tree_key)):
                    if entry.key:
                        assert objects.has('tree' if entry.type == 'dir' else 'blob', entry.key)
                        assert all(objects.has('blob', piece) for piece, _ in objects.pieces('blob', entry.key))
            checked.append(new)

    monkeypatch.setattr(os, 'rename', check)
    backup(many)
    assert len(checked) == 16


def test_a_worker_that_dies_ends_the_run_and_leaves_nothing_half_done(store, backup, many, later, monkeypatch):
    parent, put = os.getpid(), writers.Writer.put

    def die(self, type, data):
        if os.getpid() != parent and data.startswith(b'7 '):
            os._exit(9)
        return put(self, type, data)

    monkeypatch.setattr(writers.Writer, 'put', die)
    with pytest.raises(errors.Error, match='worker'):
        backup(many)
    assert os.listdir(os.path.join(store.root, b'incoming')) == []
    monkeypatch.undo()
    assert backup(many).lines == []


def test_a_store_that_fails_in_a_worker_is_not_taken_for_a_file_that_cannot_be_read(backup, many, later, monkeypatch):
    parent, close = os.getpid(), os.close

    def full(fd):
        close(fd)
        if os.getpid() != parent and b'/incoming/' in link:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def remember(fd):
        nonlocal link
        link = os.fsencode(os.readlink(f'/proc/self/fd/{fd}'))
        full(fd)

    link = b''
    monkeypatch.setattr(os, 'close', remember)
    with pytest.raises(errors.Error, match='make room'):
        backup(many)


def test_a_listed_file_that_lost_a_piece_is_read_again(store, backup, source, later):
    path = write(source, b'big', data=os.urandom(20 << 20))
    first = backup(source)
    (key_of_big,) = [entry.key for entry in first.entries.values()]
    piece, _ = store.objects.pieces('blob', key_of_big)[3]
    for suffix in ('', '.gz'):
        lost = os.path.join(store.root, f'objects/blob/{piece[:2]}/{piece}{suffix}'.encode())
        if os.path.exists(lost):
            os.unlink(lost)
    healed = stores.Store(store.root)
    second = backup(source, store=healed)
    assert second.result.read_bytes == os.path.getsize(path)
    assert second.result.root == first.result.root
    assert healed.objects.has('blob', piece)


# ---- local times ----


@pytest.fixture
def zoned(monkeypatch):
    """zoned(hours) says that the source is on FAT, and the driver adds so much to its local times."""
    real = mounts.filesystem
    lie = {'type': 'vfat', 'granularity_ns': 2 * 10**9, 'has_stable_inodes': False, 'has_true_ctime': False}

    def set_zone(hours):
        zone_ns = hours * 3600 * 10**9
        monkeypatch.setattr(mounts, 'filesystem', lambda path, fd: real(path, fd)._replace(zone_ns=zone_ns, **lie))

    return set_zone


def test_when_the_clocks_are_put_forward_nothing_is_read_and_the_new_times_are_stored(backup, source, zoned, later):
    zoned(0)
    for name in (b'one', b'two'):
        write(source, name, data=b'data')
    assert backup(source).result.read_bytes == 8
    zoned(-1)
    for name in (b'one', b'two'):
        os.utime(os.path.join(source, name), ns=(OLD - 3600 * 10**9,) * 2)
    found = backup(source)
    assert found.result.read_bytes == 0
    assert {entry.time_ns for entry in found.entries.values()} == {OLD - 3600 * 10**9}


def test_a_file_that_was_written_an_hour_later_is_read(backup, source, zoned, later):
    zoned(0)
    write(source, b'every-hour', data=b'first!')
    backup(source)
    write(source, b'every-hour', data=b'second', time_ns=OLD + 3600 * 10**9)
    assert backup(source).read(b'every-hour') == b'second'


# ---- rehash ----


def corrupt(source, name, data):
    """Other contents, and lstat tells nothing of it: as a drive does that loses data."""
    path = os.path.join(source, name)
    before = os.stat(path)
    with open(path, 'r+b') as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_rehash_reads_everything_and_tells_what_changed_silently(backup, source, fat, later):
    for name in (b'bad', b'good', b'sub/good'):
        write(source, name, data=b'data')
    first = backup(source)
    corrupt(source, b'bad', b'dota')
    assert backup(source).read(b'bad') == b'data'  # nothing else can tell
    found = backup(source, rehash=1.0)
    assert found.result.read_bytes == 12 and found.result.differing == 1
    assert found.read(b'bad') == b'dota'
    (line,) = found.lines
    assert line.startswith("'bad' has other contents than before") and line.endswith(first.entries[b'bad'].key)
    assert backup(source).read(b'bad') == b'dota'
    again = backup(source, rehash=1.0)
    assert again.lines == [] and again.result.differing == 0


def test_a_change_that_shows_is_no_silent_one(backup, source, later):
    write(source, b'file', data=b'data')
    backup(source)
    write(source, b'file', data=b'more', time_ns=OLD + 10**9)
    found = backup(source, rehash=1.0)
    assert found.lines == [] and found.read(b'file') == b'more'


def test_a_sample_is_a_part(backup, source, later, monkeypatch):
    for number in range(10):
        write(source, b'%d' % number, data=b'data')
    backup(source)
    draws = iter([0.0, 0.29, 0.3, 0.9] + 6 * [0.5])
    monkeypatch.setattr('random.random', lambda: next(draws))
    assert backup(source, rehash=0.3).result.read_bytes == 8


def test_a_directory_of_which_nothing_is_in_the_sample_is_not_read(backup, source, later, monkeypatch):
    write(source, b'file', data=b'data')
    first = backup(source)
    monkeypatch.setattr('random.random', lambda: 0.5)
    found = backup(source, rehash=0.3)
    assert found.result.read_bytes == 0 and found.result.root == first.result.root
    assert (found.result.files, found.result.bytes) == (1, 4)


# ---- what inodes do not tell ----


@pytest.fixture
def vague(monkeypatch):
    """The source is on a filesystem whose inodes mean nothing."""
    real = mounts.filesystem
    lie = {'type': 'fuse', 'has_stable_inodes': False, 'has_true_ctime': False, 'has_unique_inodes': False}
    monkeypatch.setattr(mounts, 'filesystem', lambda path, fd: real(path, fd)._replace(**lie))


def nest(source, depth, *files):
    """Directories within each other that all look the same."""
    path = source
    for _ in range(depth):
        path = os.path.join(path, b'd')
        os.mkdir(path)
        for name in files:
            write(path, name)
        os.utime(path, ns=(OLD, OLD))
    for directory, _, _ in os.walk(source):
        os.utime(directory, ns=(OLD, OLD))


def test_directories_that_look_the_same_in_each_other_end_somewhere(backup, source, vague):
    nest(source, 30, b'file')
    found = backup(source)
    (path,) = [path for path, entry in found.entries.items() if entry.tag('unread')]
    assert found.entries[path].tag('unread') == 'ELOOP'
    assert path.count(b'd') == 9 and found.result.skipped == 1
    assert 'an endless circle?' in found.lines[0]


def test_where_inodes_tell_they_do_not(backup, source):
    nest(source, 30, b'file')
    found = backup(source)
    assert found.result.files == 30 and found.result.skipped == 0


def test_a_directory_alone_in_a_directory_is_no_circle(backup, source, vague):
    nest(source, 100)
    assert len(backup(source).entries) == 100


def test_a_path_that_is_too_long_ends_the_walk(backup, source, vague, monkeypatch):
    monkeypatch.setattr(level, '_LONGEST_WAY', 20)
    nest(source, 30)
    found = backup(source)
    (path,) = [path for path, entry in found.entries.items() if entry.tag('unread')]
    assert len(path) == 21 and found.entries[path].tag('unread') == 'ENAMETOOLONG'
    assert found.result.skipped == 1


# ---- where ctime tells nothing ----


@pytest.fixture
def dos_drive(monkeypatch):
    """The source is on FAT; gives size of a file to its attributes, which can be changed without a trace elsewhere."""
    real, attributes = mounts.filesystem, {}

    def filesystem(path, fd):
        return real(path, fd)._replace(type='vfat', has_true_ctime=False, has_stable_inodes=False, options='rw')

    monkeypatch.setattr(mounts, 'filesystem', filesystem)
    monkeypatch.setattr(dos, 'get', lambda fd: attributes.get(os.fstat(fd).st_size, 0))
    monkeypatch.setattr(
        dos, 'short_names', lambda fd: {b'a long name': b'ALONGN~1'} if 'a long name' in os.listdir(fd) else {}
    )
    return attributes


def test_attributes_and_short_names_of_fat_are_stored(backup, source, dos_drive, later):
    write(source, b'a long name', data=b'12345')
    write(source, b'plain', data=b'1234')
    write(source, b'sub', b'a long name', b'file', data=b'123')
    dos_drive[5] = dos.bits('rha')
    found = backup(source)
    assert found.entries[b'sub/a long name'].tag('short') == 'ALONGN~1'
    assert found.entries[b'sub'].tag('short') is None
    assert found.entries[b'a long name'].tag('dos') == 'rha'
    assert found.entries[b'a long name'].tag('short') == 'ALONGN~1'
    assert found.entries[b'plain'].tag('dos') is None and found.entries[b'plain'].tag('ctime') is None
    assert 'dos' in found.result.features and 'short' in found.result.features


def test_an_attribute_that_changes_alone_is_noticed_and_no_file_is_read(backup, source, dos_drive, later):
    write(source, b'sub', b'file', data=b'12345')
    first = backup(source)
    again = backup(source)
    assert (again.result.root, again.result.read_bytes) == (first.result.root, 0)
    dos_drive[5] = dos.bits('s')
    second = backup(source)
    assert second.entries[b'sub/file'].tag('dos') == 's' and second.result.read_bytes == 0
    dos_drive[5] = 0
    assert backup(source).result.root == first.result.root


def test_a_value_that_vanished_from_the_store_is_stored_again(backup, store, source, later):
    path = write(source, b'file', data=os.urandom(300 << 10))
    try:
        os.setxattr(path, 'user.long', b'v' * 2000)
    except OSError:
        pytest.skip('there are no extended attributes here')
    first = backup(source)
    (value,) = first.entries[b'file'].value_keys
    for directory, _, names in os.walk(os.path.join(store.root, b'packs')):
        for name in names:
            os.unlink(os.path.join(directory, name))
    fresh = stores.Store(store.root)
    assert backup(source, store=fresh).result.root == first.result.root
    assert fresh.objects.read('blob', value) == b'v' * 2000


def test_a_file_that_gets_another_name_while_it_is_read_carries_its_path(backup, source, opened, later):
    """And not the name alone, which is another file's path."""
    write(source, b'x', data=b'another')
    os.link(os.path.join(source, b'x'), os.path.join(source, b'y'))
    path = write(source, b'sub', b'x')

    def change():
        opened(b'x', lambda: None)
        write(source, b'sub', b'x', data=b'changed', time_ns=OLD + 10**9)
        os.link(path, os.path.join(source, b'sub', b'z'))

    opened(b'x', change)  # sub/x comes first
    found = backup(source)
    assert found.entries[b'x'].tag('hl') == 'x' and found.read(b'sub/x') == b'changed'
    assert found.entries[b'sub/x'].tag('hl') == 'sub/x'


def test_an_interrupted_run_forgets_nothing_of_a_directory_that_it_was_at(backup, source, later, monkeypatch):
    monkeypatch.setattr(jobs, 'BATCH_FILES', 1)
    for number in range(20):
        write(source, b'%02d' % number)
    write(source, b'00', data=os.urandom(9 << 20))
    backup(source)
    write(source, b'00', data=os.urandom(9 << 20), time_ns=OLD + 10**9)

    def stop(path, result):
        if path == b'00':
            raise errors.Interrupted

    with pytest.raises(errors.Interrupted):
        backup(source, step=stop)
    assert backup(source).result.read_bytes == 9 << 20


def test_a_file_that_was_another_one_for_a_while_is_read_again(backup, source, opened, fat, later):
    """It looks as it was listed, but not as it was stored."""
    write(source, b'file', data=b'as it was')

    def change():
        write(source, b'file', data=b'for a while', time_ns=OLD + 10**10)

    opened(b'file', change)
    assert backup(source).read(b'file') == b'for a while'
    opened(b'file', lambda: None)
    write(source, b'file', data=b'as it was')
    assert backup(source).read(b'file') == b'as it was'


def test_a_time_of_access_that_changes_alone_is_seen(backup, source, later):
    path = write(source, b'sub', b'file')
    os.utime(path, ns=(OLD, OLD))
    backup(source, atime=True)
    with open(path, 'rb') as file:
        file.read()
    accessed = tree.format_time(os.stat(path).st_atime_ns)
    if accessed == tree.format_time(OLD):
        pytest.skip('this filesystem keeps no times of access')
    found = backup(source, atime=True)
    assert found.entries[b'sub/file'].tag('atime') == accessed
    assert found.result.read_bytes == 0


def test_a_file_of_fat_that_is_kept_as_it_was_has_each_tag_once(backup, source, failing, dos_drive, later):
    path = write(source, b'a long name', data=b'x' * 5000)
    dos_drive[5000] = dos.bits('h')
    failing(path, 0, 100)
    first = backup(source)
    failing(path, 0, 5000)
    second = backup(source, before=first)
    tags = second.entries[b'a long name'].tags()
    assert tags == first.entries[b'a long name'].tags() and len(tags) == len({tag.partition(':')[0] for tag in tags})
    assert ','.join(tags) == tree.in_order(tags)


@pytest.mark.parametrize('what', ['fstat', 'statx'])
def test_a_directory_that_is_gone_once_it_is_open_ends_nothing(backup, full, later, monkeypatch, what):
    """As on NFS, where somebody else removed it."""
    inode = os.stat(os.path.join(full, b'sub', b'deep')).st_ino
    module, name = (os, 'fstat') if what == 'fstat' else (ingests.statx, 'status')
    real = getattr(module, name)

    def look(fd, *name):
        found = real(fd, *name)
        return raise_error(errno.ESTALE) if found.st_ino == inode and not name else found

    monkeypatch.setattr(module, name, look)
    found = backup(full)
    assert found.result.skipped == 1 and found.entries[b'sub/deep'].tag('unread') == 'ESTALE'
    assert found.read(b'sub/other') == b'other'


def test_a_number_that_another_file_has_got_makes_no_hard_link(backup, source, later, monkeypatch):
    """On a live system it is given to a new file as soon as the old one is gone; and servers give one to several."""
    path = write(source, b'a', b'file', data=b'gone by now')
    os.link(path, os.path.join(source, b'a', b'same'))
    path = write(source, b'b', b'file', data=b'new', time_ns=OLD + 1)
    os.link(path, os.path.join(source, b'b', b'same'))
    real = ingests.scan.Lister.list

    def list_with_one_number(lister, *arguments):
        entries, problems = real(lister, *arguments)
        return [found._replace(linked=found.linked and (1, 1)) for found in entries], problems

    monkeypatch.setattr(ingests.scan.Lister, 'list', list_with_one_number)
    for _ in range(2):
        entries = backup(source).entries
        assert [entries[path].tag('hl') for path in (b'a/file', b'a/same')] == ['a/file'] * 2
        assert [entries[path].tag('hl') for path in (b'b/file', b'b/same')] == ['b/file'] * 2
