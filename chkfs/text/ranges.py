"""Ranges of bytes within a file, as tags of a tree give them (chkfs-tree(5) is the authority).

    0-4096+1048576-1052672

A range is (start, end), the end being the first byte after it.  Lists of them are in order, and no two of them
touch.  Text in, text out: nothing here reads or writes a file.
"""

from collections.abc import Iterable

from chkfs import errors
from chkfs.text import number

Ranges = list[tuple[int, int]]

_SHOWN = 5


def format(ranges: Iterable[tuple[int, int]], divider: str = '+') -> str:
    """For a blob of them the divider is a newline."""
    return divider.join([f'{start}-{end}' for start, end in ranges])


def shorten(ranges: Ranges) -> str:
    """For people."""
    more = f' and {len(ranges) - _SHOWN} more ranges' if len(ranges) > _SHOWN else ''
    return format(ranges[:_SHOWN], ', ') + more


def parse(text: str) -> Ranges:
    """What format made, with either divider.  Raises Damaged."""
    found = []
    for part in text.replace('\n', '+').strip('+').split('+'):
        start, dash, end = part.partition('-')
        if not dash:
            raise errors.Damaged(f'not a range: {part[:80]!r}')
        found.append((number.parse(start), number.parse(end)))
    if any(start > end for start, end in found) or any(a[1] >= b[0] for a, b in zip(found, found[1:])):
        raise errors.Damaged(f'ranges that are not in order: {text[:80]!r}')
    return found


def join(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The bytes that are in any of them, as a list of ranges."""
    joined: Ranges = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:
            joined.append((start, end))
    return joined


def common(one: Ranges, other: Ranges) -> Ranges:
    """The bytes that are in both."""
    found, others, at = [], list(other), 0
    for start, end in one:
        while at < len(others) and others[at][1] <= start:
            at += 1
        here = at
        while here < len(others) and others[here][0] < end:
            found.append((max(start, others[here][0]), min(end, others[here][1])))
            here += 1
    return found


def without(one: Ranges, other: Ranges) -> Ranges:
    """The bytes of one that are not in the other."""
    end = max([stop for _, stop in (*one, *other)], default=0)
    edges = [0, *[edge for span in other for edge in span], end]
    return common(one, [(a, b) for a, b in zip(edges[::2], edges[1::2]) if a < b])


def total(ranges: Ranges) -> int:
    return sum(end - start for start, end in ranges)
