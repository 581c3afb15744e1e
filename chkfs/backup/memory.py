"""What the scan cache knows of a source since the last run, and what it is to know for the next."""

from collections.abc import Callable, Iterable

from chkfs.backup import scan
from chkfs.backup.account import Account
from chkfs.backup.level import Level
from chkfs.storage.cache import Directory, ScanCache
from chkfs.storage.writer import PACKED_BELOW, Writer
from chkfs.text import tree

_EARLY_BYTES = 32 << 20  # that were read; of these the next run reads again what is not in the store, if we die
_SMALL_BYTES = 32 << 10  # files that are smaller, on the average, are as soon read again as remembered twice


class Memory:
    """What is known is believed as far as the store has what it names.

    What is to be known of finished directories gathers here, until the store has that.
    """

    def __init__(self, account: Account, cache: ScanCache, writer: Writer):
        self._result, self._cache, self._writer = account.result, cache, writer
        self._rows: list[tuple[str, bytes, Directory]] = []
        self._early_bytes = self._early_files = self._early_rows = 0  # when remember_early() last looked, or wrote

    def signature(self, place: tuple[str, bytes]) -> tuple[bytes, str] | None:
        """As ScanCache.signature(); place: what the directory is known as."""
        return self._cache.signature(*place)

    def files(self, place: tuple[str, bytes]) -> dict[bytes, tuple[bytes, str]]:
        return self._cache.files(*place)

    def has_all(self, place: tuple[str, bytes], key: str, largest: int) -> bool:
        """Whether the store has a remembered tree, and those of its contents that are files of their own.

        What lies in packs need not be looked for: when one vanishes, the scan cache as a whole is not believed.
        """
        if not self._writer.has('tree', key):
            return False
        if largest < PACKED_BELOW:
            return True
        files = self._cache.files(*place).values()
        return all(self._has_what_came(text, scan.fields(record)[0]) for record, text in files)

    def is_unchanged(self, level: Level, found: scan.Found, row: tuple[bytes, str]) -> bool:
        """Whether a file is what a row of the scan cache says, and the store has it."""
        if row[0] != found.record:
            if not level.filesystem.keeps_local_time or not scan.is_same_but_for_zone(row[0], found.record):
                return False
        return self._has_what_came(row[1], found.size)

    def _has_what_came(self, text: str, size: int) -> bool:
        """Whether the store has a file's contents, and what is too long for its tags."""
        writer = self._writer
        return writer.has_whole(text[:64], size) and all(writer.has('blob', key) for key in tree.value_keys(text[65:]))

    def add(self, level: Level, signature: bytes = b'', key: str = '') -> None:
        """A directory is finished.  key: of its tree, '' when it is not to be recognised, but its files are."""
        self._rows.append((*level.known_as, Directory(signature, key, level.done)))

    def take(self, unfinished: Iterable[Level]) -> Callable[[], None]:
        """At a checkpoint: what to call when all that was put so far is safe and rows about it may be believed."""
        rows, self._rows, self._early_rows = self._rows, [], 0
        unfinished = list(unfinished)

        def remember() -> None:
            rows.extend(map(_files_so_far, unfinished))
            self._cache.remember(rows)

        return remember

    def remember_early(self, unfinished: Iterable[Level]) -> None:
        """Now and then between two checkpoints: has the next run know the files that have been read.

        That is no promise that the store has them: whoever believes a row about a file asks the store.  What is in
        incoming/ by then is stored before the next run begins.
        """
        size, files = self._result.read_bytes - self._early_bytes, self._result.files - self._early_files
        if size < _EARLY_BYTES:
            return
        self._early_bytes, self._early_files = self._result.read_bytes, self._result.files
        if size < files * _SMALL_BYTES:
            return
        rows = [(*place, Directory(b'', '', row.files)) for *place, row in self._rows[self._early_rows :]]
        self._early_rows = len(self._rows)
        for level in unfinished:
            if len(level.done) > level.remembered + level.remembered // 8:  # else one with very many is written often
                level.remembered = len(level.done)
                rows.append(_files_so_far(level))
        self._cache.remember(rows)


def _files_so_far(level: Level) -> tuple[str, bytes, Directory]:
    return (*level.known_as, Directory(b'', '', level.files))
