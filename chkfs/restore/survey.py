"""What a tree asks of a target that holds less than everything: looked for before anything is written."""

from collections import Counter
from collections.abc import Callable

from chkfs import errors
from chkfs.restore.fitting import FAIL, SKIP, Fitting
from chkfs.restore.target import Target
from chkfs.storage.objects import Objects
from chkfs.text import quote, tree

_KINDS = {
    'link': 'symbolic links',
    'fifo': 'fifos',
    'socket': 'sockets',
    'char': 'character devices',
    'block': 'block devices',
}
_LISTED = 'left out'
_ANSWERS = {
    'hard links': 'each name gets a copy',
    'owners': 'they are not set',
    'modes': 'they are not set',
    'extended attributes': 'they are not set',
    'times': 'they are set as exactly as it can',
}


class Survey:
    """Counts by what the target cannot hold."""

    def __init__(self, objects: Objects, target: Target, fitting: Fitting, on_collision: str):
        self.counts: Counter[str] = Counter()
        self.first_change = ''  # of a name, for people
        self._objects, self._target, self._fitting, self._on_collision = objects, target, fitting, on_collision

    def look(self, root: tree.Entry, step: Callable[[], None] = lambda: None) -> None:
        """Looks at all that is below root.  What is damaged is passed over: restoring says so.

        step is called for each directory, and may raise Interrupted.
        """
        self._count(root)
        waiting = [(b'', root)]
        while waiting:
            path, entry = waiting.pop()
            step()
            try:
                if entry.key is None:
                    continue
                lines = list(tree.lines(self._objects.read('tree', entry.key)))
            except errors.Error:
                continue
            waiting += self._look_at(path, lines)

    def lines(self) -> list[str]:
        """For people, one a kind."""
        said = [] if self._target.keeps_case else ['the target does not keep which letters of names are capitals']
        answers = _ANSWERS | {'names': 'left out' if self._on_collision == SKIP else 'they get others'}
        return said + [
            f'the target cannot hold {count} {what}: {answers.get(what, _LISTED)}'
            for what, count in sorted(self.counts.items())
            if count
        ]

    def _look_at(self, directory: bytes, lines: list[str]) -> list[tuple[bytes, tree.Entry]]:
        """Counts what is in one directory; gives its subdirectories with their paths."""
        fitted, below = self._fitting.fit(lines), []
        for change in fitted.changes:
            self.counts['names'] += 1
            path = directory + change.name
            self.first_change = self.first_change or f"'{quote.readable(path)}' cannot be restored: {change.reason}"
            if self._on_collision == FAIL:
                return []
        for line in fitted.lines:
            try:
                entry = tree.parse_line(line)
                self._count(entry)
                if entry.type == 'dir':
                    below.append((directory + entry.name + b'/', entry))
            except errors.Damaged:
                continue
        return below

    def _count(self, entry: tree.Entry) -> None:
        lacks, counts = self._target.lacks, self.counts
        kind = 'link' if entry.tag('again') is not None else entry.type
        if kind in lacks:
            counts[_KINDS[kind]] += 1
            return
        counts['hard links'] += 'hard link' in lacks and entry.tag('hl') is not None
        counts['owners'] += 'owner' in lacks and (entry.uid, entry.gid) not in ((None, None), self._target.owner)
        counts['modes'] += 'mode' in lacks and entry.mode is not None and kind != 'link'
        counts['extended attributes'] += 'xattr' in lacks and entry.tag('xattr') is not None
        if entry.time_ns is not None:
            counts['times'] += not self._target.keeps_time(entry.time_ns)
        if entry.size is not None:
            counts['files of their size'] += not self._target.takes_size(entry.size)
