"""Refs: names that point at snapshots, one file each, and the log of every value that each ever had.

An update takes flock on the ref's log, compares, appends to the log, and replaces the file; the kernel lets go
of the lock when a process dies.  Names follow git-check-ref-format(1).  chkfs-store(5) is the authority.
"""

import contextlib
import fcntl
import os
import pwd
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import publish
from chkfs.text import key as keys
from chkfs.text import quote

NONE = '0' * keys.LENGTH  # the value, in logs, of a ref that does not exist yet
SHORTHANDS = ('{}', 'refs/{}', 'refs/tags/{}', 'refs/backups/{}', 'refs/recovered/{}', 'refs/checkpoints/{}')

_SHORTENED = ('refs/backups/{}', 'refs/tags/{}', 'refs/{}')

_FORBIDDEN = frozenset(' ~^:?*[\\\x7f') | frozenset(map(chr, range(32)))


class Change(NamedTuple):
    """One line of a ref's log; time in seconds since 1970."""

    old: str
    new: str
    time: int
    who: str
    reason: str


def check_name(name: str) -> None:
    """Raises Usage unless name is a full ref name that git would allow too."""
    parts = name.split('/')
    if (
        len(parts) < 2
        or parts[0] != 'refs'
        or any(not part or part.startswith('.') or part.endswith('.lock') for part in parts)
        or '..' in name
        or '@{' in name
        or name.endswith('.')
        or not _FORBIDDEN.isdisjoint(name)
    ):
        raise errors.Usage(
            f"'{name}' is not a valid ref name: refs/backups/NAME, refs/tags/NAME, "
            'without blanks and ~^:?*[\\, as chkfs-store(5) says'
        )


def tidy(name: str) -> str:
    """A file's name made fit for a ref: what git forbids becomes '-'; '' becomes 'root'."""
    text = ''.join('-' if char in _FORBIDDEN or '\udc80' <= char <= '\udcff' else char for char in name)
    text = text.replace('..', '-').replace('@{', '-').replace('/', '-').strip('.')
    return (text[:-5] + '-lock' if text.endswith('.lock') else text) or 'root'


