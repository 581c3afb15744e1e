"""quote: every byte string is a word of printable ASCII, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import quote

ESCAPED = b' #%*=?[\\'


@given(st.binary())
def test_any_bytes_survive_quoting(raw):
    assert quote.unquote(quote.quote(raw)) == raw


@given(st.binary())
def test_any_bytes_survive_quoting_in_tags(raw):
    assert quote.unquote(quote.quote_tag(raw)) == raw


def test_every_byte_has_one_form():
    for byte in range(256):
        raw, octal = bytes((byte,)), f'\\{byte:03o}'
        plain = 0x20 < byte < 0x7F and byte not in ESCAPED
        assert quote.quote(raw) == (chr(byte) if plain else octal)
        assert quote.quote_tag(raw) == (chr(byte) if plain and raw not in (b',', b':') else octal)


@pytest.mark.parametrize(
    'raw, text',
    [
        (b'', ''),
        (b'hello.txt', 'hello.txt'),
        (b'a b', 'a\\040b'),
        (b'100%', '100\\045'),
        (b'back\\slash', 'back\\134slash'),
        ('Grüße'.encode(), 'Gr\\303\\274\\303\\237e'),
        (b'\xff\x00\n', '\\377\\000\\012'),
        (b'a,b:c', 'a,b:c'),
    ],
)
def test_quoted_names_look_as_the_manual_says(raw, text):
    assert quote.quote(raw) == text
    assert quote.unquote(text) == raw


def test_a_tag_escapes_what_divides_tags():
    assert quote.quote_tag(b'a,b:c') == 'a\\054b\\072c'


@given(st.binary())
def test_a_quoted_name_is_one_printable_word(raw):
    text = quote.quote(raw)
    assert text.isascii() and (text.isprintable() or not text)
    assert not set(text) & set(' #%*=?[')


@given(st.binary())
def test_an_escaped_name_is_one_line_and_can_be_taken_back(raw):
    text = quote.escape(raw)
    assert text.isascii() and (text.isprintable() or not text)
    assert quote.unquote(text) == raw


def test_an_escaped_name_has_its_spaces():
    assert quote.escape(b'a b\n 100%') == 'a b\\012 100\\045'


@given(st.text() | st.text('\\01234567a', max_size=12))
def test_unquote_raises_only_damaged(text):
    try:
        assert isinstance(quote.unquote(text), bytes)
    except errors.Damaged:
        pass


@pytest.mark.parametrize(
    'text',
    [
        '\\',
        '\\0',
        '\\00',
        'a\\12',
        '\\400',
        '\\777',
        '\\089',
        '\\x41',
        '\\-01',
        '\\ 01',
        '\\1_1',
        'ü',
        '\\٠٠٠',
        '\udcff',
    ],
)
def test_what_is_no_quoted_name_is_refused(text):
    with pytest.raises(errors.Damaged):
        quote.unquote(text)


@pytest.mark.parametrize(
    'raw, encoding',
    [
        (b'plain', 'ascii'),
        (b'', 'ascii'),
        ('Grüße'.encode(), 'utf-8'),
        ('Grüße'.encode('latin-1'), 'unknown'),
        (b'\xed\xa0\x80', 'unknown'),
        (b'a\xc3', 'unknown'),
    ],
)
def test_the_encoding_of_a_name_is_sniffed(raw, encoding):
    assert quote.encoding(raw) == encoding


@given(st.binary())
def test_a_readable_name_is_one_line_that_fools_no_terminal(raw):
    text = quote.readable(raw)
    assert len(text.splitlines()) <= 1
    text.encode('utf-8')
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)


@pytest.mark.parametrize('code', [0, 7, 10, 0x1B, 0x7F, 0x85, 0x9B, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069])
def test_controls_and_overrides_are_shown_as_octal(code):
    raw = chr(code).encode()
    assert quote.readable(b'a' + raw) == 'a' + ''.join(f'\\{byte:03o}' for byte in raw)


def test_readable_keeps_letters_of_any_script():
    assert quote.readable('Grüße ñ 日本 ✓'.encode()) == 'Grüße ñ 日本 ✓'
    assert quote.readable(b'lat\xeen') == 'lat\\356n'
