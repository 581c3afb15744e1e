"""piecelist: keys and sizes of pieces, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import key, piecelist

KEY = 'ef' * 32
pairs = st.tuples(st.binary(max_size=3).map(key.of), st.integers(0, 2**70))


@given(st.lists(pairs, max_size=20))
def test_any_list_survives(pieces):
    assert piecelist.parse(piecelist.format(pieces)) == pieces


def test_the_text_is_the_one_in_the_manual():
    assert piecelist.format([(KEY, 5), (KEY, 0)]) == f'# chkfs list 1\n{KEY} 5\n{KEY} 0\n'.encode()


def test_comments_are_passed_over():
    assert piecelist.parse(f'# chkfs list 1\n# a remark\n{KEY} 5\n# another\n'.encode()) == [(KEY, 5)]


def test_a_list_that_is_cut_short_inside_a_line_is_noticed():
    data = piecelist.format([(KEY, 12)])
    for length in set(range(len(data))) - {len(piecelist.HEADER)}:  # a list of nothing: only its key can tell
        with pytest.raises(errors.Damaged):
            piecelist.parse(data[:length])


@pytest.mark.parametrize(
    'line',
    [
        '',
        KEY,
        KEY + ' ',
        KEY + ' x',
        KEY + ' -1',
        KEY + ' 1 2',
        KEY[1:] + ' 1',
        KEY.upper() + ' 1',
        KEY + '\t1',
        ' ' + KEY + ' 1',
        KEY + ' ١',
    ],
)
def test_what_is_no_line_of_a_list_is_refused(line):
    with pytest.raises(errors.Damaged):
        piecelist.parse(f'# chkfs list 1\n{KEY} 1\n{line}\n'.encode())


def test_another_version_is_refused():
    with pytest.raises(errors.Damaged):
        piecelist.parse(f'# chkfs list 2\n{KEY} 1\n'.encode())


hostile = st.lists(
    st.sampled_from([KEY.encode(), b' ', b'1', b'9' * 4000, b'\n', b'#', b'\x0b', b'\x1c', b'\xff', b'-', b'_', b'\r']),
    max_size=12,
).map(b''.join)


@given(st.binary() | hostile)
def test_parse_of_any_bytes_raises_only_damaged(data):
    for start in (b'', piecelist.HEADER.encode()):
        try:
            piecelist.parse(start + data)
        except errors.Damaged:
            pass


def test_a_size_that_python_will_not_read_is_damaged():
    with pytest.raises(errors.Damaged):
        piecelist.parse(f'# chkfs list 1\n{KEY} {"9" * 5000}\n'.encode())


@pytest.mark.parametrize('separator', ['\r', '\r\n', '\x0b', '\x0c', '\x1c', '\x1e'])
def test_only_a_newline_ends_a_line(separator):
    with pytest.raises(errors.Damaged):
        piecelist.parse(f'# chkfs list 1\n{KEY} 1{separator}{KEY} 1\n'.encode())
