"""scan: a directory as it is now, in an order and a form that can be compared."""

import errno
import os
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chkfs.backup import scan
from chkfs.system import metadata, mounts

EXT4 = mounts.Filesystem('ext4', '/dev/x', 'rw', '', b'/', b'/', 'ext4:x', 20_000_000, True, True)
FAT = EXT4._replace(type='vfat', has_stable_inodes=False, has_true_ctime=False)
integers = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**80), 2**80) | st.integers(0, 100)


def listed(path, filesystem=EXT4, lister=None):
    fd = os.open(path, os.O_RDONLY)
    try:
        return (lister or scan.Lister()).list(fd, filesystem)
    finally:
        os.close(fd)


def one(path, name, filesystem=EXT4):
    found, problems = listed(path, filesystem)
    assert problems == []
    return next(entry for entry in found if entry.name == name)


@given(st.builds(scan.Record, integers, integers, integers, integers, integers))
@example(scan.Record(5, 13 * 10**18, 10**18, 2**64 - 1, 0))
def test_any_record_survives(record):
    packed = scan.pack(*record)
    assert scan.unpack(packed) == record
    assert tuple(scan.fields(packed)) == tuple(record)


def test_equal_numbers_give_equal_bytes():
    far = 13 * 10**18
    assert scan.pack(0, far, far, 0, 0) == scan.pack(0, far, int(str(far)), 0, 0)


def test_names_are_bytes_in_the_order_of_bytes(source):
    names = [b'b', b'a', b'B', b'\xff', 'ä'.encode(), b'a.', b'new\nline', b' ', b'n' * 255]
    for name in names:
        open(os.path.join(source, name), 'w').close()
    assert [entry.name for entry in listed(source)[0]] == sorted(names)


def test_every_kind_is_told(source):
    open(os.path.join(source, b'file'), 'w').close()
    os.mkdir(os.path.join(source, b'dir'))
    os.symlink(b'nowhere', os.path.join(source, b'link'))
    os.mkfifo(os.path.join(source, b'fifo'))
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.join(source, b'sock'))
    server.close()
    assert {entry.name: entry.kind for entry in listed(source)[0]} == {
        b'file': 'file', b'dir': 'dir', b'link': 'link', b'fifo': 'fifo', b'sock': 'socket'
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason='makes devices')
def test_devices_have_their_numbers(source):
    os.mknod(os.path.join(source, b'char'), 0o020600, os.makedev(5, 1))
    os.mknod(os.path.join(source, b'block'), 0o060600, os.makedev(259, 300))
    found = {entry.name: (entry.kind, scan.unpack(entry.record).device) for entry in listed(source)[0]}
    assert found == {b'char': ('char', os.makedev(5, 1)), b'block': ('block', os.makedev(259, 300))}


def test_the_record_is_what_lstat_told(source):
    path = os.path.join(source, b'file')
    with open(path, 'wb') as file:
        file.write(b'12345')
    os.utime(path, ns=(1, -1_500_000_000))
    status = os.lstat(path)
    record = scan.unpack(one(source, b'file').record)
    assert record == (5, -1_500_000_000, status.st_ctime_ns, status.st_ino, 0)


def test_attributes_are_the_beginning_of_a_tree_line(source):
    path = os.path.join(source, b'file')
    open(path, 'w').close()
    os.chmod(path, 0o6751)
    owners = metadata.Owners()
    user, group = owners.user(os.geteuid()).decode(), owners.group(os.getegid()).decode()
    expected = f'type=file mode=6751 uid={os.geteuid()} gid={os.getegid()} uname={user} gname={group}'
    assert one(source, b'file').attributes == expected


def test_whatever_can_be_seen_changes_the_record_or_the_attributes(source):
    path = os.path.join(source, b'file')
    seen = set()

    def look():
        entry = one(source, b'file')
        seen.add((entry.attributes, entry.record))
        return len(seen)

    with open(path, 'wb') as file:
        file.write(b'1')
    os.utime(path, ns=(0, 10**18))
    assert look() == 1 and look() == 1
    os.utime(path, ns=(0, 10**18 + 1))
    assert look() == 2
    os.chmod(path, 0o600)
    assert look() == 3
    os.unlink(path)
    with open(path, 'wb') as file:
        file.write(b'2')
    os.utime(path, ns=(0, 10**18 + 1))
    os.chmod(path, 0o600)
    assert look() == 4


def test_on_fat_inodes_and_ctimes_do_not_count(source):
    open(os.path.join(source, b'file'), 'w').close()
    record = scan.unpack(one(source, b'file', FAT).record)
    assert (record.inode, record.ctime_ns) == (0, 0)
    assert record.mtime_ns == os.lstat(os.path.join(source, b'file')).st_mtime_ns


def test_files_with_several_names_are_marked_and_directories_are_not(source):
    open(os.path.join(source, b'a'), 'w').close()
    os.link(os.path.join(source, b'a'), os.path.join(source, b'b'))
    open(os.path.join(source, b'single'), 'w').close()
    os.makedirs(os.path.join(source, b'dir', b'sub'))
    status = os.lstat(os.path.join(source, b'a'))
    found = {entry.name: entry.linked for entry in listed(source)[0]}
    assert found == {
        b'a': (status.st_dev, status.st_ino),
        b'b': (status.st_dev, status.st_ino),
        b'single': None,
        b'dir': None,
    }


