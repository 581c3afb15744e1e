"""descent: down and up by descriptors, any depth, never through a symlink, never to another place."""

import errno
import os
import shutil

import pytest

from chkfs.system.descent import Descent, open_below

DEPTH = 300


@pytest.fixture
def top(tmp_path):
    return os.fsencode(tmp_path)


@pytest.fixture
def descent(top):
    made = Descent(os.open(top, os.O_RDONLY | os.O_DIRECTORY))
    yield made
    made.close()


def identity(fd):
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def open_descriptors():
    return len(os.listdir('/proc/self/fd'))


def make_deep(top, depth=DEPTH, name=b'd'):
    """Makes a chain of directories by descriptors, since its path may be too long for one call."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_back_from_what_lets_nobody_through(top, descent, monkeypatch):
    make_deep(top, 150)
    way = [identity(descent.fd)]
    for _ in range(150):
        descent.enter(b'd')
        way.append(identity(descent.fd))
    real = os.open

    def refuse(path, *arguments, **options):
        if path == '..':
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, 'open', refuse)
    for expected in reversed(way[:-1]):
        descent.leave()
        assert identity(descent.fd) == expected


@pytest.mark.parametrize('name', [b'd', b'n' * 255])
def test_any_depth_is_reached_and_left_with_few_descriptors(top, descent, name):
    make_deep(top, DEPTH, name)
    before = open_descriptors()
    way = [identity(descent.fd)]
    for depth in range(1, DEPTH + 1):
        descent.enter(name)
        assert descent.depth == depth
        way.append(identity(descent.fd))
    assert open_descriptors() - before <= 110
    for expected in reversed(way[:-1]):
        descent.leave()
        assert identity(descent.fd) == expected
    assert descent.depth == 0
    assert open_descriptors() == before


def test_closing_in_the_depth_closes_everything(top):
    make_deep(top)
    before = open_descriptors()
    made = Descent(os.open(top, os.O_RDONLY))
    for _ in range(DEPTH):
        made.enter(b'd')
    made.close()
    assert open_descriptors() == before


@pytest.mark.parametrize('kind', ['symlink', 'file', 'fifo', 'missing'])
def test_only_real_directories_are_entered(top, descent, kind):
    os.mkdir(os.path.join(top, b'real'))
    path = os.path.join(top, b'x')
    if kind == 'symlink':
        os.symlink(b'real', path)
    elif kind == 'file':
        open(path, 'w').close()
    elif kind == 'fifo':
        os.mkfifo(path)
    here = identity(descent.fd)
    with pytest.raises(OSError) as caught:
        descent.enter(b'x')
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
    assert (descent.depth, identity(descent.fd)) == (0, here)


def test_a_directory_moved_away_is_left_to_where_it_was(top, descent):
    """Far down, the way up goes over "..", which then leads elsewhere."""
    make_deep(top, 150)
    os.mkdir(os.path.join(top, b'elsewhere'))
    way = [identity(descent.fd)]
    for _ in range(150):
        descent.enter(b'd')
        way.append(identity(descent.fd))
    os.rename(os.path.join(top, *[b'd'] * 150), os.path.join(top, b'elsewhere', b'd'))
    for expected in reversed(way[:-1]):
        descent.leave()
        assert identity(descent.fd) == expected


def test_leaving_to_a_place_that_is_gone_is_an_error_and_not_another_place(top, descent):
    make_deep(top, 150)
    os.mkdir(os.path.join(top, b'elsewhere'))
    for _ in range(150):
        descent.enter(b'd')
    os.rename(os.path.join(top, *[b'd'] * 149), os.path.join(top, b'elsewhere', b'd'))
    os.rename(os.path.join(top, b'elsewhere', b'd', b'd'), os.path.join(top, b'elsewhere', b'e'))
    with pytest.raises(OSError):
        descent.leave()


def test_a_directory_removed_meanwhile_is_left_to_where_it_was(top, descent):
    make_deep(top, 150)
    for _ in range(149):
        descent.enter(b'd')
    parent = identity(descent.fd)
    descent.enter(b'd')
    os.rmdir(os.path.join(top, *[b'd'] * 150))
    descent.leave()
    assert identity(descent.fd) == parent


def test_open_below_follows_names_and_no_symlink(top):
    make_deep(top, 3)
    os.symlink(b'd', os.path.join(top, b'link'))
    fd = os.open(top, os.O_RDONLY)
    before = open_descriptors()
    below = open_below(fd, [b'd', b'd'])
    assert identity(below) == (os.stat(os.path.join(top, b'd/d')).st_dev, os.stat(os.path.join(top, b'd/d')).st_ino)
    os.close(below)
    same = open_below(fd, [])
    assert identity(same) == identity(fd)
    os.close(same)
    for names in ([b'link'], [b'link', b'd'], [b'd', b'missing']):
        with pytest.raises(OSError):
            open_below(fd, names)
    assert open_descriptors() == before
    os.close(fd)


def test_the_deep_tree_can_be_removed_again(top):
    make_deep(top, DEPTH, b'n' * 255)
    shutil.rmtree(top)
    assert not os.path.exists(top)
