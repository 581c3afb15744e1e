"""Lists: the keys and sizes of a big object's pieces, in order (chkfs-store(5) is the authority).

    # chkfs list 1
    <key> <size>
    <key> <size>

Text in, text out: nothing here reads or writes a file.
"""

from collections.abc import Iterable

from chkfs import errors
from chkfs.text import key as keys
from chkfs.text import number

HEADER = '# chkfs list 1\n'


def format(pieces: Iterable[tuple[str, int]]) -> bytes:
    """pieces: key and size in bytes of each."""
    return (HEADER + ''.join([f'{key} {size}\n' for key, size in pieces])).encode()


def parse(data: bytes) -> list[tuple[str, int]]:
    """Raises Damaged."""
    text = data.decode('ascii', 'replace')
    if not text.startswith(HEADER) or not text.endswith('\n'):
        raise errors.Damaged('not a chkfs list 1, or cut short')
    pieces = []
    for line in text[:-1].split('\n'):
        if line.startswith('#'):
            continue
        key, _, size = line.partition(' ')
        if not keys.is_key(key):
            raise errors.Damaged(f'not a line of a list: {line[:80]!r}')
        pieces.append((key, number.parse(size)))
    return pieces