def test_what_cannot_be_looked_at_is_a_problem_and_the_rest_is_listed(source, monkeypatch):
    for name in (b'a', b'b', b'c'):
        open(os.path.join(source, name), 'w').close()
    stat = os.stat

    def failing(path, **options):
        if path in (b'b', 'b'):
            raise OSError(5, 'Input/output error')
        return stat(path, **options)

    monkeypatch.setattr(os, 'stat', failing)
    found, problems = listed(source)
    assert [entry.name for entry in found] == [b'a', b'c']
    assert [(name, error.errno) for name, error in problems] == [(b'b', 5)]


@pytest.fixture
def listing(monkeypatch):
    """listing(names) makes every directory list these, as a driver may."""
    return lambda *names: monkeypatch.setattr(os, 'listdir', lambda fd: list(names))


def test_a_name_that_is_listed_twice_is_there_once_and_a_problem(source, listing):
    for name in (b'_', b'other'):
        open(os.path.join(source, name), 'w').close()
    listing('_', 'other', '_')
    found, problems = listed(source)
    assert [entry.name for entry in found] == [b'_', b'other']
    assert [name for name, _ in problems] == [b'_']
    assert 'more than once' in str(problems[0][1])


def test_what_is_listed_but_never_found_has_not_vanished(source, listing):
    open(os.path.join(source, b'other'), 'w').close()
    listing('_', 'other')
    found, problems = listed(source)
    assert [entry.name for entry in found] == [b'other']
    assert [name for name, _ in problems] == [b'_']
    assert 'not found by that name' in str(problems[0][1])


def test_what_is_listed_no_more_has_vanished(source, monkeypatch):
    answers = [['gone', 'other'], ['other']]
    open(os.path.join(source, b'other'), 'w').close()
    monkeypatch.setattr(os, 'listdir', lambda fd: answers.pop(0))
    assert [(name, error.errno) for name, error in listed(source)[1]] == [(b'gone', errno.ENOENT)]


def test_a_directory_that_cannot_be_listed_is_an_oserror(source):
    open(os.path.join(source, b'file'), 'w').close()
    with pytest.raises(OSError):
        listed(os.path.join(source, b'file'))


def test_a_single_entry_looks_as_in_its_directory(source):
    open(os.path.join(source, b'a'), 'w').close()
    os.link(os.path.join(source, b'a'), os.path.join(source, b'b'))
    os.mkdir(os.path.join(source, b'd'))
    for name in (b'a', b'd'):
        for filesystem in (EXT4, FAT):
            status = os.lstat(os.path.join(source, name))
            assert scan.Lister().look(status, name, filesystem) == one(source, name, filesystem)


def test_a_time_of_the_far_future_is_listed(source):
    path = os.path.join(source, b'file')
    open(path, 'w').close()
    os.utime(path, ns=(0, 13_000_000_000 * 10**9))
    if os.lstat(path).st_mtime_ns != 13_000_000_000 * 10**9:
        pytest.skip('this filesystem has no such times')
    first, again = one(source, b'file'), one(source, b'file')
    assert scan.unpack(first.record).mtime_ns == 13_000_000_000 * 10**9
    assert first == again == scan.Lister().look(os.lstat(path), b'file', EXT4)


def test_an_inode_number_of_64_bits_is_listed(source, monkeypatch):
    open(os.path.join(source, b'file'), 'w').close()
    stat = os.stat

    def large(path, **options):
        fields = list(stat(path, **options))
        fields[1] = 2**64 - 1
        named = stat(path, **options)
        extra = {
            name: getattr(named, name)
            for name in ('st_atime_ns', 'st_mtime_ns', 'st_ctime_ns', 'st_blksize', 'st_blocks', 'st_rdev')
        }
        return os.stat_result(fields, extra)

    monkeypatch.setattr(os, 'stat', large)
    assert one(source, b'file').name == b'file'


HOUR = 3600 * 10**9


@pytest.mark.parametrize(
    'old, new, is_same',
    [
        ((5, 0, 0, 0, 0), (5, HOUR, HOUR, 0, 0), True),  # the zone moved, and all times with it
        ((5, 0, 0, 0, 0), (5, 0, HOUR, 0, 0), True),  # a time that the driver had in memory
        ((5, HOUR, HOUR, 0, 0), (5, 0, 0, 0, 0), True),
        ((5, 0, 0, 0, 0), (5, HOUR, 0, 0, 0), False),  # changed an hour later, to the second
        ((5, 0, 0, 0, 0), (5, HOUR + 2 * 10**9, HOUR, 0, 0), False),
        ((5, 0, 0, 0, 0), (5, -HOUR, HOUR, 0, 0), False),
        ((5, 0, 0, 0, 0), (6, HOUR, HOUR, 0, 0), False),
        ((5, 0, 0, 7, 0), (5, HOUR, HOUR, 8, 0), False),
        ((5, 0, 0, 0, 1), (5, HOUR, HOUR, 0, 2), False),
    ],
)
def test_another_time_zone_is_no_change_of_a_file(old, new, is_same):
    assert scan.is_same_but_for_zone(scan.pack(*old), scan.pack(*new)) == is_same
