"""Puts a stored tree back onto a disk, through directory descriptors, never following a symlink.

A directory's subdirectories are restored first and its files after them, in the order in which ingest packed
them.  This process reads the trees and makes the directories; when there is much to do, workers read the
contents, create the files, and set each directory's owner, mode and times last.  Until then directories are
open to their owner only.
"""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from chkfs import errors
from chkfs.restore import destination, fitting, missing, naming, ownership
from chkfs.restore.batches import Batches
from chkfs.restore.maker import Maker, Outcome
from chkfs.restore.survey import Survey
from chkfs.restore.target import Target
from chkfs.storage.objects import Objects
from chkfs.system import mounts
from chkfs.system.descent import Descent, open_below
from chkfs.text import quote, tree

# EACCES: the first name's directory has its mode already, and lets nobody through
_NO_HARD_LINK = frozenset((errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV, errno.EACCES))
RECURSION = ('symlink', 'skip', 'bind')  # what becomes of a directory that is another one again


class Options(NamedTuple):
    """How to restore."""

    on_collision: str = fitting.RENAME  # with names that the target cannot hold, or cannot tell apart
    transcoding: naming.Transcoding | None = None
    owners: ownership.Ownership | None = None  # None: by number
    reflink: bool = False  # share blocks with the store where both are on a filesystem that can


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
        self.left_out: Counter[str] = Counter()  # kind that only FAT and NTFS have to entries that had it; not unset
        self._objects, self._report, self._detail, self._step, self._keep = objects, report, detail, step, keep
        self._flags_later: list[tuple[list[bytes], tree.Entry]] = []  # names of files with several, and what they are
        # hl tag and contents to the path of the first name restored: a tag that lies costs a link, not contents
        self._first_links: dict[tuple[str, str], list[bytes]] = {}
        self._lost_links: dict[tuple[str, str], list[bytes]] = {}  # the same of those that lack something
        self._recursion, self._inside = recursion, inside
        self.binds: list[tuple[list[bytes], list[bytes]]] = []  # from, to
        self._top_fd = -1
        self._options = options
        self._fitting: fitting.Fitting | None = None  # where names may change
        self._path = b''  # of the directory at hand
        self._is_alone = False  # whether all is one entry that is no directory
        self._maker = Maker(objects, self._tick, options.owners, options.reflink)
        self._batches = Batches(self._maker, objects, self._take, self._tick)

    def restore(self, entry: tree.Entry, path: bytes) -> None:
        """Makes what entry is, at path.  Raises Error unless nothing is there or, for a directory, an empty one."""
        try:
            if entry.type == 'dir':
                fd = destination.open_directory(path, lambda fd: self._look_at_target(entry, path, fd))
                self._restore_directory(entry, fd)
            else:
                self._top_fd, name = destination.open_parent(path)
                self._is_alone = True
                self._maker.expect_any_owner()  # the directory may give it its own group, and ACLs
                self._maker.distrust()
                self._restore_other(self._top_fd, tree.Entry(name, entry.fields), [])
        except OSError as error:
            raise errors.Error(f"cannot restore to '{quote.readable(path)}': {errors.describe(error)}") from error
        finally:
            if self._top_fd >= 0:
                os.close(self._top_fd)
            self._batches.close()

    def _look_at_target(self, top: tree.Entry, path: bytes, fd: int) -> None:
        """Finds out what the destination can hold, and says before anything is written what it cannot.

        Only where it is limited, or names are to be rewritten, does that need a look at all of the trees.
        """
        found = None
        try:
            found = Target(path, fd)
            if self._options.owners is not None and self._options.owners.is_me:
                found.lacks.discard('owner')
            is_strict = self._options.on_collision == fitting.FAIL
            if found.is_limited or self._options.transcoding:
                self._fitting = fitting.Fitting(found, self._options.on_collision, self._options.transcoding)
            if found.is_limited or self._options.transcoding and is_strict:
                survey = Survey(self._objects, found, self._fitting, self._options.on_collision)
                survey.look(top, self._tick)
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
        if not destination.gives_our_owner(fd):
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
            self._batches.finish()
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
            self._miss(path, error, _own_line(entry, names))
        level.below.reverse()
        return level

    def _fit(self, fitted: fitting.Fitted, path: bytes) -> list[str]:
        """The lines of a tree with the names that the target can hold; says what was changed."""
        for name, what in fitted.misfits:
            self._report(f"'{_shown(path, name)}': its {what} is not in the encodings named, and stays as it is")
            self.unset[f'{what} in another encoding'] += 1
        for name, new_name, line, reason in fitted.changes:
            if new_name is None:
                self._miss(path + b'/' + name if path else name, reason, self._with_link_from_here(line))
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
        try:
            attributes = tuple(self._maker.attributes(level.entry, fd))
        except errors.Damaged as error:
            self._miss(path, error)
            attributes = None
        self.left_out.update(self._maker.left_out(level.entry, fd))
        self._batches.add(fd, path, level.files, attributes, _own_line(level.entry, names))

    def _tick(self) -> None:
        self._step(self._path, self)

    def _take(self, result: tuple) -> None:
        """Adds what came of some work to the whole; stops when the target takes nothing more."""
        files, size, problems, unset, details, damaged, left_out, hopeless, lacking = result
        self.files += files
        self.bytes += size
        self.missing += len(problems)
        self.unset.update(unset)
        self.left_out.update(left_out)
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
                    if hard_link is not None and entry.tag('flags') is not None and not self._is_alone:
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
            if first is None and hard_link is not None:
                first = self._lost_links.setdefault(_file_of(entry, hard_link), [*names, entry.name])
            outcome.keep(b'/'.join(names), self._line_to_keep(entry, first))
        self._take(outcome.pack())

    def _make_again(self, fd: int, path: bytes, entry: tree.Entry, names: list[bytes], outcome: Outcome) -> None:
        """A directory that is another one once more: a symlink to that, nothing, or a bind mount in the end."""
        if self._recursion == 'skip':
            return
        first = quote.unquote(entry.tag('again'))
        target = self._from_here(first)
        if target is None:
            outcome.miss(path, f"it is '{quote.readable(first)}' again, which is not in what is restored here")
            outcome.lacks = []  # nothing that could be made later
        elif self._recursion == 'bind':
            os.mkdir(entry.name, 0o700, dir_fd=fd)
            self.binds.append(([] if target == b'.' else target.split(b'/'), [*names, entry.name]))
        else:
            fields = entry.fields | {'tags': 'again:' + quote.quote_tag(target)}
            self._maker.make_other(fd, path, tree.Entry(entry.name, fields), names, outcome)

    def _from_here(self, path: bytes) -> bytes | None:
        """A path in the snapshot as one from what is restored; None for what is not in that."""
        found = os.path.relpath(b'/' + path, b'/' + self._inside)
        return None if found == b'..' or found.startswith(b'../') else found

    def _with_link_from_here(self, line: str) -> str:
        """A line whose tag hl, if there is one, says where in what is restored the first name is."""
        if 'hl:' not in line:
            return line
        entry, first = tree.parse_line(line), None
        if (hard_link := entry.tag('hl')) is None:
            return line
        with contextlib.suppress(errors.Damaged):
            first = self._from_here(quote.unquote(hard_link))
        return (missing.without_tags(entry, 'hl') if first is None else _with_first(entry, first)).line()

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
        if self._is_alone:  # and so is no name of anything here
            return tree.Entry(b'.', missing.without_tags(entry, 'hl').fields).line()
        if first is not None:
            entry = _with_first(entry, b'/'.join(first))
        return entry.line()

    def _link(self, fd: int, entry: tree.Entry, first: list[bytes], path: bytes, outcome: Outcome) -> bool:
        """Links to the first name restored of the same file, if the filesystem can."""
        directory = -1
        try:
            if 'hard link' in (self._maker.lacks or ()):
                raise OSError(errno.EPERM, 'the target cannot hold it')
            directory = open_below(self._top_fd, first[:-1])
            os.link(first[-1], entry.name, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
            outcome.cannot_set('hard link', path, error)
            return False
        finally:
            if directory >= 0:
                os.close(directory)
        outcome.files += entry.type == 'file'
        return True


def _own_line(entry: tree.Entry, names: list[bytes]) -> str:
    """The line of a directory in the list of what is missing."""
    return entry.line() if names else tree.Entry(b'.', entry.fields).line()


def _shown(path: bytes, name: bytes) -> str:
    return quote.readable(path + b'/' + name if path else name)


def _with_first(entry: tree.Entry, path: bytes) -> tree.Entry:
    """The entry, its first name at a path from what is restored."""
    tags = ['hl:' + quote.quote_tag(path) if tag.startswith('hl:') else tag for tag in entry.tags()]
    return tree.Entry(entry.name, entry.fields | {'tags': ','.join(tags)})


def _file_of(entry: tree.Entry, hard_link: str) -> tuple[str, str]:
    """What names of one file have in common."""
    contents = (entry.fields.get(word, '') for word in ('type', 'sha256digest', 'link', 'device'))
    return hard_link, ' '.join(contents)
