"""Names between encodings: unknown bytes shown as text for people, and names rewritten for another system.

Only ever on request: stored names are bytes, and what is valid UTF-8 is never touched unless it is UTF-8 that is
to be rewritten.  Unicode forms (composed, decomposed) stay what they are.
"""

import codecs

from chkfs import errors
from chkfs.text import quote


def find_codec(name: str) -> codecs.CodecInfo:
    """Raises Usage for a name that is none, and for encodings in which ASCII is not itself."""
    plain, text = bytes(range(1, 128)), ''.join(map(chr, range(1, 128)))
    try:
        found = codecs.lookup(name)
        is_text = found._is_text_encoding and found.decode(plain)[0] == text and found.encode(text)[0] == plain
    except (LookupError, UnicodeError, ValueError):
        found, is_text = None, False
    if not is_text:
        raise errors.Usage(f"'{name}' is no encoding of file names: say cp437, latin-1, shift-jis, koi8-r, utf-8, ...")
    return found


class Reader:
    """Shows names that are not UTF-8 in the encoding that somebody says they are in."""

    def __init__(self, encoding: str):
        self._codec = find_codec(encoding)

    def readable(self, path: bytes) -> str:
        """A path for people, name by name; one that is not in the encoding either stays escaped."""
        return '/'.join(map(self._name, path.split(b'/')))

    def _name(self, name: bytes) -> str:
        if quote.encoding(name) != 'unknown':
            return quote.readable(name)
        try:
            text = self._codec.decode(name, 'strict')[0]
            if quote.readable(text.encode()) == text:
                return text
        except UnicodeError:
            pass
        return quote.escape(name)


class Transcoding:
    """Rewrites names from one encoding to another."""

    def __init__(self, pair: str):
        """pair: FROM:TO.  Raises Usage."""
        source, colon, target = pair.partition(':')
        if not colon:
            raise errors.Usage(f"'{pair}' is not FROM:TO, two encodings")
        self.source, self.target = find_codec(source), find_codec(target)
        self._is_utf8 = self.source.name == 'utf-8'

    def applies_to(self, name: bytes) -> bool:
        """Whether a name may be in the source's encoding: whatever is valid UTF-8 is no other."""
        return quote.encoding(name) == ('utf-8' if self._is_utf8 else 'unknown')

    def name(self, name: bytes) -> bytes:
        """The name rewritten, or as it is where that does not apply.  Raises UnicodeError where it does not fit."""
        if not self.applies_to(name):
            return name
        found = self.target.encode(self.source.decode(name, 'strict')[0], 'strict')[0]
        if b'/' in found or b'\0' in found or found in (b'', b'.', b'..'):
            raise UnicodeError('no name of a file')
        return found

    def path(self, path: bytes) -> bytes:
        """A symlink's target, name by name.  Raises UnicodeError."""
        return b'/'.join(map(self.name, path.split(b'/')))
