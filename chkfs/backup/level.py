"""A directory on the way of an ingest: listed, and waiting for its subdirectories and for its files to be read."""

import errno
import hashlib
import os

from chkfs.backup import scan
from chkfs.system import metadata, mounts
from chkfs.text import tree

_LONGEST_WAY = 4 * 4096  # bytes of a path, where only that can end a circle: four times what a program can open
_ROUNDS = 8  # there: so many directories with the same entries, each in the one before, are a circle


class Level:
    """Knows the directory that it is in, and its path from the top of the source."""

    __slots__ = (
        *('filesystem', 'place', 'identity', 'path', 'parent', 'name', 'entries', 'below', 'directories', 'tags'),
        *('lines', 'done', 'waits_for', 'is_whole', 'unread', 'depth', 'kinds', 'own_tags', 'told'),
        *('is_complete', 'listing', 'rounds', 'picked', 'expected', 'known', 'remembered'),
    )

    def __init__(
        self,
        filesystem: mounts.Filesystem,
        kinds: int,
        place: bytes,
        status: os.stat_result,
        path: bytes = b'',
        parent: 'Level | None' = None,
        name: bytes = b'',
    ):
        self.filesystem = filesystem
        self.place = place  # where in the filesystem it is, as the scan cache wants it
        self.identity = status.st_dev, status.st_ino
        self.path, self.parent, self.name = path, parent, name  # path: from the top of the source
        self.depth = parent.depth + 1 if parent else 0
        self.entries: list[scan.Found] = []
        self.below: list[scan.Found] = []  # subdirectories still to enter, the last first
        self.directories: list[int] = []  # which of the entries are directories
        self.tags: dict[bytes, str] = {}  # name of a stored subdirectory to its tags
        self.lines: list[str] = []  # of the tree, one an entry, '' while it is not known
        self.done: dict[bytes, tuple[bytes, str]] = {}  # files that need not be read the next time
        self.known: dict[bytes, tuple[bytes, str]] = {}  # the same from the last time, until all have been looked at
        self.remembered = 0  # so many of those done are known to the next run, even if this one dies
        self.waits_for = 1  # jobs, subdirectories, and this process as long as it is at it
        self.is_whole = True  # nothing went wrong or is in doubt, so it may be recognised the next time
        self.unread = ''  # the tag that says why it could not be listed
        self.is_complete = True  # everything below that can be seen through this name was entered
        self.listing, self.rounds = b'', 0  # a digest of its entries, and how many directories above have the same
        self.picked: frozenset[bytes] = frozenset()  # files to be read, whatever is known of them
        self.expected: dict[bytes, str] = {}  # what is known of these
        self.own_tags = ''  # what the directory itself tells, each tag with a comma before it
        self.kinds = kinds  # of metadata to ask for
        self.told: dict[bytes, str] = {}  # name to tags, where they must be asked for at each listing

    def fill(self, entries: list[scan.Found]) -> None:
        self.entries = entries
        self.directories = [index for index, found in enumerate(entries) if found.kind == 'dir']
        self.below = [entries[index] for index in reversed(self.directories)]

    def empty(self) -> None:
        """Once its tree is stored: what may be long is let go."""
        self.entries, self.lines = [], []

    def path_of(self, name: bytes) -> bytes:
        return self.path + b'/' + name if self.path else name

    def tags_with(self, key: str) -> str:
        """The tags of the directory, whose tree is that."""
        tags = f'tree:{key}{self.own_tags}'
        return tree.in_order([*tags.split(','), self.unread]) if self.unread else tags

    @property
    def files(self) -> dict[bytes, tuple[bytes, str]]:
        """What the next run may believe of the files so far."""
        return self.known | self.done if self.known else self.done

    @property
    def is_asked_when_listed(self) -> bool:
        """Whether the files' metadata are asked for at each listing: they may change while the record does not."""
        is_read = self.kinds & metadata.ATIME and not self.filesystem.is_read_only
        return bool(is_read) or not self.filesystem.has_true_ctime

    @property
    def kinds_to_read(self) -> int:
        """The kinds to ask of files when they are read: none where they have been asked for already."""
        return 0 if self.is_asked_when_listed else self.kinds

    @property
    def known_as(self) -> tuple[str, bytes]:
        """What the scan cache knows it as: the tags in it are those that were asked for when the files were read."""
        identity = self.filesystem.identity
        return identity and f'{identity} {self.kinds_to_read:x}', self.place

    def circle(self, entries: list[scan.Found]) -> OSError | None:
        """Where inode numbers cannot tell: why the walk must not go on below, when it seems to go round in a circle.

        A directory alone in a directory, however often, is none: a circle would end by the length of the path.
        """
        if len(self.path) > _LONGEST_WAY:
            return OSError(errno.ENAMETOOLONG, f'the path is longer than {_LONGEST_WAY} bytes: an endless circle?')
        if len(entries) < 2:
            return None
        parts = (field for found in entries for field in (found.name, b'\0', found.attributes.encode(), found.record))
        self.listing = hashlib.sha256(b''.join(parts)).digest()
        above = self.parent
        while above is not None and above.listing != self.listing:
            above = above.parent
        self.rounds = above.rounds + 1 if above is not None else 0
        if self.rounds < _ROUNDS:
            return None
        return OSError(errno.ELOOP, f'{_ROUNDS} directories above it have the same entries: an endless circle?')
