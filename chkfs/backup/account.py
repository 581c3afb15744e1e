"""What an ingest counts and says of its source, for the snapshot and for people."""

from collections.abc import Callable

from chkfs.system import mounts
from chkfs.text import quote


class Result:
    """What one source gave: its root line and what is to be said of it in the snapshot."""

    def __init__(self):
        self.root = ''  # an mtree line, the name '.'
        self.files = 0
        self.bytes = 0  # sum of the sizes of the files
        self.read_bytes = 0  # of those that had to be read
        self.skipped = 0  # entries that could not be stored, or not whole
        self.changed = 0  # files that changed while they were read
        self.damaged = 0  # files of which some bytes could not be read
        self.differing = 0  # files with other contents than before, though nothing else tells of a change
        self.mounts: list[str] = []  # values of mount lines
        self.drives: list[str] = []  # values of drive lines
        self.features: list[str] = []  # kinds of metadata that were looked for, as in a snapshot's features


class Account:
    """report takes one line a problem, note one line a thing worth knowing, step the path and the result."""

    def __init__(
        self,
        report: Callable[[str], None],
        note: Callable[[str], None],
        step: Callable[[bytes, Result], None],
    ):
        self.report, self.note, self._step = report, note, step
        self.result = Result()
        self.path = b''  # what is being looked at, to be shown
        self.is_ending = False  # too early

    def tick(self) -> None:
        self._step(self.path, self.result)

    def end_early(self) -> None:
        """From now on nothing is shown, and what is missing is no problem."""
        self._step, self.is_ending = lambda path, result: None, True

    def tell_origin(self, filesystem: mounts.Filesystem, path: bytes, skipped: bool = False) -> None:
        """Notes where things come from, for the snapshot."""
        self.result.mounts.append(filesystem.mount_line(path, skipped))
        for each in filesystem.drives:
            if (line := each.line()) not in self.result.drives:
                self.result.drives.append(line)
        if filesystem.twin:
            shown = quote.readable(path) or '.'
            self.note(
                f"'{shown}' is on '{filesystem.device}', which has the same UUID as '{filesystem.twin}': "
                'one is a copy of the other, and they are taken for two'
            )
