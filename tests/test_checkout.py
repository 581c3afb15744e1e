"""checkout: what was stored comes back as it was, nothing else is touched, and what cannot come back is said."""

import base64
import errno
import gc
import hashlib
import os
import resource
import signal
import socket
import stat
import struct
import subprocess

import pytest

from chkfs import errors
from chkfs.restore import batches, checkout, maker
from chkfs.restore import target as targets
from chkfs.storage import store as stores
from chkfs.system import flags, holes, mounts, reflink
from chkfs.text import key, ranges, tree

OLD = 10**18
KEY = 'ab' * 32
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


class Restored:
    """One restore: where to, and what was said."""

    def __init__(self, store, entry, path, **options):
        self.path = path
        self.lines, self.details = [], []
        self.work = checkout.Checkout(store.objects, self.lines.append, self.details.append, **options)
        self.work.restore(entry, path)

    def join(self, *names):
        return os.path.join(self.path, *names)

    def read(self, *names):
        with open(self.join(*names), 'rb') as file:
            return file.read()

    def names(self):
        return sorted(os.listdir(self.path))


@pytest.fixture
def restore(store, tmp_path):
    def restore_to(entry, name='out', store=store, **options):
        return Restored(store, entry, os.fsencode(tmp_path / name), **options)

    return restore_to


@pytest.fixture
def make(store, put):
    """make(line, ...) stores a tree as it stands, however wrong, and gives the entry of a root with it."""

    def make_tree(*lines, attributes='mode=0755'):
        found = put(store, 'tree', (tree.HEADER + ''.join(f'{line}\n' for line in lines)).encode())
        return tree.parse_line(f'. type=dir {attributes} tags=tree:{found}')

    return make_tree


@pytest.fixture
def alarm():
    """What hangs fails."""

    def ring(number, frame):
        raise RuntimeError('it hangs')

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def file_line(name, data, mode='0644', rest=''):
    return f'./{name} type=file mode={mode} size={len(data)} time=1.000000000 sha256digest={key.of(data)}{rest}'


def dir_line(name, found, mode='0755'):
    return f'./{name} type=dir mode={mode} time=1.000000000 tags=tree:{found}'


def write(*parts, data=b'data', mode=0o644, time_ns=OLD):
    path = os.path.join(*parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(time_ns, time_ns))
    return path


def read_file(path):
    with open(path, 'rb') as file:
        return file.read()


def _raise(error):
    raise error


def touch_everything(top, time_ns=OLD):
    """Sets the times of all entries below, links and directories too."""
    for directory, names, files in os.walk(top, topdown=False):
        for name in names + files:
            os.utime(os.path.join(directory, name), ns=(time_ns, time_ns), follow_symlinks=False)
    os.utime(top, ns=(time_ns, time_ns))


@pytest.fixture
def full(source):
    """A source with some of everything that any user can make."""
    write(source, b'plain', data=b'plain')
    write(source, b'empty', data=b'')
    write(source, b'secret', mode=0o000 if os.geteuid() == 0 else 0o400)
    write(source, b'set', mode=0o6755)
    write(source, b'medium', data=os.urandom(300 << 10))
    write(source, b'big', data=hashlib.shake_128(b'big').digest(9 << 20))
    for name in (
        'Grüße'.encode(),
        b'lat\xeen',
        b'new\nline',
        b' ',
        b'\\',
        b'-rf',
        b'*',
        b'n' * 255,
        b'%s',
        b'#x',
        b'..x',
        b'a=b',
    ):
        write(source, b'names', name, data=name)
    write(source, b'sub', b'deep', b'er', b'file', data=b'deep')
    os.mkdir(os.path.join(source, b'no files'))
    os.mkdir(os.path.join(source, b'closed'))
    write(source, b'closed', b'file')
    os.chmod(os.path.join(source, b'closed'), 0o500)
    os.chmod(os.path.join(source, b'sub'), 0o1777)
    for name, target in (
        (b'dangling', b'no/such'),
        (b'odd', b'\xff\n \\#%'),
        (b'long', b'x' * 4000),
        (b'up', b'..'),
        (b'self', b'self'),
    ):
        os.symlink(target, os.path.join(source, name))
    os.mkfifo(os.path.join(source, b'fifo'), 0o620)
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(source)
    server.bind('sock')
    os.chdir(here)
    server.close()
    for name in (b'z', b'sub/second name', b'names/third name'):
        os.link(os.path.join(source, b'plain'), os.path.join(source, name))
    os.link(os.path.join(source, b'dangling'), os.path.join(source, b'sub', b'same link'), follow_symlinks=False)
    touch_everything(source)
    return source


# ---- everything comes back ----


def test_everything_comes_back_as_it_was(backup, restore, full, tree_on_disk):
    found = backup(full)
    restored = restore(found.root)
    assert tree_on_disk(restored.path) == tree_on_disk(full)
    assert (restored.lines, restored.details, restored.work.missing, dict(restored.work.unset)) == ([], [], 0, {})
    assert restored.work.files == found.result.files
    assert backup(restored.path).copied == found.copied


@pytest.mark.parametrize('time_ns', [0, 1, -1, -1_500_000_001, 10**18 + 123456789, 2**31 * 10**9 + 5, -(2**31) * 10**9])
def test_times_come_back_to_the_nanosecond(backup, restore, source, time_ns):
    write(source, b'file', time_ns=time_ns)
    os.mkdir(os.path.join(source, b'dir'))
    os.symlink(b'x', os.path.join(source, b'link'))
    os.mkfifo(os.path.join(source, b'fifo'))
    touch_everything(source, time_ns)
    restored = restore(backup(source).root)
    for name in (b'', b'file', b'dir', b'link', b'fifo'):
        assert os.lstat(restored.join(name)).st_mtime_ns == time_ns, name


@pytest.mark.parametrize('kind', ['file', 'dir', 'link'])
def test_a_time_that_the_target_replaces_is_said(restore, store, put, make, monkeypatch, kind):
    real, first = os.utime, -(2**31) * 10**9

    def keep_nearest(path, ns, **options):  # as ext4 does
        real(path, ns=tuple(max(time_ns, first) for time_ns in ns), **options)

    monkeypatch.setattr(os, 'utime', keep_nearest)
    put(store, 'blob', b'good')
    lines = {
        'file': file_line('x', b'good'),
        'dir': dir_line('x', make().key),
        'link': './x type=link mode=0777 time=1.000000000 link=y',
    }
    old, older = make(lines[kind].replace('=1.', '=-2147483648.')), make(lines[kind].replace('=1.', '=-11644473600.'))
    assert restore(old, 'old').work.unset == {}
    restored = restore(older, 'older')
    assert restored.work.unset == {'time': 1}
    assert restored.details == ["'x': time not set: the target does not keep it"]


