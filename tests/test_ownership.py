"""ownership: whom restored things belong to."""

import grp
import os
import pwd

import pytest

from chkfs import errors
from chkfs.restore import ownership
from chkfs.text import tree

NOBODY_ELSE = -1


@pytest.fixture(autouse=True)
def people(monkeypatch):
    """Only eve (1003), the group staff (50) and root are known here."""

    def look(known, kind):
        def by_name(name):
            if name not in known:
                raise KeyError(name)
            return type('Row', (), {kind: known[name]})

        return by_name

    monkeypatch.setattr(pwd, 'getpwnam', look({'root': 0, 'eve': 1003, '77': 99}, 'pw_uid'))
    monkeypatch.setattr(grp, 'getgrnam', look({'root': 0, 'staff': 50}, 'gr_gid'))


def entry(owner='uid=1000 gid=1001 uname=eve gname=family'):
    return tree.parse_line(f'./x type=fifo mode=0644 {owner}')


EVE = entry()
ROOT = entry('uid=0 gid=0 uname=root gname=root')
NAMELESS = entry('uid=5 gid=6')
UNKNOWN = entry('uid=1003 gid=50 uname=mallory gname=gang')


@pytest.mark.parametrize(
    'rule, found, expected',
    [
        ('numeric', EVE, (1000, 1001)),
        ('numeric', NAMELESS, (5, 6)),
        ('keep', EVE, (1003, 1001)),
        ('keep', ROOT, (0, 0)),
        ('keep', NAMELESS, (5, 6)),
        ('keep', UNKNOWN, (1003, 50)),
        ('me', EVE, (NOBODY_ELSE, NOBODY_ELSE)),
        ('me', ROOT, (NOBODY_ELSE, NOBODY_ELSE)),
    ],
)
def test_rules(rule, found, expected):
    assert ownership.parse(rule).numbers(found) == expected


@pytest.mark.parametrize('rule', ['numeric', 'keep', 'me'])
def test_where_nothing_is_said_nothing_is_set(rule):
    assert ownership.parse(rule).numbers(entry('nlink=1')) == (NOBODY_ELSE, NOBODY_ELSE)


@pytest.mark.parametrize(
    'text, found, expected',
    [
        ('user:eve 7', EVE, (7, 1001)),
        ('user:1000 7\ngroup:1001 8', EVE, (7, 8)),
        ('user:eve root\ngroup:family staff', EVE, (0, 50)),
        ('# a comment\n\n  user:eve \t eve  \n', EVE, (1003, 1001)),
        ('user:1000 1\nuser:eve 2', EVE, (2, 1001)),
        ('user:eve 2\nuser:eve 3', EVE, (2, 1001)),
        ('user:* 4\ngroup:* staff\nuser:eve 5', EVE, (5, 50)),
        ('user:* 4\ngroup:* staff\nuser:eve 5', NAMELESS, (4, 50)),
        ('user:mallory 9', NAMELESS, (5, 6)),
        ('user:eve 77', EVE, (77, 1001)),
        ('', EVE, (1000, 1001)),
    ],
)
def test_a_map_says_whom(tmp_path, text, found, expected):
    path = tmp_path / 'a map'
    path.write_text(text)
    assert ownership.parse(f'map:{path}').numbers(found) == expected


@pytest.mark.parametrize(
    'line',
    ['eve 7', 'user:eve', 'user: 7', 'owner:eve 7', 'user:eve 7 8', 'user:eve nosuch', 'user:eve -1', 'group:a eve'],
)
def test_a_line_that_maps_nobody_is_refused_by_its_number(tmp_path, line):
    path = tmp_path / 'map'
    path.write_text(f'# first\n{line}\n')
    with pytest.raises(errors.Usage, match='line 2'):
        ownership.parse(f'map:{path}')


@pytest.mark.parametrize('text', ['', 'map', 'map:', 'root', 'Keep', 'numeric:'])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(errors.Usage):
        ownership.parse(text)


def test_a_map_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(errors.Error, match='No such file'):
        ownership.parse(f'map:{tmp_path}/none')


def test_each_name_is_looked_up_once(monkeypatch):
    asked = []
    monkeypatch.setattr(pwd, 'getpwnam', lambda name: asked.append(name) or pwd.struct_passwd(('eve', 'x', 3, *'4xyz')))
    found = ownership.parse('keep')
    assert [found.numbers(EVE)[0] for _ in range(3)] == [3, 3, 3]
    assert asked == ['eve'] and os.geteuid() is not None
