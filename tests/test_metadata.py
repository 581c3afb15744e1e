"""metadata: the kinds of entries, their owners, and what else they tell."""

import errno
import marshal
import os
import stat

import pytest

from chkfs.system import flags, metadata, statx, xattrs
from chkfs.text import key, tree


def test_every_file_type_has_a_kind():
    assert metadata.KINDS == {
        stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'link', stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket',
        stat.S_IFCHR: 'char', stat.S_IFBLK: 'block',
    }  # fmt: skip


# ---- owners ----


def test_owners_have_names_or_none(monkeypatch):
    import grp
    import pwd

    owners = metadata.Owners()
    assert owners.user(0) == os.fsencode(pwd.getpwuid(0).pw_name)
    assert owners.group(0) == os.fsencode(grp.getgrgid(0).gr_name)
    assert owners.user(3_987_654_321) == owners.group(3_987_654_321) == b''
    assert owners.user(2**32) == b''


def test_each_owner_is_asked_for_once(monkeypatch):
    import pwd

    asked = []
    monkeypatch.setattr(pwd, 'getpwuid', lambda uid: asked.append(uid) or (_ for _ in ()).throw(KeyError))
    owners = metadata.Owners()
    assert [owners.user(7), owners.user(7), owners.user(8)] == [b'', b'', b'']
    assert asked == [7, 8]


# ---- what entries tell ----

TIMES = metadata.BTIME | metadata.CTIME | metadata.ATIME


def error(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def gather(monkeypatch, source):
    """gather(kinds, xattrs=..., flags=...) gives the tags of a file with these, the gatherer, and what it put."""
    path = os.path.join(source, b'file')
    with open(path, 'wb'):
        pass
    os.utime(path, ns=(5, 7))
    fd, put = os.open(path, os.O_RDONLY), []

    def keep(value):
        put.append(value)
        return key.of(value)

    gatherer = metadata.Gatherer(keep)

    def look(kinds, named=None, letters=lambda fd: '', **changes):
        values = named or {}
        monkeypatch.setattr(xattrs, 'names', lambda target: list(values))
        monkeypatch.setattr(xattrs, 'get', lambda target, name: values[name])
        monkeypatch.setattr(flags, 'get', letters)
        for name, value in changes.items():
            monkeypatch.setattr(xattrs, name, value)
        return gatherer.of_open(fd, kinds, statx.status(fd), b'file')

    look.gatherer, look.put = gatherer, put
    yield look
    os.close(fd)


def test_times_are_told_when_they_are_asked_for(gather):
    assert gather(0) == ''
    assert gather(metadata.ATIME) == ',atime:0.000000005'
    found = [tag.partition(':')[0] for tag in gather(TIMES)[1:].split(',')]
    assert found in (['btime', 'ctime', 'atime'], ['ctime', 'atime'])


def test_xattrs_are_in_order_quoted_and_in_base64(gather):
    found = gather(
        metadata.XATTRS, {'user.z': b'\xff', 'user.a,:b': b'', 'user.\udce9': b'x', 'trusted.SGI_ACL_FILE': b'x'}
    )
    assert found == ',xattr:user.a\\054\\072b:,xattr:user.z:/w==,xattr:user.\\351:eA=='
    assert gather.put == []


def test_long_values_are_blobs(gather):
    found = gather(metadata.XATTRS, {'user.long': b'x' * 1025, 'user.most': b'x' * 1024})
    assert found.startswith(f',xattr:user.long:@{key.of(b"x" * 1025)},xattr:user.most:eHh4')
    assert gather.put == [b'x' * 1025]
    assert tree.value_keys(found[1:]) == [key.of(b'x' * 1025)]


def test_many_values_are_all_blobs_and_fit_into_a_line(gather):
    found = gather(metadata.XATTRS, {f'user.{number}': b'%d' % number * 300 for number in range(50)})
    assert len(tree.value_keys(found[1:])) == 50 == found.count(':@')
    assert len(found) < 20_000


def test_more_than_a_line_holds_is_said(gather):
    found = gather(metadata.XATTRS, {f'user.{number:0200}': b'' for number in range(200)})
    assert found.endswith(',lacks:xattr') and 0 < found.count('xattr:user.') < 200 and len(found) < 20_000
    assert gather.gatherer.features() == ['xattr', 'xattr=failed:1']


def test_flags_and_lacks_stand_where_the_manual_has_them(gather):
    found = gather(metadata.FLAGS | metadata.XATTRS, {'user.a': b'x'}, lambda fd: 'iA', get=error(errno.EIO))
    assert found == ',flags:iA,lacks:xattr'
    tags = gather(TIMES | metadata.FLAGS | metadata.XATTRS, {'user.a': b'x'}, lambda fd: 'iA')[1:].split(',')
    assert tree.in_order(reversed(tags)) == ','.join(tags)


def test_what_fails_costs_the_tag_and_is_reported_once_a_kind(gather):
    for _ in range(3):
        assert gather(metadata.XATTRS, names=error(errno.EIO)) == ',lacks:xattr'
    assert gather.gatherer.failures() == ["xattr of 3 entries could not be read: 'file': Input/output error"]
    assert gather.gatherer.features() == ['xattr=none', 'xattr=failed:3']


@pytest.mark.parametrize('number', [errno.ENOTSUP, errno.ENOSYS])
def test_what_is_not_offered_is_not_asked_for_ever(gather, number):
    asked = []

    def names(target):
        asked.append(target)
        raise OSError(number, os.strerror(number))

    for _ in range(20):
        assert gather(metadata.XATTRS, names=names) == ''
    assert len(asked) == 4
    assert gather.gatherer.features() == ['xattr=none'] and gather.gatherer.failures() == []


def test_one_file_that_refuses_does_not_speak_for_the_others(gather):
    gather(metadata.XATTRS, names=error(errno.ENOTSUP))
    assert gather(metadata.XATTRS, {'user.a': b'x'}) == ',xattr:user.a:eA=='
    for _ in range(20):
        gather(metadata.XATTRS, names=error(errno.ENOTSUP))
    assert gather(metadata.XATTRS, {'user.a': b'x'}) == ',xattr:user.a:eA=='
    assert gather.gatherer.features() == ['xattr']


def test_what_workers_were_told_is_added(gather):
    gather(metadata.XATTRS, names=error(errno.EIO))
    told = gather.gatherer.told()
    assert gather.gatherer.features() == [] and marshal.loads(marshal.dumps(told)) == told
    gather(metadata.XATTRS)
    gather.gatherer.tell(*told)
    assert gather.gatherer.features() == ['xattr', 'xattr=failed:1']


def test_of_what_is_gone_nothing_is_told(source):
    fd = os.open(source, os.O_RDONLY)
    try:
        assert metadata.Gatherer(key.of).of_name(fd, b'none', TIMES) == ''
        assert metadata.Gatherer(key.of).of_listing(fd, [(b'none', True)], TIMES) == {b'none': ''}
    finally:
        os.close(fd)


def test_every_filesystem_is_asked_for_what_it_may_have():
    common = metadata.BTIME | metadata.FLAGS | metadata.XATTRS
    assert metadata.kinds('ext4', True, False) == common | metadata.CTIME
    assert metadata.kinds('vfat', False, True) == common | metadata.ATIME | metadata.DOS | metadata.SHORT
    assert (
        metadata.kinds('fuseblk', True, False) & metadata.NTFS and metadata.kinds('ntfs3', True, False) & metadata.NTFS
    )
    assert metadata.kinds('hfsplus', True, False) & metadata.HFS
