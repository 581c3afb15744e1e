"""Reads stored trees: the entries of one, the entry at a path, all entries below one."""

import os
from collections.abc import Callable, Iterator

from chkfs import errors
from chkfs.storage.objects import Objects
from chkfs.text import quote, ranges, tree


def entries(objects: Objects, key: str, report: Callable[[str], None] | None = None) -> list[tree.Entry]:
    """The entries of a tree.  Lines that are none raise Damaged, or go to report when there is one."""
    found = []
    for line in tree.lines(objects.read('tree', key)):
        try:
            entry = tree.parse_line(line)
            tree.check_name(entry.name)
            found.append(entry)
        except errors.Damaged as error:
            if report is None:
                raise
            report(f"tree '{key}': {error}")
    return found


def find_real(objects: Objects, root: tree.Entry, path: bytes) -> tuple[tree.Entry, bytes]:
    """(entry, its path) at a path below the root of a snapshot, where a directory that is another one again is that.

    Raises NotFound.
    """
    here, real = root, b''
    for name in path.split(b'/'):
        if name in (b'', b'.'):
            continue
        here, real = find(objects, here, name, real), os.path.join(real, name)
        again = here.tag('again') if here.type == 'dir' else None
        if again is not None:
            first = os.path.normpath(quote.unquote(again))
            try:
                here, real = find(objects, root, first), b'' if first == b'.' else first
            except errors.NotFound:
                pass  # the entry is all that there is
    return here, real


def find(objects: Objects, root: tree.Entry, path: bytes, above: bytes = b'') -> tree.Entry:
    """The entry at a path below root; root itself for an empty path.  Raises NotFound, which says above for root."""
    here = root
    for name in path.split(b'/'):
        if name in (b'', b'.'):
            continue
        if here.type != 'dir' or here.key is None:
            raise errors.NotFound(f"'{quote.readable(here.name)}' is not a directory")
        here = next((entry for entry in entries(objects, here.key) if entry.name == name), None)
        if here is None:
            where = f"'{quote.readable(above)}'" if above else 'the top directory'
            raise errors.NotFound(f"no '{quote.readable(name)}' in {where}")
        above = os.path.join(above, name)
    return here


def ranges_of(objects: Objects, entry: tree.Entry, tag: str) -> ranges.Ranges | None:
    """What the tag data or damaged says, if it is there.  Raises Error."""
    text = entry.tag(tag)
    if text is not None and text.startswith('@'):
        text = objects.read('blob', text[1:]).decode('ascii', 'replace')
    return None if text is None else ranges.parse(text)


def below(
    objects: Objects, key: str, prefix: bytes = b'', report: Callable[[str], None] | None = None
) -> Iterator[tuple[bytes, tree.Entry]]:
    """(path, entry) of everything below a tree, a directory before its contents; with report, damage is passed over."""
    waiting = [(prefix, iter(entries(objects, key, report)))]
    while waiting:
        prefix, rest = waiting[-1]
        entry = next(rest, None)
        if entry is None:
            waiting.pop()
            continue
        path = prefix + entry.name
        yield path, entry
        if entry.type == 'dir':
            try:
                if entry.key is not None:
                    waiting.append((path + b'/', iter(entries(objects, entry.key, report))))
            except errors.Error as error:
                if report is None:
                    raise
                report(f"'{quote.readable(path)}': {error}")
