"""Sets in a restored directory what could not be set when it was restored: missing.File's lines, made true.

Each entry is looked for at its path, no symlink followed, and must be of the type that its line says.  What is
there already as it should be stays so, so applying twice does no harm.  Directories come after all else, the
deepest first, and names that were changed are given back last.
"""

import contextlib
import errno
import filecmp
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable

from chkfs import errors
from chkfs.restore import destination, missing
from chkfs.restore.maker import Maker, Outcome
from chkfs.system import metadata, xattrs
from chkfs.system.descent import open_below
from chkfs.text import key as keys
from chkfs.text import quote, tree

_HARD_LINK = 'hard link'
_LINKED_BESIDE = b'.chkfs-link'  # a link before it takes the place of the copy


class Apply:
    """One run.  report takes a line for each problem."""

    def __init__(self, maker: Maker, report: Callable[[str], None]):
        self.entries = 0  # that were looked at
        self.problems = 0
        self._maker, self._report = maker, report
        maker.expect_any_owner()
        maker.distrust()
        self._top_name = b''  # of what is no directory
        self._top_fd = -1

    def run(self, entries: Iterable[tree.Entry], path: bytes) -> None:
        """path: of the destination.  Raises Error when it cannot be opened, or the entries cannot be read."""
        entries = iter(entries)
        first = list(itertools.islice(entries, 1))
        directories, renamed = [], []
        try:
            above, self._top_name = destination.split(path)
            # for one that is no directory, which is all of its list, its own name leads to it
            is_alone = bool(first) and first[0].name == b'.' and first[0].type != 'dir'
            self._top_fd = os.open(above if is_alone else path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for entry in itertools.chain(first, entries):
                if missing.NAME in missing.kinds(entry):
                    renamed.append(entry)
                if entry.type == 'dir' and entry.tag('again') is None:
                    directories.append(entry)
                elif missing.kinds(entry):
                    self._try(self._apply, entry)
            for entry in sorted(directories, key=_depth, reverse=True):
                if missing.kinds(entry):
                    self._try(self._apply, entry)
            for entry in sorted(renamed, key=_depth, reverse=True):
                self._try(self._rename, entry)
        except OSError as error:
            raise errors.Error(f"cannot open '{quote.readable(path)}': {errors.describe(error)}") from error
        finally:
            if self._top_fd >= 0:
                os.close(self._top_fd)

    def _try(self, do: Callable, entry: tree.Entry) -> None:
        *above, name = entry.name.split(b'/') if entry.name != b'.' else [self._name_of_top(entry)]
        self.entries += do != self._rename
        outcome = Outcome()
        try:
            fd = open_below(self._top_fd, above)
        except OSError as error:
            self._say(entry.name, errors.describe(error))
            return
        try:
            do(fd, tree.Entry(name, missing.without_tags(entry, 'missing', 'name').fields), entry, outcome)
        except errors.Interrupted:
            raise
        except (OSError, errors.Error, OverflowError, ValueError) as error:
            self._say(entry.name, errors.describe(error))
        finally:
            os.close(fd)
        for line in outcome.problems + outcome.details:
            self._report(line)
            self.problems += 1

    def _name_of_top(self, entry: tree.Entry) -> bytes:
        return b'.' if entry.type == 'dir' else self._top_name

    def _apply(self, fd: int, entry: tree.Entry, said: tree.Entry, outcome: Outcome) -> None:
        lacks = missing.kinds(said)
        with _SameTimes(fd):
            if _kind(fd, entry.name) is None and missing.ENTRY in lacks:
                if self._make(fd, entry, said, outcome):
                    return
            if _kind(fd, entry.name) != ('link' if entry.tag('again') is not None else entry.type):
                raise errors.Error(f'is no {entry.type}')
            if entry.type == 'dir' and missing.ENTRY in lacks and entry.tag('again') is None and _is_empty(fd, entry):
                raise errors.Error('is empty, and what it held is not known: restore it again')
            if _HARD_LINK in lacks:
                self._link(fd, entry)
        if _gives_rights(entry) and not _is_still(fd, entry.name, entry):
            raise errors.Error('is not what it was: it gets no set-id bit or capability, nor anything else')
        self._maker.set(fd, entry, said.name, outcome)

    def _make(self, fd: int, entry: tree.Entry, said: tree.Entry, outcome: Outcome) -> bool:
        """Makes what was not there, with all that belongs to it; False when it is a link to what is there."""
        if entry.tag('hl') is not None:
            with contextlib.suppress(FileNotFoundError):
                if self._link_to_first(fd, entry):
                    return False
        if entry.type == 'file':
            self._maker.make_file(fd, said.name, entry, outcome)
        elif entry.type == 'dir' and entry.tag('again') is None:
            raise errors.Error('is not there, nor is what it held: restore it again')
        else:
            self._maker.make_other(fd, said.name, entry, said.name.split(b'/')[:-1], outcome)
        return True

    def _link(self, fd: int, entry: tree.Entry) -> None:
        """Puts a link to the first name in the place of a copy that is still the same."""
        directory, first = self._first(entry)
        try:
            here, there = _look(fd, entry.name), _look(directory, first)
            if os.path.samestat(here, there):
                return
            if stat.S_IFMT(here.st_mode) != stat.S_IFMT(there.st_mode):
                raise errors.Error('is not of the type any more that its first name has')
            paths = xattrs.path_below(fd, entry.name), xattrs.path_below(directory, first)
            if entry.type == 'file' and not filecmp.cmp(*paths, shallow=False):
                raise errors.Error('is not the same any more as the file that it was a name of')
            try:
                os.link(first, _LINKED_BESIDE, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
            except FileExistsError:  # left by a run that died here
                if not os.path.samestat(_look(fd, _LINKED_BESIDE), there):
                    raise errors.Error(f"'{quote.readable(_LINKED_BESIDE)}' is in the way: move it elsewhere") from None
            os.rename(_LINKED_BESIDE, entry.name, src_dir_fd=fd, dst_dir_fd=fd)
        finally:
            os.close(directory)

    def _link_to_first(self, fd: int, entry: tree.Entry) -> bool:
        """False where something else has that name."""
        directory, first = self._first(entry)
        try:
            if not _is_still(directory, first, entry):
                return False
            os.link(first, entry.name, src_dir_fd=directory, dst_dir_fd=fd, follow_symlinks=False)
            return True
        finally:
            os.close(directory)

    def _first(self, entry: tree.Entry) -> tuple[int, bytes]:
        """Directory, as a new descriptor, and name of the first name of a hard-linked file."""
        *above, name = quote.unquote(entry.tag('hl') or '').split(b'/')
        for part in (*above, name):
            tree.check_name(part)
        return open_below(self._top_fd, above), name

    def _rename(self, fd: int, entry: tree.Entry, said: tree.Entry, outcome: Outcome) -> None:
        """Gives an entry the name back that its target could not hold."""
        name = quote.unquote(said.tag('name') or '')
        tree.check_name(name)
        if _kind(fd, entry.name) is None and _kind(fd, name) == entry.type:
            return
        if _kind(fd, name) is not None:
            raise errors.Error(f"cannot be named '{quote.readable(name)}' again: that is there")
        with _SameTimes(fd):
            os.rename(entry.name, name, src_dir_fd=fd, dst_dir_fd=fd)

    def _say(self, path: bytes, why: str) -> None:
        self._report(f"'{quote.readable(path)}': {why}")
        self.problems += 1


class _SameTimes:
    """Whatever is made in a directory, its times stay."""

    def __init__(self, fd: int):
        self._fd = fd

    def __enter__(self) -> None:
        self._before = os.fstat(self._fd)

    def __exit__(self, *_) -> None:
        after = os.fstat(self._fd)
        if after.st_mtime_ns != self._before.st_mtime_ns:
            try:
                os.utime(self._fd, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EACCES):
                    raise


def _depth(entry: tree.Entry) -> tuple[int, bytes]:
    return (0, b'') if entry.name == b'.' else (entry.name.count(b'/') + 1, entry.name)


def _look(fd: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=fd, follow_symlinks=False)


def _kind(fd: int, name: bytes) -> str | None:
    try:
        return metadata.KINDS.get(stat.S_IFMT(_look(fd, name).st_mode))
    except FileNotFoundError:
        return None


def _gives_rights(entry: tree.Entry) -> bool:
    """Whether it is a program that runs as somebody else, which other contents must never do."""
    mode, tags = entry.mode or 0, entry.tags()
    is_set_id = mode & (stat.S_ISUID | stat.S_ISGID) != 0
    return entry.type == 'file' and (is_set_id or any(tag.startswith('xattr:security.capability:') for tag in tags))


def _is_empty(fd: int, entry: tree.Entry) -> bool:
    """Whether a directory is, and should not be."""
    if entry.key == keys.of(tree.HEADER.encode()):
        return False
    directory = open_below(fd, [entry.name])
    try:
        return not os.listdir(directory)
    finally:
        os.close(directory)


def _is_still(fd: int, name: bytes, entry: tree.Entry) -> bool:
    """Whether what has a name is what an entry says, apart from its attributes."""
    if _kind(fd, name) != entry.type:
        return False
    if entry.type == 'link':
        return os.readlink(name, dir_fd=fd) == entry.link
    if entry.type in ('char', 'block'):
        return _look(fd, name).st_rdev == os.makedev(*entry.device)
    if entry.type != 'file':
        return True
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd), 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() == entry.key
