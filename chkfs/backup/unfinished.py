"""Directories that the walk has left, but that wait for files or subdirectories: after the last their trees are put."""

from collections.abc import Callable

from chkfs.backup.level import Level
from chkfs.backup.lines import Lines
from chkfs.backup.memory import Memory
from chkfs.storage.writer import Writer
from chkfs.text import tree


class Unfinished:
    """top_tags are those of the top directory, '' until it is finished."""

    def __init__(self, writer: Writer, lines: Lines, memory: Memory):
        self._writer, self._lines, self._memory = writer, lines, memory
        self._levels: dict[int, Level] = {}
        self.top_tags = ''

    def add(self, level: Level) -> None:
        self._levels[id(level)] = level

    def settle(self, level: Level | None) -> None:
        """One of the things that a directory waited for is done; after the last, its tree can be stored."""
        while level is not None:
            level.waits_for -= 1
            if level.waits_for:
                return
            for index in level.directories:
                level.lines[index] = self._lines.of_directory(level, level.entries[index])
            key = self._writer.put('tree', tree.format(level.lines))
            signature, tree_key = (self._lines.signature(level), key) if level.is_whole else (b'', '')
            self._memory.add(level, signature, tree_key)
            del self._levels[id(level)]
            level = self._close(level, key)

    def recognise(self, level: Level, key: str) -> None:
        """A directory need not be finished: its tree is one that is known."""
        self.settle(self._close(level, key))

    def _close(self, level: Level, key: str) -> Level | None:
        """The directory's tree is known: tells its parent, which it gives."""
        tags = level.tags_with(key)
        level.empty()
        if level.parent is None:
            self.top_tags = tags
        else:
            level.parent.tags[level.name] = tags
        return level.parent

    def remember(self) -> Callable[[], None]:
        """As Memory.take()."""
        return self._memory.take(self._levels.values())

    def remember_early(self) -> None:
        self._memory.remember_early(self._levels.values())

    def put_so_far(self, here: Level) -> str:
        """Puts trees of what there is so far, and gives the tags of the top one.  here: where the walk is."""
        levels = dict(self._levels)
        level = here
        while level is not None:
            levels[id(level)] = level
            level = level.parent
        tags: dict[int, dict[bytes, str]] = {number: {} for number in levels}  # of subdirectories not finished either
        for level in sorted(levels.values(), key=lambda level: -level.depth):
            lines = list(level.lines) or [''] * len(level.entries)
            for index in level.directories:
                found = level.entries[index]
                lines[index] = self._lines.of_directory(level, found, tags[id(level)].get(found.name))
            own = level.tags_with(self._writer.put('tree', tree.format(lines)))
            if level.parent is not None:
                tags[id(level.parent)][level.name] = own
        return own
