"""Tree objects: one directory as mtree(5) text, one line an entry (chkfs-tree(5) is the authority).

    #mtree
    # chkfs tree 1
    . type=dir
    ./hello type=file mode=0644 uid=0 gid=0 uname=root gname=root size=6 time=1.000000000 sha256digest=<key>

Text in, text out: nothing here reads or writes a file.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chkfs import errors
from chkfs.text import key as keys
from chkfs.text import number, quote

HEADER = '#mtree\n# chkfs tree 1\n. type=dir\n'
_HEADER_BYTES = HEADER.encode()
KEYWORDS = (
    'type', 'mode', 'uid', 'gid', 'uname', 'gname', 'size', 'time', 'sha256digest', 'link', 'device', 'flags', 'nlink',
    'tags',
)  # fmt: skip
TAGS = (
    'enc', 'tree', 'again', 'hl', 'btime', 'ctime', 'atime', 'data', 'changed', 'damaged', 'unread', 'flags', 'dos',
    'short', 'ntfs.acl', 'ntfs.reparse', 'ntfs.object', 'ntfs.ea', 'xattr', 'lacks',
)  # fmt: skip
TYPES = ('file', 'dir', 'link', 'fifo', 'socket', 'char', 'block')
LONGEST_LINE = 60_000  # bytes; readers of mtree stop at 65,536

_NS = 1_000_000_000


class PlainFile(NamedTuple):
    """A file's line without tags to restore, decoded in one step: what nearly all lines of a restore are."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    time_ns: int
    key: str


_PLAIN_FILE = re.compile(
    r'\./([!-~]+) type=file mode=([0-7]{4}) uid=([0-9]{1,20}) gid=([0-9]{1,20})(?: uname=[!-~]+)?(?: gname=[!-~]+)?'
    r' size=([0-9]{1,20}) time=(-?[0-9]{1,20})\.([0-9]{9}) sha256digest=([0-9a-f]{64})'
    r'(?: tags=(?:enc:[a-z0-9-]+,?)?(?:btime:[-.0-9]+,?)?(?:ctime:[-.0-9]+)?)?'
).fullmatch


_VALUE_KEY = re.compile(r'(?:^|(?<=,))(xattr:[^,:]*|ntfs\.[a-z]+|data|damaged):@([0-9a-f]{64})(?![^,])').findall


class Entry:
    """One line: a name (bytes) and its fields, keyword to quoted text.  The properties decode."""

    __slots__ = ('name', 'fields')

    def __init__(self, name: bytes, fields: dict[str, str]):
        self.name = name
        self.fields = fields

    def __eq__(self, other) -> bool:
        return isinstance(other, Entry) and (self.name, self.fields) == (other.name, other.fields)

    def __repr__(self) -> str:
        return f'Entry({self.line()!r})'

    @property
    def type(self) -> str:
        return self.fields.get('type', '')

    @property
    def mode(self) -> int | None:
        return self._number('mode', 8)

    @property
    def uid(self) -> int | None:
        return self._number('uid')

    @property
    def gid(self) -> int | None:
        return self._number('gid')

    @property
    def size(self) -> int | None:
        return self._number('size')

    @property
    def key(self) -> str | None:
        """The key of the contents: a blob's for a file, a tree's for a directory."""
        found = self.fields.get('sha256digest') if self.type == 'file' else self.tag('tree')
        if found is not None and not keys.is_key(found):
            raise errors.Damaged(f'{quote.readable(self.name)}: not a key: {found[:80]!r}')
        return found

    @property
    def link(self) -> bytes:
        if 'link' not in self.fields:
            raise errors.Damaged(f'{quote.readable(self.name)}: a link without a target')
        return quote.unquote(self.fields['link'])

    @property
    def device(self) -> tuple[int, int]:
        """Major and minor number."""
        words = self.fields.get('device', '').split(',')
        if len(words) != 3:
            raise errors.Damaged(f'{quote.readable(self.name)}: no device numbers')
        return number.parse(words[1]), number.parse(words[2])

    @property
    def time_ns(self) -> int | None:
        """Modification time, nanoseconds since 1970."""
        return parse_time(self.fields['time']) if 'time' in self.fields else None

    def tags(self) -> list[str]:
        """The tags in order, each as name:value with the value still quoted; names may repeat (xattr)."""
        text = self.fields.get('tags')
        return text.split(',') if text else []

    def tag(self, name: str) -> str | None:
        """The quoted value of one tag, None without it."""
        if 'tags' not in self.fields:
            return None
        start = name + ':'
        return next((tag[len(start) :] for tag in self.tags() if tag.startswith(start)), None)

    @property
    def value_keys(self) -> list[str]:
        """Keys of the blobs that hold what is too long for its tags."""
        return value_keys(self.fields.get('tags', ''))

    def line(self) -> str:
        """The entry as one line in the fixed keyword order, without its newline."""
        known = [f'{word}={self.fields[word]}' for word in KEYWORDS if word in self.fields]
        unknown = [f'{word}={text}' for word, text in self.fields.items() if word not in KEYWORDS]
        prefix = '.' if self.name == b'.' else './' + quote.quote(self.name)
        return ' '.join([prefix, *known, *unknown])

    def _number(self, word: str, base: int = 10) -> int | None:
        text = self.fields.get(word)
        return None if text is None else number.parse(text, base)


