"""ntfs: what both drivers show by names that they do not list."""

import errno
import os
import struct

import pytest

from chkfs.system import ntfs, xattrs

CREATED_NS = 1_234_567_890_123_456_700
TIMES = struct.pack('=4Q', *[CREATED_NS // 100 + 116_444_736_000_000_000 + number for number in range(4)])
BY_3G = {
    'system.ntfs_attrib': struct.pack('=I', 0x22),
    'system.ntfs_times': TIMES,
    'system.ntfs_acl': b'descriptor' * 20,
    'system.ntfs_dos_name': b'LONGFI~1.TXT',
    'system.ntfs_object_id': bytes(16),
    'system.ntfs_reparse_data': b'old',
}


@pytest.fixture
def ask(monkeypatch):
    """ask(names to values or errnos) gives what ntfs.ask makes of it, and what failed."""

    def make(there, missing=errno.ENODATA):
        def get(target, name):
            value = there.get(name, missing)
            if isinstance(value, int):
                raise OSError(value, os.strerror(value))
            return value

        failed = []
        monkeypatch.setattr(xattrs, 'get', get)
        return ntfs.ask(b'any', lambda kind, error: failed.append((kind, error.errno))), failed

    return make


def test_ntfs_3g(ask):
    told, failed = ask(BY_3G)
    assert failed == []
    assert (told.attributes, told.btime_ns, told.short_name) == (0x22, CREATED_NS, b'LONGFI~1.TXT')
    assert told.values == [('ntfs.acl', b'descriptor' * 20), ('ntfs.object', bytes(16))]


def test_kernel_driver_gives_the_same_tags(ask):
    told, failed = ask(
        {'system.ntfs_attrib': struct.pack('=I', 0x22), 'system.ntfs_security': b'descriptor'}, errno.ENOTSUP
    )
    assert failed == []
    assert told == ntfs.Told(0x22, None, b'', [('ntfs.acl', b'descriptor')])


def test_reparse_data_is_asked_of_reparse_points(ask):
    told, _ = ask(BY_3G | {'system.ntfs_attrib': struct.pack('=I', 0x10000410)})
    assert ('ntfs.reparse', b'old') in told.values
    assert told.directory_letter == 'd'


@pytest.mark.parametrize('number', [errno.ENODATA, errno.ENOTSUP])
def test_another_filesystem_is_none(ask, number):
    assert ask({}, number) == (None, [])


def test_what_cannot_be_had_is_said_and_the_rest_is_there(ask):
    told, failed = ask(BY_3G | {'system.ntfs_acl': errno.EIO})
    assert failed == [('ntfs.acl', errno.EIO)]
    assert told.short_name and ('ntfs.object', bytes(16)) in told.values


def test_top_directory_has_no_short_name(ask):
    told, failed = ask(BY_3G | {'system.ntfs_dos_name': errno.EPERM})
    assert (told.short_name, failed) == (b'', [])


def test_times_are_packed_as_they_are_told():
    assert ntfs.pack_time(CREATED_NS) == TIMES[:8]
    with pytest.raises(struct.error):
        ntfs.pack_time(-(10**20))
