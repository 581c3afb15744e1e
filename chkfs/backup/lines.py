"""Makes the lines of a tree from what was listed and read, and the digest by which a directory is recognised."""

import errno
import hashlib
import os
import time

from chkfs.backup import scan
from chkfs.backup.account import Account
from chkfs.backup.level import Level
from chkfs.backup.source import Source
from chkfs.system import metadata
from chkfs.text import quote, tree

LONGEST_PATH = 16_000  # in a tag: longer than any path that can be opened, shorter than a line may be
_LONGEST_RUN_NS = 400 * 86400 * 10**9


class Lines:
    """Of one source: counts its files, and knows the first name of each file that has several."""

    def __init__(self, account: Account, source: Source, gatherer: metadata.Gatherer):
        self._result, self._source, self._gatherer = account.result, source, gatherer
        self._started_ns = time.time_ns()
        self._first_names: dict[tuple, bytes] = {}  # what _file_of gives to a path

    def note_links(self, level: Level) -> None:
        """To be called in the order of the walk, which decides which name is the first."""
        for found in level.entries:
            if found.linked is not None:
                self._first_names.setdefault(_file_of(found), level.path_of(found.name))

    def signature(self, level: Level) -> bytes:
        """A digest of all that lstat told of the entries, of the trees below, and of hard links' first names."""
        parts = []
        for found in level.entries:
            parts += (found.name, b'\0', found.attributes.encode(), found.record)
            if level.told:
                parts.append(level.told.get(found.name, '').encode())
            if found.linked is not None:
                parts += (self._first_names[_file_of(found)], b'\0')
        names = (level.entries[index].name for index in level.directories)
        parts += (f'\n{level.tags.get(name, "")}'.encode() for name in names)
        return hashlib.sha256(b''.join(parts)).digest()

    def of_file(self, level: Level, found: scan.Found, text: str, remark: str = '', is_sure: bool = True) -> str:
        """text: the file's key and tags; remark: one more, of what went wrong.

        is_sure: it need not be read again as long as it looks the same.
        """
        name, _, attributes, record, size, mtime_ns, _, linked, _ = found
        self._result.files += 1
        self._result.bytes += size
        told = level.told.get(name, '')
        key, _, tags = (text + told).partition(',')
        if told and len(text) > len(key):
            tags = tree.in_order(tags.split(','))
        if linked:
            tags = f'{self._hard_link_tag(level, found, "," + tags)},{tags}'.strip(',')
        if remark:
            tags = tree.in_order([*tags.split(','), remark] if tags else [remark])
        if remark or not is_sure or not self._is_settled(level, found):
            level.is_whole = False
        else:
            level.done[name] = record, text
        digest = f' sha256digest={key}' if key else ''
        return tree.format_lines(name, f'{attributes} size={size} time={tree.format_time(mtime_ns)}{digest}', tags)

    def of_directory(self, level: Level, found: scan.Found, unfinished: str | None = None) -> str:
        """'' for a subdirectory that vanished.  unfinished: its tags while it has no others."""
        tags = level.tags.get(found.name, unfinished)
        time_text = tree.format_time(found.mtime_ns)
        return tree.format_lines(found.name, f'{found.attributes} time={time_text}', tags) if tags else ''

    def of_other(self, fd: int, level: Level, found: scan.Found) -> str:
        """For what is neither file nor directory; '' for one that vanished."""
        name, kind = found.name, found.kind
        rest = f'{found.attributes} time={tree.format_time(found.mtime_ns)}'
        tags = level.told.get(name) or self._gatherer.of_name(fd, name, level.kinds)
        if kind == 'link':
            try:
                target = os.readlink(name, dir_fd=fd)
                rest += f' link={quote.quote(self._target(level, target) if ",ntfs.reparse:" in tags else target)}'
            except OSError as error:
                self._source.skip(level, level.path_of(name), error)
                return ''
        elif kind in ('char', 'block'):
            device = scan.unpack(found.record).device
            rest += f' device=linux,{os.major(device)},{os.minor(device)}'
        if not self._is_settled(level, found):
            level.is_whole = False
        return tree.format_lines(name, rest, f'{self._hard_link_tag(level, found, tags)}{tags}'.removeprefix(','))

    def _target(self, level: Level, target: bytes) -> bytes:
        """Where a junction leads: ntfs-3g shows it as a link to below the place where it is mounted."""
        top = level.filesystem.mount_point.rstrip(b'/') + b'/'
        directory = os.path.join(self._source.path, level.path)
        return os.path.relpath(target, directory) if target.startswith(top) else target

    def _hard_link_tag(self, level: Level, found: scan.Found, tags: str) -> str:
        """Every name of a file carries the path of the first one; where that is too long for a line, its digest.

        tags: the others.  NTFS counts a short name as a link.
        """
        if found.linked is None or found.links == 2 and ',short:' in tags:
            return ''
        first_name = self._first_names.setdefault(_file_of(found), level.path_of(found.name))
        text = quote.quote_tag(first_name)
        return f'hl:{text if len(text) <= LONGEST_PATH else hashlib.sha256(first_name).hexdigest()}'

    def _is_settled(self, level: Level, found: scan.Found) -> bool:
        """Whether a later change would surely show: false for times since this run began, less the clock's grain."""
        oldest = self._started_ns - level.filesystem.granularity_ns
        if found.mtime_ns < oldest and found.ctime_ns < oldest:
            return True
        newest = oldest + _LONGEST_RUN_NS  # times of the far future are as good as those of the past
        return not (oldest <= found.mtime_ns <= newest or oldest <= found.ctime_ns <= newest)


def unread(error: OSError) -> str:
    """The tag of what could not be read."""
    return f'unread:{errno.errorcode.get(error.errno, error.errno)}'


def _file_of(found: scan.Found) -> tuple:
    """What names of one file have in common; by its numbers alone a file may be taken for one that is gone."""
    return found.linked, found.size, found.mtime_ns