def attributes(type: str, mode: int, uid: int, gid: int, uname: bytes, gname: bytes) -> str:
    """The beginning that many lines share; a name that is not known (b'') is left out."""
    names = ''.join(f' {word}={quote.quote(raw)}' for word, raw in (('uname', uname), ('gname', gname)) if raw)
    return f'type={type} mode={mode:04o} uid={uid} gid={gid}{names}'


def format_time(ns: int) -> str:
    """Seconds, a dot and nine digits; before 1970 floor seconds plus nanoseconds, as in mtree."""
    return f'{ns // _NS}.{ns % _NS:09d}'


def parse_time(text: str) -> int:
    """Nanoseconds since 1970.  Raises Damaged."""
    seconds, dot, fraction = text.partition('.')
    if dot and len(fraction) != 9:
        raise errors.Damaged(f'not a time: {text[:80]!r}')
    sign = -1 if seconds.startswith('-') else 1
    return sign * number.parse(seconds.removeprefix('-')) * _NS + (number.parse(fraction) if dot else 0)


def format_lines(name: bytes, rest: str, tags: str = '') -> str:
    """An entry's line (and the comment that shows a non-ASCII name), from its quoted fields."""
    quoted = quote.quote(name)
    if name.isascii():
        return f'./{quoted} {rest} tags={tags}\n' if tags else f'./{quoted} {rest}\n'
    tags = f',{tags}' if tags else ''
    if quote.encoding(name) == 'utf-8':
        return f'# {_comment(name)}\n./{quoted} {rest} tags=enc:utf-8{tags}\n'
    return f'./{quoted} {rest} tags=enc:unknown{tags}\n'


def _comment(name: bytes) -> str:
    """A name for people; a backslash at the end would make libarchive take the next line for a part of it."""
    text = quote.readable(name)
    return f'{text} .' if text.endswith('\\') else text


def format(lines: Iterable[str]) -> bytes:
    """A tree object of lines made by format_lines, sorted by name."""
    return (HEADER + ''.join(lines)).encode()


def lines(data: bytes) -> Iterator[str]:
    """The entry lines of a tree object, not yet parsed.  Raises Damaged when it is not one."""
    if not data.startswith(_HEADER_BYTES) or not data.endswith(b'\n'):
        raise errors.Damaged('not a chkfs tree 1, or cut short')
    start = len(_HEADER_BYTES)
    while (end := data.find(b'\n', start)) >= 0:  # a tree may be big: never all its lines at once
        if data[start] not in b'#\n':
            yield data[start:end].decode('ascii', 'replace')
        start = end + 1


def parse_line(line: str) -> Entry:
    """One entry line.  Raises Damaged; whether the name is a safe one, check_name says."""
    if not (line.isascii() and line.isprintable()):
        raise errors.Damaged(f'not printable ASCII: {line[:80]!a}')
    word, *pairs = line.split(' ')
    try:
        fields = dict([pair.split('=', 1) for pair in pairs])
    except ValueError:
        raise errors.Damaged(f'not an entry: {line[:80]!r}') from None
    if len(fields) != len(pairs):
        raise errors.Damaged(f'a keyword twice: {line[:80]!r}')
    if word == '.':
        return Entry(b'.', fields)
    if not word.startswith('./'):
        raise errors.Damaged(f'not an entry: {line[:80]!r}')
    return Entry(quote.unquote(word[2:]), fields)


