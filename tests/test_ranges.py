"""ranges: the text and back, and what sets of bytes can be asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import ranges

SETS = st.sets(st.integers(0, 40))


def of(numbers):
    """A list of ranges that holds these bytes."""
    return ranges.join((number, number + 1) for number in numbers)


def numbers(found):
    return {number for start, end in found for number in range(start, end)}


@given(SETS, SETS)
def test_ranges_are_sets_of_bytes(one, other):
    assert numbers(of(one)) == one
    assert ranges.common(of(one), of(other)) == of(one & other)
    assert ranges.without(of(one), of(other)) == of(one - other)
    assert ranges.join([*of(one), *of(other)]) == of(one | other)
    assert ranges.total(of(one)) == len(one)


@pytest.mark.parametrize(
    'text, found',
    [('0-512', [(0, 512)]), ('0-0', [(0, 0)]), ('512-1024+4096-5000000000', [(512, 1024), (4096, 5_000_000_000)])],
)
def test_the_text_and_back(text, found):
    assert ranges.parse(text) == found
    assert ranges.format(found) == text
    assert ranges.parse(ranges.format(found, '\n') + '\n') == found


@pytest.mark.parametrize('text', ['', '5', '1-', '-1', '3-2', 'a-b', '0-5+3-9', '0-5+5-9', '8-9+0-1', '1-2++3-4', '+'])
def test_a_text_that_is_none_is_damaged(text):
    with pytest.raises(errors.Damaged):
        ranges.parse(text)
