"""key: SHA-256 in lower-case hexadecimal."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs.text import key

EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'


def test_the_key_is_what_sha256sum_prints():
    assert key.of(b'') == EMPTY
    assert key.of(b'abc') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'


@given(st.binary())
def test_every_key_is_a_key_and_a_prefix(data):
    found = key.of(memoryview(data))
    assert found == hashlib.sha256(data).hexdigest()
    assert key.is_key(found) and key.is_prefix(found)


@pytest.mark.parametrize(
    'text', ['', EMPTY[:-1], EMPTY + '0', EMPTY.upper(), EMPTY[:-1] + 'g', EMPTY[:-1] + '\n', EMPTY[:-1] + '٠']
)
def test_what_is_no_key(text):
    assert not key.is_key(text)


@pytest.mark.parametrize('text, is_prefix', [('abc', False), ('abcd', True), ('abcD', False), ('ab-d', False),
                                             (EMPTY, True), (EMPTY + '0', False), ('', False)])  # fmt: skip
def test_a_prefix_has_at_least_four_digits(text, is_prefix):
    assert key.is_prefix(text) is is_prefix
