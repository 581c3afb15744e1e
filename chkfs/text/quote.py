r"""Names and values as printable ASCII: every other byte as three octal digits, \ooo.

The escapes are those of mtree(5) as libarchive and NetBSD mtree both read them (see chkfs-tree(5)).
% is escaped too, so that printf(1) decodes a quoted name safely.  File names are bytes everywhere
else in chkfs; only this module turns them into text.
"""

from chkfs import errors

_PLAIN = bytes(set(range(0x21, 0x7F)) - set(b'#%*=?[\\'))
_PLAIN_IN_TAGS = bytes(set(_PLAIN) - set(b',:'))
_DIGITS = frozenset('01234567')


def _table(plain: bytes) -> list[str]:
    return [chr(byte) if byte in plain else f'\\{byte:03o}' for byte in range(256)]


_NAME_TABLE = _table(_PLAIN)
_TAG_TABLE = _table(_PLAIN_IN_TAGS)
# What would break a line or fool a terminal: controls, line and paragraph separators, bidi overrides.
_UNREADABLE = frozenset(
    chr(code) for span in ((0, 0x20), (0x7F, 0xA0), (0x2028, 0x202F), (0x2066, 0x206A)) for code in range(*span)
)


def quote(raw: bytes) -> str:
    """Bytes of a name or a value as one ASCII word."""
    if not raw.translate(None, _PLAIN):
        return raw.decode('ascii')
    return ''.join(map(_NAME_TABLE.__getitem__, raw))


def escape(raw: bytes) -> str:
    """Bytes of a name as one line of ASCII: quoted, but for its spaces.  unquote() takes it, too."""
    return quote(raw).replace('\\040', ' ')


def quote_tag(raw: bytes) -> str:
    """Bytes of a value inside tags=, where the comma and the colon divide."""
    if not raw.translate(None, _PLAIN_IN_TAGS):
        return raw.decode('ascii')
    return ''.join(map(_TAG_TABLE.__getitem__, raw))


def unquote(text: str) -> bytes:
    """The bytes of a quoted word.  Raises Damaged when it is not one."""
    try:
        if '\\' not in text:
            return text.encode('ascii')
        first, *escaped = text.split('\\')
        parts = [first.encode('ascii')]
        for part in escaped:
            if not _DIGITS.issuperset(part[:3]):
                raise ValueError
            parts.append(bytes((int(part[:3], 8),)) + part[3:].encode('ascii'))
            if len(part) < 3:
                raise ValueError
        return b''.join(parts)
    except ValueError:
        raise errors.Damaged(f'not a quoted name: {text[:80]!r}') from None


def encoding(name: bytes) -> str:
    """A hint at how a name was encoded: 'ascii', 'utf-8' or 'unknown'."""
    if name.isascii():
        return 'ascii'
    try:
        name.decode('utf-8')
    except UnicodeDecodeError:
        return 'unknown'
    return 'utf-8'


def readable(name: bytes) -> str:
    """A name for people: UTF-8 as it is, what is not printable as octal.  Always one line, not always reversible."""
    text = name.decode('utf-8', 'surrogateescape')
    if text.isascii() and text.isprintable():
        return text
    return ''.join(map(_readable, text))


def _readable(char: str) -> str:
    if '\udc80' <= char <= '\udcff' or char in _UNREADABLE:
        return ''.join(f'\\{byte:03o}' for byte in char.encode('utf-8', 'surrogateescape'))
    return char