@pytest.mark.parametrize(
    'mode', [pytest.param(0o0000, marks=AS_ROOT), 0o0400, 0o0777, 0o4755, 0o2755, 0o6711, 0o1777, 0o7777]
)
def test_modes_come_back_with_every_bit(backup, restore, source, mode):
    write(source, b'file', mode=mode)
    os.mkdir(os.path.join(source, b'dir'))
    os.mkfifo(os.path.join(source, b'fifo'))
    for name in (b'dir', b'fifo'):
        os.chmod(os.path.join(source, name), mode)
    restored = restore(backup(source).root)
    for name in (b'file', b'dir', b'fifo'):
        assert stat.S_IMODE(os.lstat(restored.join(name)).st_mode) == mode, name


@AS_ROOT
def test_owners_come_back_and_do_not_cost_the_set_id_bits(backup, restore, source, tree_on_disk):
    write(source, b'file', mode=0o6755)
    os.mkdir(os.path.join(source, b'dir'))
    os.symlink(b'x', os.path.join(source, b'link'))
    os.mkfifo(os.path.join(source, b'fifo'))
    for number, name in enumerate((b'file', b'dir', b'link', b'fifo', b'')):
        os.chown(os.path.join(source, name), 1000 + number, 2**31 + number, follow_symlinks=False)
    os.chmod(os.path.join(source, b'file'), 0o6755)
    os.chmod(os.path.join(source, b'dir'), 0o2775)
    touch_everything(source)
    restored = restore(backup(source).root)
    assert tree_on_disk(restored.path) == tree_on_disk(source)
    assert stat.S_IMODE(os.lstat(restored.join(b'file')).st_mode) == 0o6755
    assert restored.work.unset == {}


@AS_ROOT
def test_devices_come_back(backup, restore, source, tree_on_disk):
    os.mknod(os.path.join(source, b'c'), stat.S_IFCHR | 0o620, os.makedev(5, 1))
    os.mknod(os.path.join(source, b'b'), stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    touch_everything(source)
    restored = restore(backup(source).root)
    assert tree_on_disk(restored.path) == tree_on_disk(source)


@pytest.mark.parametrize('directories, files', [(1, 2500), (2600, 1), (60, 60)])
def test_many_files_come_back_too(store, backup, restore, source, alarm, directories, files):
    for directory in range(directories):
        os.mkdir(os.path.join(source, b'%d' % directory))
        for number in range(files):
            with open(os.path.join(source, b'%d' % directory, b'%d' % number), 'wb') as file:
                file.write(b'%d %d' % (directory, number))
    touch_everything(source)
    found = backup(source)
    restored = restore(found.root)
    assert (restored.lines, restored.details) == ([], [])
    assert restored.work.files == directories * files
    assert restored.work.bytes == found.result.bytes
    assert backup(restored.path).copied == found.copied


@pytest.mark.parametrize('directories', [1, 2, 3, 4, 5])
def test_a_last_batch_that_is_full_is_waited_for(backup, restore, source, monkeypatch, tree_on_disk, directories):
    monkeypatch.setattr(batches, '_BATCH_BYTES', 2 << 20)
    monkeypatch.setattr(batches, '_BATCH_DIRECTORIES', 4)
    for number in range(140):  # more than a batch: workers are started
        write(source, b'0 many', b'%d' % number)
    for directory in range(directories):
        for number in range(20):
            write(source, b'%d' % (directory + 1), b'%d' % number, data=b'%d' % number)
    touch_everything(source)
    restored = restore(backup(source).root)
    assert restored.work.files == 140 + directories * 20
    assert tree_on_disk(restored.path) == tree_on_disk(source)


def test_few_descriptors_are_enough(backup, restore, source, tree_on_disk):
    for number in range(100):
        write(source, b'%d' % number, b'file')
    os.makedirs(os.path.join(source, *[b'deep'] * 100))
    touch_everything(source)
    root = backup(source).root
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = len(os.listdir('/proc/self/fd'))
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * open_files + 60, limits[1]))
    try:
        restored = restore(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert tree_on_disk(restored.path) == tree_on_disk(source)


def test_three_hundred_levels_come_back(backup, restore, source):
    fd, name = os.open(source, os.O_RDONLY), b'n' * 255
    for _ in range(300):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    found = backup(source)
    restored = restore(found.root)
    assert restored.lines == []
    again = backup(restored.path)
    assert len(again.entries) == 300 and again.copied == found.copied


def test_hard_links_are_one_file_again(backup, restore, source):
    write(source, b'a', data=b'shared')
    for name in (b'b', b'sub/c', b'sub/deep/d'):
        os.makedirs(os.path.dirname(os.path.join(source, name)), exist_ok=True)
        os.link(os.path.join(source, b'a'), os.path.join(source, name))
    restored = restore(backup(source).root)
    inodes = {os.lstat(restored.join(name)).st_ino for name in (b'a', b'b', b'sub/c', b'sub/deep/d')}
    assert len(inodes) == 1
    assert os.lstat(restored.join(b'a')).st_nlink == 4 and restored.read(b'sub/c') == b'shared'
    assert restored.work.files == 4


def test_a_part_of_hard_links_is_restored_by_itself(backup, restore, source):
    write(source, b'a', data=b'shared')
    os.mkdir(os.path.join(source, b'sub'))
    os.link(os.path.join(source, b'a'), os.path.join(source, b'sub', b'b'))
    os.link(os.path.join(source, b'a'), os.path.join(source, b'sub', b'c'))
    restored = restore(backup(source).entries[b'sub'])
    assert restored.read(b'b') == b'shared'
    assert os.lstat(restored.join(b'b')).st_nlink == 2


@pytest.mark.parametrize('number', [errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV])
def test_where_there_are_no_hard_links_there_are_copies(backup, restore, source, monkeypatch, number):
    write(source, b'a', data=b'shared')
    os.link(os.path.join(source, b'a'), os.path.join(source, b'b'))
    root = backup(source).root

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'link', refuse)
    restored = restore(root)
    assert restored.read(b'a') == restored.read(b'b') == b'shared'
    assert restored.work.unset == {'hard link': 1} and restored.work.missing == 0


def test_a_first_name_that_cannot_be_reached_any_more_costs_a_copy(restore, store, put, make, monkeypatch):
    put(store, 'blob', b'good')
    line = file_line('f', b'good', rest=' tags=hl:a/f')
    closed = errno.EACCES, os.strerror(errno.EACCES)
    monkeypatch.setattr(checkout, 'open_below', lambda fd, names: _raise(PermissionError(*closed)))
    restored = restore(make(dir_line('a', make(line).key, '0300'), dir_line('z', make(line).key)))
    assert restored.read(b'z', b'f') == b'good'
    assert restored.work.unset == {'hard link': 1} and restored.work.missing == 0


