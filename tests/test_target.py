"""target: what a filesystem can hold is found by trying, and nothing of the trials stays."""

import errno
import os
import stat

import pytest

from chkfs.restore import target
from chkfs.system import mounts


@pytest.fixture
def place(tmp_path):
    (tmp_path / 'dest').mkdir()
    return os.fsencode(tmp_path / 'dest')


@pytest.fixture
def probe(place, monkeypatch):
    """probe(type of the filesystem) gives an open Target."""
    made = []

    def make(type='ext4'):
        monkeypatch.setattr(mounts, 'type_of', lambda path: type)
        fd = os.open(place, os.O_RDONLY)
        try:
            made.append(target.Target(place, fd))
        finally:
            os.close(fd)
        return made[-1]

    yield make
    for each in made:
        each.close()
    assert os.listdir(place) == []


def refusing(monkeypatch, name, number=errno.EOPNOTSUPP, when=lambda *arguments: True):
    real = getattr(os, name)

    def call(*arguments, **named):
        if when(*arguments):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, call)


def test_an_ordinary_filesystem_is_known_to_hold_all(probe, monkeypatch):
    for name in ('symlink', 'link', 'mkfifo', 'mknod', 'listdir'):
        refusing(monkeypatch, name)  # it is not even tried
    found = probe('ext4')
    monkeypatch.undo()
    assert not found.is_limited and found.lacks == set()
    assert found.holds(b'\xff:?\n.') and not found.holds(b'n' * 256)
    assert found.is_same(b'a', b'a') and not found.is_same(b'a', b'A')
    assert found.keeps_time(-1) and found.takes_size(1 << 40)


def test_one_of_another_type_that_holds_all_is_not_limited(probe):
    assert not probe('newfs').is_limited


def test_nothing_stays_of_the_trials_whatever_happens(place, probe, monkeypatch):
    refusing(monkeypatch, 'listdir', errno.ENOSPC, lambda path: type(path) is int)
    with pytest.raises(OSError):
        probe('newfs')
    monkeypatch.undo()
    target.remove_remains(os.open(place, os.O_RDONLY))
    assert os.listdir(place) == []


@pytest.mark.parametrize(
    'call, kinds',
    [
        ('symlink', {'link'}),
        ('mkfifo', {'fifo'}),
        ('link', {'hard link'}),
        ('fchmod', {'mode'}),
        ('setxattr', {'xattr'}),
        ('mknod', {'socket', 'char', 'block'} if os.geteuid() == 0 else {'socket'}),
    ],
)
@pytest.mark.parametrize('number', [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_what_is_refused_is_lacking(probe, monkeypatch, call, kinds, number):
    refusing(monkeypatch, call, number)
    found = probe('newfs')
    assert found.is_limited and found.lacks == kinds


def test_a_mode_that_is_taken_and_not_kept_is_lacking(probe, monkeypatch):
    monkeypatch.setattr(os, 'fchmod', lambda fd, mode: None)
    assert probe('newfs').lacks == {'mode'}


@pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
def test_an_owner_that_is_taken_and_not_kept_is_lacking(probe, monkeypatch):
    monkeypatch.setattr(os, 'fchown', lambda fd, uid, gid: None)
    found = probe('newfs')
    assert found.lacks == {'owner'} and found.owner == (0, os.getegid())


@pytest.mark.parametrize('grain_ns', [100, 10**6, 10**9, 2 * 10**9])
def test_how_exact_times_are_is_found_on_any_type(probe, monkeypatch, grain_ns):
    real = os.utime
    monkeypatch.setattr(os, 'utime', lambda fd, ns: real(fd, ns=(ns[0], ns[1] // grain_ns * grain_ns)))
    found = probe('ext4')
    assert found.is_limited and found.grain_ns == grain_ns
    assert found.keeps_time(4 * 10**9) and not found.keeps_time(4 * 10**9 + grain_ns // 2)


def test_the_range_of_times_is_found(probe, monkeypatch):
    """As on FAT: from 1980 to 2107."""
    real = os.utime
    first, last = 315532800 * 10**9, 4354819198 * 10**9
    monkeypatch.setattr(os, 'utime', lambda fd, ns: real(fd, ns=(0, min(max(ns[1], first), last))))
    found = probe('newfs')
    assert found.is_limited
    assert [found.keeps_time(time_ns) for time_ns in (0, first - 1, first, 10**18, last, last + 10**9)] == [
        *(False, False, True, True, True, False)
    ]


def test_the_largest_size_is_found(probe, monkeypatch):
    refusing(monkeypatch, 'lseek', errno.EINVAL, lambda fd, size, whence: size > 2**32 - 1)
    found = probe('newfs')
    assert found.is_limited
    assert found.takes_size(2**32 - 1) and not found.takes_size(2**32)


@pytest.mark.parametrize('name', [b'a:b', b'a\xff', b'a\n', b'con', b'n' * 255, b'a.'])
def test_a_name_that_is_refused_is_found(probe, monkeypatch, name):
    real = os.open

    def refuse(path, *arguments, **named):
        if path == name:
            raise OSError(errno.EINVAL, 'no')
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, 'open', refuse)
    found = probe('newfs')
    assert found.is_limited and not found.holds(name) and found.holds(b'plain') and found.holds(b'odd ?')


def test_a_name_that_becomes_another_is_not_held(probe, monkeypatch):
    """As FAT cuts off a dot at the end."""
    real = os.open
    cut = lambda path: path.rstrip(b'.') if isinstance(path, bytes) and path != b'.' else path  # noqa: E731
    monkeypatch.setattr(os, 'open', lambda path, *arguments, **named: real(cut(path), *arguments, **named))
    found = probe('newfs')
    assert found.is_limited and not found.holds(b'a.') and not found.holds(b'new.') and found.holds(b'new')


def test_a_filesystem_that_does_not_tell_case_is_limited_whatever_its_type(probe, monkeypatch):
    real = os.stat

    def stat_any_case(path, **named):
        if isinstance(path, bytes) and 'dir_fd' in named:
            there = {name.lower(): name for name in os.listdir(named['dir_fd'])}
            path = os.fsencode(there.get(os.fsdecode(path).lower(), path))
        return real(path, **named)

    monkeypatch.setattr(os, 'stat', stat_any_case)
    found = probe('ext4')
    assert found.is_limited and not found.tells_case
    assert found.is_same(b'one', b'ONE') and not found.is_same(b'one', b'two')
    found.close()
    assert found.is_same(b'ONE', b'one')  # what was found stays known


def test_remains_of_a_dead_run_go_and_nothing_else(place):
    left = os.path.join(place, target.PREFIX + b'12345678')
    os.mkdir(left)
    os.symlink(b'/etc', os.path.join(left, b'link'))
    os.mknod(os.path.join(left, b'f'), stat.S_IFREG | 0o600)
    fd = os.open(place, os.O_RDONLY)
    os.mkdir(os.path.join(place, b'other'))
    target.remove_remains(fd)
    assert len(os.listdir(place)) == 2
    os.rmdir(os.path.join(place, b'other'))
    target.remove_remains(fd)
    os.close(fd)
    assert os.listdir(place) == []