class Refs:
    """The refs below a store's root directory (bytes path)."""

    def __init__(self, root: bytes):
        self._root = root

    def read(self, name: str) -> str | None:
        """The key that a full ref name points at, None when there is no such ref.  Raises Damaged."""
        try:
            with open(self._path(name), 'rb') as file:
                text = file.read(keys.LENGTH + 2).decode('ascii', 'replace').rstrip('\n')
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise errors.Error(f"cannot read ref '{name}': {errors.describe(error)}") from error
        if not keys.is_key(text):
            raise errors.Damaged(f"ref '{name}' does not hold a key: chkfs-fsck rebuilds it")
        return text

    def current(self, name: str) -> str | None:
        """What a ref is at; where its file is damaged, its log tells: that was written first."""
        try:
            return self.read(name)
        except errors.Damaged:
            changes = self.log(name)
            return changes[-1].new if changes else None

    def full_name(self, name: str) -> str | None:
        """The ref that a short name means: as it is, or below refs/, refs/tags/, refs/backups/, ..."""
        for pattern in SHORTHANDS:
            full = pattern.format(name)
            try:
                check_name(full)
            except errors.Usage:
                continue
            if os.path.isfile(self._path(full)):
                return full
        return None

    def short_name(self, name: str) -> str:
        """The shortest name that means this ref, and no other that is there."""
        for pattern in _SHORTENED:
            prefix = pattern.format('')
            if name.startswith(prefix) and self.full_name(name[len(prefix) :]) == name:
                return name[len(prefix) :]
        return name

    def names(self, prefix: str = 'refs/') -> Iterator[str]:
        """Every ref name that begins so, sorted.  Raises Error when a directory cannot be read."""
        found = []
        for directory, _, files in os.walk(self._path('refs'), onerror=_cannot_list):
            base = os.fsdecode(os.path.relpath(directory, self._root))
            found += [f'{base}/{os.fsdecode(name)}' for name in files if not name.startswith(b'.')]
        return iter(sorted(name for name in found if name.startswith(prefix)))

    def update(self, name: str, new: str, old: str | None = None, reason: str = '') -> None:
        """Points a ref at new.  With old, only if it holds that now ('' or NONE: if it does not exist).

        Raises Conflict when somebody else was first, Usage for a name that cannot be.
        """
        check_name(name)
        self._compare(name, old)  # before anything is made; what counts is the comparison under the lock
        with self._locked(name) as log:
            now = self._compare(name, old)
            # what is there, this ref too, may be the work of a writer that died before it synced it
            publish.sync_store(self._root)
            if now == new == self._readable(name):
                return
            self._set(name, now, new, reason, log)

    def advance(self, name: str, make: Callable[[str | None], str], reason: str = '') -> str:
        """Points a ref at make(key that it is at now, or None), a new key, which it gives.

        Nobody else moves the ref meanwhile, so what make() builds on is never out of date.  make() publishes, and
        with that all is synced that dead writers may have left visible.
        """
        check_name(name)
        with self._locked(name) as log:
            now = self.current(name)
            new = make(now)
            self._set(name, now, new, reason, log)
        return new

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[int]:
        """Holds the lock of a ref: gives its log, open for appending."""
        path, log = self._path(name), self._path('logs/' + name)
        try:
            publish.make_directories(self._root, os.path.dirname(os.path.relpath(log, self._root)))
            publish.make_directories(self._root, os.path.dirname(os.path.relpath(path, self._root)))
            fd = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise errors.Taken(f"cannot update ref '{name}': a ref cannot lie below another one") from None
        except OSError as error:
            raise errors.Error(f"cannot update ref '{name}': {errors.describe(error)}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.isdir(path):
                raise errors.Taken(f"cannot update ref '{name}': there are refs below it")
            yield fd
        finally:
            os.close(fd)

    def _set(self, name: str, now: str | None, new: str, reason: str, log: int) -> None:
        if now != new:
            publish.append(log, _log_line(now or NONE, new, reason))
        publish.replace(self._path(name), f'{new}\n'.encode())

    def log(self, name: str) -> list[Change]:
        """The changes of a full ref name, oldest first; lines that a crash cut short are passed over."""
        return [change for change in map(_parse_log_line, self._log_lines(name)) if change is not None]

    def count_unreadable_lines(self, name: str) -> int:
        """Lines of the log of a full ref name that log() passes over."""
        return sum(_parse_log_line(line) is None for line in self._log_lines(name))

    def log_value(self, name: str, reason: str) -> None:
        """Adds what a ref is at to its log, where that does not tell of it.  Raises Error."""
        with self._locked(name) as log:
            now, changes = self.read(name), self.log(name)
            if now is not None and now not in (change.new for change in changes):
                publish.append(log, _log_line(changes[-1].new if changes else NONE, now, reason))

    def _log_lines(self, name: str) -> list[str]:
        try:
            with open(self._path('logs/' + name), 'rb') as file:
                text = file.read().decode('utf-8', 'surrogateescape')
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return []
        return [line for line in text.split('\n') if line]

    def _compare(self, name: str, old: str | None) -> str | None:
        """What the ref is at.  Raises Conflict unless that is old, or old is None."""
        now = self.current(name)
        if old is not None and (now or NONE) != (old or NONE):
            raise errors.Conflict(f"ref '{name}' is at {now or 'nothing'}, not at {old or 'nothing'}")
        return now

    def _readable(self, name: str) -> str | None:
        try:
            return self.read(name)
        except errors.Damaged:
            return None

    def _path(self, name: str) -> bytes:
        return os.path.join(self._root, os.fsencode(name))


def _cannot_list(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        shown = quote.readable(os.fsencode(error.filename))
        raise errors.Error(f"cannot list the refs in '{shown}': {errors.describe(error)}") from error


def _parse_log_line(line: str) -> Change | None:
    head, _, reason = line.partition('\t')
    words = head.split(' ', 3)
    if (
        len(words) != 4
        or not keys.is_key(words[0])
        or not keys.is_key(words[1])
        or not words[2].isdecimal()
        or len(words[2]) >= 20
    ):
        return None
    return Change(words[0], words[1], int(words[2]), words[3], reason)


def _log_line(old: str, new: str, reason: str) -> bytes:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    reason = ' '.join(reason.split())
    line = f'{old} {new} {int(time.time())} {user}@{os.uname().nodename}\t{reason}\n'
    return line.encode('utf-8', 'surrogateescape')
