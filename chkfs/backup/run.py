"""One backup: what dead runs left is taken over, the source is stored, and the draft of a snapshot tells of it."""

import os
import time
from collections.abc import Callable

from chkfs import errors
from chkfs.backup import earlier, ingest
from chkfs.backup.account import Result
from chkfs.storage import revision, salvage
from chkfs.storage.store import Store
from chkfs.storage.writer import Writer
from chkfs.text import snapshot


class Backup:
    """Begins when it is made.  source: the path of a directory or file; name: of the ref in refs/backups."""

    def __init__(self, store: Store, source: bytes, name: str, has_checkpoints: bool = False):
        """has_checkpoints: what is stored so far becomes refs/checkpoints/NAME, now and then."""
        self._store, self._source, self._name, self._has_checkpoints = store, source, name, has_checkpoints
        self._started_ns = time.time_ns()

    def run(
        self,
        options: ingest.Options,
        report: Callable[[str], None] = lambda line: None,
        note: Callable[[str], None] = lambda line: None,
        step: Callable[[bytes, Result], None] = lambda path, result: None,
    ) -> Result:
        """Stores the source, but for the store's own directories.  report, note and step as Ingest has them."""
        with self._store.writer() as writer:
            salvage.salvage(writer, self._store.root, note)
            # only now: whoever opened the store for the first time has made its cache
            options = options._replace(own_directories=self._store.own_directories)
            checkpoint, before = self._checkpoints(writer), self._before()
            work = ingest.Ingest(writer, self._store.scan_cache(), options, report, note, step, checkpoint, before)
            return work.store(self._source)

    def draft(self, result: Result, is_complete: bool = True) -> bytes:
        """A snapshot object without parents."""
        counts = (('files', result.files), ('bytes', result.bytes), ('skipped', result.skipped))
        return snapshot.Snapshot(
            [
                ('root', result.root),
                snapshot.quoted('name', os.fsencode(self._name)),
                snapshot.quoted('source', os.path.realpath(self._source)),
                snapshot.quoted('host', os.fsencode(os.uname().nodename)),
                ('started', snapshot.format_time(self._started_ns)),
                ('finished', snapshot.format_time(time.time_ns())),
                *((word, str(number)) for word, number in counts),
                ('changed', str(result.changed)),
                ('damaged', str(result.damaged)),
                ('complete', 'yes' if is_complete else 'no'),
                *(('mount', line) for line in result.mounts),
                *(('drive', line) for line in result.drives),
                ('features', ' '.join(['mode owner time link device hl', *result.features])),
            ]
        ).format()

    def _checkpoints(self, writer: Writer) -> Callable[[Result], Callable[[], None]]:
        def checkpoint(so_far):
            if not self._has_checkpoints:
                return lambda: None
            key = writer.put('snapshot', self.draft(so_far, is_complete=False))
            return lambda: self._store.refs.update(f'refs/checkpoints/{self._name}', key, reason='checkpoint')

        return checkpoint

    def _before(self) -> earlier.Earlier | None:
        """What the last backup of that name may be good for; None when there is none that can be read."""
        try:
            key = self._store.refs.read(f'refs/backups/{self._name}')
            found = key and revision.read_snapshot(self._store, key)
        except errors.Error:
            return None
        if not found:
            return None
        has_damaged = found.get('damaged') not in (None, '0')
        file_name = os.path.basename(os.path.realpath(self._source))
        return earlier.Earlier(self._store.objects, found.root, has_damaged, file_name)
