"""The objects of a store: finds and reads them in whatever form they have, and believes no byte unverified.

An object may be a file of its own (plain or compressed), a list of pieces, or a member of a pack, and may be
stored more than once.  The first copy whose SHA-256 is its key is served; damaged copies are passed over.
"""

import hashlib
import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

from chkfs import errors
from chkfs.storage import codec, pack
from chkfs.storage.cache import ObjectCache
from chkfs.text import key as keys
from chkfs.text import piecelist

LIST_SUFFIX = '.list'
SUFFIXES = (*codec.SUFFIXES.values(), LIST_SUFFIX)
WHOLE_BYTES = 8 << 20  # objects up to this size are read in one piece, larger ones are streamed
DEEPEST_LIST = 8  # a list of lists of lists: we write one level, and stop at this many

_FRAMES_KEPT = 48
_PIECES_AHEAD = 3
_LARGEST_LISTED_DIRECTORY = 1000


class Objects:
    """Reads the objects below a store's root directory (bytes path)."""

    def __init__(self, root: bytes, cache: ObjectCache):
        self.root = root
        self.cache = cache
        self._frames: OrderedDict[tuple[str, int], dict[str, memoryview]] = OrderedDict()
        self._last_members: dict[str, memoryview] = {}
        self._has_doubted = False
        self._loose_names: dict[str, set[str] | None] = {}
        self._packs_path, self._packs_changed = os.path.join(root, b'packs'), 0
        self.reload()

    def reload(self) -> None:
        """Looks again at which packs there are."""
        known = self.cache.pack_names()
        self._packs_changed = self._last_change_of_packs()
        sizes = {os.fsdecode(name): size for name, size in _sizes(self._packs_path)}
        stamps = {name: _format_stamp(name, sizes) for name in sizes if pack.codec_of(name)}
        self.cache.sync(stamps, self.places, self._stamp, known)

    def _stamp(self, name: str) -> str | None:
        """What tells whether a pack is still the same, None when it is not there."""
        sizes = {each: _size(self.pack_path(each)) for each in (name, pack.index_name(name))}
        return None if sizes[name] is None else _format_stamp(name, sizes)

    def _last_change_of_packs(self) -> int:
        try:
            return os.stat(self._packs_path).st_mtime_ns
        except OSError:
            return 0

    def reopened(self) -> 'Objects':
        """The same store for another process: connections, frames and threads of its own."""
        return Objects(self.root, self.cache.reopened())

    # ---- is it there? ----

    def has(self, type: str, key: str, size: int | None = None) -> bool:
        """Whether some copy exists, of a size that can be; whether it is whole, only reading tells."""
        if self.has_at_hand(type, key, size):
            return True
        if self._last_change_of_packs() == self._packs_changed:
            return False
        self.look_again()  # somebody may have packed it
        return self.has_at_hand(type, key, size)

    def has_at_hand(self, type: str, key: str, size: int | None = None) -> bool:
        """Like has, but does not look again for what another process may have packed meanwhile."""
        return self.cache.has(type, key) or self._has_file(type, key, size)

    def lacking(self, type: str, sizes: dict[str, int]) -> list[str]:
        """Those of some keys, at most a few hundred, that are not at hand; sizes: key to size."""
        with self.cache.in_this_thread() as cache:
            packed = cache.having(type, list(sizes))
        return [key for key, size in sizes.items() if key not in packed and not self._has_file(type, key, size)]

    def _has_file(self, type: str, key: str, size: int | None) -> bool:
        """Whether an object is there as a file of its own."""
        if not self._has_loose(type, key):
            return False
        sizes = {suffix: _size(path) for suffix, path in self._loose(type, key).items()}
        return any(found and (suffix or size in (None, found)) or found == size == 0 for suffix, found in sizes.items())

    def is_missing(self, type: str, key: str) -> bool:
        """Whether no copy of what should be there exists.  Unlike has, this does not believe the cache."""
        return not self.has(type, key) and not (self._doubt_cache(type, key) and self.has(type, key))

    def pieces(self, type: str, key: str) -> list[tuple[str, int]]:
        """(key, size) of the pieces of an object that is there as a list and not whole, else nothing.

        Raises Damaged when no list of it can be read.
        """
        problems: list[str] = []
        for look_again in (self.look_again, None):
            rows = self.cache.find(type, key)
            files = self._loose(type, key) if self._has_loose(type, key) else {}
            if any(not listed for _, listed, *_ in rows) or any(suffix != LIST_SUFFIX for suffix in files):
                return []
            for where, blocks in self._lists(type, key, rows, files):
                try:
                    return piecelist.parse(b''.join(blocks))
                except (errors.Damaged, OSError) as error:
                    problems.append(f'{where}: {errors.describe(error)}')
            if look_again is None or not problems:
                break
            look_again()  # chkfs-repack may have moved it
        if problems:
            raise errors.Damaged('; '.join(dict.fromkeys(problems)))
        return []

    def is_wrong_list(self, key: str, data: bytes) -> bool:
        """Whether a list certainly is not that of an object: it is none, or its pieces together are something else."""
        try:
            pieces = piecelist.parse(data)
        except errors.Damaged:
            return True
        hash = hashlib.sha256()
        try:
            for piece, _ in pieces:
                for block in self.chunks('blob', piece, depth=1):
                    hash.update(block)
        except (errors.Error, OSError):
            return False  # with a piece missing, nobody can tell
        return hash.hexdigest() != key

    def types(self, key: str) -> list[str]:
        return [type for type in keys.TYPES if self.has(type, key)]

    def note_loose(self, type: str, key: str) -> None:
        """Tells of an object that this process has just published as a file of its own."""
        names = self._loose_names.get(f'{type}/{key[:2]}')
        if names is not None:
            names.add(key)

    def note_packs(self, packs: list[tuple[str, list[pack.Place]]]) -> None:
        """Tells of packs that this process has just published, in whatever thread."""
        with self.cache.in_this_thread() as cache:
            for name, places in packs:
                stamp = self._stamp(name)
                if stamp is not None:  # else chkfs-repack was quick: its objects are in another pack already
                    cache.add(name, stamp, places)

    def keys(self, type: str, prefix: str = '') -> Iterator[str]:
        """Every key of a type that begins so, once, in order within each form (packed, then loose).

        None is passed over that chkfs-repack moves meanwhile: files are listed first, and then the packs as they are.
        """
        for number in range(256):
            fan = f'{number:02x}'
            if not fan.startswith(prefix[:2]):
                continue
            loose = _sorted_names(os.path.join(os.fsdecode(self.root), 'objects', type, fan))
            if self._last_change_of_packs() != self._packs_changed:
                self.reload()
            packed = dict.fromkeys(key for key, *_ in self.cache.keys(type, max(fan, prefix)))
            yield from packed
            for key in dict.fromkeys(name[: keys.LENGTH] for name in loose):
                if keys.is_key(key) and key.startswith(prefix) and key not in packed:
                    yield key

    def count(self) -> dict[str, int]:
        """How many objects in which form, and bytes on disk."""
        packed = {f'packed-{type}s': sum(1 for _ in self.cache.keys(type)) for type in ('blob', 'tree')}
        return packed | self.count_files()

    def count_files(self) -> dict[str, int]:
        """How many packs, how many files that are objects, and bytes on disk."""
        counts = {'packs': 0, 'pack-bytes': 0}
        for name, size in _sizes(self._packs_path):
            counts['packs'] += pack.codec_of(os.fsdecode(name)) is not None
            counts['pack-bytes'] += size
        for type in keys.TYPES:
            counts[f'loose-{type}s'] = 0
        counts['loose-bytes'] = 0
        for type in keys.TYPES:
            base = os.path.join(self.root, b'objects', type.encode())
            for fan in _entries(base):
                for _, size in _sizes(fan.path):
                    counts[f'loose-{type}s'] += 1
                    counts['loose-bytes'] += size
        return counts

    def size(self, type: str, key: str) -> int:
        """Plain size in bytes.  Raises NotFound or Damaged."""
        for _, listed, size, *_ in self.cache.find(type, key):
            if not listed:
                return size
        path = self._loose(type, key).get('')
        size = path and _size(path)
        if size is not None:
            return size
        pieces = self.pieces(type, key)
        return sum(size for _, size in pieces) if pieces else sum(map(len, self.chunks(type, key)))

    # ---- reading ----

    def read(self, type: str, key: str) -> bytes:
        """The whole object, verified.  For what is known to be small: trees, snapshots, files below WHOLE_BYTES."""
        return bytes(self.view(type, key))

    def view(self, type: str, key: str) -> bytes | memoryview:
        """Like read, without copying what lies in a frame that is unpacked anyway."""
        member = f'{type}/{key}'
        found = self._last_members.get(member)  # neighbours lie together
        if found is not None:
            return found
        for name, listed, _, offset, length in self.cache.find(type, key):
            if not listed:
                found = self._frame(name, offset, length).get(member)
                if found is not None:
                    return found
        return b''.join(self.chunks(type, key))

    def chunks(self, type: str, key: str, depth: int = 0, whole: bool = True) -> Iterator[bytes]:
        """The object in pieces of at most some MiB.

        Each copy up to WHOLE_BYTES is verified before its bytes are given.  A longer one is verified as it
        flows (its pieces one by one, the whole at the end, unless the caller can do without).  Raises NotFound, or
        Damaged, perhaps after some pieces.
        """
        problems: list[str] = []
        for look_again in (self.look_again, lambda: self._doubt_cache(type, key), None):
            for where, pieces in self._copies(type, key, depth, whole):
                started = False
                try:
                    for piece in pieces:
                        started = True
                        yield piece
                    return
                except (errors.Error, OSError) as error:
                    problems.append(f'{where}: {errors.describe(error)}')
                    if started:
                        raise errors.Damaged(f"{type} '{key}' is damaged: {problems[-1]}") from error
            if look_again is None or not look_again():
                break
        if problems:
            raise errors.Damaged(f"{type} '{key}' is damaged: {'; '.join(dict.fromkeys(problems))}")
        raise errors.NotFound(f"no {type} '{key}' in the store")

    def plain_file(self, type: str, key: str) -> bytes | None:
        """The path of a file that holds the very bytes of an object, if it has one; not verified."""
        return self._loose(type, key).get('') if self._has_loose(type, key) else None

    def look_again(self) -> bool:
        """Somebody may have added, packed or moved what was not found."""
        self.reload()
        self._loose_names.clear()
        return True

    def _doubt_cache(self, type: str, key: str) -> bool:
        """Once in the life of a process, compares the cache with the indexes, and makes it anew if it is wrong."""
        if self._has_doubted:
            return False
        self._has_doubted = True
        self.forget_frames()
        if self._indexed(type, key) != set(self.cache.find(type, key)):
            self.cache.begin_anew()
            self.reload()
        return True

    def _indexed(self, type: str, key: str) -> set[tuple]:
        """What the cache's find() should give."""
        member = f'{type}/{key}'
        found = set()
        for name in map(os.fsdecode, os.listdir(os.path.join(self.root, b'packs'))):
            if pack.codec_of(name):
                for place in self.places(name):
                    if place.name in (member, member + LIST_SUFFIX):
                        found.add((name, place.name != member, place.size, place.offset, place.length))
        return found

    def _copies(self, type: str, key: str, depth: int, whole: bool) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(where, its bytes as a generator) of every copy, the likely ones first."""
        packed = self.cache.find(type, key)
        for name, listed, _, offset, length in packed:
            if not listed:
                yield f'packs/{name}', self._packed(type, key, name, offset, length)
        files = self._loose(type, key)
        for suffix, path in files.items():
            if suffix != LIST_SUFFIX:
                plain = codec.decompress(codec.NAMES[suffix], _file_blocks(path))
                yield self._where(path), _verified(key, plain)
        for where, blocks in self._lists(type, key, packed, files):
            yield where, self._listed(type, key, blocks, depth, whole)

    def _lists(
        self, type: str, key: str, packed: list, files: dict[str, bytes]
    ) -> Iterator[tuple[str, Iterator[bytes]]]:
        """(where, its bytes) of every list of an object."""
        if LIST_SUFFIX in files:
            yield self._where(files[LIST_SUFFIX]), _file_blocks(files[LIST_SUFFIX])
        for name, listed, _, offset, length in packed:
            if listed:
                yield f'packs/{name}', self._packed(type, key, name, offset, length, LIST_SUFFIX)

    def _where(self, path: bytes) -> str:
        return os.fsdecode(os.path.relpath(path, self.root))

    def _packed(self, type, key, pack_name, offset, length, suffix='') -> Iterator[bytes]:
        found = self._frame(pack_name, offset, length).get(f'{type}/{key}{suffix}')
        if found is None:
            raise errors.Damaged('not whole in its frame')
        yield bytes(found)

    def _listed(self, type: str, key: str, blocks: Iterable[bytes], depth: int, whole: bool) -> Iterator[bytes]:
        if depth >= DEEPEST_LIST:
            raise errors.Damaged('lists that name lists, too deep')
        hash = hashlib.sha256()
        pieces = piecelist.parse(b''.join(blocks))
        if any(piece_key == key for piece_key, _ in pieces):
            raise errors.Damaged('a list that names itself')
        for piece_key, loaded in self._loading(pieces):
            for block in loaded or self.chunks('blob', piece_key, depth + 1):
                if whole:
                    hash.update(block)
                yield block
        if whole and hash.hexdigest() != key:
            raise errors.Damaged(f'its pieces together are not {type} {key}')

    def _loading(self, pieces: list[tuple[str, int]]) -> Iterator[tuple[str, tuple[bytes, ...] | None]]:
        """(key, the piece if a thread has read it ahead, else None) for each (key, size).

        A piece that comes several times in a row, as in a long run of zeros, is read once.
        """
        from concurrent.futures import ThreadPoolExecutor

        waiting, last, is_over = deque(), (), False
        pool = ThreadPoolExecutor(_PIECES_AHEAD)
        try:
            for key, size in pieces:
                if (key, size) != last:
                    last = key, size
                    paths = self._loose('blob', key) if size <= 2 * WHOLE_BYTES else {}
                    loading = pool.submit(_load_file, key, size, paths) if paths else None
                waiting.append((key, loading))
                if len(waiting) > _PIECES_AHEAD:
                    first, future = waiting.popleft()
                    yield first, future and future.result()
            for first, future in waiting:
                yield first, future and future.result()
            is_over = True
        finally:  # where nobody reads on, that may be the garbage collector's doing, which must not wait for a thread
            pool.shutdown(wait=is_over, cancel_futures=True)

    # ---- files of their own ----

    def _has_loose(self, type: str, key: str) -> bool:
        """False when surely no file of its own exists: most keys asked for during a backup are new."""
        fan = f'{type}/{key[:2]}'
        if fan not in self._loose_names:
            names = _sorted_names(os.path.join(os.fsdecode(self.root), 'objects', fan))
            few = len(names) <= _LARGEST_LISTED_DIRECTORY
            self._loose_names[fan] = {name[: keys.LENGTH] for name in names} if few else None
        names = self._loose_names[fan]
        return names is None or key in names

    def _loose(self, type: str, key: str) -> dict[str, bytes]:
        """Suffix to path of the files that hold an object.  Raises Error where the system does not let us look."""
        stem = os.path.join(self.root, f'objects/{type}/{key[:2]}/{key}'.encode())
        found = {}
        for suffix in SUFFIXES if type != 'snapshot' else ('',):
            path = stem + suffix.encode()
            try:
                if _size(path) is not None:
                    found[suffix] = path
            except OSError as error:
                raise errors.Error(f'cannot read {self._where(path)}: {errors.describe(error)}') from error
        return found

    # ---- packs ----

    def pack_path(self, name: str) -> bytes:
        return os.path.join(self.root, b'packs', name.encode())

    def places(self, pack_name: str) -> list[pack.Place]:
        """Where the objects of a pack lie: from its index, or, when that is lost or bad, from the pack itself."""
        path = self.pack_path(pack_name)
        try:
            with open(self.pack_path(pack.index_name(pack_name)), 'rb') as file:
                places = pack.parse_index(file.read())
            is_outside = pack.points_outside(places, os.stat(path).st_size)
            if not is_outside and pack.is_index_of(path, pack.codec_of(pack_name), places):
                return places
        except (errors.Damaged, OSError):
            pass
        try:
            return pack.scan(path, pack.codec_of(pack_name))
        except (errors.Error, OSError):
            return []

    def forget_frames(self) -> None:
        """What is read from now on is read from the packs."""
        self._frames.clear()
        self._last_members = {}

    def pack_members(self, pack_name: str) -> Iterator[tuple[str, memoryview]]:
        """(name, bytes) of every member that a pack's index names, found as any reader finds it and verified; lists,
        which cannot be, are given as they are.  Raises Damaged; frames that were unpacked before are not used."""
        with open(self.pack_path(pack.index_name(pack_name)), 'rb') as file:
            places = pack.parse_index(file.read())
        path, codec_name, at, members = self.pack_path(pack_name), pack.codec_of(pack_name), None, {}
        for place in sorted(places, key=lambda place: place.offset):
            if (place.offset, place.length) != at:
                at = place.offset, place.length
                members = _load_frame(path, codec_name, *at)
            data = members.get(place.name)
            if data is None or len(data) != place.size:
                raise errors.Damaged(f"'{place.name}' is not where the index says")
            yield place.name, data

    def packed_copy(self, name: str, pack_name: str, offset: int, length: int) -> memoryview | None:
        """The member of that name from a frame, verified as far as it can be; None when it is not there."""
        return self._frame(pack_name, offset, length).get(name)

    def loose_blocks(self, key: str, path: bytes, suffix: str) -> Iterator[bytes]:
        """The plain bytes of an object's own file that is no list.  Raises Damaged, when they are longer than
        WHOLE_BYTES perhaps at their end."""
        return _verified(key, codec.decompress(codec.NAMES[suffix], _file_blocks(path)))

    def _frame(self, pack_name: str, offset: int, length: int) -> dict[str, memoryview]:
        """Member name to bytes, for the members of a frame that verify (lists, which cannot, as they are)."""
        at = (pack_name, offset)
        members = self._frames.get(at)
        if members is None:
            try:
                members = _load_frame(self.pack_path(pack_name), pack.codec_of(pack_name), offset, length)
            except (OSError, errors.Damaged):
                members = {}
            self._frames[at] = members
            while len(self._frames) > _FRAMES_KEPT:
                self._frames.popitem(last=False)
        self._last_members = members
        return members


def _format_stamp(pack_name: str, sizes: dict[str, int]) -> str:
    """Changes when a pack grows or shrinks, or when its index is rebuilt without what is damaged."""
    return f'{sizes[pack_name]} {sizes.get(pack.index_name(pack_name)) or 0}'


def _load_frame(path: bytes, codec_name: str, offset: int, length: int) -> dict[str, memoryview]:
    if length > pack.LARGEST_FRAME:
        raise errors.Damaged('a frame larger than any')
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stream = os.pread(fd, length, offset)
    finally:
        os.close(fd)
    plain = codec.decompress_whole(codec_name, stream, pack.LARGEST_FRAME)
    view, found = memoryview(plain), {}
    for name, start, size in pack.members(plain):
        data = view[start : start + size]
        if name.endswith(LIST_SUFFIX) or hashlib.sha256(data).hexdigest() == name[5:]:
            found[name] = data
    return found


def _file_blocks(path: bytes) -> Iterator[bytes]:
    with open(path, 'rb', buffering=0) as file:
        while block := file.read(codec.BLOCK_BYTES):
            yield block


def _load_file(key: str, size: int, paths: dict[str, bytes]) -> tuple[bytes, ...] | None:
    """The first of the files (suffix to path) that holds what key and size say, None when there is none such."""
    for suffix, path in paths.items():
        if suffix != LIST_SUFFIX:
            try:
                plain = codec.decompress(codec.NAMES[suffix], _file_blocks(path))
                return (b''.join(_verified(key, _at_most(size, plain))),)
            except (errors.Error, OSError):
                continue
    return None


def _at_most(size: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks; raises Damaged as soon as they are longer than size says."""
    for block in blocks:
        size -= len(block)
        if size < 0:
            raise errors.Damaged('longer than its size says')
        yield block


def _verified(key: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks, held back up to WHOLE_BYTES so that a short object is verified before any of it is given."""
    hash, held, held_bytes = hashlib.sha256(), [], 0
    for block in blocks:
        hash.update(block)
        held.append(block)
        held_bytes += len(block)
        if held_bytes > WHOLE_BYTES:
            yield from held
            held, held_bytes = [], 0
    if hash.hexdigest() != key:
        raise errors.Damaged('its bytes are not what its name says')
    yield from held


def _entries(path: bytes) -> Iterator[os.DirEntry]:
    try:
        with os.scandir(path) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        pass


def _sizes(path: bytes) -> Iterator[tuple[bytes, int]]:
    """(name, size) of what is in a directory and does not vanish meanwhile."""
    for entry in _entries(path):
        try:
            yield entry.name, entry.stat().st_size
        except FileNotFoundError:
            continue


def _size(path: bytes) -> int | None:
    """None when it is not there, or not any more."""
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sorted_names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
