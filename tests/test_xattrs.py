"""xattrs: values of any length, and the names that HFS+ cuts."""

import errno
import os

import pytest

from chkfs.system import xattrs


@pytest.fixture
def path(source):
    """A file on a filesystem with user xattrs."""
    found = os.path.join(source, b'file')
    with open(found, 'wb'):
        pass
    try:
        os.setxattr(found, 'user.try', b'')
    except OSError:
        pytest.skip('there are no extended attributes here')
    os.removexattr(found, 'user.try')
    return found


@pytest.mark.parametrize('size', [0, 1, 127, 128, 129, 1000, 3000])
def test_values_come_back_by_descriptor_and_by_path(path, size):
    value = bytes(range(256)) * (size // 256 + 1)
    xattrs.put(path, 'user.a', value[:size])
    fd = os.open(path, os.O_RDONLY)
    try:
        assert xattrs.get(fd, 'user.a') == xattrs.get(path, 'user.a') == value[:size]
        assert xattrs.names(fd) == xattrs.names(path) == ['user.a']
        xattrs.put(fd, 'user.b', b'by descriptor')
    finally:
        os.close(fd)
    assert xattrs.get(path, 'user.b') == b'by descriptor'


def test_no_such_name_is_enodata(path):
    with pytest.raises(OSError) as found:
        xattrs.get(path, 'user.none')
    assert found.value.errno == errno.ENODATA


def test_a_symlink_is_not_followed(path, source):
    xattrs.put(path, 'user.a', b'of the file')
    link = os.path.join(source, b'link')
    os.symlink(b'file', link)
    with pytest.raises(OSError):
        xattrs.get(link, 'user.a')
    with pytest.raises(OSError):
        xattrs.put(link, 'user.b', b'')
    directory = os.open(source, os.O_RDONLY)
    try:
        assert xattrs.get(xattrs.path_below(directory, b'file'), 'user.a') == b'of the file'
        assert xattrs.names(xattrs.path_below(directory, b'link')) == []
    finally:
        os.close(directory)


# ---- HFS+ ----


@pytest.fixture
def hfs(monkeypatch):
    """hfs(listed, there) makes a filesystem that lists these names, or raises that errno, and has those."""

    def make(listed, there):
        def names(target):
            if isinstance(listed, int):
                raise OSError(listed, os.strerror(listed))
            return list(listed)

        def get(target, name):
            if name not in there:
                raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
            return b'value'

        monkeypatch.setattr(xattrs, 'names', names)
        monkeypatch.setattr(xattrs, 'get', get)

    return make


@pytest.mark.parametrize(
    'listed, there',
    [
        (['osx.com.apple.FinderInf'], ['osx.com.apple.FinderInfo']),
        (['osx.', 'user.k'], ['osx.k', 'user.k']),
        (['osx.com.example.tag'], ['osx.com.example.tag7']),
        (['osx.com.apple.FinderInfo'], ['osx.com.apple.FinderInfo']),  # a driver that has been mended
        (['user.cu'], ['user.cut']),  # only osx.* names are cut
        (errno.ENODATA, ['osx.com.apple.FinderInfo', 'osx.com.apple.ResourceFork']),
        (errno.ENOTSUP, ['osx.com.apple.FinderInfo']),
        (errno.ENODATA, []),
    ],
)
def test_cut_and_hidden_names_of_hfs_plus_are_found(hfs, listed, there):
    hfs(listed, there)
    expected = ['user.cu'] if listed == ['user.cu'] else there
    assert xattrs.hfs_names(b'any') == sorted(expected)


def test_other_errors_of_listing_are_errors(hfs):
    hfs(errno.EIO, [])
    with pytest.raises(OSError) as found:
        xattrs.hfs_names(b'any')
    assert found.value.errno == errno.EIO
