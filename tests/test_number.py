"""number: plain ASCII digits, and nothing else that int() would take; one thing is no two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import number


@given(st.integers(0, 10**23))
def test_any_number_that_is_not_negative_survives(value):
    assert number.parse(str(value)) == value
    assert number.parse(f'{value:o}'[-24:], 8) == int(f'{value:o}'[-24:], 8)


@pytest.mark.parametrize(
    'text', ['', '-1', '+1', ' 1', '1 ', '1_0', '0x1', '0o7', '1.0', '1e3', '١', '²', '1\n', '9' * 5000, 'x']
)
def test_what_is_no_number_is_damaged(text):
    with pytest.raises(errors.Damaged):
        number.parse(text)


@pytest.mark.parametrize('text', ['8', '9', '0o7', '-7'])
def test_octal_has_its_own_digits(text):
    with pytest.raises(errors.Damaged):
        number.parse(text, 8)


@given(st.text(max_size=30))
def test_any_text_raises_only_damaged(text):
    for base in (8, 10):
        try:
            assert number.parse(text, base) >= 0
        except errors.Damaged:
            pass


@pytest.mark.parametrize('count, said', [(0, '0 files'), (1, '1 file'), (2, '2 files'), (11, '11 files')])
def test_one_thing_is_said_as_one(count, said):
    assert number.of(count, 'file') == said
    assert number.of(count, 'entry was', 'entries were') == f'{count} {"entry was" if count == 1 else "entries were"}'
