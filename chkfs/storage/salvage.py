"""What writers that died have left in incoming/: whatever verifies is stored, the rest is set aside.

A blob is stored when it is what its name says, a tree when besides all that it names is there.
"""

from collections.abc import Callable, Iterator

from chkfs import errors
from chkfs.storage import codec, pack, publish
from chkfs.storage.writer import Writer
from chkfs.text import key as keys
from chkfs.text import tree

_LARGEST = 64 << 20  # bytes; no writer leaves a file of its own that is larger


def salvage(writer: Writer, root: bytes, note: Callable[[str], None] = lambda line: None) -> None:
    """Takes over the directories of dead runs in the store at root; note takes a line for each that had something.

    A run that lives holds its directory, and is let alone.  Raises Error when the store cannot be written.
    """
    for dead in publish.dead_runs(root):
        with dead:
            before = writer.written_objects
            names = dead.names()
            rest = [name for name in names if not _store_blobs(writer, dead.path_of(name), name)]
            rest = [name for name in rest if not _store_trees(writer, dead.path_of(name), name)]
            writer.checkpoint()
            stored = writer.written_objects - before
            left = dead.dismiss(rest)
            if stored or left:
                where = f'; the rest is in {left}' if left else ''
                note(f'{dead.shown}: left by a run that died, {stored} objects of it are stored now{where}')


def _store_blobs(writer: Writer, path: bytes, name: str) -> bool:
    """Whether nothing else of worth is in the file: an index can be made again, and a repack only copies."""
    kind = name.rpartition('-')[2]
    if kind == 'index' or name.startswith(publish.COPY):
        return True
    if kind.startswith('pack.tar'):
        return _store_members(path, kind, lambda type, key, listed, data: _store_blob(writer, type, listed, data))
    head, _, rest = name.rpartition('-')
    key, suffix = rest[: keys.LENGTH], rest[keys.LENGTH :]
    if not f'-{head}'.endswith('-blob') or not keys.is_key(key) or suffix not in codec.NAMES:
        return False
    try:
        with open(path, 'rb', buffering=0) as file:
            blocks = iter(lambda: file.read(codec.BLOCK_BYTES), b'')
            data = _whole(codec.decompress(codec.NAMES[suffix], blocks))
    except (errors.Damaged, OSError):
        return False
    return keys.of(data) == key and writer.put('blob', data) == key


def _whole(blocks: Iterator[bytes]) -> bytes:
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size > _LARGEST:
            raise errors.Damaged('too large')
    return b''.join(parts)


def _store_blob(writer: Writer, type: str, listed: bool, data: bytes) -> bool:
    if type != 'blob' or listed:
        return False
    writer.put('blob', data)
    return True


def _store_trees(writer: Writer, path: bytes, name: str) -> bool:
    kind = name.rpartition('-')[2]
    if not kind.startswith('pack.tar'):
        return False
    return _store_members(path, kind, lambda type, key, listed, data: _store_tree(writer, type, listed, data))


def _store_tree(writer: Writer, type: str, listed: bool, data: bytes) -> bool:
    """Whether it is stored, or is a blob, which has been stored before."""
    if type != 'tree' or listed:
        return not listed
    named = []
    for entry in tree.parse(data):
        named += [(entry.type, entry.key, entry.size or 0), *(('value', key, 0) for key in entry.value_keys)]
    for type, key, size in named:
        if key and not (writer.has('tree', key) if type == 'dir' else writer.has_whole(key, size)):
            return False
    writer.put('tree', data)
    return True


def _store_members(path: bytes, kind: str, store: Callable[[str, str, bool, bytes], bool]) -> bool:
    """Whether store took every member of a pack, and the pack is whole but for its end."""
    is_all = True
    try:
        for name, data in pack.contents(path, codec.NAMES[kind.removeprefix('pack.tar')]):
            type, key, listed = pack.parse_name(name)
            is_all = store(type, key, listed, data) and is_all
    except (errors.Damaged, OSError):
        return False
    return is_all
