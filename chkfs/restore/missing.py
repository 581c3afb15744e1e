"""What a restore could not set, as mtree text beside the destination: chkfs-apply-metadata sets it later.

    #mtree
    # chkfs missing 1
    # restored to /home/photos; as root, chkfs-apply-metadata FILE DEST sets what is missing
    . type=dir
    ./2024/beach.jpg type=file mode=0644 uid=1000 ... tags=missing:owner

A line is the one of the entry's tree, with its path below the destination instead of its name ("." alone for the
destination itself), and in tags what is missing.  chkfs-apply-metadata(1) is the authority.
"""

import contextlib
import os
from collections.abc import Iterator

from chkfs import errors
from chkfs.text import quote, tree

HEADER = '#mtree\n# chkfs missing 1\n'
SUFFIX = b'.chkfs-missing.mtree'
ENTRY = 'entry'  # what is missing where the thing itself is
NAME = 'name'  # where it has another one


def format_line(directory: bytes, line: str, kinds: list[str]) -> str:
    """The line of an entry in the tree of directory, as one of ours; without newline."""
    name, blank, rest = line.partition(' ')
    if name != '.' and directory:
        name = f'./{quote.quote(directory)}/{name[2:]}'
    tags = ','.join('missing:' + quote.quote_tag(kind.encode()) for kind in dict.fromkeys(kinds))
    return f'{name}{blank}{rest}{"," if " tags=" in rest else " tags="}{tags}'


def kinds(entry: tree.Entry) -> list[str]:
    """What is missing of an entry."""
    start = 'missing:'
    found = [tag[len(start) :] for tag in entry.tags() if tag.startswith(start)]
    return [quote.unquote(kind).decode('utf-8', 'replace') for kind in found]


def without_tags(entry: tree.Entry, *names: str) -> tree.Entry:
    """The entry without these tags."""
    tags = ','.join(tag for tag in entry.tags() if tag.partition(':')[0] not in names)
    fields = {word: text for word, text in entry.fields.items() if word != 'tags'}
    return tree.Entry(entry.name, fields | ({'tags': tags} if tags else {}))


def entries(path: bytes) -> Iterator[tree.Entry]:
    """The entries of a file, each with its path below the destination as its name ('.' for that itself).

    Raises Error, and Damaged at a line that is none or leads out of the destination.
    """
    try:
        with open(path, encoding='ascii', errors='replace', newline='\n') as file:
            if file.read(len(HEADER)) != HEADER:
                raise errors.Error(f"'{quote.readable(path)}' is not a list of what a restore could not set")
            for line in file:
                if not line.endswith('\n'):
                    raise errors.Damaged(f"'{quote.readable(path)}' is cut short")
                if line[0] not in '#\n':
                    yield _parse(line[:-1])
    except OSError as error:
        raise errors.Error(f"cannot read '{quote.readable(path)}': {errors.describe(error)}") from error


def _parse(line: str) -> tree.Entry:
    entry = tree.parse_line(line)
    if entry.name != b'.':
        for name in entry.name.split(b'/'):
            tree.check_name(name)
    return entry


class File:
    """The file of one restore; made when the first line comes, under a name that is free."""

    def __init__(self, destination: bytes, path: bytes | None = None, command: str = 'chkfs-apply-metadata'):
        """destination: its path from the root; path: of the file, if not beside that; command: what applies it."""
        self.path = path
        self.problem = ''  # why it could not be written
        self.lines = 0
        self._destination, self._command = destination, command
        self._file = None

    def add(self, line: str) -> None:
        if self.problem:
            return
        try:
            if self._file is None:
                self._file = self._open()
                self._file.write(HEADER + self._title() + ('' if line.startswith('. ') else '. type=dir\n'))
            self._file.write(line + '\n')
            self.lines += 1
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:
            self._fail(error)
        self._file = None

    def _title(self) -> str:
        where = quote.quote(self._destination)
        return f'# restored to {where}; as root, {self._command} FILE DEST sets what is missing\n'

    def _open(self):
        if self.path is not None:
            return _create(self.path)
        stem = self._destination + SUFFIX
        number = 1
        while True:
            self.path = stem if number == 1 else b'%s.%d' % (stem, number)
            try:
                return _create(self.path)
            except FileExistsError:
                number += 1

    def _fail(self, error: OSError) -> None:
        self.problem = f"cannot write '{quote.readable(self.path or b'')}': {errors.describe(error)}"
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _create(path: bytes):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return open(fd, 'w', encoding='ascii', errors='replace', newline='\n')
