"""Where in a sparse file data lies: what is not there need not be read."""

import errno
import os

from chkfs import ranges

_NOT_TOLD = frozenset((errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ESPIPE))


def data(file: int, size: int) -> ranges.Ranges:
    """The ranges of an open file that are not holes; all of it on a filesystem that does not tell."""
    found, at = [], 0
    while at < size:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
            at = min(os.lseek(file, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            if error.errno in _NOT_TOLD:
                return [(0, size)]
            raise
        if start < at:
            found.append((start, at))
    return found
