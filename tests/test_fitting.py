"""fitting: names that a target can hold and tell apart; the same every time, and as few changed as can be."""

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs.restore import fitting, naming
from chkfs.text import tree


def digits(name, count=8):
    return hashlib.sha256(name).hexdigest()[:count].encode()


def holds_all(name):
    return len(name) <= 255


def never_same(one, other):
    return one == other


def windows(name):
    """What exFAT takes."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return False
    return len(text.encode('utf-16-le')) <= 510 and not any(char in '"*/:<>?\\|' or char < ' ' for char in text)


def dos(name):
    """8.3, capitals or not."""
    stem, dot, extension = name.partition(b'.')
    return 0 < len(stem) <= 8 and len(extension) <= 3 and b'.' not in extension and bool(extension) == bool(dot)


def letters(name):
    return name.decode('utf-8', 'surrogateescape').casefold()


def same_letters(one, other):
    return letters(one) == letters(other)


def same_forms(one, other):
    return same_letters(
        *(unicodedata.normalize('NFC', name.decode('utf-8', 'replace')).encode() for name in (one, other))
    )


def fit(names, holds=holds_all, is_same=never_same):
    found = fitting.new_names([(name, name) for name in names], holds, is_same)
    return {name: new for name, (new, _) in zip(names, found)}


def changed(*arguments):
    return {name: new for name, new in fit(*arguments).items() if new != name}


def test_where_all_can_be_held_nothing_changes():
    names = [b'a', b'A', b'\xff', b'a:b', b'con', b'a.', b' ', b'\x01', b'n' * 255, 'é'.encode(), 'e\u0301'.encode()]
    assert changed(names) == {}


@pytest.mark.parametrize(
    'name, expected',
    [
        (b'a:b', b'a%3Ab'),
        (b'what?.txt', b'what%3F.txt'),
        (b'line\nline', b'line%0Aline'),
        (b'M\x81ller', b'M%81ller'),
        ('Grüße:\udcff'.encode('utf-8', 'surrogateescape'), 'Grüße%3A%FF'.encode()),
    ],
)
def test_a_character_that_is_not_taken_becomes_its_bytes_in_hexadecimal(name, expected):
    assert fit([name], windows) == {name: expected}


@pytest.mark.parametrize(
    'name, refused, expected',
    [
        (b'a.', lambda name: name.endswith(b'.'), b'a%2E'),
        (b'a. ', lambda name: name.endswith((b'.', b' ')), b'a.%20'),
        (b' a', lambda name: name.startswith(b' '), b'%20a'),
        (b'con', lambda name: name == b'con', b'co%6E'),
        (b' ', lambda name: name.strip() != name, b'%20'),
    ],
)
def test_a_character_that_is_taken_only_elsewhere(name, refused, expected):
    assert fit([name], lambda name: not refused(name)) == {name: expected}


def test_a_name_that_is_too_long_is_cut_before_its_extension_at_a_whole_character():
    for name in ('é'.encode() * 120 + b'.jpg', b'n' * 200 + b'.jpg', b'n' * 200, b'n' * 99 + b'.' + b'e' * 99):
        new = fit([name], lambda name: len(name) <= 100)[name]
        extension = b'.jpg' if name.endswith(b'.jpg') else b''
        assert new.endswith(b'~' + digits(name) + extension) and new.decode() and len(new) in (99, 100)
        assert name.startswith(new.rpartition(b'~')[0])


def test_of_names_that_are_one_the_first_that_fits_keeps_its_name():
    names = [b'readme.TXT', b'README.TXT', b'Readme.txt', b'other']
    assert changed(names, windows, same_letters) == {
        b'readme.TXT': b'readme~' + digits(b'readme.TXT') + b'.TXT',
        b'Readme.txt': b'Readme~' + digits(b'Readme.txt') + b'.txt',
    }


def test_what_had_to_be_changed_does_not_take_the_name_of_what_had_not():
    assert changed([b'a:b', b'a%3Ab', b'A%3aB'], windows, same_letters) == {
        b'a%3Ab': b'a%3Ab~' + digits(b'a%3Ab'),
        b'a:b': b'a%3Ab~' + digits(b'a:b'),
    }


def test_two_forms_of_a_letter_are_told_apart_unless_the_target_does_not():
    names = ['é'.encode(), 'e\u0301'.encode(), 'É'.encode()]
    assert changed(names) == {}
    assert len(changed(names, windows, same_forms)) == 2
    assert changed(names, windows, same_letters) == {'é'.encode(): 'é~'.encode() + digits('é'.encode())}


def test_a_mark_that_somebody_else_has_gets_longer():
    mine = b'a~' + digits(b'a')
    assert changed([b'A', b'a', mine], windows, same_letters) == {b'a': b'a~' + digits(b'a', 9)}


def test_the_order_in_which_names_come_does_not_matter():
    names = [b'a', b'A', b'a:', b'A:', b'a%3A', b'\xe4', b'\xc4']
    assert fit(names, windows, same_letters) == fit(names[::-1], windows, same_letters)


NAMES = st.lists(
    st.one_of(st.binary(min_size=1, max_size=40), st.text(max_size=30).map(lambda text: text.encode()))
    .map(lambda name: name.replace(b'/', b'').replace(b'\0', b''))
    .filter(lambda name: name not in (b'', b'.', b'..')),
    unique=True,
    max_size=20,
)


@pytest.mark.parametrize('holds', [windows, dos, holds_all])
@given(NAMES)
def test_what_comes_out_is_held_and_told_apart(holds, names):
    found = fit(names, holds, same_letters)
    for new in found.values():
        assert holds(new) and b'/' not in new and b'\0' not in new and new not in (b'', b'.', b'..')
    assert len({letters(new) for new in found.values()}) == len(names)


class Target:
    def __init__(self, holds=holds_all, is_same=never_same):
        self.holds, self.is_same = holds, is_same


def lines_of(*names, rest='type=fifo mode=0644'):
    return [tree.format_lines(name, rest).splitlines()[-1] for name in names]


def test_lines_come_out_with_their_new_names_and_what_was_changed():
    fitted = fitting.Fitting(Target(windows, same_letters)).fit(lines_of(b'A', b'a', b'b:', b'c'))
    assert [tree.parse_line(line).name for line in fitted.lines] == [b'A', b'a~' + digits(b'a'), b'b%3A', b'c']
    assert [(change.name, change.new_name) for change in fitted.changes] == [
        (b'a', b'a~' + digits(b'a')),
        (b'b:', b'b%3A'),
    ]
    assert "same as 'A'" in fitted.changes[0].reason


def test_skipped_names_are_left_out():
    fitted = fitting.Fitting(Target(windows, same_letters), fitting.SKIP).fit(lines_of(b'A', b'a', b'b:'))
    assert fitted.lines == lines_of(b'A')
    assert [(change.name, change.new_name, change.line) for change in fitted.changes] == [
        (b'a', None, lines_of(b'a')[0]),
        (b'b:', None, lines_of(b'b:')[0]),
    ]


def test_a_line_that_is_none_is_left_to_whoever_complains():
    assert fitting.Fitting(Target()).fit(['rubbish', './.. type=fifo']).lines == ['rubbish', './.. type=fifo']


def test_a_transcoding_rewrites_names_and_targets_and_says_what_does_not_fit():
    transcoding = naming.Transcoding('cp437:latin-1')
    lines = lines_of(b'plain', b'M\x81ller', b'\xb0\xb1') + ['./\\201 type=link mode=0777 link=\\201/\\260']
    fitted = fitting.Fitting(Target(), transcoding=transcoding).fit(lines)
    entries = [tree.parse_line(line) for line in fitted.lines]
    assert [entry.name for entry in entries] == [b'plain', b'M\xfcller', b'\xb0\xb1', b'\xfc']
    assert entries[3].link == b'\x81/\xb0'
    assert fitted.misfits == [(b'\xb0\xb1', 'name'), (b'\x81', 'target')]
    assert fitted.changes == []


def test_names_that_a_transcoding_makes_equal_are_told_apart():
    fitted = fitting.Fitting(Target(), transcoding=naming.Transcoding('latin-1:utf-8')).fit(
        lines_of(b'\xe4.txt', 'ä.txt'.encode())
    )
    names = {tree.parse_line(line).name for line in fitted.lines}
    assert len(names) == 2 and 'ä.txt'.encode() in names
    assert len(fitted.changes) == 1
