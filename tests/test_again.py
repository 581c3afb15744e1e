"""again: directories that were met before, and those that only look so."""

import os
import subprocess

import pytest

from chkfs.backup import again
from chkfs.system import mounts

LOCAL = mounts.Filesystem('ext4', '/dev/x', 'rw', '', b'/', b'/', 'ext4:x', 20_000_000, True, True)
VAGUE = LOCAL._replace(type='fuse', has_unique_inodes=False)


def identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


@pytest.fixture
def top(source):
    os.makedirs(os.path.join(source, b'a/b'))
    os.makedirs(os.path.join(source, b'c'))
    return source


@pytest.fixture
def met(top):
    fd = os.open(top, os.O_RDONLY)
    found = again.Met(fd, top)
    found.enter(identity(top), b'')
    yield found
    found.close()
    os.close(fd)


def below(top, path):
    return identity(os.path.join(top, path))


def test_a_directory_above_is_the_same_and_a_new_one_is_not(met, top):
    assert met.find(identity(top), b'a/loop', LOCAL) == b''
    assert met.find(below(top, b'a'), b'a', LOCAL) is None


def test_one_that_was_left_is_the_same_under_another_name(met, top):
    met.enter(below(top, b'a'), b'a')
    met.leave(below(top, b'a'), b'a', is_complete=True)
    assert met.find(below(top, b'a'), b'c', LOCAL) == b'a'


def test_one_that_is_not_wholly_stored_does_not_stand_for_another_name(met, top):
    met.enter(below(top, b'a'), b'a')
    met.leave(below(top, b'a'), b'a', is_complete=False)
    assert met.find(below(top, b'a'), b'c', LOCAL) is None


@pytest.mark.parametrize('point', [b'a/b', b'c/deep/er'])
def test_nor_does_one_when_a_mount_hides_something_below_either_name(met, top, monkeypatch, point):
    met.enter(below(top, b'a'), b'a')
    met.leave(below(top, b'a'), b'a', is_complete=True)
    hidden = os.path.join(top, point)
    real = mounts.points_below
    monkeypatch.setattr(
        mounts, 'points_below', lambda path: {hidden: b'0:9'} if hidden.startswith(path + b'/') else real(path)
    )
    assert met.find(below(top, b'a'), b'c', LOCAL) is None


def test_the_inode_of_a_directory_that_is_gone_proves_nothing(met, top):
    """It was given to a new directory since."""
    met.leave(below(top, b'c'), b'a/b', is_complete=True)
    assert met.find(below(top, b'c'), b'c', LOCAL) is None
    met.leave(below(top, b'a'), b'gone', is_complete=True)
    assert met.find(below(top, b'a'), b'a', LOCAL) is None


def test_where_inodes_mean_nothing_only_the_table_of_mounts_proves(met, top, monkeypatch):
    met.enter(below(top, b'a'), b'a')
    met.leave(below(top, b'a'), b'a', is_complete=True)
    assert met.find(below(top, b'a'), b'c', VAGUE) is None
    here = os.path.join(top, b'c')
    met.points[here] = b'0:9'
    assert met.find(below(top, b'a'), b'c', VAGUE) is None  # a mount of something else
    monkeypatch.setattr(mounts, 'where', lambda path: (b'0:9', b'/x'))
    assert met.find(below(top, b'a'), b'c', VAGUE) == b'a'


def test_one_constant_inode_does_not_confuse_the_way_back(met, top):
    for path in (b'a', b'a/b'):
        met.enter((1, 1), path)
    for path in (b'a/b', b'a'):
        met.leave((1, 1), path, is_complete=True)
    met.enter((1, 1), b'c')
    assert met.find((1, 1), b'c', VAGUE) is None


def test_places_where_a_btrfs_snapshot_lacks_a_subvolume_are_not_one_directory(met, top, monkeypatch):
    btrfs, number = LOCAL._replace(type='btrfs'), (5, 2)
    met.leave(number, b'a', is_complete=True)
    monkeypatch.setattr(os, 'fstat', lambda fd: os.stat_result((0, number[1], number[0], 1, 0, 0, 0, 0, 0, 0)))
    assert met.find(number, b'c', btrfs) is None
    assert met.find(number, b'c', LOCAL) == b'a'


@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a directory')
@pytest.mark.parametrize('filesystem', [LOCAL, VAGUE])
def test_a_real_bind_mount_is_recognised(top, filesystem):
    first, second = os.path.join(top, b'a'), os.path.join(top, b'c')
    if subprocess.run(['mount', '--bind', first, second], capture_output=True).returncode:
        pytest.skip('cannot mount here')
    fd = os.open(top, os.O_RDONLY)
    met = again.Met(fd, top)
    try:
        assert met.points.keys() == {second}
        met.enter(identity(first), b'a')
        met.leave(identity(first), b'a', is_complete=True)
        assert met.find(identity(second), b'c', filesystem) == b'a'
    finally:
        met.close()
        os.close(fd)
        subprocess.run(['umount', second], check=True)
