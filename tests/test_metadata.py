"""metadata: the kinds of entries, and their owners."""

import os
import stat

from chkfs import metadata


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
