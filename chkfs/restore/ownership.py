"""Whom restored things belong to: what their line says, somebody of that name here, us, or whom a map says."""

import os
from collections.abc import Iterable

from chkfs import errors
from chkfs.text import quote, tree

NUMERIC, KEEP, ME = 'numeric', 'keep', 'me'
_MAP = 'map:'
_NOBODY_ELSE = -1  # what chown takes for: leave it


class Ownership:
    """Gives the numbers to set; users and groups are looked up once each."""

    def __init__(self, rule: str = NUMERIC, lines: Iterable[str] = ()):
        """rule: NUMERIC, KEEP, ME, or anything else for the lines of a map.  Raises Usage."""
        self._rule = rule
        self._maps = {'user': {}, 'group': {}}
        self._known: dict[tuple[str, str], int | None] = {}
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith('#'):
                self._add(number, line.split())

    def numbers(self, entry: tree.Entry) -> tuple[int, int]:
        """The user and group to set for an entry, -1 to leave one alone.  Raises Damaged."""
        if self._rule == ME:
            return _NOBODY_ELSE, _NOBODY_ELSE
        return self._number('user', entry.uid, 'uname', entry), self._number('group', entry.gid, 'gname', entry)

    @property
    def is_me(self) -> bool:
        return self._rule == ME

    def _number(self, kind: str, number: int | None, word: str, entry: tree.Entry) -> int:
        name = os.fsdecode(quote.unquote(entry.fields[word])) if word in entry.fields else None
        found = None
        if self._rule == KEEP:
            found = self._look_up(kind, name) if name else None
        elif self._rule != NUMERIC:
            mapping = self._maps[kind]
            found = next((mapping[each] for each in (name, str(number), '*') if each in mapping), None)
        if found is not None:
            return found
        return _NOBODY_ELSE if number is None else number

    def _add(self, number: int, words: list[str]) -> None:
        kind, _, left = words[0].partition(':')
        if len(words) != 2 or kind not in self._maps or not left:
            raise errors.Usage(f'line {number} of the map is not user:NAME_OR_ID NAME_OR_ID, nor group:...')
        right = words[1]
        found = int(right) if right.isdecimal() and right.isascii() else self._look_up(kind, right)
        if found is None:
            raise errors.Usage(f"line {number} of the map: there is no {kind} '{right}' here")
        self._maps[kind].setdefault(left, found)

    def _look_up(self, kind: str, name: str) -> int | None:
        """The number of a name here, None where there is none."""
        if (kind, name) not in self._known:
            import grp
            import pwd

            try:
                self._known[kind, name] = pwd.getpwnam(name).pw_uid if kind == 'user' else grp.getgrnam(name).gr_gid
            except (KeyError, ValueError):
                self._known[kind, name] = None
        return self._known[kind, name]


def parse(text: str) -> Ownership:
    """What --owner says: numeric, keep, me, or map:FILE.  Raises Usage, and Error when FILE cannot be read."""
    if text in (NUMERIC, KEEP, ME):
        return Ownership(text)
    path = text.removeprefix(_MAP)
    if path == text or not path:
        raise errors.Usage(f"--owner is numeric, keep, me, or map:FILE, not '{text}'")
    try:
        with open(path, encoding='utf-8', errors='surrogateescape') as file:
            return Ownership(_MAP, file)
    except OSError as error:
        raise errors.Error(f"cannot read '{path}': {errors.describe(error)}") from error
