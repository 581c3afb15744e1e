"""endow: what tags tell is set in the right order, on what takes it; what is refused is said."""

import errno
import os
import struct

import pytest

from chkfs import errors
from chkfs.restore import endow
from chkfs.system import dos, flags, xattrs
from chkfs.text import key, tree

KEY = key.of(b'long value')
READ = {KEY: b'long value'}.__getitem__


@pytest.fixture
def calls(monkeypatch):
    """A list of what was set: (name, value); a name in calls.refused is refused."""

    class Calls(list):
        refused = ()

        def take(self, name, value):
            if name in self.refused:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            self.append((name, value))
            return ''

    found = Calls()
    monkeypatch.setattr(xattrs, 'put', lambda target, name, value: found.take(name, value))
    monkeypatch.setattr(flags, 'put', lambda fd, letters: found.take('flags', letters))
    monkeypatch.setattr(dos, 'put', lambda fd, bits: found.take('dos', bits))
    return found


@pytest.fixture
def fail():
    """Takes what could not be set; fail.kinds has it."""

    def take(kind, error):
        take.kinds.append(kind)

    take.kinds = []
    return take


def entry(*tags):
    return tree.Entry(b'x', {'type': 'file', 'tags': ','.join(tags)})


def test_what_a_target_has_no_place_for():
    everything = entry('enc:utf-8', 'btime:1.0', 'dos:rh', 'short:A~1', 'ntfs.acl:AQ==', 'xattr:user.a:AQ==')
    assert endow.left_out(everything, '') == ['DOS attributes', 'short names', 'NTFS ACLs']
    assert endow.left_out(everything, endow.FAT) == ['short names', 'NTFS ACLs']
    assert endow.left_out(everything, endow.NTFS_3G) == endow.left_out(everything, endow.NTFS3) == []
    assert endow.left_out(entry('btime:1.0', 'xattr:user.dos:AQ=='), '') == []
    assert endow.left_out(tree.Entry(b'x', {'type': 'file'}), '') == []


def test_lists_come_before_other_attributes(calls, fail):
    tags = (
        'xattr:security.capability:AQ==',
        'xattr:system.posix_acl_access:Ag==',
        f'xattr:user.long:@{KEY}',
        'xattr:user.odd\\054name:',
    )
    endow.set_first(3, tags, READ, fail, has_owner=True)
    assert calls == [
        ('system.posix_acl_access', b'\2'),
        ('security.capability', b'\1'),
        ('user.long', b'long value'),
        ('user.odd,name', b''),
    ]
    assert fail.kinds == []


def test_capabilities_do_not_come_back_under_another_owner(calls, fail):
    endow.set_first(3, ('xattr:security.capability:AQ==', 'xattr:user.a:AQ=='), READ, fail, has_owner=False)
    assert (calls, fail.kinds) == ([('user.a', b'\1')], ['xattr'])


def test_what_is_refused_or_broken_is_said_and_the_rest_is_set(calls, fail):
    calls.refused = ['user.refused', 'system.posix_acl_default']

    def read(key):
        raise errors.NotFound('no blob')

    tags = 'user.refused:AQ==', 'system.posix_acl_default:AQ==', 'user.bad:!', 'user.gone:@' + KEY, 'user.good:AQ=='
    endow.set_first(3, tuple('xattr:' + tag for tag in tags), read, fail, has_owner=True)
    assert calls == [('user.good', b'\1')]
    assert fail.kinds == ['ACL', 'xattr', 'xattr', 'xattr']


NTFS_TAGS = (
    'btime:1.000000100',
    'flags:A',
    'dos:rh',
    'short:A~1',
    'ntfs.acl:AQ==',
    f'ntfs.ea:@{KEY}',
    'xattr:user.s:AQ==',
)


def test_every_target_is_given_what_it_takes():
    everything = entry('hl:x', 'ctime:1.000000000', 'data:0-1', 'atime:1.000000000', *NTFS_TAGS)
    names = lambda target: [tag.partition(':')[0] for tag in endow.wanted(everything, target)]
    assert names('') == ['atime', 'flags', 'xattr']
    assert names(endow.FAT) == ['atime', 'flags', 'dos', 'xattr']
    assert names(endow.NTFS_3G) == ['atime', 'btime', 'flags', 'dos', 'short', 'ntfs.acl', 'ntfs.ea', 'xattr']
    assert endow.wanted(tree.Entry(b'x', {'type': 'file'}), '') == ()


def test_ntfs_takes_all_by_the_names_of_its_driver(calls, fail):
    endow.set_last(3, endow.NTFS_3G, NTFS_TAGS, READ, fail)
    created = struct.pack('=Q', 116_444_736_000_000_000 + 10**7 + 1)
    assert dict(calls) == {
        'system.ntfs_crtime': created, 'system.ntfs_attrib': struct.pack('=I', 3), 'system.ntfs_dos_name': b'A~1',
        'system.ntfs_acl': b'\1', 'system.ntfs_ea': b'long value', 'flags': 'A',
    }  # fmt: skip
    assert fail.kinds == []


def test_kernel_driver_of_ntfs_takes_some(calls, fail):
    endow.set_last(3, endow.NTFS3, NTFS_TAGS, READ, fail)
    assert [name for name, _ in calls] == ['system.ntfs_attrib', 'system.ntfs_security', 'flags']
    assert fail.kinds == ['btime', 'short', 'ntfs.ea']


def test_fat_takes_attributes_of_what_is_open(calls, fail):
    endow.set_last(3, endow.FAT, ('dos:rs',), READ, fail)
    endow.set_last(b'/path', endow.FAT, ('dos:rs', 'flags:i'), READ, fail)
    assert (calls, fail.kinds) == ([('dos', 5)], [])


def test_flags_that_have_no_effect_later_are_set_before_the_contents(calls):
    endow.set_before_contents(3, ('flags:iCA', 'xattr:user.a:AQ=='))
    endow.set_before_contents(3, ('flags:iA',))
    assert calls == [('flags', 'C')]


def test_time_of_access_is_that_of_change_where_none_is_known():
    assert endow.times((), 5) == (5, 5)
    assert endow.times(('atime:0.000000007',), 5) == (7, 5)
    with pytest.raises(errors.Damaged):
        endow.times(('atime:x',), 5)
