"""Puts a stored tree back onto a disk, through directory descriptors, never following a symlink.

A directory's subdirectories are restored first and its files after them, in the order in which ingest packed
them.  This process reads the trees and makes the directories; when there is much to do, workers read the
contents, create the files, and set each directory's owner, mode and times last.  Until then directories are
open to their owner only.
"""

import contextlib
import copy
import errno
import functools
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from chkfs import (
    crew,
    endow,
    errors,
    fitting,
    flags,
    holes,
    missing,
    mounts,
    naming,
    ownership,
    quote,
    ranges,
    reflink,
    target,
    tree,
    walk,
    xattrs,
)
from chkfs.descent import Descent, open_below
from chkfs.objects import WHOLE_BYTES, Objects
from chkfs.survey import Survey
from chkfs.target import Target

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPELESS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV))
_NO_HARD_LINK = frozenset((errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV))
_NO_MODES = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS))  # what filesystems without them say
_SET_ID = stat.S_ISUID | stat.S_ISGID
_NO_SHARING = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS))
_SHARED_FROM = 128 << 10  # bytes: smaller objects lie in packs
_ANY_OWNER = -1, -1
_MOST_ZEROS = 256 << 20  # bytes of holes that are hashed to verify a whole file; of one with more, its pieces only
RECURSION = ('symlink', 'skip', 'bind')  # what becomes of a directory that is another one again
_BATCH_LINES = 2000
_BATCH_BYTES = 1 << 20  # of paths
_MANY_LINES = 2000  # from so many files on, workers are worth their start


class Options(NamedTuple):
    """How to restore."""

    on_collision: str = fitting.RENAME  # with names that the target cannot hold, or cannot tell apart
    transcoding: naming.Transcoding | None = None
    owners: ownership.Ownership | None = None  # None: by number
    reflink: bool = False  # share blocks with the store where both are on a filesystem that can


class _Attributes(NamedTuple):
    """What is set on something restored.

    Permission bits, owner (-1: left alone), ns since 1970 (None: left alone), and tags as endow wants them.
    """

    mode: int | None
    uid: int
    gid: int
    time_ns: int | None
    tags: tuple[str, ...]


class Outcome:
    """What came of it.  Problems and details are lines for people."""

    def __init__(self):
        self.files = 0
        self.bytes = 0
        self.problems: list[str] = []  # one for each entry not restored
        self.unset: Counter[str] = Counter()  # kind of attribute to how often it could not be set
        self.details: list[str] = []  # one for each of these
        self.damaged: list[str] = []  # one for each file that was stored damaged
        self.hopeless: int = 0  # the errno that makes going on useless
        self.lacks: list[str] = []  # what the entry at hand lacks
        self.lacking: list[str] = []  # a line for each entry that lacks something, as missing.File wants it

    def miss(self, path: bytes, error: BaseException | str) -> None:
        if isinstance(error, OSError) and error.errno in _HOPELESS:
            self.hopeless = error.errno
        reason = error if isinstance(error, str) else errors.describe(error)
        self.problems.append(f"'{quote.readable(path) or '.'}' not restored: {reason}")
        self.lacks = [missing.ENTRY]

    def cannot_set(self, kind: str, path: bytes, error: BaseException | str) -> None:
        reason = error if isinstance(error, str) else errors.describe(error)
        self.unset[kind] += 1
        self.details.append(f"'{quote.readable(path) or '.'}': {kind} not set: {reason}")
        self.lacks.append(kind)

    def keep(self, directory: bytes, line: str) -> None:
        """Ends an entry, with its line in the tree of directory: what it lacks is to be had later."""
        lacks, self.lacks = self.lacks, []
        with contextlib.suppress(errors.Damaged):
            entry = tree.parse_line(line)
            if line.startswith('./'):
                tree.check_name(entry.name)
            if entry.tag('unread') is None:  # else nobody has it
                self.lacking.append(missing.format_line(directory, line, lacks))

    def pack(self) -> tuple:
        """As crew can carry it."""
        lists = self.problems, dict(self.unset), self.details, self.damaged
        return self.files, self.bytes, *lists, self.hopeless, self.lacking


class _Level(NamedTuple):
    """A directory on the way."""

    entry: tree.Entry
    below: list[tree.Entry]  # subdirectories to come, the last first
    files: list[str]  # lines of files, not yet parsed
    others: list[tree.Entry]  # what needs to be done here: hard links, symlinks, devices, ...


