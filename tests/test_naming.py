"""naming: unknown names as text on request, rewritten on request, and otherwise never touched."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.restore import naming
from chkfs.text import quote

NFC = 'Grüße'.encode()
NFD = unicodedata.normalize('NFD', 'Grüße').encode()


@pytest.mark.parametrize(
    'encoding, text',
    [('cp437', 'Müller ½'), ('latin-1', 'Grüße'), ('koi8-r', 'Привет'), ('shift-jis', '表示'), ('euc-jp', '日本')],
)
def test_names_are_shown_and_rewritten_as_their_encoding_has_them(encoding, text):
    raw = text.encode(encoding)
    assert quote.encoding(raw) == 'unknown'
    assert naming.Reader(encoding).readable(b'dir/' + raw + b'/a') == f'dir/{text}/a'
    there, back = naming.Transcoding(f'{encoding}:utf-8'), naming.Transcoding(f'utf-8:{encoding}')
    assert there.name(raw) == text.encode()
    assert back.name(text.encode()) == raw


@pytest.mark.parametrize('name', [b'plain', NFC, NFD, b'back\\slash', '\u202e'.encode()])
def test_what_is_utf8_is_no_other_encoding(name):
    assert naming.Transcoding('cp437:utf-8').name(name) == name
    assert naming.Reader('cp437').readable(name) == quote.readable(name)


def test_unicode_forms_stay_what_they_are():
    """Latin-1 has no combining letters: the decomposed form does not fit rather than being composed."""
    transcoding = naming.Transcoding('utf-8:latin-1')
    assert transcoding.name(NFC) == b'Gr\xfc\xdfe'
    with pytest.raises(UnicodeError):
        transcoding.name(NFD)


def test_what_cannot_be_decoded_or_printed_stays_escaped():
    assert naming.Reader('ascii').readable(b'a \xff\n') == 'a \\377\\012'
    assert naming.Reader('latin-1').readable(b'\x9b31m\xff') == '\\23331m\\377'
    assert naming.Reader('shift-jis').readable(b'\xff/\x95\x5c') == '\\377/表'


@pytest.mark.parametrize(
    'pair, name', [('shift-jis:utf-8', b'\xff'), ('cp437:koi8-r', b'\x81'), ('ascii:utf-8', b'\xe4')]
)
def test_what_does_not_fit_is_said(pair, name):
    with pytest.raises(UnicodeError):
        naming.Transcoding(pair).name(name)


def test_a_symlinks_target_is_rewritten_name_by_name():
    assert naming.Transcoding('latin-1:utf-8').path(b'../\xe4/' + NFC + b'/x') == b'../\xc3\xa4/' + NFC + b'/x'


@pytest.mark.parametrize(
    'name', ['', 'no-such', 'utf-16', 'utf-32', 'cp037', 'utf-7', 'base64', 'rot13', 'utf-8-sig', 'idna', 'a\0b']
)
def test_what_is_no_encoding_of_file_names_is_refused(name):
    with pytest.raises(errors.Usage):
        naming.Reader(name)
    with pytest.raises(errors.Usage):
        naming.Transcoding(f'utf-8:{name}')


@pytest.mark.parametrize('pair', ['', 'cp437', ':', 'cp437:', ':cp437'])
def test_a_pair_is_two_encodings(pair):
    with pytest.raises(errors.Usage):
        naming.Transcoding(pair)


@given(st.binary().filter(lambda name: b'/' not in name), st.sampled_from(['cp437', 'latin-1', 'shift-jis', 'utf-8']))
def test_what_is_shown_is_one_line_and_safe(name, encoding):
    text = naming.Reader(encoding).readable(name)
    assert text == quote.readable(text.encode())
    assert '\n' not in text and '\x1b' not in text
