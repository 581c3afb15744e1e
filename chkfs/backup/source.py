"""The source of an ingest as a whole: what of it cannot be had, and whether it is there at all."""

import errno
import os

from chkfs import errors
from chkfs.backup.account import Account
from chkfs.backup.level import Level
from chkfs.system.descent import open_below
from chkfs.system.patience import Patience
from chkfs.text import quote

_GONE = frozenset(  # what a filesystem may answer that is not there any more
    (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ESTALE, errno.ESHUTDOWN, errno.ENOMEDIUM)
)


class Source:
    """patience is for what may never answer; close() ends it too."""

    def __init__(self, account: Account, read_timeout: float):
        """read_timeout: seconds, 0 for never."""
        self._account = account
        self.patience = Patience(read_timeout, account.tick)
        self.path = b''  # absolute
        self._fd = -1

    def begin(self, path: bytes, fd: int) -> None:
        """path: absolute, of the top; fd: of the directory that is the top, or holds the one file."""
        self.path, self._fd = path, os.dup(fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self.patience.rest()

    def open(self, level: Level) -> int:
        """Opens a directory once more, away from the walk."""
        return self.patience.call(open_below, self._fd, level.path.split(b'/') if level.path else [])

    def skip(self, level: Level, path: bytes, error: OSError) -> None:
        """Of an entry, or of the directory itself: it cannot be stored, or not whole."""
        self.check(level, error.errno)
        self._account.result.skipped += 1
        level.is_whole = False
        what = 'vanished' if error.errno == errno.ENOENT else f'cannot be read: {errors.describe(error)}'
        self._account.report(f"'{quote.readable(path) or '.'}' {what}")

    def check(self, level: Level, number: int | None) -> None:
        """After an error of that number: raises Gone when it is not the one entry, but the whole filesystem."""
        if number not in _GONE:
            return
        point = level.filesystem.mount_point
        try:
            self.patience.call(_look_into, self._fd)
            self.patience.call(_look_into, point)
        except OSError as error:
            if error.errno in _GONE:
                raise errors.Gone(f"'{quote.readable(point)}' is gone: {errors.describe(error)}") from error


def _look_into(directory: bytes | int) -> None:
    with os.scandir(directory) as entries:
        next(entries, None)