def parse_plain_file(line: str) -> PlainFile | None:
    """The line of a file that has nothing special, None for any other line."""
    match = _PLAIN_FILE(line)
    if match is None:
        return None
    name, mode, uid, gid, size, seconds, fraction, key = match.groups()
    time_ns = int(seconds) * _NS + int(fraction)
    return PlainFile(quote.unquote(name), int(mode, 8), int(uid), int(gid), int(size), time_ns, key)


def parse(data: bytes) -> Iterator[Entry]:
    """The entries of a tree object.  Raises Damaged at the first line that is none."""
    return map(parse_line, lines(data))


def check_name(name: bytes) -> None:
    """Raises Damaged for a name that no directory can hold."""
    if name in (b'', b'.', b'..') or b'/' in name or b'\0' in name:
        raise errors.Damaged(f'not the name of a directory entry: {quote.quote(name)!r}')


def check(entry: Entry) -> None:
    """Raises Damaged unless the entry is complete and every value is one that chkfs would write."""
    check_name(entry.name)
    contents = ('size',) if entry.tag('unread') is not None else ('size', 'sha256digest')
    needed = {'file': contents, 'link': ('link',), 'char': ('device',), 'block': ('device',)}

    def wrong(what: str) -> errors.Damaged:
        return errors.Damaged(f'{quote.readable(entry.name)}: {what}')

    if entry.type not in TYPES:
        raise wrong(f'unknown type {entry.type[:80]!r}')
    for word in ('mode', *needed.get(entry.type, ())):
        if word not in entry.fields:
            raise wrong(f'{word} is missing')
    for word, text in entry.fields.items():
        if word not in KEYWORDS:
            raise wrong(f'unknown keyword {word[:80]!r}')
        if not (text.isascii() and text.isprintable()):
            raise wrong(f'{word} is not quoted: {text[:80]!r}')
    if entry.type == 'dir' and entry.key is None and entry.tag('again') is None:
        raise wrong('a directory without tags=tree:KEY')
    # reading a property is what checks its value
    _ = entry.uid, entry.gid, entry.size, entry.time_ns, entry.key
    if entry.mode > 0o7777:
        raise wrong(f'mode out of range: {entry.fields["mode"]}')
    if '.' not in entry.fields.get('time', '.'):
        raise wrong(f'time without nine digits after a dot: {entry.fields["time"][:80]}')
    if 'link' in entry.fields and (not entry.link or b'\0' in entry.link):
        raise wrong('a target that no link can have')
    if 'device' in entry.fields:
        _ = entry.device


def value_keys(tags: str) -> list[str]:
    """Keys of the blobs that hold what is too long for the value of tags=."""
    return [key for kind, key in _VALUE_KEY(tags)] if ':@' in tags else []


def in_order(tags: Iterable[str]) -> str:
    """The value of tags= that holds these, each name:value."""
    return ','.join(sorted(tags, key=_tag_rank))


def _tag_rank(tag: str) -> int:
    """Known tags in their order, the others after them as they came."""
    name = tag.partition(':')[0]
    return TAGS.index(name) if name in TAGS else len(TAGS)


def build(entries: Iterable[Entry]) -> bytes:
    """The canonical tree object of entries in any order.  Raises Damaged for a wrong or a repeated entry."""
    texts, last = [], None
    for entry in sorted(entries, key=lambda entry: entry.name):
        check(entry)
        if entry.name == last:
            raise errors.Damaged(f'{quote.readable(entry.name)}: twice in one directory')
        last = entry.name
        fields = {word: text for word, text in entry.fields.items() if word != 'tags'}
        tags = in_order(tag for tag in entry.tags() if not tag.startswith('enc:'))
        rest = Entry(entry.name, fields).line().partition(' ')[2]
        texts.append(format_lines(entry.name, rest, tags))
        if len(texts[-1]) > LONGEST_LINE:
            raise errors.Damaged(f'{quote.readable(entry.name)}: line longer than {LONGEST_LINE} bytes')
    return format(texts)
