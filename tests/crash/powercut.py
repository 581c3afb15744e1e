"""A model of what a disk holds after a power cut, made of the log of a run's calls.

A change is pending until its file, its directory or the filesystem is synced, and after a power cut each pending
change is there or not, whatever became of those before it: names without data, data without names, files of the
right length full of zeros, half of a write.  What was synced is there.  One thing is assumed, as every filesystem
with a journal grants it: a rename may be lost, or leave both names, but not leave none.
"""

import os
import random
from collections.abc import Callable
from typing import NamedTuple

from interposer import WRITES, Call

KEEP, LOSE, ZERO, HALF = 'keep', 'lose', 'zero', 'half'
DATA, NAME, RENAME = 'data', 'name', 'rename'


class Change(NamedTuple):
    """kind: DATA (at an offset; None is a truncation), NAME (what was made or removed), or RENAME.

    node: what a name stands for afterwards, None when it is removed.
    """

    number: int
    kind: str
    offset: int = 0
    data: bytes | None = None
    name: str = ''
    node: 'Node | None' = None


class Node:
    """A file or a directory: what is surely on disk, and what is pending."""

    def __init__(self, is_directory: bool, content: bytes = b''):
        self.is_directory = is_directory
        self.durable: dict[str, Node] | bytes = {} if is_directory else content
        self.now: dict[str, Node] = {}  # of a directory, as running programs see it
        self.pending: list[Change] = []

    def sync(self) -> None:
        if self.pending:
            self.durable = self.after(lambda change: KEEP)
            self.pending = []

    def after(self, fate: Callable[[Change], str]):
        """The content when each pending change has met its fate."""
        if not self.pending:
            return self.durable
        if self.is_directory:
            entries = dict(self.durable)
            for change in self.pending:
                if fate(change) == KEEP:
                    if change.node is None:
                        entries.pop(change.name, None)
                    else:
                        entries[change.name] = change.node
            return entries
        content = bytearray(self.durable)
        for change in self.pending:
            _write(content, change, fate(change))
        return bytes(content)


def _write(content: bytearray, change: Change, fate: str) -> None:
    if fate == LOSE:
        return
    if change.data is None:
        content[change.offset :] = bytes(max(0, change.offset - len(content)))
        return
    data = {KEEP: change.data, ZERO: bytes(len(change.data)), HALF: change.data[: len(change.data) // 2]}[fate]
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(data)] = data


class Disk:
    """The filesystem below a directory, durable as it is now; apply() takes the calls that follow."""

    def __init__(self, root: str):
        self._root = root
        self._inodes: dict[int, Node] = {}  # numbers are given again, to other nodes
        self._nodes: list[Node] = []
        self._changes = 0
        self.top = self._load(root)

    def _load(self, path: str) -> Node:
        if os.path.isdir(path):
            node = Node(True)
            node.durable = {name: self._load(os.path.join(path, name)) for name in sorted(os.listdir(path))}
            node.now = dict(node.durable)
        else:
            with open(path, 'rb') as file:
                node = Node(False, file.read())
        self._nodes.append(node)
        self._inodes[os.lstat(path).st_ino] = node
        return node

    def _parent(self, path: str) -> tuple[Node, str]:
        *way, name = os.path.relpath(path, self._root).split('/')
        node = self.top
        for part in way:
            node = node.now[part]
        return node, name

    def _set_name(self, path: str, node: Node | None, kind: str) -> None:
        parent, name = self._parent(path)
        if node is None:
            del parent.now[name]
        else:
            parent.now[name] = node
        parent.pending.append(Change(self._changes, kind, name=name, node=node))

    def apply(self, call: Call) -> None:
        """One call that was logged."""
        if call.result < 0:
            return
        self._changes += 1
        if call.name in WRITES:
            node = self._inodes[call.inode]
            node.pending.append(Change(self._changes, DATA, call.offset, call.data))
        elif call.name in ('open', 'mkdir') and not call.existed:
            node = self._inodes[call.inode] = Node(call.name == 'mkdir')
            self._nodes.append(node)
            self._set_name(call.path, node, NAME)
        elif call.name == 'open':
            if call.other == 'truncate':
                self._inodes[call.inode].pending.append(Change(self._changes, DATA, 0))
        elif call.name in ('ftruncate', 'truncate'):
            self._inodes[call.inode].pending.append(Change(self._changes, DATA, call.length))
        elif call.name == 'rename':
            parent, name = self._parent(call.path)
            self._set_name(call.other, parent.now[name], RENAME)
            self._set_name(call.path, None, RENAME)
        elif call.name == 'link':
            parent, name = self._parent(call.path)
            self._set_name(call.other, parent.now[name], NAME)
        elif call.name in ('unlink', 'rmdir'):
            self._set_name(call.path, None, NAME)
        elif call.name in ('fsync', 'fdatasync'):
            self._inodes[call.inode].sync()
        elif call.name == 'syncfs':
            for node in self._nodes:
                node.sync()
        elif call.name not in ('chmod', 'utime', 'chown'):
            raise AssertionError(f'the model of the disk does not know {call}')

    def state(self, fate: Callable[[Change], str]) -> dict[str, bytes | None]:
        """Path from the top to content, None for a directory, after a power cut with these fates."""
        pending = {id(change): change for node in self._nodes for change in node.pending}
        fates = {number: fate(change) for number, change in pending.items()}
        gone = {c.number for c in pending.values() if c.kind == RENAME and c.node is None and fates[id(c)] == KEEP}

        def decided(change: Change) -> str:
            if change.kind == RENAME and change.number in gone:
                return KEEP  # where the old name went, the new one is there
            return fates[id(change)]

        found: dict[str, bytes | None] = {}
        waiting = [('', self.top)]
        while waiting:
            path, node = waiting.pop()
            content = node.after(decided)
            if node.is_directory:
                found[path] = None
                waiting += [(f'{path}/{name}' if path else name, below) for name, below in content.items()]
            else:
                found[path] = content
        return found


def extremes() -> dict[str, Callable[[Change], str]]:
    """The systematic fates."""
    return {
        'nothing pending is kept': lambda change: LOSE,
        'names are kept, data is lost': lambda change: LOSE if change.kind == DATA else KEEP,
        'names are kept, data is zeros': lambda change: ZERO if change.kind == DATA else KEEP,
        'names are kept, half of each write': lambda change: HALF if change.kind == DATA else KEEP,
        'renames alone are kept': lambda change: KEEP if change.kind == RENAME else LOSE,
        'new names are kept, old ones stay': lambda change: (
            LOSE if change.kind == RENAME and change.node is None else KEEP
        ),
        'data is kept, names are lost': lambda change: KEEP if change.kind == DATA else LOSE,
        'all is kept': lambda change: KEEP,
    }


def at_random(seed) -> Callable[[Change], str]:
    """Each change by itself, with a likelihood that differs from seed to seed."""
    chance = random.Random(seed)
    likely = chance.choice((0.1, 0.5, 0.9))

    def fate(change: Change) -> str:
        if chance.random() < likely:
            return KEEP
        return chance.choice((LOSE, ZERO, HALF)) if change.kind == DATA else LOSE

    return fate


def digest(state: dict[str, bytes | None]) -> int:
    """Equal for equal states."""
    return hash(frozenset(state.items()))


def write(state: dict[str, bytes | None], root: str) -> None:
    """Makes an empty or absent directory be that state."""
    for path, content in sorted(state.items()):
        path = os.path.join(root, path)
        if content is None:
            os.makedirs(path, exist_ok=True)
        else:
            with open(path, 'wb') as file:
                file.write(content)
