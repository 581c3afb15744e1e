"""What a filesystem tells of an entry besides its contents, as the tags of a tree's line (see chkfs-tree(5))."""

import base64
import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable

from chkfs import errors
from chkfs.system import dos, flags, ntfs, statx, xattrs
from chkfs.text import quote, tree

# kinds of metadata that not every filesystem has, as bits
BTIME, CTIME, ATIME, FLAGS, DOS, SHORT, NTFS, XATTRS = (1 << number for number in range(8))
HFS = 1 << 8  # no kind, but that xattrs are to be had as from HFS+
_WORDS = {
    BTIME: 'btime', CTIME: 'ctime', ATIME: 'atime', FLAGS: 'flags', DOS: 'dos', SHORT: 'short', NTFS: 'ntfs',
    XATTRS: 'xattr',
}  # fmt: skip
_BY_TYPE = {'vfat': DOS | SHORT, 'msdos': DOS, 'exfat': DOS, 'ntfs3': NTFS, 'ntfs': NTFS, 'hfsplus': HFS}

_IN_LINE = 1024  # bytes of a value that stands in the line; longer ones become blobs
_TAGS_LENGTH = 16_000  # of all xattrs of an entry, in its line
_REFUSALS = 4  # so often a filesystem must say that it does not have a kind, to be believed for good
_NO_IOCTL = frozenset((errno.ENOTTY, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL))
_NEVER_STORED = ('trusted.SGI_ACL_', 'system.ntfs_')  # of XFS, the ACL once more; what ntfs asks for by name

KINDS = {
    stat.S_IFREG: 'file',
    stat.S_IFDIR: 'dir',
    stat.S_IFLNK: 'link',
    stat.S_IFIFO: 'fifo',
    stat.S_IFSOCK: 'socket',
    stat.S_IFCHR: 'char',
    stat.S_IFBLK: 'block',
}


def kinds(type: str, has_true_ctime: bool, with_atime: bool) -> int:
    """What to ask a filesystem of that type for."""
    found = BTIME | FLAGS | XATTRS | _BY_TYPE.get(type, 0)
    if type.startswith('fuse'):
        found |= NTFS  # ntfs-3g is one of many: asked, it says so
    return found | (CTIME if has_true_ctime else 0) | (ATIME if with_atime else 0)


