"""Listings of stored trees: which entries, and each as a line: short, long, as ls -l has it, or mtree(5)."""

import stat
import time
from collections.abc import Callable, Iterator

from chkfs import errors
from chkfs.storage import walk
from chkfs.storage.objects import Objects
from chkfs.text import quote, tree

Report = Callable[[str], None]
Shown = Callable[[bytes], bytes]  # from a path to what is printed of it

_TYPES = {'file': 'blob', 'dir': 'tree'}


def entries(
    objects: Objects, root: tree.Entry, paths: list[bytes], is_recursive: bool, report: Report
) -> Iterator[tuple[bytes, tree.Entry]]:
    """(path, entry) of what is in root, or of what is at paths below it; of path/ what is in that.

    report takes a line for what is damaged.  Raises NotFound.
    """
    if not paths:
        yield from _below(objects, root, b'', is_recursive, report)
    for path in paths:
        bare = path.strip(b'/')
        entry = walk.find(objects, root, bare)
        if path.endswith(b'/') and entry.type == 'dir':
            yield from _below(objects, entry, bare + b'/', is_recursive, report)
            continue
        yield bare, entry
        if is_recursive and entry.type == 'dir' and entry.key is not None:
            yield from _below(objects, entry, bare + b'/', is_recursive, report)


def _below(
    objects: Objects, entry: tree.Entry, prefix: bytes, is_recursive: bool, report: Report
) -> Iterator[tuple[bytes, tree.Entry]]:
    if entry.type != 'dir':
        yield entry.name, entry
    elif entry.key is None:
        raise errors.NotFound(f"'{quote.readable(entry.name)}' holds nothing here: {_why(entry)}")
    elif is_recursive:
        yield from walk.below(objects, entry.key, prefix, report)
    else:
        for child in walk.entries(objects, entry.key, report):
            yield prefix + child.name, child


def _why(entry: tree.Entry) -> str:
    again = entry.tag('again')
    return 'a directory without a tree' if again is None else f"it is '{quote.readable(quote.unquote(again))}' again"


# ---- lines; exact: nothing stands after the path ----


def name(path: bytes, entry: tree.Entry, shown: Shown, exact: bool) -> bytes:
    return shown(path)


def short(path: bytes, entry: tree.Entry, shown: Shown, exact: bool) -> bytes:
    mode = entry.fields.get('mode', '-')
    return f'{mode} {_TYPES.get(entry.type, entry.type)} {entry.key or "-"}\t'.encode() + shown(path)


def long(path: bytes, entry: tree.Entry, shown: Shown, exact: bool) -> bytes:
    fields = entry.fields
    owner = f'{fields.get("uname") or fields.get("uid", "-")} {fields.get("gname") or fields.get("gid", "-")}'
    size = fields.get('size') or fields.get('device', 'linux,-')[6:]
    head = f'{fields.get("mode", "-")} {_TYPES.get(entry.type, entry.type)} {entry.key or "-"} {owner} {size}'
    tail = b'' if exact else _tail(entry, shown)
    return f'{head} {fields.get("time", "-")}\t'.encode() + shown(path) + tail


def human(path: bytes, entry: tree.Entry, shown: Shown, exact: bool) -> bytes:
    fields = entry.fields
    letter = '-' if entry.type == 'file' else {'socket': 's', 'fifo': 'p'}.get(entry.type, entry.type[:1])
    mode = stat.filemode((entry.mode or 0) & 0o7777)[1:]
    owner = f'{fields.get("uname") or fields.get("uid", "-"):8} {fields.get("gname") or fields.get("gid", "-"):8}'
    size = fields.get('size') or fields.get('device', 'linux,-')[6:]
    seconds = (entry.time_ns or 0) // 10**9
    try:
        when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        when = f'@{seconds}'
    tail = b'' if exact else _tail(entry, shown)
    if not exact and (unread := entry.tag('unread')) is not None:
        tail += f' (could not be read: {unread})'.encode()
    elif not exact and entry.tag('damaged') is not None:
        tail += b' (damaged)'
    return f'{letter}{mode} {owner} {size:>12} {when} '.encode() + shown(path) + tail


def mtree(path: bytes, entry: tree.Entry, shown: Shown, exact: bool) -> bytes:
    fields = {word: text for word, text in entry.fields.items() if word != 'tags'}
    return tree.Entry(path, fields).line().encode()


def mtree_head(root: tree.Entry) -> list[bytes]:
    """The lines before those of mtree."""
    top = {word: text for word, text in root.fields.items() if word not in ('size', 'tags')}
    return [b'#mtree', tree.Entry(b'.', top).line().encode()]


def _tail(entry: tree.Entry, shown: Shown) -> bytes:
    """What is said after a name: where a link leads, and which directory this one is once more."""
    if entry.type == 'link':
        return b' -> ' + shown(entry.link)
    again = entry.tag('again') if entry.type == 'dir' else None
    return b' is ' + shown(quote.unquote(again)) + b' again' if again is not None else b''
