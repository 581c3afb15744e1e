"""destination: where something is restored to is ours alone, and what was there before stays."""

import os
import stat

import pytest

from chkfs import errors
from chkfs.restore import destination, target


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, which holds real/deep and link, a symlink to that."""
    (tmp_path / 'real/deep').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('real/deep')
    monkeypatch.chdir(tmp_path)
    return os.path.realpath(os.fsencode(tmp_path))


def private(fd):
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o700


def refusing(fd):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    'path, directory, name',
    [
        (b'x', b'', b'x'),
        (b'x//', b'', b'x'),
        (b'link', b'', b'link'),
        (b'link/x', b'/real/deep', b'x'),
        (b'link/../x', b'/real', b'x'),
        (b'link/..', b'/real', b''),
        (b'.', b'', b''),
        (b'', b'', b''),
    ],
)
def test_a_path_leads_where_the_kernel_says(here, path, directory, name):
    assert destination.split(path) == (here + directory, name)
    assert destination.whole(path) == here + directory + (b'/' + name if name else b'')


def test_the_root_is_itself():
    assert destination.split(b'//') == (b'/', b'') and destination.whole(b'/') == b'/'


@pytest.mark.parametrize('path', [b'new', b'there', b'link'])
def test_a_directory_is_private_and_empty(here, path):
    os.mkdir(b'there', 0o777)
    if path != b'new':
        os.mkdir(os.path.join(path, target.PREFIX + b'left'))
    fd = destination.open_directory(path, private)
    assert os.listdir(fd) == []
    os.close(fd)


@pytest.mark.parametrize('path', [b'new', b'there'])
def test_one_that_is_refused_is_as_it_was(here, path):
    os.mkdir(b'there')
    before = sorted(os.listdir())
    with pytest.raises(ZeroDivisionError):
        destination.open_directory(path, refusing)
    assert sorted(os.listdir()) == before


def test_a_directory_with_something_in_it_is_not_looked_at(here):
    with pytest.raises(errors.Error, match='is not an empty directory'):
        destination.open_directory(b'real', refusing)


@pytest.mark.parametrize(
    'path, why',
    [(b'link', 'exists'), (b'real', 'exists'), (b'x/', 'is no name of a file'), (b'', 'is no name of a file')],
)
def test_no_file_takes_the_place_of_anything(here, path, why):
    with pytest.raises(errors.Error, match=why):
        destination.open_parent(path)


def test_the_directory_of_a_file_is_open(here):
    fd, name = destination.open_parent(b'link/../x')
    assert (os.listdir(fd), name) == (['deep'], b'x')
    os.close(fd)