@pytest.fixture
def sparse(source):
    """sparse(size, start, ...) makes source/sparse with a block of 64 KiB of data at each start."""

    def make(size, *starts):
        path = write(source, b'sparse', data=b'')
        with open(path, 'r+b') as file:
            for start in starts:
                os.pwrite(file.fileno(), b'x' * BLOCK, start)
            os.truncate(path, size)
        os.utime(path, ns=(OLD, OLD))
        return path

    return make


BLOCK = 64 << 10


@pytest.mark.parametrize('size', [2 * BLOCK, 5 << 20, 40 << 20, 400 << 20])
def test_holes_come_back(backup, restore, source, sparse, size):
    path = sparse(size, size // 2 // BLOCK * BLOCK)
    there = restore(backup(source).root)
    if size < 100 << 20:
        assert there.read(b'sparse') == read_file(path)
    found = [os.open(name, os.O_RDONLY) for name in (path, there.join(b'sparse'))]
    try:
        first, second = (holes.data(fd, os.fstat(fd).st_size) for fd in found)
        assert first == second == [(size // 2 // BLOCK * BLOCK, size // 2 // BLOCK * BLOCK + BLOCK)]
    finally:
        for fd in found:
            os.close(fd)
    assert not there.lines and not there.work.unset
    assert os.stat(there.join(b'sparse')).st_mtime_ns == OLD


def data_of(path):
    with open(path, 'rb') as file:
        return holes.data(file.fileno(), os.stat(path).st_size)


def test_holes_of_many_ranges_come_back(backup, restore, source, sparse):
    starts = range(0, 100 << 20, 2 * BLOCK)
    path = sparse(100 << 20, *starts)
    found = backup(source)
    there = restore(found.root)
    assert found.entries[b'sparse'].tag('data').startswith('@')
    assert data_of(there.join(b'sparse')) == data_of(path)
    assert there.read(b'sparse') == read_file(path)


@pytest.mark.parametrize('data', ['0-0', '3-5', '100-200+300-9999999', '5-3', 'x', '@', f'@{KEY}', ''])
def test_where_data_is_said_to_be_costs_no_byte(restore, store, put, make, data):
    contents = os.urandom(100_000)
    put(store, 'blob', contents)
    there = restore(make(file_line('a', contents, rest=f' tags=data:{data}')))
    assert there.read(b'a') == contents


def test_a_sparse_file_too_large_to_hash_whose_pieces_are_not_where_they_belong_is_not_restored(
    backup, restore, source, sparse, make, monkeypatch
):
    monkeypatch.setattr(maker, '_MOST_ZEROS', 1 << 20)
    sparse(40 << 20, 20 << 20)
    found = backup(source)
    line = found.entries[b'sparse'].line().replace(f'data:{20 << 20}-{(20 << 20) + BLOCK}', 'data:0-4096')
    there = restore(make(line))
    assert there.names() == [] and there.work.missing == 1
    assert there.lines == ["'sparse' not restored: its pieces are not where its data is"]


def test_a_damaged_file_comes_back_and_that_it_is_damaged_is_said(restore, store, put, make):
    put(store, 'blob', b'data')
    put(store, 'blob', ranges.format([(0, 2), (3, 4)], '\n').encode() + b'\n')
    blob = key.of(b'0-2\n3-4\n')
    for tag, shown in (('0-1', '1 bytes of it'), ('0-2+3-4', '3 bytes of it'), (f'@{blob}', '3 bytes of it')):
        there = restore(make(file_line('a', b'data', rest=f' tags=damaged:{tag}')), name=shown + tag)
        assert there.read(b'a') == b'data'
        assert there.work.damaged == 1 and there.work.missing == 0
        assert there.lines[0].startswith(f"'a' is damaged: {shown} could not be read when it was stored")


def test_one_file_is_restored_alone(backup, restore, source):
    entries = backup(os.path.dirname(write(source, b'file', data=b'alone', mode=0o600))).entries
    restored = restore(entries[b'file'], 'other name')
    assert restored.read() == b'alone'
    assert (os.lstat(restored.path).st_mtime_ns, stat.S_IMODE(os.lstat(restored.path).st_mode)) == (OLD, 0o600)


def test_one_name_of_several_keeps_its_flags_when_it_is_restored_alone(restore, store, put, monkeypatch):
    put(store, 'blob', b'good')
    found = []
    monkeypatch.setattr(flags, 'put', lambda fd, text: found.append(text))
    restore(tree.parse_line(file_line('x', b'good', rest=' tags=hl:x,flags:d')))
    assert found == ['d']


def test_a_fifo_that_somebody_replaces_costs_no_mode_of_another_file(restore, make, tmp_path, monkeypatch):
    other, mkfifo = tmp_path / 'other', os.mkfifo
    other.touch(0o600)

    def replace(name, mode, dir_fd):
        mkfifo(name, mode, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink(other, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, 'mkfifo', replace)
    restored = restore(tree.parse_line('./x type=fifo mode=0666 time=1.000000000'))
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
    assert restored.work.unset['mode'] == 1


def test_one_symlink_is_restored_alone(restore):
    restored = restore(tree.parse_line('./x type=link mode=0777 link=no/such'))
    assert os.readlink(restored.path) == b'no/such'


@pytest.mark.parametrize(
    'again, directory, target',
    [
        ('.', '', b'.'),
        ('a', '', b'a'),
        ('a', 'sub', b'../a'),
        ('.', 'sub', b'..'),
        ('sub', 'sub', b'.'),
        ('a\\040b/c', '', b'a b/c'),
    ],
)
def test_a_directory_that_is_another_one_again_becomes_a_symlink_to_it(restore, make, again, directory, target):
    entry = make(f'./x type=dir mode=0755 tags=again:{again}')
    if directory:
        entry = make(dir_line(directory, entry.key))
    restored = restore(entry)
    assert os.readlink(restored.join(directory.encode(), b'x')) == target
    assert restored.lines == []


@pytest.mark.parametrize(
    'inside, again, target', [('sub', 'sub/a', b'a'), ('a/b', 'a/b', b'.'), ('sub', 'sub/../sub', b'.')]
)
def test_in_a_part_of_a_snapshot_it_leads_to_the_same_place(restore, make, inside, again, target):
    restored = restore(make(f'./x type=dir mode=0755 tags=again:{again}'), inside=inside.encode())
    assert os.readlink(restored.join(b'x')) == target


@pytest.mark.parametrize('inside, again', [('sub', 'a'), ('sub', '.'), ('sub', 'submarine'), ('a/b', 'a')])
@pytest.mark.parametrize('recursion', ['symlink', 'bind'])
def test_what_it_is_again_may_be_outside_and_then_this_is_said(restore, make, inside, again, recursion):
    entry = make(f'./x type=dir mode=0755 tags=again:{again}')
    restored = restore(entry, inside=inside.encode(), recursion=recursion)
    assert restored.names() == [] and restored.work.missing == 1
    assert 'is not in what is restored here' in restored.lines[0]


def test_it_may_be_skipped(restore, make):
    restored = restore(make('./x type=dir mode=0755 tags=again:.'), recursion='skip')
    assert restored.names() == [] and restored.lines == [] and restored.work.missing == 0


def test_a_bind_mount_that_cannot_be_made_is_said(restore, make, monkeypatch):
    def fail(source_fd, target_fd):
        raise PermissionError(errno.EPERM, 'no')

    monkeypatch.setattr(mounts, 'bind', fail)
    restored = restore(make('./x type=dir mode=0755 tags=again:.'), recursion='bind')
    assert restored.names() == [b'x'] and restored.work.unset == {'bind mount': 1}


@AS_ROOT
def test_it_may_be_a_bind_mount(restore, store, put, make):
    put(store, 'blob', b'good')
    inner = make('./x type=dir mode=0755 tags=again:.', file_line('file', b'good'))
    restored = restore(make(dir_line('sub', inner.key), './y type=dir mode=0755 tags=again:sub'), recursion='bind')
    try:
        assert restored.work.unset == {} and restored.lines == []
        assert restored.read(b'y', b'file') == b'good'
        assert sorted(os.listdir(restored.join(b'sub', b'x'))) == [b'sub', b'y']
    finally:
        for point in (b'y', b'sub/x'):
            subprocess.run(['umount', restored.join(point)], capture_output=True)


def test_contents_come_from_any_form(make_store, put, tmp_path, restore):
    """Small, loose, compressed and in pieces; and under no name but the right one."""
    made = make_store('zstd', 'forms')
    contents = [
        b'',
        b'small',
        b'text' * 100_000,
        hashlib.shake_128(b'm').digest(300 << 10),
        hashlib.shake_128(b'b').digest(9 << 20),
    ]
    put(made, 'blob', *contents)
    found = put(
        made, 'tree', tree.build([tree.parse_line(file_line(f'f{n}', data)) for n, data in enumerate(contents)])
    )
    restored = restore(tree.Entry(b'.', {'type': 'dir', 'mode': '0700', 'tags': f'tree:{found}'}), store=made)
    assert [restored.read(b'f%d' % n) for n in range(5)] == contents


# ---- where to ----


def test_an_empty_directory_becomes_the_thing(backup, restore, full, tmp_path, tree_on_disk):
    (tmp_path / 'out').mkdir()
    assert tree_on_disk(restore(backup(full).root).path) == tree_on_disk(full)


@pytest.mark.parametrize('obstacle', ['file in it', 'hidden file in it', 'file', 'symlink', 'fifo'])
def test_a_destination_that_is_not_empty_is_refused_and_left_alone(
    backup, restore, full, tmp_path, obstacle, tree_on_disk
):
    path = tmp_path / 'out'
    if obstacle in ('file in it', 'hidden file in it'):
        path.mkdir()
        (path / ('.hidden' if 'hidden' in obstacle else 'file')).write_bytes(b'precious')
    elif obstacle == 'file':
        path.write_bytes(b'precious')
    elif obstacle == 'symlink':
        path.symlink_to('nowhere')
    else:
        os.mkfifo(path)
    root = backup(full).root
    before = tree_on_disk(os.fsencode(tmp_path))
    with pytest.raises(errors.Error):
        restore(root)
    after = tree_on_disk(os.fsencode(tmp_path))
    assert {name: facts for name, facts in after.items() if not name.startswith((b'cache', b'store'))} == {
        name: facts for name, facts in before.items() if not name.startswith((b'cache', b'store'))
    }


def test_dots_after_a_symlink_lead_where_the_system_says(restore, store, put, tmp_path):
    put(store, 'blob', b'good')
    (tmp_path / 'real/deep').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('real/deep')
    restore(tree.parse_line(file_line('x', b'good')), 'link/../x')
    assert ((tmp_path / 'real/x').exists(), (tmp_path / 'x').exists()) == (True, False)


@pytest.mark.parametrize('path', [b'', b'/', b'.', b'..', b'none/', b'none/..'])
def test_what_is_no_name_of_a_file_is_refused(store, put, tmp_path, monkeypatch, path):
    put(store, 'blob', b'good')
    (tmp_path / 'below').mkdir()
    monkeypatch.chdir(tmp_path / 'below')
    with pytest.raises(errors.Error, match='is no name of a file'):
        checkout.Checkout(store.objects).restore(tree.parse_line(file_line('x', b'good')), path)
    assert os.listdir() == []


@pytest.mark.parametrize('kind', ['file', 'directory', 'symlink'])
def test_a_file_never_replaces_anything(store, restore, put, tmp_path, kind):
    path = tmp_path / 'out'
    {'file': lambda: path.write_bytes(b'precious'), 'directory': path.mkdir, 'symlink': lambda: path.symlink_to('x')}[
        kind
    ]()
    put(store, 'blob', b'new')
    with pytest.raises(errors.Error, match='exists'):
        restore(tree.parse_line(file_line('x', b'new')))
    assert not (tmp_path / 'x').exists()
    assert kind != 'file' or path.read_bytes() == b'precious'


def test_a_destination_without_a_parent_is_an_error(restore, make):
    with pytest.raises(errors.Error, match='No such file'):
        restore(make(), 'no/such/place')


# ---- hostile trees ----

OUTSIDE = [
    '..',
    '.',
    '',
    'a/b',
    '../escaped',
    '/etc/escaped',
    'a\\057b',
    '..\\057escaped',
    'a\\000b',
    '\\056\\056',
    '\\056',
]


@pytest.mark.parametrize('name', OUTSIDE)
@pytest.mark.parametrize('kind', ['file', 'dir', 'link', 'fifo'])
def test_a_name_that_leads_elsewhere_is_refused_and_the_rest_restored(restore, store, put, make, tmp_path, name, kind):
    put(store, 'blob', b'evil', b'good')
    inner = make(file_line('inner', b'evil')).key
    line = {
        'file': file_line(name, b'evil'),
        'dir': dir_line(name, inner),
        'link': f'./{name} type=link mode=0777 link=/etc',
        'fifo': f'./{name} type=fifo mode=0644',
    }[kind]
    entry = make(file_line('before', b'good'), line, file_line('z', b'good'))
    nested = make(dir_line('sub', entry.key))
    around = set(os.listdir(tmp_path))
    restored = restore(nested)
    assert sorted(os.listdir(restored.join(b'sub'))) == [b'before', b'z']
    assert restored.names() == [b'sub']
    assert restored.work.missing == len(restored.lines) == 1
    assert set(os.listdir(tmp_path)) == {*around, 'out'}
    assert not os.path.exists('/etc/escaped')


@pytest.mark.parametrize('order', ['link first', 'directory first'])
def test_nothing_is_written_through_a_symlink_of_the_same_name(restore, store, put, make, tmp_path, order):
    outside = tmp_path / 'outside'
    outside.mkdir()
    outside.chmod(0o755)
    put(store, 'blob', b'evil')
    inner = make(file_line('evil', b'evil')).key
    lines = [f'./x type=link mode=0777 link={outside}', dir_line('x', inner, '0777')]
    restored = restore(make(*(lines if order == 'link first' else reversed(lines))))
    assert os.listdir(outside) == [] and stat.S_IMODE(outside.stat().st_mode) == 0o755
    assert restored.work.missing == len(restored.lines) == 1
    assert restored.names() == [b'x']


@pytest.mark.parametrize(
    'first, second',
    [
        ('file', 'file'),
        ('dir', 'dir'),
        ('file', 'dir'),
        ('dir', 'file'),
        ('link', 'file'),
        ('file', 'link'),
        ('link', 'link'),
        ('fifo', 'file'),
    ],
)
def test_a_name_twice_is_one_entry_and_one_report(restore, store, put, make, tmp_path, first, second):
    target = tmp_path / 'target'
    target.write_bytes(b'precious')
    put(store, 'blob', b'1', b'2')
    made = {
        'file': lambda data: file_line('x', data),
        'dir': lambda data: dir_line('x', make(file_line('inner', data)).key),
        'link': lambda data: f'./x type=link mode=0777 link={target}',
        'fifo': lambda data: './x type=fifo mode=0644',
    }
    restored = restore(make(made[first](b'1'), made[second](b'2')))
    assert restored.names() == [b'x']
    assert restored.work.missing == len(restored.lines) == 1
    assert target.read_bytes() == b'precious'


def test_a_hard_link_tag_cannot_name_what_was_not_restored(restore, store, put, make, tmp_path):
    (tmp_path / 'precious').write_bytes(b'precious')
    put(store, 'blob', b'own')
    restored = restore(
        make(file_line('a', b'own', rest=' tags=hl:../precious'), file_line('b', b'own', rest=' tags=hl:/etc/passwd'))
    )
    assert restored.read(b'a') == restored.read(b'b') == b'own'
    assert os.lstat(restored.join(b'a')).st_nlink == os.lstat(restored.join(b'b')).st_nlink == 1


BAD_VALUES = [
    f'./x type=link mode=0777 link={"a" * 5000}',
    './x type=link mode=0777',
    './x type=link mode=0777 link=\\9',
    './x type=link mode=0777 link=',
    './x type=char mode=0600',
    './x type=char mode=0600 device=linux,a,b',
    './x type=char mode=0600 device=linux,99999999999999999999,1',
    './x type=block mode=0600 device=1,2',
    './x type=door mode=0600',
    './x',
    './x mode=0644',
    './x type=dir mode=0755',
    './x type=dir mode=0755 tags=tree:123',
    './x type=dir mode=0755 tags=again:\\9',
    './x type=fifo mode=nonsense',
    './x type=fifo mode=0644 time=yesterday',
    './x type=fifo mode=0644 uid=root gid=0',
    './x type=socket mode=0644 gid=nobody',
    f'./x type=file mode=0644 size=1 sha256digest={"g" * 64}',
    './x type=file mode=0644 size=1 sha256digest=123',
    './x type=file mode=0644 size=1 tags=unread:EIO',
    'rubbish',
    './x nonsense',
    './x\\9 type=fifo mode=0644',
    './' + 'n' * 256 + ' type=fifo mode=0644',
    './x type=fifo mode=0644 tags=hl:\\9,xattr',
]


@pytest.mark.parametrize('line', BAD_VALUES)
def test_a_bad_line_is_reported_and_the_rest_restored(restore, store, put, make, line):
    put(store, 'blob', b'good')
    restored = restore(make(file_line('a', b'good'), line, file_line('z', b'good')))
    assert restored.read(b'a') == restored.read(b'z') == b'good'
    assert len(restored.lines) == restored.work.missing <= 1
    if 'hl:' not in line:
        assert restored.work.missing == 1


@pytest.mark.parametrize('line', ['./x type=link mode=0777 link=a\\000b', './x type=dir mode=0755 tags=again:a\\000b'])
def test_a_target_with_a_nul_is_reported_and_the_rest_restored(restore, store, put, make, line):
    put(store, 'blob', b'good')
    restored = restore(make(file_line('a', b'good'), line, file_line('z', b'good')))
    assert restored.read(b'a') == restored.read(b'z') == b'good'
    assert len(restored.lines) == restored.work.missing == 1


@pytest.mark.parametrize('kind', ['file', 'dir', 'link', 'fifo'])
@pytest.mark.parametrize('attribute', ['mode=nonsense', 'uid=root', 'gid=-1', 'time=yesterday', 'mode=99'])
def test_a_bad_attribute_costs_at_most_its_entry(restore, store, put, make, kind, attribute):
    put(store, 'blob', b'good')
    word = attribute.partition('=')[0]
    inner = make(file_line('inner', b'good')).key
    fields = {'mode': '0755', 'uid': str(os.geteuid()), 'gid': str(os.getegid()), 'time': '1.000000000'}
    fields[word] = attribute.partition('=')[2]
    rest = {
        'file': f' size=4 sha256digest={key.of(b"good")}',
        'dir': f' tags=tree:{inner}',
        'link': ' link=x',
        'fifo': '',
    }[kind]
    line = f'./x type={kind} ' + ' '.join(f'{word}={text}' for word, text in fields.items()) + rest
    restored = restore(make(line, file_line('z', b'good')))
    assert restored.read(b'z') == b'good'
    assert restored.work.missing == 1 and len(restored.lines) == 1
    assert kind != 'dir' or restored.read(b'x', b'inner') == b'good'


@pytest.mark.parametrize('attributes', ['mode=nonsense', 'mode=0755 uid=root', 'mode=0755 time=yesterday', ''])
def test_bad_attributes_of_the_top_do_not_keep_its_contents(restore, store, put, make, attributes):
    put(store, 'blob', b'good')
    restored = restore(make(file_line('a', b'good'), attributes=attributes or 'x=y'))
    assert restored.read(b'a') == b'good'


@pytest.mark.parametrize('attribute', ['uid=99999999999', 'gid=4294967296', 'time=99999999999999999999.000000000',
                                       'time=-99999999999999999999.000000000'])  # fmt: skip
@pytest.mark.parametrize('kind', ['file', 'dir', 'link', 'fifo'])
def test_an_attribute_beyond_all_bounds_is_counted_as_unset(restore, store, put, make, kind, attribute):
    put(store, 'blob', b'good')
    inner = make(file_line('inner', b'good')).key
    fields = {'mode': '0755', 'uid': str(os.geteuid()), 'gid': str(os.getegid()), 'time': '1.000000000'}
    word, _, text = attribute.partition('=')
    fields[word] = text
    rest = {
        'file': f' size=4 sha256digest={key.of(b"good")}',
        'dir': f' tags=tree:{inner}',
        'link': ' link=x',
        'fifo': '',
    }[kind]
    restored = restore(make(f'./x type={kind} ' + ' '.join(f'{word}={text}' for word, text in fields.items()) + rest))
    assert restored.names() == [b'x'] and restored.work.missing == 0
    assert dict(restored.work.unset) == {'time' if word == 'time' else 'owner': 1}
    assert len(restored.details) == 1 and "'x'" in restored.details[0]


@pytest.mark.parametrize('data', [b'', b'no tree', tree.HEADER.encode()[:-1], b'\xff' * 100])
def test_what_is_no_tree_is_reported(restore, store, put, make, data):
    put(store, 'blob', b'good')
    restored = restore(make(dir_line('bad', put(store, 'tree', data)), file_line('z', b'good')))
    assert restored.names() == [b'bad', b'z'] and restored.read(b'z') == b'good'
    assert restored.work.missing == len(restored.lines) == 1 and "'bad'" in restored.lines[0]


# ---- a damaged store ----


def test_a_missing_object_is_reported_and_the_rest_restored(restore, store, put, make):
    put(store, 'blob', b'good')
    entry = make(
        file_line('a', b'gone'),
        file_line('b', b'good'),
        dir_line('c', key.of(b'gone too')),
        dir_line('d', make(file_line('e', b'good'), file_line('f', b'gone')).key),
        file_line('g', b'gone', rest=' tags=hl:g'),
    )
    restored = restore(entry)
    assert restored.names() == [b'b', b'c', b'd']
    assert os.listdir(restored.join(b'c')) == [] and os.listdir(restored.join(b'd')) == [b'e']
    assert restored.work.missing == 4
    assert sorted(line.partition(' not restored')[0] for line in restored.lines) == ["'a'", "'c'", "'d/f'", "'g'"]
    assert restored.work.files == 2


@pytest.mark.parametrize('tags', ['', ' tags=hl:x'])
def test_a_file_that_is_damaged_midway_is_removed_and_reported(restore, store, put, make, tags):
    data = hashlib.shake_128(b'midway').digest(9 << 20)
    put(store, 'blob', data, b'good')
    entry = make(file_line('a', b'good'), file_line('x', data, rest=tags), file_line('z', b'good'))
    blobs = os.path.join(store.root, b'objects', b'blob')
    pieces = [os.path.join(top, name) for top, _, names in os.walk(blobs) for name in names]
    os.unlink(max(pieces, key=lambda path: data.find(read_file(path))))
    restored = restore(entry, store=stores.Store(store.root))
    assert restored.names() == [b'a', b'z']
    assert restored.work.missing == 1 and "'x'" in restored.lines[0]


def test_a_first_name_that_is_lost_does_not_cost_the_others(restore, store, put, make):
    put(store, 'blob', b'good')
    restored = restore(
        make(
            file_line('a', b'gone', rest=' tags=hl:a'),
            file_line('b', b'good', rest=' tags=hl:a'),
            file_line('c', b'good', rest=' tags=hl:a'),
        )
    )
    assert restored.names() == [b'b', b'c']
    assert os.lstat(restored.join(b'b')).st_nlink == 2


def test_what_could_not_be_read_when_it_was_stored_is_said(restore, store, make):
    empty = make().key
    restored = restore(
        make(
            './f type=file mode=0644 size=5 tags=unread:EIO', f'./d type=dir mode=0755 tags=tree:{empty},unread:EACCES'
        )
    )
    assert restored.names() == [b'd']
    assert restored.work.missing == 2
    assert sorted(line.split(' ')[0] for line in restored.lines) == ["'d'", "'f'"]
    assert all('could not be read when it was stored' in line for line in restored.lines)


@pytest.mark.parametrize(
    'count',
    [
        10,
        6000,
    ],
)
def test_a_store_that_lost_all_contents_gives_a_report_and_no_hang(restore, store, make, alarm, count):
    """Long names and long reports: more than a pipe between processes holds."""
    lines = [file_line('%04d' % number + 'n' * 200, b'gone %d' % number) for number in range(count)]
    restored = restore(make(*lines))
    assert restored.work.missing == len(restored.lines) == count
    assert restored.names() == []


# ---- attributes that cannot be set ----


def refuse_owner(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for name in ('fchown', 'chown', 'lchown'):
        monkeypatch.setattr(os, name, refuse)


def test_owners_that_cannot_be_set_are_counted_and_cost_the_set_id_bits(restore, store, put, make, monkeypatch):
    put(store, 'blob', b'good')
    other = f'uid={os.geteuid() + 1} gid={os.getegid() + 1}'
    digest = f'size=4 time=1.000000000 sha256digest={key.of(b"good")}'
    entry = make(
        f'./dir type=dir mode=6755 {other} time=1.000000000 tags=tree:{make().key}',
        f'./fifo type=fifo mode=6644 {other} time=1.000000000',
        f'./linked type=file mode=4755 {other} {digest} tags=hl:linked',
        f'./plain type=file mode=0640 {other} {digest}',
        f'./set type=file mode=6755 {other} {digest}',
        f'./sticky type=file mode=1755 {other} {digest}',
        f'./sym type=link mode=0777 {other} time=1.000000000 link=x',
        attributes=f'mode=0755 uid={os.geteuid()} gid={os.getegid()} time=1.000000000',
    )
    refuse_owner(monkeypatch)
    restored = restore(entry)
    assert restored.lines == []
    modes = {name: stat.S_IMODE(os.lstat(restored.join(name)).st_mode) for name in restored.names() if name != b'sym'}
    assert modes == {b'dir': 0o755, b'fifo': 0o644, b'linked': 0o755, b'plain': 0o640, b'set': 0o755, b'sticky': 0o1755}
    assert dict(restored.work.unset) == {'owner': 7, 'set-id bit': 4}
    assert len(restored.details) == 11
    assert {os.lstat(restored.join(name)).st_mtime_ns for name in restored.names()} == {10**9}
    assert restored.work.files == 4


def test_an_owner_that_is_right_already_needs_no_right_to_set_it(restore, store, put, make, monkeypatch):
    put(store, 'blob', b'good')
    own = f'uid={os.geteuid()} gid={os.getegid()}'
    entry = make(f'./set type=file mode=6755 {own} size=4 time=1.000000000 sha256digest={key.of(b"good")}',
                 f'./fifo type=fifo mode=2755 {own}')  # fmt: skip
    refuse_owner(monkeypatch)
    restored = restore(entry)
    assert stat.S_IMODE(os.lstat(restored.join(b'set')).st_mode) == 0o6755
    assert stat.S_IMODE(os.lstat(restored.join(b'fifo')).st_mode) == 0o2755


@pytest.mark.parametrize('call, kind', [('fchmod', 'mode'), ('utime', 'time')])
def test_modes_and_times_that_cannot_be_set_are_counted(restore, store, put, make, monkeypatch, call, kind):
    put(store, 'blob', b'good')

    def refuse(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    entry = make(file_line('a', b'good'), file_line('b', b'good'))
    monkeypatch.setattr(os, call, refuse)
    restored = restore(entry)
    assert restored.read(b'a') == b'good' and restored.work.missing == 0
    assert restored.work.unset[kind] in (2, 3)  # the top has a mode, and here no time
    assert restored.work.unset[kind] == len(restored.details)


@AS_ROOT
def test_somebody_who_is_not_root_gets_all_but_the_owners(store, put, make, tmp_path):
    put(store, 'blob', b'good')
    entry = make(
        f'./set type=file mode=4755 uid=1 gid=1 size=4 time=1.000000000 sha256digest={key.of(b"good")}',
        './dev type=char mode=0600 device=linux,1,3',
        './link type=link mode=0777 uid=1 gid=1 link=x',
    )
    out = tmp_path / 'nobody'
    out.mkdir()
    os.chown(out, 65534, 65534)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(directory, 0o755)
    subprocess.run(['chmod', '-R', 'a+rX', store.root], check=True)
    store.objects.read('tree', entry.key)  # opens the cache
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            fd = os.open(out, os.O_RDONLY)
            os.fchdir(fd)
            os.setuid(65534)
            work = checkout.Checkout(store.objects)
            work.restore(entry, b'restored')
            os.write(writer, repr((work.missing, work.files, sorted(work.unset.items()))).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    said = os.read(reader, 1000)
    os.close(reader)
    assert os.waitpid(pid, 0)[1] == 0
    assert said == repr((1, 1, [('owner', 2), ('set-id bit', 1)])).encode()
    assert stat.S_IMODE(os.lstat(out / 'restored' / 'set').st_mode) == 0o755


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize('count', [5, 2500])
def test_a_target_that_takes_no_more_ends_the_restore(restore, store, put, make, monkeypatch, alarm, number, count):
    put(store, 'blob', b'good')
    entry = make(*[file_line('%d' % each, b'good') for each in range(count)])
    root = os.path.dirname(store.root)
    write_real = os.write

    def refuse(fd, data):
        target = os.readlink(f'/proc/self/fd/{fd}')
        if target.startswith(os.fsdecode(os.path.join(root, b'out'))):
            raise OSError(number, os.strerror(number))
        return write_real(fd, data)

    monkeypatch.setattr(os, 'write', refuse)
    with pytest.raises(errors.Error, match=os.strerror(number)):
        restore(entry)
    monkeypatch.undo()
    assert os.listdir(os.path.join(root, b'out')) == []


def test_while_it_goes_on_nobody_else_can_look_in(restore, store, put, make, monkeypatch):
    put(store, 'blob', b'good')
    inner = make(file_line('file', b'good', '0666')).key
    entry = make(dir_line('open to all', inner, '0777').replace(' to all', '\\040to\\040all'), attributes='mode=0777')
    seen, link = [], os.open

    def look(path, flags, *arguments, **options):
        if flags & os.O_CREAT:
            seen.append(stat.S_IMODE(os.fstat(options['dir_fd']).st_mode))
            assert arguments == (0o600,)
        return link(path, flags, *arguments, **options)

    monkeypatch.setattr(os, 'open', look)
    restored = restore(entry)
    assert seen == [0o700]
    assert stat.S_IMODE(os.stat(restored.path).st_mode) == 0o777


@AS_ROOT
def test_an_empty_directory_of_somebody_else_is_ours_while_it_goes_on(restore, make, tmp_path, monkeypatch):
    out, seen, mkfifo = tmp_path / 'out', [], os.mkfifo
    out.mkdir(0o777)
    os.chown(out, 1234, 1234)

    def look(name, mode, dir_fd):
        mkfifo(name, mode, dir_fd=dir_fd)
        status = os.stat(out)
        seen.append((status.st_uid, stat.S_IMODE(status.st_mode)))

    monkeypatch.setattr(os, 'mkfifo', look)
    restore(make('./pipe type=fifo mode=0666', attributes='mode=0755 uid=1234 gid=1234'))
    assert seen == [(0, 0o700)]
    assert (out.stat().st_uid, stat.S_IMODE(out.stat().st_mode)) == (1234, 0o755)


_ACL = struct.pack('<I', 2) + b''.join(  # user::rwx user:1234:rwx group::rwx mask::rwx other::rwx
    struct.pack('<HHI', tag, 7, who)
    for tag, who in ((1, 2**32 - 1), (2, 1234), (4, 2**32 - 1), (16, 2**32 - 1), (32, 2**32 - 1))
)


@pytest.fixture
def listed(tmp_path):
    """A directory that gives access to somebody else, also to all that is made in it."""
    path = tmp_path / 'listed'
    path.mkdir()
    try:
        for name in ('access', 'default'):
            os.setxattr(path, f'system.posix_acl_{name}', _ACL)
    except OSError:
        pytest.skip('no ACLs here')
    return path


@pytest.mark.parametrize('name', ['listed', 'listed/new'])
def test_nobody_gets_access_from_where_it_is_restored(restore, store, put, make, listed, name):
    put(store, 'blob', b'good')
    inner = make(file_line('file', b'good', '0640')).key
    restored = restore(make(dir_line('sub', inner, '0750'), file_line('file', b'good', '0640')), name)
    for path in (restored.path, restored.join(b'sub'), restored.join(b'sub', b'file'), restored.join(b'file')):
        assert [each for each in os.listxattr(path) if 'acl' in each] == []
    assert stat.S_IMODE(os.stat(restored.join(b'file')).st_mode) == 0o640


@pytest.mark.parametrize('rights, mode', [(0, 0o604), (4, 0o644), (6, 0o664)])
def test_where_a_list_cannot_be_set_the_group_gets_no_more_than_it_gave(
    restore, store, put, make, monkeypatch, rights, mode
):
    entries = (1, 6, -1), (2, 6, 1234), (4, rights, -1), (16, 6, -1), (32, 4, -1)
    acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *each) for each in entries)
    put(store, 'blob', b'good')
    monkeypatch.setattr(os, 'setxattr', lambda *_, **__: _raise(OSError(errno.EOPNOTSUPP, 'no')))
    value = base64.b64encode(acl).decode()
    restored = restore(make(file_line('x', b'good', '0664', f' tags=xattr:system.posix_acl_access:{value}')))
    assert stat.S_IMODE(os.stat(restored.join(b'x')).st_mode) == mode
    assert restored.work.unset == {'ACL': 1}


@pytest.mark.parametrize('line', [file_line('x', b'good', '0640'), './x type=fifo mode=0640'])
def test_nor_does_one_that_is_restored_alone(restore, store, put, listed, line):
    put(store, 'blob', b'good')
    restored = restore(tree.parse_line(line), 'listed/x')
    assert [each for each in os.listxattr(restored.path) if 'acl' in each] == []
    assert stat.S_IMODE(os.stat(restored.path).st_mode) == 0o640


def test_what_only_other_filesystems_have_is_counted_and_nothing_else(restore, store, put, make):
    put(store, 'blob', b'good')
    files = [file_line(name, b'good', rest=' tags=dos:a') for name in 'ab']
    below = make(file_line('d', b'good', rest=' tags=dos:a,short:D~1')).key
    directory = dir_line('c', below).replace('tags=', 'tags=dos:h,')
    restored = restore(make(*files, directory, './e type=fifo mode=0600 tags=ntfs.acl:AQ=='))
    assert restored.work.left_out == {'DOS attributes': 4, 'short names': 1, 'NTFS ACLs': 1}
    assert (restored.work.unset, restored.lines, restored.details) == ({}, [], [])


def test_reading_for_a_restore_writes_nothing_into_the_store(backup, restore, full, store, store_on_disk):
    root = backup(full).root
    before = store_on_disk(store)
    restore(root)
    assert store_on_disk(store) == before


def test_no_descriptor_is_left_open(backup, restore, full):
    root = backup(full).root
    restore(root, 'warm')
    gc.collect()  # of the tests before
    before = len(os.listdir('/proc/self/fd'))
    restore(root)
    assert len(os.listdir('/proc/self/fd')) == before


def test_the_step_function_hears_of_every_directory(backup, store, full, tmp_path):
    steps = []
    work = checkout.Checkout(store.objects, step=lambda path, work: steps.append(path))
    work.restore(backup(full).root, os.fsencode(tmp_path / 'out'))
    assert {b'', b'names', b'sub', b'sub/deep', b'sub/deep/er', b'closed', b'no files'} <= set(steps)


@pytest.mark.parametrize('count', [1, 3000])
def test_somebody_who_asks_to_stop_is_heard_within_a_file(store, put, make, tmp_path, count):
    big = hashlib.shake_128(b'big').digest(20 << 20)
    put(store, 'blob', big)
    calls = [0]

    def step(path, work):
        calls[0] += 1
        if calls[0] == 4:  # with one file: in the middle of it
            raise errors.Interrupted('stop')

    root = os.fsencode(tmp_path / 'out')
    lines = []
    with pytest.raises(errors.Interrupted):
        entry = make(*[file_line(f'big{number:04}', big) for number in range(count)])
        checkout.Checkout(store.objects, lines.append, step=step).restore(entry, root)
    assert lines == []
    for name in os.listdir(root):
        assert os.stat(os.path.join(root, name)).st_size == len(big)
    assert len(os.listdir(root)) < 100


def test_somebody_who_asks_to_stop_is_heard_while_the_target_is_compared(store, make, tmp_path, monkeypatch):
    monkeypatch.setattr(targets, '_ORDINARY', frozenset())
    monkeypatch.setattr(targets.Target, '_try_all', lambda self: None)  # limited

    def step(path, work):
        raise errors.Interrupted('stop')

    with pytest.raises(errors.Interrupted):
        checkout.Checkout(store.objects, step=step).restore(make(), os.fsencode(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_a_value_larger_than_any_is_not_even_read(restore, store, put, make, monkeypatch):
    put(store, 'blob', b'good', large := bytes(100_000))
    read = store.objects.read

    def refuse(type, found):
        assert found != key.of(large)
        return read(type, found)

    monkeypatch.setattr(store.objects, 'read', refuse)
    restored = restore(make(file_line('x', b'good', rest=f' tags=xattr:user.x:@{key.of(large)}')))
    assert restored.work.unset == {'xattr': 1}


def test_no_empty_file_is_left_where_the_end_comes_as_it_is_made(restore, store, put, make, tmp_path, monkeypatch):
    put(store, 'blob', b'good')
    entry, real = make(file_line('x', b'good')), os.open

    def end(path, flags, *arguments, **options):
        fd = real(path, flags, *arguments, **options)
        if flags & os.O_CREAT and path == b'x':
            os.close(fd)
            raise KeyboardInterrupt
        return fd

    monkeypatch.setattr(os, 'open', end)
    with pytest.raises(KeyboardInterrupt):
        restore(entry)
    assert os.listdir(tmp_path / 'out') == []


def test_a_hard_link_tag_that_lies_does_not_give_a_file_the_contents_of_another(restore, make, store, put):
    put(store, 'blob', b'one', b'two')
    restored = restore(make(file_line('a', b'one', rest=' tags=hl:a'), file_line('b', b'two', rest=' tags=hl:a')))
    assert (restored.read(b'a'), restored.read(b'b')) == (b'one', b'two')


# ---- sharing blocks ----


class Shared:
    """What is asked of reflink, and what it answers."""

    def __init__(self, monkeypatch, answer):
        self.asked, self._answer = [], answer
        monkeypatch.setattr(reflink, 'share', self)

    def __call__(self, file, source, found):
        self.asked.append(source)
        if isinstance(self._answer, BaseException):
            os.write(file, b'half')
            raise self._answer
        os.write(file, read_file(source))
        return os.stat(source).st_size


@pytest.mark.parametrize(
    'answer, times',
    [
        (None, 2),
        (OSError(errno.EOPNOTSUPP, 'no'), 1),
        (OSError(errno.EXDEV, 'no'), 1),
        (OSError(errno.EINVAL, 'not this one'), 2),
        (errors.Damaged('not what its name says'), 2),
    ],
)
def test_blocks_are_shared_of_plain_files_only_and_else_all_is_written(
    backup, store, source, tmp_path, monkeypatch, tree_on_disk, answer, times
):
    write(source, b'one', data=os.urandom(300 << 10))
    write(source, b'two', data=os.urandom(300 << 10))
    write(source, b'small', data=b'small')
    write(source, b'packed', data=b'text' * 100_000)
    touch_everything(source)
    shared = Shared(monkeypatch, answer)
    work = checkout.Checkout(store.objects, options=checkout.Options(reflink=True))
    work.restore(backup(source).root, os.fsencode(tmp_path / 'out'))
    assert tree_on_disk(os.fsencode(tmp_path / 'out')) == tree_on_disk(source)
    assert len(shared.asked) == times and work.missing == 0
