"""Snapshot objects: where a tree came from and when, as keyword lines (chkfs-snapshot(5) is the authority).

    chkfs-snapshot 1
    root . type=dir mode=0755 uid=0 gid=0 uname=root gname=root time=1.000000000 tags=tree:<key>
    parent <key>
    name photos
    source /home/eve/Photos
    started 2026-11-23T04:00:00.000000000Z

    A message, to the end.

Text in, text out: nothing here reads or writes a file.
"""

import time

from chkfs import errors
from chkfs.text import key as keys
from chkfs.text import quote, tree

MAGIC = 'chkfs-snapshot 1'
KEYWORDS = (
    'root', 'parent', 'name', 'source', 'host', 'started', 'finished', 'files', 'bytes', 'skipped', 'changed',
    'damaged', 'complete', 'mount', 'drive', 'features',
)  # fmt: skip
_QUOTED = frozenset(('name', 'source', 'host'))


class Snapshot:
    """Keyword lines in order, unknown ones kept, and a message (text, may be empty)."""

    def __init__(self, lines: list[tuple[str, str]], message: str = ''):
        self.lines = lines
        self.message = message

    def get(self, word: str) -> str | None:
        """The value of the first line with that keyword, still quoted."""
        return next((text for name, text in self.lines if name == word), None)

    def all(self, word: str) -> list[str]:
        return [text for name, text in self.lines if name == word]

    def text(self, word: str) -> str:
        """A quoted value for people, '' without it."""
        return quote.readable(quote.unquote(self.get(word) or ''))

    @property
    def root(self) -> tree.Entry:
        """The entry of the top; its name is b'.'."""
        return tree.parse_line(self.get('root'))

    @property
    def parents(self) -> list[str]:
        return self.all('parent')

    def add_parent(self, key: str) -> None:
        if key not in self.parents:
            self.lines.append(('parent', key))

    @property
    def time_ns(self) -> int:
        """When it was finished (else started), nanoseconds since 1970; 0 when it does not say."""
        return parse_time(self.get('finished') or self.get('started') or '')

    def format(self) -> bytes:
        """The canonical bytes: known keywords in their order, then the others as they came."""
        rank = {word: number for number, word in enumerate(KEYWORDS)}
        ordered = sorted(self.lines, key=lambda line: rank.get(line[0], len(rank)))
        body = ''.join(f'{word} {text}\n' for word, text in ordered)
        message = self.message.rstrip('\n')
        message += '\n' if message else ''
        return f'{MAGIC}\n{body}\n{message}'.encode('utf-8', 'surrogateescape')


def quoted(word: str, raw: bytes) -> tuple[str, str]:
    """A line whose value is a name of any bytes."""
    return word, quote.quote(raw)


def parse(data: bytes) -> Snapshot:
    """A snapshot object.  Raises Damaged."""
    head, empty_line, message = data.decode('utf-8', 'surrogateescape').partition('\n\n')
    first, *texts = head.rstrip('\n').split('\n')
    if first != MAGIC:
        raise errors.Damaged('not a chkfs-snapshot 1')
    lines = []
    for text in texts:
        word, space, value = text.partition(' ')
        if not word or not space:
            raise errors.Damaged(f'not a keyword line: {text[:80]!r}')
        lines.append((word, value))
    found = Snapshot(lines, message)
    check(found)
    return found


def check(snapshot: Snapshot) -> None:
    """Raises Damaged unless root and parents can be followed and the quoted values decoded."""
    if snapshot.get('root') is None:
        raise errors.Damaged('a snapshot without a root')
    root = snapshot.root
    if root.name != b'.' or root.type not in tree.TYPES or root.type in ('dir', 'file') and root.key is None:
        raise errors.Damaged(f'not a root: {snapshot.get("root")[:80]!r}')
    for parent in snapshot.parents:
        if not keys.is_key(parent):
            raise errors.Damaged(f'not a key: {parent[:80]!r}')
    for word, text in snapshot.lines:
        if word in _QUOTED:
            quote.unquote(text)


def format_time(ns: int) -> str:
    """UTC, as 2026-11-23T04:00:00.000000000Z."""
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ns // 10**9)) + f'.{ns % 10**9:09d}Z'


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of a time made by format_time; 0 when it is none."""
    import calendar

    whole, _, fraction = text.rstrip('Z').partition('.')
    try:
        return calendar.timegm(time.strptime(whole, '%Y-%m-%dT%H:%M:%S')) * 10**9 + int(fraction.ljust(9, '0')[:9])
    except ValueError:
        return 0
