"""Gives the entries of a directory names that the target can hold and tell apart, the same ones every time.

The rule (chkfs-checkout-tree(1) has it for people): a character that the target does not take becomes %XX for each
of its bytes, and so does a last or first one that it takes only elsewhere; a name that is still too long is cut.  Of
names that are one and the same to the target, the first by its bytes keeps its name, and no changed name takes that
of one that can keep it.  The others, and what was cut, get ~ and the first eight digits of the SHA-256 of
their old name, before the extension.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chkfs import errors
from chkfs.restore import naming
from chkfs.restore.target import Target
from chkfs.text import quote, tree

RENAME, SKIP, FAIL = ON_COLLISION = 'rename', 'skip', 'fail'

_EXTENSION = re.compile(rb'\.[A-Za-z0-9]{1,12}').fullmatch


class Change(NamedTuple):
    """An entry that has another name in the target than it had or, transcoded, was to have."""

    name: bytes
    new_name: bytes | None  # None: it is left out
    line: str  # as it is restored; for what is left out, as it is stored
    reason: str


class Fitted(NamedTuple):
    """A directory's entries for a target."""

    lines: list[str]
    changes: list[Change]
    misfits: list[tuple[bytes, str]]  # name, and what of it is not in the encodings: name or target


class Fitting:
    """Fits names to a target; with a transcoding, rewrites them first."""

    def __init__(self, target: Target, on_collision: str = RENAME, transcoding: naming.Transcoding | None = None):
        self._target, self._on_collision, self._transcoding = target, on_collision, transcoding

    def fit(self, lines: Iterable[str]) -> Fitted:
        """The lines of a tree as they are to be restored.  Lines that are none stay as they are."""
        fitted = Fitted([], [], [])
        found: list[tuple[tree.Entry, str, bytes]] = []  # its line, the name that it is to have
        for line in lines:
            try:
                entry = tree.parse_line(line)
                tree.check_name(entry.name)
                found.append((entry, line, self._wanted(entry, fitted.misfits) if self._transcoding else entry.name))
            except errors.Damaged:
                fitted.lines.append(line)
        names = [(wanted, entry.name) for entry, _, wanted in found]
        for (entry, line, _), (name, reason) in zip(found, new_names(names, self._target.holds, self._target.is_same)):
            if self._transcoding or name != entry.name:
                line = tree.Entry(name, entry.fields).line()
            if not reason:
                fitted.lines.append(line)
            elif self._on_collision == SKIP:
                fitted.changes.append(Change(entry.name, None, entry.line(), reason))
            else:
                fitted.lines.append(line)
                fitted.changes.append(Change(entry.name, name, line, reason))
        return fitted

    def _wanted(self, entry: tree.Entry, misfits: list[tuple[bytes, str]]) -> bytes:
        """The name rewritten; the target of a symlink is rewritten in place."""
        try:
            if entry.type == 'link':
                entry.fields['link'] = quote.quote(self._transcoding.path(entry.link))
        except UnicodeError:
            misfits.append((entry.name, 'target'))
        try:
            return self._transcoding.name(entry.name)
        except UnicodeError:
            misfits.append((entry.name, 'name'))
            return entry.name


def new_names(
    names: list[tuple[bytes, bytes]], holds: Callable[[bytes], bool], is_same: Callable[[bytes, bytes], bool]
) -> list[tuple[bytes, str]]:
    """For each (name as it is wanted, name as it was stored): (name that it gets, why it is not the wanted one or '').

    holds says whether the target can hold a name, is_same whether two that it holds are one to it.
    """
    fits = [holds(wanted) for wanted, _ in names]
    taken: dict[str, list[bytes]] = {}  # names given, by what may be one and the same
    given = [(b'', '')] * len(names)
    rest = []
    for n in sorted(range(len(names)), key=lambda n: (not fits[n], *names[n])):
        rival = _rival(names[n][0], taken, is_same) if fits[n] else None
        if fits[n] and rival is None:
            given[n] = names[n][0], ''
            taken.setdefault(_alike(names[n][0]), []).append(names[n][0])
        else:
            rest.append((n, rival))
    for n, rival in rest:
        wanted, stored = names[n]
        name, reason = wanted, 'the target cannot hold such a name'
        if rival is not None:
            reason = f"to the target it is the same as '{quote.readable(rival)}'"
        else:
            name = _held(wanted, stored, holds)
        if rival is not None or _rival(name, taken, is_same) is not None:
            name = next(each for each in _marked(name, stored) if holds(each) and _rival(each, taken, is_same) is None)
        taken.setdefault(_alike(name), []).append(name)
        given[n] = name, reason
    return given


def _rival(name: bytes, taken: dict[str, list[bytes]], is_same: Callable[[bytes, bytes], bool]) -> bytes | None:
    return next((other for other in taken.get(_alike(name), ()) if is_same(name, other)), None)


def _alike(name: bytes) -> str:
    """Equal for names that some filesystem takes for one."""
    if name.isascii():
        return name.decode('ascii').lower().rstrip('. ')
    import unicodedata  # not needed where all names fit

    text = unicodedata.normalize('NFKC', name.decode('utf-8', 'surrogateescape'))
    return unicodedata.normalize('NFKC', text.casefold().upper().lower()).rstrip('. ')


def _held(name: bytes, stored: bytes, holds: Callable[[bytes], bool]) -> bytes:
    """The nearest name that the target holds."""
    chars = [char.encode('utf-8', 'surrogateescape') for char in name.decode('utf-8', 'surrogateescape')]
    chars = [char if char.isalnum() and char.isascii() or holds(b'a' + char + b'a') else _hex(char) for char in chars]
    for first, last in ((False, False), (False, True), (True, False), (True, True)):
        tried = [
            _hex(char) if n == 0 and first or n == len(chars) - 1 and last else char for n, char in enumerate(chars)
        ]
        if holds(b''.join(tried)):
            return b''.join(tried)
    stem, extension = _split(b''.join(chars))
    mark = _digits(stored)[:8]
    low, high = 0, len(stem)  # holds at low, if at all; not above high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(_cut(stem, middle) + b'~' + mark + extension) else (low, middle - 1)
    for shortest in (_cut(stem, low) + b'~' + mark + extension, mark + extension[:4]):
        if holds(shortest):
            return shortest
    return mark


def _marked(name: bytes, stored: bytes) -> Iterator[bytes]:
    """The name with more and more of what tells it from others."""
    stem, extension = _split(name)
    digits = _digits(stored)
    for count in range(8, len(digits) + 1):
        yield stem + b'~' + digits[:count] + extension
    for count in range(8, len(digits) + 1):  # where that is too long
        yield _cut(stem, len(stem) - count - 1) + b'~' + digits[:count] + extension
    yield digits[:8]
    yield from (digits[:count] for count in range(9, len(digits) + 1))


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Stem and extension, with its dot."""
    dot = name.rfind(b'.')
    return (name[:dot], name[dot:]) if dot > 0 and _EXTENSION(name[dot:]) else (name, b'')


def _cut(name: bytes, length: int) -> bytes:
    """At most so many bytes of it, no character in part."""
    while length > 0 and length < len(name) and name[length] & 0xC0 == 0x80 and quote.encoding(name) == 'utf-8':
        length -= 1
    return name[: max(length, 0)]


def _digits(stored: bytes) -> bytes:
    return hashlib.sha256(stored).hexdigest().encode()


def _hex(char: bytes) -> bytes:
    return b''.join(b'%%%02X' % byte for byte in char)
