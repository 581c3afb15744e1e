"""Makes lines of files that have been read, and says what went wrong with them."""

import errno
from collections.abc import Callable

from chkfs.backup import earlier, scan
from chkfs.backup.account import Account
from chkfs.backup.level import Level
from chkfs.backup.lines import Lines, unread
from chkfs.backup.reader import Outcome
from chkfs.backup.source import Source
from chkfs.system import statx
from chkfs.text import number, quote, ranges


class Outcomes:
    """What is better read once more is in failed, as long as there are retries; its directory waits for it."""

    def __init__(
        self,
        account: Account,
        source: Source,
        lines: Lines,
        look: Callable[..., scan.Found],
        before: earlier.Earlier | None,
        retries: int,
    ):
        """look: that of scan.Lister."""
        self._account, self._result, self._source = account, account.result, source
        self._file_line, self._look, self._before = lines.of_file, look, before
        self.retries = retries  # still to come
        self.failed: list[tuple[Level, scan.Found, Outcome]] = []

    def line(self, level: Level, found: scan.Found, outcome: str | tuple) -> str:
        """The tree line of a file; '' for one that vanished, and for one that is to be read again."""
        if type(outcome) is str:
            if level.expected:
                self._compare(level, found, outcome[:64])
            return self._file_line(level, found, outcome)
        return self._unusual_line(level, found, Outcome(*outcome), level.path_of(found.name))

    def _unusual_line(self, level: Level, found: scan.Found, outcome: Outcome, path: bytes) -> str:
        """The same for a file with which something is the matter."""
        if outcome.errno and self._account.is_ending:
            return ''
        self._source.check(level, outcome.errno)
        if outcome.is_bad and self.retries and outcome.errno != errno.ETIME:  # to open that again may hang for ever
            level.waits_for += 1
            self.failed.append((level, found, outcome))
            return ''
        if (was := self._better_before(found, outcome, path)) is not None:
            return self._line_of_before(level, found, outcome, path, was)
        if outcome.errno:
            error = OSError(outcome.errno, outcome.strerror)
            self._source.skip(level, path, error)
            return '' if error.errno == errno.ENOENT else self._file_line(level, found, '', unread(error))
        if outcome.damaged:
            lost = ranges.total(outcome.damaged)
            self._say(path, f'is damaged: {number.of(lost, "byte")} lost: {ranges.shorten(outcome.damaged)}')
            self._result.damaged += 1
        if outcome.status is not None:
            found = self._look(statx.Status(*outcome.status), found.name, level.filesystem)
            level.is_whole = False  # its signature is that of the listing
        if outcome.has_changed:
            return self._line_of_changed(level, found, outcome, path)
        return self._file_line(level, found, outcome.text, is_sure=not outcome.damaged)

    def _line_of_changed(self, level: Level, found: scan.Found, outcome: Outcome, path: bytes) -> str:
        self._say(path, 'changed while it was read: stored as it was last seen')
        self._result.changed += 1
        record = scan.unpack(found.record)._replace(size=outcome.size)  # the line must say what is stored
        found = found._replace(record=scan.pack(*record), size=outcome.size)
        return self._file_line(level, found, outcome.text, 'changed:1')

    def _better_before(self, found: scan.Found, outcome: Outcome, path: bytes) -> earlier.Text | None:
        """What was stored of a file of which more could be read for the backup before."""
        if not outcome.is_bad or self._before is None or outcome.status is not None:
            return None
        was = self._before.text(path, found.size, found.mtime_ns)
        return was if was is not None and (outcome.errno or not was.damaged) else None

    def _line_of_before(self, level: Level, found: scan.Found, outcome: Outcome, path: bytes, was: earlier.Text) -> str:
        why = outcome.strerror or f'{number.of(ranges.total(outcome.damaged), "byte")} lost'
        self._say(path, f'cannot be read as well as before: {why}: kept as it was stored then')
        self._result.damaged += bool(was.damaged)
        return self._file_line(level, found, was.bare if found.name in level.told else was.text, is_sure=False)

    def _compare(self, level: Level, found: scan.Found, key: str) -> None:
        """Says so when a file that was read for that is not what was known of it."""
        known = level.expected.get(found.name, key)[:64]
        if known != key:
            self._result.differing += 1
            self._say(
                level.path_of(found.name),
                'has other contents than before, though its size and times are the same: the drive, or '
                f'something else, changed it silently; stored as it is now, before it was {known}',
            )

    def _say(self, path: bytes, what: str) -> None:
        self._account.report(f"'{quote.readable(path)}' {what}")