class Checkout:
    """One restore.

    inside is where in its snapshot the entry is that is restored, recursion one of RECURSION.
    report takes a line for each entry not restored, detail one for each attribute not set, and keep the entry's
    line, with what it lacks, as missing.File wants it.
    """

    def __init__(
        self,
        objects: Objects,
        report: Callable[[str], None] = lambda line: None,
        detail: Callable[[str], None] = lambda line: None,
        step: Callable[[bytes, 'Checkout'], None] = lambda path, checkout: None,
        keep: Callable[[str], None] = lambda line: None,
        recursion: str = 'symlink',
        inside: bytes = b'',
        options: Options = Options(),
    ):
        self.files = 0
        self.bytes = 0
        self.missing = 0  # entries that were not restored
        self.damaged = 0  # files that were stored damaged, and are restored so
        self.unset: Counter[str] = Counter()  # kind of attribute to how often it could not be set
        self._objects, self._report, self._detail, self._step, self._keep = objects, report, detail, step, keep
        self._flags_later: list[tuple[list[bytes], tree.Entry]] = []  # names of files with several, and what they are
        # hl tag and contents to the path of the first name restored: a tag that lies costs a link, not contents
        self._first_links: dict[tuple[str, str], list[bytes]] = {}
        self._recursion, self._inside = recursion, inside
        self.binds: list[tuple[list[bytes], list[bytes]]] = []  # from, to
        self._top_fd = -1
        self._options = options
        self._fitting: fitting.Fitting | None = None  # where names may change
        self._path = b''  # of the directory at hand
        self._is_alone = False  # whether all is one entry that is no directory
        self._maker = Maker(objects, self._tick, options.owners, options.reflink)
        self._crew: crew.Crew | None = None
        # the batch: (path, lines, attributes or None, its own line) of each descriptor
        self._parts: list[tuple[bytes, list[str], tuple | None, str]] = []
        self._fds: list[int] = []
        self._batch_lines = self._batch_bytes = self._all_lines = 0

    def restore(self, entry: tree.Entry, destination: bytes) -> None:
        """Makes destination what entry is.  Raises Error unless destination is absent or, for a directory, empty."""
        shown = quote.readable(destination)
        parent, name = os.path.split(os.path.abspath(destination))
        try:
            if entry.type == 'dir':
                was_there = os.path.lexists(destination)
                fd = _make_top(destination)
                try:
                    self._look_at_target(entry, destination, fd)
                except BaseException:
                    os.close(fd)
                    if not was_there:
                        os.rmdir(destination)
                    raise
                self._restore_directory(entry, fd)
            elif os.path.lexists(destination):
                raise errors.Error(f"'{shown}' exists: remove it, or name a destination that does not")
            else:
                self._top_fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._is_alone = True
                self._maker.expect_any_owner()  # the directory may give it its own group
                self._maker.distrust()
                self._restore_other(self._top_fd, tree.Entry(name, entry.fields), [])
        except OSError as error:
            raise errors.Error(f"cannot restore to '{shown}': {errors.describe(error)}") from error
        finally:
            for fd in (*self._fds, self._top_fd):
                if fd >= 0:
                    os.close(fd)
            if self._crew is not None:
                self._crew.close()

    def _look_at_target(self, top: tree.Entry, destination: bytes, fd: int) -> None:
        """Finds out what the destination can hold, and says before anything is written what it cannot.

        Only where it is limited, or names are to be rewritten, does that need a look at all of the trees.
        """
        found = None
        try:
            found = Target(destination, fd)
            if self._options.owners is not None and self._options.owners.is_me:
                found.lacks.discard('owner')
            is_strict = self._options.on_collision == fitting.FAIL
            if found.is_limited or self._options.transcoding:
                self._fitting = fitting.Fitting(found, self._options.on_collision, self._options.transcoding)
            if found.is_limited or self._options.transcoding and is_strict:
                survey = Survey(self._objects, found, self._fitting, self._options.on_collision)
                survey.look(top)
                if is_strict and survey.first_change:
                    raise errors.Error(f'{survey.first_change}; --on-collision=rename gives it another name')
                for line in survey.lines():
                    self._report(line)
            if found.is_limited:
                self._maker.distrust(found.lacks)
        finally:
            if found is not None:
                found.close()

    def _restore_directory(self, top: tree.Entry, fd: int) -> None:
        self._top_fd = os.dup(fd)
        if not _gives_our_owner(fd):
            self._maker.expect_any_owner()
        descent = Descent(fd)
        names: list[bytes] = []  # of the directories on the way
        levels = [self._load(top, names)]
        try:
            while levels:
                level = levels[-1]
                if level.below:
                    child = level.below.pop()
                    if self._enter(descent, child, names):
                        names.append(child.name)
                        levels.append(self._load(child, names))
                    continue
                self._finish(descent.fd, level, names)
                levels.pop()
                if levels:
                    descent.leave()
                    names.pop()
            self._hand_out()
            self._settle()
            self._set_flags_of_links()
            self._bind()
        finally:
            descent.close()

    def _set_flags_of_links(self) -> None:
        """What is immutable takes no further name."""
        for names, entry in self._flags_later:
            outcome = Outcome()
            self._maker.set_flags(self._top_fd, names, entry, outcome)
            if outcome.lacks:
                outcome.keep(b'/'.join(names[:-1]), self._line_to_keep(entry, None))
            self._take(outcome.pack())

    def _load(self, entry: tree.Entry, names: list[bytes]) -> _Level:
        """Reads a directory's tree and sorts its entries by what is to be done with them."""
        path = self._path = b'/'.join(names)
        self._tick()
        level = _Level(entry, [], [], [])
        try:
            if (unread := entry.tag('unread')) is not None:
                self._miss(path, f'could not be read when it was stored ({unread})')
            if entry.key is None:
                raise errors.Damaged('a directory without a tree')
            lines = tree.lines(self._objects.read('tree', entry.key))
            if self._fitting is not None:
                lines = self._fit(self._fitting.fit(lines), path)
            for line in lines:
                if ' type=file ' in line and 'hl:' not in line:
                    level.files.append(line)
                else:
                    self._sort_in(level, line, path)
        except errors.Error as error:
            self._miss(path, error)
        level.below.reverse()
        return level

    def _fit(self, fitted: fitting.Fitted, path: bytes) -> list[str]:
        """The lines of a tree with the names that the target can hold; says what was changed."""
        for name, what in fitted.misfits:
            self._report(f"'{_shown(path, name)}': its {what} is not in the encodings named, and stays as it is")
            self.unset[f'{what} in another encoding'] += 1
        for name, new_name, line, reason in fitted.changes:
            if new_name is None:
                self._miss(path + b'/' + name if path else name, reason, line)
                continue
            self._report(f"'{_shown(path, name)}' restored as '{quote.readable(new_name)}': {reason}")
            self.unset[missing.NAME] += 1
            tags = f'{"," if " tags=" in line else " tags="}name:{quote.quote_tag(name)}'
            self._keep(missing.format_line(path, line + tags, [missing.NAME]))
        return fitted.lines

    def _sort_in(self, level: _Level, line: str, path: bytes) -> None:
        try:
            entry = tree.parse_line(line)
            tree.check_name(entry.name)
        except errors.Damaged as error:
            self._miss(path, error)
            return
        is_directory = entry.type == 'dir' and entry.tag('again') is None
        (level.below if is_directory else level.others).append(entry)

    def _enter(self, descent: Descent, entry: tree.Entry, names: list[bytes]) -> bool:
        try:
            os.mkdir(entry.name, 0o700, dir_fd=descent.fd)
            descent.enter(entry.name)
            return True
        except OSError as error:
            self._miss(b'/'.join([*names, entry.name]), error, entry.line())
            return False

    def _finish(self, fd: int, level: _Level, names: list[bytes]) -> None:
        """Restores what a directory holds besides directories and files, and hands out the rest."""
        path = b'/'.join(names)
        for other in level.others:
            self._restore_other(fd, other, names)
        files = level.files
        while len(files) > _BATCH_LINES:
            some, files = files[:_BATCH_LINES], files[_BATCH_LINES:]
            self._add(fd, path, some, None, '')
        try:
            attributes = self._maker.attributes(level.entry, fd)
        except errors.Damaged as error:
            self._miss(path, error)
            attributes = None
        if len(level.files) > _BATCH_LINES:
            self._hand_out()
            self._settle()  # a directory's times are set when nothing more will be made in it
        own_line = level.entry.line() if names else tree.Entry(b'.', level.entry.fields).line()
        self._add(fd, path, files, attributes, own_line)

    def _add(self, fd: int, path: bytes, files: list[str], attributes: _Attributes | None, own_line: str) -> None:
        self._fds.append(os.dup(fd))
        self._parts.append((path, files, attributes and tuple(attributes), own_line))
        self._batch_lines += len(files)
        self._batch_bytes += len(path)
        if (
            self._batch_lines >= _BATCH_LINES
            or self._batch_bytes >= _BATCH_BYTES
            or len(self._fds) >= crew.MOST_DESCRIPTORS
        ):
            self._hand_out()

    def _hand_out(self) -> None:
        """Has the batch done: by the crew, or, while there is little, here and now."""
        parts, fds = self._parts, self._fds
        self._all_lines += self._batch_lines
        self._parts, self._fds, self._batch_lines, self._batch_bytes = [], [], 0, 0
        if self._crew is None and self._all_lines >= _MANY_LINES:
            with self._objects.cache.put_away():
                self._crew = crew.Crew(max(2, os.cpu_count() or 1), self._start_worker, self._take, self._tick)
        if self._crew is not None:
            self._crew.submit(parts, fds)
        else:
            try:
                self._take(self._maker.make(parts, fds))
            finally:
                for fd in fds:
                    os.close(fd)

    def _start_worker(self, give_up: Callable) -> Callable:
        """In a worker: a maker with its own cache connection and frames."""
        return self._maker.reopened().make

    def _tick(self) -> None:
        self._step(self._path, self)

    def _settle(self) -> None:
        if self._crew is not None:
            self._crew.finish()

    def _take(self, result: tuple) -> None:
        """Adds what came of some work to the whole; stops when the target takes nothing more."""
        files, size, problems, unset, details, damaged, hopeless, lacking = result
        self.files += files
        self.bytes += size
        self.missing += len(problems)
        self.unset.update(unset)
        self.damaged += len(damaged)
        for line in (*problems, *damaged):
            self._report(line)
        for line in details:
            self._detail(line)
        for line in lacking:
            self._keep(line)
        if hopeless:
            raise OSError(hopeless, os.strerror(hopeless))

    def _miss(self, path: bytes, error: BaseException | str, line: str = '') -> None:
        outcome = Outcome()
        outcome.miss(path, error)
        if line:
            outcome.keep(os.path.dirname(path), line)
        self._take(outcome.pack())

    def _restore_other(self, fd: int, entry: tree.Entry, names: list[bytes]) -> None:
        """What must be done in order: a file with several names, or no file at all."""
        path = b'/'.join([*names, entry.name])
        outcome = Outcome()
        hard_link = entry.tag('hl')
        first = hard_link and self._first_links.get(_file_of(entry, hard_link))
        try:
            if first is None or not self._link(fd, entry, first, path, outcome):
                if entry.type == 'file':
                    if hard_link is not None and entry.tag('flags') is not None:
                        self._flags_later.append(([*names, entry.name], entry))
                        entry = missing.without_tags(entry, 'flags')
                    self._maker.make_file(fd, path, entry, outcome)
                elif entry.type == 'dir' and entry.tag('again') is not None:
                    self._make_again(fd, path, entry, names, outcome)
                else:
                    self._maker.make_other(fd, path, entry, names, outcome)
                if hard_link is not None and not outcome.problems:
                    self._first_links[_file_of(entry, hard_link)] = [*names, entry.name]
        except errors.Interrupted:
            raise
        except (OSError, errors.Error, OverflowError, ValueError) as error:  # ValueError: NUL in a symlink's target
            outcome.miss(path, error)
        if outcome.lacks:
            outcome.keep(b'/'.join(names), self._line_to_keep(entry, first))
        self._take(outcome.pack())

    def _make_again(self, fd: int, path: bytes, entry: tree.Entry, names: list[bytes], outcome: Outcome) -> None:
        """A directory that is another one once more: a symlink to that, nothing, or a bind mount in the end."""
        if self._recursion == 'skip':
            return
        first = quote.unquote(entry.tag('again'))
        target = os.path.relpath(b'/' + first, b'/' + self._inside)
        if target == b'..' or target.startswith(b'../'):
            outcome.miss(path, f"it is '{quote.readable(first)}' again, which is not in what is restored here")
            outcome.lacks = []  # nothing that could be made later
        elif self._recursion == 'bind':
            os.mkdir(entry.name, 0o700, dir_fd=fd)
            self.binds.append(([] if target == b'.' else target.split(b'/'), [*names, entry.name]))
        else:
            fields = entry.fields | {'tags': 'again:' + quote.quote_tag(target)}
            self._maker.make_other(fd, path, tree.Entry(entry.name, fields), names, outcome)

    def _bind(self) -> None:
        """Makes the bind mounts, when nothing more is to be made or set below them."""
        for first, names in self.binds:
            outcome, fds = Outcome(), []
            try:
                for way in (first, names):
                    fds.append(open_below(self._top_fd, way))
                mounts.bind(*fds)
            except OSError as error:
                outcome.cannot_set('bind mount', b'/'.join(names), error)
            finally:
                for fd in fds:
                    os.close(fd)
            self._take(outcome.pack())

    def _line_to_keep(self, entry: tree.Entry, first: list[bytes] | None) -> str:
        """The line of what was made, or not, in _restore_other: the tag hl names what there is to link to."""
        if self._is_alone:
            return tree.Entry(b'.', entry.fields).line()
        if first is not None:
            here = ['hl:' + quote.quote_tag(b'/'.join(first)) if tag.startswith('hl:') else tag for tag in entry.tags()]
            entry = tree.Entry(entry.name, entry.fields | {'tags': ','.join(here)})
        return entry.line()

    def _link(self, fd: int, entry: tree.Entry, first: list[bytes], path: bytes, outcome: Outcome) -> bool:
        """Links to the first name restored of the same file, if the filesystem can."""
        directory = open_below(self._top_fd, first[:-1])
        try:
            if 'hard link' in (self._maker.lacks or ()):
                raise OSError(errno.EPERM, 'the target cannot hold it')
            os.link(first[-1], entry.name, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
            outcome.cannot_set('hard link', path, error)
            return False
        finally:
            os.close(directory)
        outcome.files += entry.type == 'file'
        return True


class Maker:
    """Creates entries in open directories and sets their attributes; used by the parent and by its workers."""

    def __init__(
        self,
        objects: Objects,
        step: Callable[[], None] = lambda: None,
        owners: ownership.Ownership | None = None,
        reflink: bool = False,
    ):
        """step is called for each chunk of a file, and may raise Interrupted."""
        self._objects, self._step, self._owners = objects, step, owners
        self._shares_blocks = reflink
        self._owner = os.geteuid(), os.getegid()  # of what we make
        self._target_found: str | None = None
        self.lacks: set[str] | None = None  # kinds of entries that cannot be made; not None: nothing set is believed

    def reopened(self) -> 'Maker':
        """The same for another process."""
        found = copy.copy(self)
        found._objects, found._step = self._objects.reopened(), lambda: None
        return found

    def distrust(self, lacks: Iterable[str] = ()) -> None:
        """The target may be a limited one: what it lacks is not tried, and what was set is looked at again."""
        self.lacks = set(lacks)

    def expect_any_owner(self) -> None:
        """What owners are set of may belong to anybody so far."""
        self._owner = _ANY_OWNER

    def make(self, parts: list[tuple[bytes, list[str], tuple | None, str]], fds: list[int]) -> tuple:
        """For each directory descriptor: (its path, the lines of files to create, what to set on it then, its line)."""
        outcome = Outcome()
        for (path, lines, attributes, own_line), fd in zip(parts, fds):
            for line in lines:
                if outcome.hopeless:
                    break
                self._make_line(fd, path, line, outcome)
                if outcome.lacks:
                    outcome.keep(path, line)
            if attributes is not None:
                self._set_open(fd, attributes, path, outcome)
                if outcome.lacks:
                    outcome.keep(os.path.dirname(path), own_line)
        return outcome.pack()

    def _make_line(self, fd: int, directory: bytes, line: str, outcome: Outcome) -> None:
        path = directory
        try:
            plain = tree.parse_plain_file(line)
            found = plain or tree.parse_line(line)
            tree.check_name(found.name)
            path = directory + b'/' + found.name if directory else found.name
            is_plain = plain is not None and plain.size <= WHOLE_BYTES and self._target(fd) != endow.NTFS_3G
            if not is_plain or self._shares_blocks and plain.size >= _SHARED_FROM:
                self.make_file(fd, path, plain and tree.parse_line(line) or found, outcome)
                return
            _, mode, uid, gid, size, time_ns, key = plain
            data = self._objects.view('blob', key)
            if self._owners is None:
                attributes = mode, uid, gid, time_ns, ()
            else:
                attributes = self.attributes(tree.parse_line(line), fd)
            self._create(fd, found.name, (data,), attributes, path, outcome)
            self._count(size, len(data), path, outcome)
        except errors.Interrupted:
            raise
        except (OSError, errors.Error, OverflowError) as error:
            outcome.miss(path, error)

    def attributes(self, entry: tree.Entry, fd: int) -> _Attributes:
        """What to set on an entry below fd.  Raises Damaged."""
        mode, uid, gid = entry.mode, entry.uid, entry.gid
        if self._owners is not None:
            uid, gid = self._owners.numbers(entry)
            if self._owners.is_me and mode is not None and (entry.uid, entry.gid) != (os.geteuid(), os.getegid()):
                mode &= ~_SET_ID  # which must not come back under another owner
        return _Attributes(
            None if mode is None else mode & 0o7777,
            -1 if uid is None else uid,
            -1 if gid is None else gid,
            entry.time_ns,
            endow.wanted(entry, self._target(fd)),
        )

    def _target(self, fd: int) -> str:
        """The filesystem that all is restored to, for endow; fd: something open on it."""
        if self._target_found is None:
            self._target_found = endow.target_of(fd)
        return self._target_found

    def _read_value(self, key: str) -> bytes:
        return self._objects.read('blob', key)

    def make_file(self, fd: int, path: bytes, entry: tree.Entry, outcome: Outcome) -> None:
        """A file of any size, its contents flowing through.  Raises Error, OSError."""
        if entry.key is None:
            raise errors.Error(f'could not be read when it was stored ({entry.tag("unread")})')
        data = self._ranges(entry, 'data', path, outcome)
        holes_bytes = 0 if data is None else (entry.size or 0) - ranges.total(data)
        chunks = self._objects.chunks('blob', entry.key, whole=holes_bytes <= _MOST_ZEROS)
        fill = None
        if data is not None:
            fill = functools.partial(self._fill, chunks=chunks, data=data)
        elif self._shares_blocks:
            fill = functools.partial(self._share, chunks=chunks, key=entry.key)
        size = self._create(fd, entry.name, chunks, self.attributes(entry, fd), path, outcome, fill)
        self._count(entry.size, size, path, outcome)
        damaged = self._ranges(entry, 'damaged', path, outcome)
        if damaged:
            lost = f'{ranges.total(damaged)} bytes of it could not be read when it was stored, and are zeros'
            outcome.damaged.append(f"'{quote.readable(path)}' is damaged: {lost}: {ranges.shorten(damaged)}")

    def _ranges(self, entry: tree.Entry, tag: str, path: bytes, outcome: Outcome) -> ranges.Ranges | None:
        try:
            return walk.ranges_of(self._objects, entry, tag)
        except errors.Error as error:
            outcome.cannot_set(tag, path, error)
            return None

    def _count(self, said: int | None, size: int, path: bytes, outcome: Outcome) -> None:
        outcome.files += 1
        outcome.bytes += size
        if said not in (None, size):  # the key says what the file is: these are its bytes
            outcome.cannot_set('size', path, f'it has {size} bytes, its line says {said}')

    def make_other(self, fd: int, path: bytes, entry: tree.Entry, names: list[bytes], outcome: Outcome) -> None:
        """A symlink, device, fifo or socket; for a directory that is another one again, a symlink to that."""
        attributes, kind = self.attributes(entry, fd), entry.type
        if self.lacks and ('link' if kind == 'dir' else kind) in self.lacks:
            raise errors.Error('the target cannot hold it')
        if self._becomes_reparse_point(fd, entry):
            endow.make_reparse_point(fd, entry)
        elif kind == 'link':
            os.symlink(entry.link, entry.name, dir_fd=fd)
        elif kind == 'dir':
            again = quote.unquote(entry.tag('again'))
            os.symlink(os.path.relpath(b'/' + again, b'/' + b'/'.join(names)), entry.name, dir_fd=fd)
        elif kind == 'fifo':
            os.mkfifo(entry.name, 0o600, dir_fd=fd)
        elif kind == 'socket':
            os.mknod(entry.name, stat.S_IFSOCK | 0o600, dir_fd=fd)
        elif kind in ('char', 'block'):
            type = stat.S_IFCHR if kind == 'char' else stat.S_IFBLK
            os.mknod(entry.name, type | 0o600, os.makedev(*entry.device), dir_fd=fd)
        else:
            raise errors.Damaged(f'unknown type {kind[:80]!r}')
        self._set_by_name(fd, entry, attributes, path, outcome)

    def set(self, fd: int, entry: tree.Entry, path: bytes, outcome: Outcome) -> None:
        """Sets what belongs to an entry that is there already, in the directory fd.  Raises OSError, Damaged."""
        attributes = self.attributes(entry, fd)
        if entry.type not in ('file', 'dir'):
            self._set_by_name(fd, entry, attributes, path, outcome)
            return
        found = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        try:
            lifted = flags.lift(found)
            self._set_open(found, attributes, path, outcome)
            if lifted:
                flags.put(found, lifted)
        finally:
            os.close(found)

    def set_flags(self, top: int, names: list[bytes], entry: tree.Entry, outcome: Outcome) -> None:
        """Sets the inode flags of a file that has been made, below the directory top."""
        path = b'/'.join(names)
        try:
            directory = open_below(top, names[:-1])
            try:
                file = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            finally:
                os.close(directory)
        except OSError as error:
            outcome.cannot_set('flags', path, error)
            return
        try:
            tags = tuple(tag for tag in entry.tags() if tag.startswith('flags:'))
            endow.set_last(file, '', tags, self._read_value, _failing(outcome, path))
        finally:
            os.close(file)

    def _create(
        self,
        fd: int,
        name: bytes,
        chunks,
        attributes: tuple,
        path: bytes,
        outcome: Outcome,
        fill: Callable[[int], int] | None = None,
    ) -> int:
        """Gives the size in bytes.  fill writes the contents, if not simply the chunks, and gives it."""
        file = os.open(name, _CREATE, 0o600, dir_fd=fd)
        try:
            if attributes[-1]:
                endow.set_before_contents(file, attributes[-1])
            size = self._write(file, chunks) if fill is None else fill(file)
            self._set_open(file, attributes, path, outcome)
            return size
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)  # half a file must not look like a whole one
            raise
        finally:
            os.close(file)

    def _write(self, file: int, chunks) -> int:
        size = 0
        for chunk in chunks:
            self._step()
            size += len(chunk)
            written = os.write(file, chunk)
            while written < len(chunk):
                written += os.write(file, memoryview(chunk)[written:])
        return size

    def _share(self, file: int, chunks, key: str) -> int:
        """Has the file share the blocks of an object that is a plain file; else writes it."""
        source = self._objects.plain_file('blob', key)
        try:
            if source is not None:
                return reflink.share(file, source, key)
        except OSError as error:
            self._shares_blocks = error.errno not in _NO_SHARING
        except errors.Damaged:
            pass  # another copy may be whole
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        return self._write(file, chunks)

    def _fill(self, file: int, chunks, data: ranges.Ranges) -> int:
        """Writes a sparse file; gives its size.

        Where so much of it is zeros that the whole is not hashed, they must be where the holes are.
        """
        filler, size = holes.Filler(file, data), 0
        for chunk in chunks:
            self._step()
            filler.write(chunk)
            size += len(chunk)
        filler.finish()
        if filler.misplaced_bytes and size - ranges.total(data) > _MOST_ZEROS:
            raise errors.Damaged('its pieces are not where its data is')
        return size

    def _set_open(self, fd: int, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """Owner, then mode (which a change of owner clears), then the rest, of something open."""
        mode, uid, gid, time_ns, tags = attributes
        has_owner = True
        if (uid, gid) != self._owner and (uid, gid) != _ANY_OWNER:
            try:
                os.fchown(fd, uid, gid)
            except (OSError, OverflowError) as error:
                has_owner = False
                mode = _without_owner(mode, path, error, outcome)
        try:
            if mode is not None:
                os.fchmod(fd, mode)
        except OSError as error:
            outcome.cannot_set('mode', path, error)
        if tags:
            fail = _failing(outcome, path)
            endow.set_first(fd, tags, self._read_value, fail, has_owner)
        try:
            if time_ns is not None:
                os.utime(fd, ns=endow.times(tags, time_ns))
        except (OSError, OverflowError, errors.Damaged) as error:
            outcome.cannot_set('time', path, error)
        if tags:
            endow.set_last(fd, self._target(fd), tags, self._read_value, fail)
        if self.lacks is not None:
            self._look_again(os.fstat(fd), attributes, path, outcome)

    def _set_by_name(self, fd: int, entry: tree.Entry, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """The same for what cannot be opened.  Nobody else may write into the directory yet: the name is safe."""
        mode, uid, gid, time_ns, tags = attributes
        target, fail = xattrs.path_below(fd, entry.name), _failing(outcome, path)
        try:
            if (uid, gid) != self._owner and (uid, gid) != _ANY_OWNER:
                os.chown(entry.name, uid, gid, dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            mode = _without_owner(mode, path, error, outcome)
        try:
            if mode is not None and entry.type not in ('link', 'dir'):
                os.chmod(entry.name, mode, dir_fd=fd)
        except OSError as error:
            outcome.cannot_set('mode', path, error)
        endow.set_first(target, tags, self._read_value, fail, has_owner=True)
        try:
            if time_ns is not None:
                os.utime(entry.name, ns=endow.times(tags, time_ns), dir_fd=fd, follow_symlinks=False)
        except (OSError, OverflowError, errors.Damaged) as error:
            outcome.cannot_set('time', path, error)
        endow.set_last(target, self._target(fd), tags, self._read_value, fail)
        if self.lacks is not None and not self._becomes_reparse_point(fd, entry):  # FUSE wants no new type of anything
            status = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                attributes = None, *attributes[1:]
            self._look_again(status, attributes, path, outcome)

    def _becomes_reparse_point(self, fd: int, entry: tree.Entry) -> bool:
        """Whether it is made as something else, and shows as a link when it has its reparse data."""
        is_one = entry.type == 'link' and entry.tag('ntfs.reparse') is not None
        return is_one and self._target(fd) == endow.NTFS_3G

    def _look_again(self, status: os.stat_result, attributes: tuple, path: bytes, outcome: Outcome) -> None:
        """Says what was set in vain: some filesystems take everything, and keep nothing."""
        mode, uid, gid, time_ns = attributes[:4]
        found = {
            'owner': uid in (-1, status.st_uid) and gid in (-1, status.st_gid),
            'mode': mode in (None, stat.S_IMODE(status.st_mode)) or 'set-id bit' in outcome.lacks,
            'time': time_ns in (None, status.st_mtime_ns),
        }
        for kind, is_set in found.items():
            if not is_set and kind not in outcome.lacks:
                outcome.cannot_set(kind, path, 'the target does not keep it')


def _shown(path: bytes, name: bytes) -> str:
    return quote.readable(path + b'/' + name if path else name)


def _file_of(entry: tree.Entry, hard_link: str) -> tuple[str, str]:
    """What names of one file have in common."""
    contents = (entry.fields.get(word, '') for word in ('type', 'sha256digest', 'link', 'device'))
    return hard_link, ' '.join(contents)


def _without_owner(mode: int | None, path: bytes, error: BaseException, outcome: Outcome) -> int | None:
    """The mode to set when the owner could not be: a set-id bit must not come back under another one."""
    outcome.cannot_set('owner', path, error)
    if mode is None or not mode & _SET_ID:
        return mode
    outcome.cannot_set('set-id bit', path, 'the owner could not be set')
    return mode & ~_SET_ID


def _make_top(destination: bytes) -> int:
    """A descriptor of an empty directory that is ours: nobody else can get into it until its owner and mode are set."""
    try:
        os.mkdir(destination, 0o700)
        is_new = is_private = True
    except FileExistsError:
        is_new = is_private = False
    if not os.path.isdir(destination) or not _is_empty(destination):
        raise _not_empty(destination)
    fd = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        target.remove_remains(fd)
        if not _gives_our_owner(fd):
            is_ours = is_new or os.fstat(fd).st_uid == os.geteuid()  # new: where all belongs to whoever mounted it
            with contextlib.suppress(OSError) if is_ours else contextlib.nullcontext():
                os.fchown(fd, os.geteuid(), os.getegid())
            is_private = False
        if not is_private:
            _close_to_others(fd)
        if os.listdir(fd):
            raise _not_empty(destination)
        return fd
    except BaseException:
        os.close(fd)
        raise


def _is_empty(destination: bytes) -> bool:
    """But for what a dead run tried there."""
    return all(name.startswith(target.PREFIX) for name in os.listdir(destination))


def _gives_our_owner(fd: int) -> bool:
    """Whether what is made in a directory belongs to our user and group."""
    status = os.fstat(fd)
    return (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid()) and not status.st_mode & stat.S_ISGID


def _close_to_others(fd: int) -> None:
    try:
        os.fchmod(fd, 0o700)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def _not_empty(destination: bytes) -> errors.Error:
    shown = quote.readable(destination)
    return errors.Error(f"'{shown}' is not an empty directory: empty it, or name a destination that does not exist")


def _failing(outcome: Outcome, path: bytes) -> endow.Fail:
    """Takes a kind of attribute and why it could not be set."""
    return lambda kind, error: outcome.cannot_set(kind, path, error)
