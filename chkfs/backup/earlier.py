"""The backup before this one: what could be read then of files that cannot be read now.

A file counts as the same when its path, size and time are.
"""

from typing import NamedTuple

from chkfs import errors
from chkfs.backup.contents import Former
from chkfs.storage import walk
from chkfs.storage.objects import Objects
from chkfs.text import tree

_OF_THE_NAME = ('enc:', 'hl:')  # tags that say nothing of what the file holds
_OF_THE_CONTENTS = ('data:', 'changed:', 'damaged:')


class Text(NamedTuple):
    """A file's key and tags, as reader.Outcome has them."""

    text: str
    damaged: bool

    @property
    def bare(self) -> str:
        """The text with those tags only that tell how the contents were read."""
        key, *tags = self.text.split(',')
        return ','.join([key, *[tag for tag in tags if tag.startswith(_OF_THE_CONTENTS)]])


class Earlier:
    """root: of the snapshot before; has_damaged: whether it says that there are damaged files."""

    def __init__(self, objects: Objects, root: tree.Entry, has_damaged: bool, file_name: bytes = b''):
        """file_name: what the source is called, for a snapshot of one file."""
        self._objects = objects
        is_file = root.type == 'file'
        self._file = {file_name: root} if is_file else {}
        self._root = None if is_file else root
        below = self._below(root.key) if self._root is not None and root.key and has_damaged else ()
        self.damaged = {  # by their paths
            path: entry
            for path, entry in (*self._file.items(), *below)
            if entry.type == 'file' and entry.tag('damaged') is not None
        }

    def former(self, path: bytes, size: int, mtime_ns: int) -> Former | None:
        """What was stored of a file, if it was damaged then."""
        entry = self.damaged.get(path)
        if entry is None or not _is_same(entry, size, mtime_ns):
            return None
        try:
            return Former(self._objects, entry.key, size, walk.ranges_of(self._objects, entry, 'damaged'))
        except errors.Error:
            return None

    def text(self, path: bytes, size: int, mtime_ns: int) -> Text | None:
        """What the tree says of a file."""
        try:
            entry = self._file.get(path) if self._root is None else walk.find(self._objects, self._root, path)
            if entry is None or entry.type != 'file' or not _is_same(entry, size, mtime_ns):
                return None
            if not self._objects.has('blob', entry.key):
                return None
        except errors.Error:
            return None
        tags = [tag for tag in entry.tags() if not tag.startswith(_OF_THE_NAME)]
        return Text(','.join([entry.key, *tags]), entry.tag('damaged') is not None)

    def _below(self, key: str):
        try:
            yield from walk.below(self._objects, key, report=lambda line: None)
        except errors.Error:
            return


def _is_same(entry: tree.Entry, size: int, mtime_ns: int) -> bool:
    try:
        return entry.key is not None and (entry.size, entry.time_ns) == (size, mtime_ns)
    except errors.Damaged:
        return False