class Gatherer:
    """Makes the tags of entries.  What is asked for is a sum of kinds.

    A call that fails costs the tag, and the entry says so in a tag 'lacks'.  What a filesystem does not offer is not
    asked of it for ever.
    """

    def __init__(self, put: Callable[[bytes], str]):
        """put stores a value that is too long for a line as a blob, and gives its key."""
        self._put = put
        self._asked = self._offered = 0
        self._failed: Counter[str] = Counter()  # kind to how often it could not be had
        self._examples: dict[str, str] = {}  # kind to the first of these
        self._refused: dict[tuple[int, int], int] = {}  # (device, file type) to kinds not to be asked for
        self._refusals: Counter[tuple[int, int, int]] = Counter()

    def of_open(self, fd: int, kinds: int, status: statx.Status, name: bytes) -> str:
        """The tags of an open file or directory, each with a comma before it; status, name: of it."""
        self._asked |= kinds
        where = status.st_dev, status.st_mode & 0o170000
        wanted = kinds & ~self._refused.get(where, 0)
        own, lacks = '', []
        if wanted & FLAGS:
            try:
                if letters := flags.get(fd):
                    own = f',flags:{letters}'
                self._offered |= FLAGS
            except OSError as error:
                self._refuse(where, FLAGS, error, name, lacks)
        if wanted & DOS:
            try:
                if letters := dos.letters(dos.get(fd)):
                    own += f',dos:{letters}'
                self._offered |= DOS
            except OSError as error:
                self._refuse(where, DOS, error, name, lacks)
        return self._rest(fd, wanted, where, status, name, own, lacks)

    def of_name(self, fd: int, name: bytes, kinds: int) -> str:
        """The same of a name in an open directory that is not to be opened; nothing when it is gone."""
        try:
            status = statx.status(fd, name)
        except OSError:
            return ''
        where = status.st_dev, status.st_mode & 0o170000
        wanted = kinds & ~self._refused.get(where, 0) & ~(FLAGS | DOS)
        self._asked |= wanted
        return self._rest(xattrs.path_below(fd, name), wanted, where, status, name, '', [])

    def of_listing(
        self,
        fd: int,
        names: Iterable[tuple[bytes, bool | None]],
        kinds: int,
        open: Callable[[bytes, int, int], int] = lambda name, flags, fd: os.open(name, flags, dir_fd=fd),
    ) -> dict[bytes, str]:
        """Name to tags of the entries of an open directory: (name, whether it can be opened).

        None is for a subdirectory, of which only its short name is told: the rest it tells itself, once it is entered.
        open takes a name, flags, and the directory.
        """
        short_names = {}
        if kinds & SHORT:
            self._asked |= SHORT
            try:
                short_names = dos.short_names(fd)
                self._offered |= SHORT
            except OSError as error:
                self._refuse((0, 0), SHORT, error, b'.', [])
        found = {}
        wanted = kinds & ~SHORT
        for name, is_file in names:
            if is_file is None:
                tags = ''
            else:
                tags = self._of_file_named(fd, name, wanted, open) if is_file else self.of_name(fd, name, wanted)
            if name in short_names:
                tags = with_tag(tags, f'short:{quote.quote_tag(short_names[name])}')
            found[name] = tags
        return found

    def told(self) -> tuple:
        """What came of it since the last time, as crew can carry it, for tell()."""
        told = self._asked, self._offered, dict(self._failed), self._examples
        self._asked, self._offered, self._failed, self._examples = 0, 0, Counter(), {}
        return told

    def tell(self, asked: int, offered: int, failed: dict[str, int], examples: dict[str, str]) -> None:
        """Adds what another one was told."""
        self._asked |= asked
        self._offered |= offered
        self._failed.update(failed)
        self._examples = examples | self._examples

    def features(self) -> list[str]:
        """A word for each kind that was looked for, as in a snapshot's features."""
        words = []
        for bit, word in _WORDS.items():
            if self._asked & bit:
                words.append(word if self._offered & bit else f'{word}=none')
        return words + [f'{kind}=failed:{number}' for kind, number in sorted(self._failed.items())]

    def failures(self) -> list[str]:
        """A line for people for each kind that failed."""
        return [
            f'{kind} of {number} entr{"y" if number == 1 else "ies"} could not be read: {self._examples[kind]}'
            for kind, number in sorted(self._failed.items())
        ]

    def _of_file_named(self, fd: int, name: bytes, kinds: int, open: Callable[[bytes, int, int], int]) -> str:
        try:
            file = open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, fd)
        except OSError:
            return self.of_name(fd, name, kinds)
        try:
            return self.of_open(file, kinds, statx.status(file), name)
        except OSError as error:
            lacks = []
            self._fail('btime', name, error, lacks)
            return _tags_of(lacks)
        finally:
            os.close(file)

    def _rest(
        self,
        target: int | bytes,
        wanted: int,
        where: tuple[int, int],
        status: statx.Status,
        name: bytes,
        own: str,
        lacks: list[str],
    ) -> str:
        """All tags: times, own, and what is to be had of an open file and of a path alike."""
        btime_ns = status.btime_ns
        if wanted & NTFS:
            told = ntfs.ask(target, lambda kind, error: self._fail(kind, name, error, lacks))
            if told is None:
                self._refuse(where, NTFS, OSError(errno.ENOTSUP, ''), name, lacks)
            else:
                self._offered |= NTFS
                btime_ns = btime_ns or told.btime_ns
                letters = dos.letters(told.attributes) + told.directory_letter
                own += f',dos:{letters}' if letters else ''
                own += f',short:{quote.quote_tag(told.short_name)}' if told.short_name else ''
                own += ''.join(f',{tag}:{self._value(value)}' for tag, value in told.values)
        if wanted & XATTRS:
            own += self._xattrs(target, wanted, where, name, lacks)
        return self._times(wanted, status, btime_ns) + own + (_tags_of(lacks) if lacks else '')

    def _times(self, wanted: int, status: statx.Status, btime_ns: int | None) -> str:
        text = ''
        if wanted & BTIME and btime_ns:  # 0: older than the filesystem's knowledge of it
            text = f',btime:{tree.format_time(btime_ns)}'
            self._offered |= BTIME
        if wanted & CTIME:
            text += f',ctime:{tree.format_time(status.st_ctime_ns)}'
            self._offered |= CTIME
        if wanted & ATIME:
            text += f',atime:{tree.format_time(status.st_atime_ns)}'
            self._offered |= ATIME
        return text

    def _xattrs(self, target: int | bytes, wanted: int, where: tuple[int, int], name: bytes, lacks: list[str]) -> str:
        try:
            names = xattrs.hfs_names(target) if wanted & HFS else xattrs.names(target)
            self._offered |= XATTRS
        except OSError as error:
            self._refuse(where, XATTRS, error, name, lacks)
            return ''
        if not names:
            return ''
        values: dict[str, bytes] = {}
        for xattr in sorted(names):
            if not xattr.startswith(_NEVER_STORED):
                try:
                    values[xattr] = xattrs.get(target, xattr)
                except OSError as error:
                    self._fail('xattr', name, error, lacks)
        return self._in_line(values, name, lacks)

    def _in_line(self, values: dict[str, bytes], name: bytes, lacks: list[str]) -> str:
        """Short values as they are, but all as blobs where that makes the line too long."""
        tags = [f',xattr:{quote.quote_tag(os.fsencode(x))}:{self._value(value)}' for x, value in values.items()]
        if sum(map(len, tags)) > _TAGS_LENGTH:
            tags = [f',xattr:{quote.quote_tag(os.fsencode(x))}:@{self._put(value)}' for x, value in values.items()]
        length = 0
        for number, tag in enumerate(tags):
            length += len(tag)
            if length > _TAGS_LENGTH:
                self._fail('xattr', name, OSError(errno.E2BIG, 'more than a line can hold'), lacks)
                return ''.join(tags[:number])
        return ''.join(tags)

    def _value(self, value: bytes) -> str:
        return base64.b64encode(value).decode() if len(value) <= _IN_LINE else f'@{self._put(value)}'

    def _refuse(self, where: tuple[int, int], kind: int, error: OSError, name: bytes, lacks: list[str]) -> None:
        """A kind is not to be had of one entry; often enough so, it is not to be had of any."""
        if error.errno not in (xattrs.NOT_OFFERED if kind == XATTRS else _NO_IOCTL):
            self._fail(_WORDS[kind], name, error, lacks)
            return
        self._refusals[*where, kind] += 1
        if self._refusals[*where, kind] >= _REFUSALS and not self._offered & kind:
            self._refused[where] = self._refused.get(where, 0) | kind

    def _fail(self, kind: str, name: bytes, error: OSError, lacks: list[str]) -> None:
        if kind not in lacks:
            lacks.append(kind)
            self._failed[kind] += 1
            self._examples.setdefault(kind, f"'{quote.readable(name)}': {errors.describe(error)}")


def with_tag(tags: str, tag: str) -> str:
    """Tags, each with a comma before it, and one more."""
    return ',' + tree.in_order([*tags.split(',')[1:], tag])


def _tags_of(lacks: list[str]) -> str:
    return ''.join(f',lacks:{kind}' for kind in lacks)


class Owners:
    """Names of owners and groups by number, each asked for once; b'' where there is none."""

    def __init__(self):
        self._users: dict[int, bytes] = {}
        self._groups: dict[int, bytes] = {}

    def user(self, uid: int) -> bytes:
        if uid not in self._users:
            import pwd

            self._users[uid] = _name(lambda: pwd.getpwuid(uid).pw_name)
        return self._users[uid]

    def group(self, gid: int) -> bytes:
        if gid not in self._groups:
            import grp

            self._groups[gid] = _name(lambda: grp.getgrgid(gid).gr_name)
        return self._groups[gid]


def _name(look_up) -> bytes:
    try:
        return os.fsencode(look_up())
    except (KeyError, OverflowError):
        return b''
