"""Gathers small packs and small files into larger packs, and stores what there is in another codec.

It is the only part of chkfs that takes files of a store away, so here is why that loses nothing:

- What a pack holds is taken from the pack itself, every byte of it accounted for (pack.contents), never from an
  index or a cache; a file that is damaged in any way stays.
- A file is removed after a copy of everything in it was published (synced, renamed, synced), thrown out of the page
  cache, read back as a reader reads it, and compared.  A copy in a file that this run may remove itself never counts.
- publish.remove_second_copies() looks once more whether the copies are the files that were read back.
- Two repacks could each take the other's copies for the first ones, so all of this happens under flock on packs/;
  the kernel lets go of it when we die.  Writers need no lock: they only add, and a file of theirs that comes under a
  name that is about to be removed holds, by its name, the same objects.
- Readers that knew the old place look again, and find the new one: it was there before the old one went.

A death at any moment leaves objects stored once or twice.  The next run finds the second copies; what is left in
incoming/ are copies too (publish.COPY), since nothing is removed before they have been moved out of there.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import codec, pack, publish
from chkfs.storage.objects import LIST_SUFFIX, SUFFIXES
from chkfs.storage.store import Store
from chkfs.storage.writer import LISTED_ABOVE, PACKED_BELOW
from chkfs.text import key as keys
from chkfs.text import piecelist

MAX_PACK_BYTES = 128 << 20
SMALLEST_MAX_PACK_BYTES = 1 << 20

_MOST_MEMBERS = 200_000  # of a pack: their names are in memory while it is made
_INDEX_LINE_BYTES = 88  # about
_AT_ONCE_BYTES = 128 << 20  # of recompressed files that are published together
_AT_ONCE_FILES = 1000
_IN_THREADS = 3
_STREAM_BYTES = 8 << 20
_SAMPLE_BYTES = 64 << 10


class Outcome(NamedTuple):
    """What objects.count_files() says before and after; how many files it removed, and how many stay, damaged."""

    before: dict[str, int]
    after: dict[str, int]
    removed_files: int
    damaged_files: int


class _NewPack:
    """A pack that is being made; on_disk when it was published and read back."""

    def __init__(self, fd: int, name: str, codec_name: str, pool):
        self.name, self.fd = name, fd  # in the run's directory
        self.writer = pack.Writer(fd, codec_name, pool)
        self.members: dict[str, str] = {}  # name to the SHA-256 of its bytes
        self.on_disk: publish.OnDisk | None = None


class _Source:
    """Files that may go as soon as everything in them is in firsts (and those are on disk)."""

    def __init__(self, paths: list[str]):
        self.paths = paths
        self.firsts: set[_NewPack | publish.OnDisk] = set()


class _Recompressed(NamedTuple):
    """An object's file in its new form; name: in the run's directory, None when path was there already."""

    type: str
    key: str
    suffix: str
    name: str | None
    path: str
    old_paths: list[str]
    bytes: int


class Repack:
    """One repack of a store.  Counts files and bytes as it goes, for step."""

    def __init__(
        self,
        store: Store,
        codec_name: str | None = None,
        max_pack_bytes: int = MAX_PACK_BYTES,
        step: Callable[[bytes, 'Repack'], None] = lambda path, repack: None,
        report: Callable[[str], None] = lambda line: None,
        note: Callable[[str], None] = lambda line: None,
    ):
        """codec_name: None for the store's own, and only what is small is touched; else everything that is not in
        that codec.  report is given each problem, note what is worth knowing.  Raises Usage."""
        if codec_name is not None and codec_name not in codec.SUFFIXES:
            raise errors.Usage(f"unknown compression '{codec_name}': one of {', '.join(codec.SUFFIXES)}")
        if max_pack_bytes < SMALLEST_MAX_PACK_BYTES:
            raise errors.Usage(f'packs cannot be that small: {SMALLEST_MAX_PACK_BYTES} bytes at least')
        self.files = 0
        self.bytes = 0
        self._store, self._objects, self._root = store, store.objects, store.root
        self._all, self._codec = codec_name is not None, codec_name or store.config['compression']
        codec.compress(self._codec, b'')  # says at once when its library is missing
        self._max_pack_bytes, self._step, self._report, self._note = max_pack_bytes, step, report, note
        self._new: _NewPack | None = None
        self._packs_made = self._removed_files = 0
        self._mine: set[str] = set()  # paths of the packs that this run has made
        self._chosen: set[str] = set()  # names of packs that this run may remove
        self._dropped: dict[str, publish.OnDisk] = {}  # packs that stay, read from disk since
        self._done: list[_Source] = []
        self._damaged: set[str] = set()

    def run(self) -> Outcome:
        """Raises Error; what it has not finished then stays as it was."""
        with publish.lock(self._root, 'packs', lambda: self._note('waiting for another chkfs-repack to end')):
            self._objects.reload()
            before = self._objects.count_files()
            self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))
            with publish.Run(self._root) as self._run:
                try:
                    self._remove_stray_indexes()
                    self._gather()
                    if self._all:
                        self._recompress_files()
                finally:
                    self._pool.shutdown(cancel_futures=True)
                    if self._new is not None:
                        os.close(self._new.fd)
            self._objects.reload()
            return Outcome(before, self._objects.count_files(), self._removed_files, len(self._damaged))

    def _say_damaged(self, path: str, error: BaseException | str) -> None:
        if path not in self._damaged:
            self._damaged.add(path)
            why = error if isinstance(error, str) else errors.describe(error)
            self._report(f"'{path}' is damaged and stays as it is: {why}; chkfs-fsck --full tells what suffers")

    def _path(self, path: str) -> bytes:
        return os.path.join(self._root, path.encode())

    def _advance(self, path: bytes, size: int, files: int = 0) -> None:
        self.bytes += size
        self.files += files
        self._step(path, self)

    # ---- into packs ----

    def _gather(self) -> None:
        loose = next(self._small_files(), None) is not None
        for name in self._choose(loose):
            self._take_pack(name)
        if loose:
            for member, data, paths in self._small_files():
                self._take(source := _Source(paths), member, data)
                self._finish_source(source)
        self._finish_pack()
        self._remove_done()

    def _choose(self, loose: bool) -> list[str]:
        """The packs to be taken apart, oldest first; small ones only if there are others to put them together with."""
        packs = []
        for entry in os.scandir(os.path.join(self._root, b'packs')):
            name = os.fsdecode(entry.name)
            if pack.codec_of(name):
                status = entry.stat()
                packs.append((status.st_mtime_ns, name, status.st_size))
        wrong, small = [], []
        for order, name, size in sorted(packs):
            if pack.codec_of(name) != self._codec:
                wrong += [(order, name)] if self._all else []
            elif self._is_small(name, size) and self._is_whole(name):
                small.append((order, name))
        chosen = [*wrong, *small] if len(small) + bool(wrong) + loose > 1 else wrong
        self._chosen = {name for _, name in chosen}
        return [name for _, name in sorted(chosen)]

    def _is_small(self, name: str, size: int) -> bool:
        try:
            index_bytes = os.stat(self._objects.pack_path(pack.index_name(name))).st_size
        except FileNotFoundError:
            index_bytes = 0
        return size < self._max_pack_bytes // 2 and index_bytes < _MOST_MEMBERS // 2 * _INDEX_LINE_BYTES

    def _is_whole(self, name: str) -> bool:
        """Whether a pack is what its name says, to the last byte."""
        try:
            if pack.digest(self._objects.pack_path(name)) == name[5 : 5 + keys.LENGTH]:
                return True
            self._say_damaged(f'packs/{name}', 'its bytes are not what its name says')
        except OSError as error:
            self._say_damaged(f'packs/{name}', error)
        return False

    def _take_pack(self, name: str) -> None:
        path = self._objects.pack_path(name)
        if not self._is_whole(name):
            return
        index = f'packs/{pack.index_name(name)}'
        source = _Source([f'packs/{name}', *([index] if os.path.exists(self._path(index)) else [])])
        try:
            for member, data in pack.contents(path, pack.codec_of(name)):
                self._take(source, member, data)
                self._advance(path, len(data))
        except (errors.Damaged, OSError) as error:
            self._say_damaged(f'packs/{name}', error)
            return
        self.files += 1
        self._finish_source(source)

    def _take(self, source: _Source, member: str, data: bytes) -> None:
        """Sees to it that the member is in a pack that stays."""
        digest = keys.of(data)
        if self._new is not None and self._new.members.get(member, digest) != digest:
            self._finish_pack()  # another list of the same object
        if self._new is not None and member in self._new.members:
            source.firsts.add(self._new)
            return
        first = self._copy_that_stays(member, data)
        if first is None:
            first = self._pack_with_room(len(data))
            type, _, listed = pack.parse_name(member)
            kind = 'tree' if listed or type == 'tree' else pack.kind_of(data)
            first.writer.add(kind, member, data)
            first.members[member] = digest
        source.firsts.add(first)

    def _copy_that_stays(self, member: str, data: bytes) -> publish.OnDisk | None:
        """A pack that this run does not touch, or has made, and in which the same bytes were just read from disk."""
        type, key, is_list = pack.parse_name(member)
        for name, listed, _, offset, length in self._objects.cache.find(type, key):
            if listed == is_list and name not in self._chosen:
                try:
                    if name not in self._dropped:
                        self._dropped[name] = publish.drop_cached(self._root, f'packs/{name}')
                        self._objects.forget_frames()
                    if self._objects.packed_copy(member, name, offset, length) == data:
                        return self._dropped[name]
                except errors.Error:
                    continue  # it cannot be read: then it is no copy
        return None

    def _pack_with_room(self, size: int) -> _NewPack:
        """The pack being made; before it can become too large it is finished, and another one begun."""
        size += 2 * pack.BLOCK
        if self._new is not None:
            writer, most = self._new.writer, self._max_pack_bytes
            if len(self._new.members) >= _MOST_MEMBERS:
                self._finish_pack()
            elif writer.largest_size + size > most:
                writer.settle()
                if writer.largest_size + size > most // 4 * 3:
                    self._finish_pack()
        if self._new is None:
            self._packs_made += 1
            name = f'{publish.COPY}pack{self._packs_made}'
            self._new = _NewPack(self._run.create(name), name, self._codec, self._pool)
        return self._new

    def _finish_source(self, source: _Source) -> None:
        self._done.append(source)
        if self._new is None and len(self._done) >= _AT_ONCE_FILES:
            self._remove_done()

    def _finish_pack(self) -> None:
        """Publishes the pack being made, reads it back, and removes what is wholly in it and in those before it."""
        made, self._new = self._new, None
        if made is None:
            return
        try:
            name, index = made.writer.close()
        finally:
            os.close(made.fd)
        # a pack of that name may be there: the same objects in the same order.  It is not risked for our copy of it
        made.on_disk = self._read_back_if_there(name, made)
        if made.on_disk is None:
            self._run.write(f'{made.name}.index', index)
            # the index first: alone it is nothing to readers, while a pack alone they would have to read through
            places = [(f'{made.name}.index', f'packs/{pack.index_name(name)}'), (made.name, f'packs/{name}')]
            self._run.publish(places)
            made.on_disk = self._read_back(name, made)
        self._chosen.discard(name)
        self._mine.add(f'packs/{name}')
        self._dropped[name] = made.on_disk
        self._objects.note_packs([(name, made.writer.places)])
        self._remove_done()

    def _read_back_if_there(self, name: str, made: _NewPack) -> publish.OnDisk | None:
        if not os.path.exists(self._objects.pack_path(name)):
            return None
        try:
            return self._compare(name, made)
        except (errors.Error, OSError):
            return None

    def _read_back(self, name: str, made: _NewPack) -> publish.OnDisk:
        """Raises Error when the pack that was just published is not on disk what it was in memory."""
        try:
            return self._compare(name, made)
        except (errors.Damaged, OSError) as error:
            for path in (f'packs/{name}', f'packs/{pack.index_name(name)}'):
                publish.set_aside(self._root, path)
            raise _bad_disk(f'packs/{name}', error) from error

    def _compare(self, name: str, made: _NewPack) -> publish.OnDisk:
        """Reads a pack from disk as readers do, and all of it.  Raises Damaged unless it holds what it should."""
        publish.drop_cached(self._root, f'packs/{pack.index_name(name)}')
        on_disk = publish.drop_cached(self._root, f'packs/{name}')
        if pack.digest(self._objects.pack_path(name)) != name[5 : 5 + keys.LENGTH]:
            raise errors.Damaged('its bytes are not what its name says')
        found = 0
        for member, data in self._objects.pack_members(name):
            if made.members.get(member) != keys.of(data):
                raise errors.Damaged(f"'{member}' is not what was written")
            found += 1
        if found != len(made.members):
            raise errors.Damaged('its index does not name everything that was written')
        return on_disk

    def _remove_done(self) -> None:
        """Removes the files that were dealt with, now that the pack being made was finished."""
        done, self._done = self._done, []
        firsts = {first.on_disk if isinstance(first, _NewPack) else first for source in done for first in source.firsts}
        stay = {index for path in self._mine for index in (path, f'packs/{pack.index_name(path[6:])}')}
        paths = [path for source in done if source.firsts for path in source.paths if path not in stay]
        self._remove(paths, firsts)

    def _remove(self, paths: list[str], firsts: Iterable[publish.OnDisk]) -> None:
        publish.remove_second_copies(self._root, paths, firsts)
        self._removed_files += len(paths)

    def _remove_stray_indexes(self) -> None:
        """Those that a death left between the removal of a pack and that of its index."""
        names = set(os.listdir(os.fsdecode(os.path.join(self._root, b'packs'))))
        there = {pack.index_name(name) for name in names if pack.codec_of(name)}
        for name in sorted(names - there):
            if name.endswith(pack.INDEX_SUFFIX):
                try:
                    with open(self._path(f'packs/{name}'), 'rb') as file:
                        places = pack.parse_index(file.read())
                except (errors.Damaged, OSError):
                    continue  # chkfs-fsck names it
                if all(self._objects.cache.has(*pack.parse_name(place.name)[:2]) for place in places):
                    publish.remove_index(self._root, f'packs/{name}')
                    self._removed_files += 1

    # ---- files of their own ----

    def _files(self) -> Iterator[tuple[str, str, dict[str, str]]]:
        """(type, key, suffix to path) of each blob and tree that has files of its own; a directory at a time."""
        for type in ('blob', 'tree'):
            for fan in _sorted_names(self._path(f'objects/{type}')):
                found: dict[str, dict[str, str]] = {}
                for name in _sorted_names(self._path(f'objects/{type}/{fan}')):
                    key, suffix = name[: keys.LENGTH], name[keys.LENGTH :]
                    if keys.is_key(key) and key[:2] == fan and suffix in SUFFIXES:
                        found.setdefault(key, {})[suffix] = f'objects/{type}/{fan}/{name}'
                for key, paths in found.items():
                    yield type, key, paths

    def _small_files(self) -> Iterator[tuple[str, bytes, list[str]]]:
        """(member name, bytes, paths) of what belongs into a pack and is whole."""
        for type, key, paths in self._files():
            most = LISTED_ABOVE if type == 'tree' else PACKED_BELOW - 1
            whole, data = [], None
            for suffix, path in paths.items():
                self._step(self._path(path), self)
                try:
                    if suffix == LIST_SUFFIX:
                        text = _read(self._path(path), '', LISTED_ABOVE)
                        if text is not None and self._check_list(key, text):
                            yield f'{type}/{key}{suffix}', text, [path]
                        continue
                    found = _read(self._path(path), suffix, most)
                    if found is None:
                        break  # too large
                    if keys.of(found) != key:
                        raise errors.Damaged('its bytes are not what its name says')
                    data = found
                    whole.append(path)
                except (errors.Damaged, OSError) as error:
                    self._say_damaged(path, error)
            if data is not None:
                yield f'{type}/{key}', data, whole

    def _check_list(self, key: str, text: bytes) -> bool:
        """Whether the pieces that a list names make its object.  Raises Damaged; nothing less can tell."""
        digest = hashlib.sha256()
        try:
            for piece, _ in piecelist.parse(text):
                for block in self._objects.chunks('blob', piece):
                    digest.update(block)
                    self._step(key.encode(), self)
        except errors.NotFound as error:
            raise errors.Damaged(str(error)) from error
        if digest.hexdigest() != key:
            raise errors.Damaged('its pieces together are not what its name says')
        return True

    def _recompress_files(self) -> None:
        waiting, done = deque(), []
        for type, key, paths in self._files():
            paths.pop(LIST_SUFFIX, None)
            if paths.keys() - {codec.SUFFIXES[self._codec]}:
                waiting.append(self._pool.submit(self._recompress, type, key, paths))
            while len(waiting) > _IN_THREADS or waiting and waiting[0].done():
                self._collect(waiting, done)
        while waiting:
            self._collect(waiting, done)
        self._finish_files(done)

    def _collect(self, waiting: deque, done: list[_Recompressed]) -> None:
        made, problems = waiting.popleft().result()
        for path, error in problems:
            self._say_damaged(path, error)
        if made is not None:
            done.append(made)
            self._advance(self._path(made.path), made.bytes, 1)
        if len(done) >= _AT_ONCE_FILES or sum(each.bytes for each in done) >= _AT_ONCE_BYTES:
            self._finish_files(done)
            done.clear()

    def _recompress(self, type: str, key: str, paths: dict[str, str]) -> tuple[_Recompressed | None, list]:
        """In a thread: writes an object's file in the form it should have, unless it is there.

        Gives it, None when there is nothing to be done, and (path, error) of what is damaged.
        """
        suffix = self._suffix_for(paths)
        name, whole, problems, size = None, [], [], 0
        there = suffix in paths and self._is_good(key, paths[suffix], suffix, problems)
        for old_suffix, path in paths.items():
            if old_suffix == suffix:
                continue
            blocks = self._objects.loose_blocks(key, self._path(path), old_suffix)
            try:
                if there or whole:
                    size = sum(map(len, blocks))
                else:
                    name = f'{publish.COPY}{type}-{key}-{len(problems)}{suffix}'
                    size = self._write(name, codec.NAMES[suffix], blocks)
                whole.append(path)
            except (errors.Damaged, OSError) as error:
                problems.append((path, error))
        if not whole:
            return None, problems
        problems = [(path, error) for path, error in problems if path != paths.get(suffix)]  # that one is replaced
        new_path = f'objects/{type}/{key[:2]}/{key}{suffix}'
        return _Recompressed(type, key, suffix, None if there else name, new_path, whole, size), problems

    def _suffix_for(self, paths: dict[str, str]) -> str:
        suffix = codec.SUFFIXES[self._codec]
        if suffix in paths or '' not in paths:
            return suffix
        return suffix if codec.pays(self._codec, _sample(self._path(paths['']))) else ''

    def _is_good(self, key: str, path: str, suffix: str, problems: list) -> bool:
        try:
            for _ in self._objects.loose_blocks(key, self._path(path), suffix):
                pass
            return True
        except (errors.Damaged, OSError) as error:
            problems.append((path, error))
            return False

    def _write(self, name: str, codec_name: str, blocks: Iterable[bytes]) -> int:
        """Writes a file of the run, as streams laid end to end; gives the plain bytes."""
        fd, size = self._run.create(name), 0
        try:
            for block in _at_least(_STREAM_BYTES, blocks):
                publish.write_all(fd, codec.verified(codec_name, block))
                size += len(block)
        finally:
            os.close(fd)
        return size

    def _finish_files(self, done: list[_Recompressed]) -> None:
        """Publishes files, reads them back, and removes their old forms."""
        self._run.publish([(each.name, each.path) for each in done if each.name is not None])
        firsts = []
        for each in done:
            firsts.append(publish.drop_cached(self._root, each.path))
            try:
                for _ in self._objects.loose_blocks(each.key, self._path(each.path), each.suffix):
                    pass
            except (errors.Damaged, OSError) as error:
                publish.set_aside(self._root, each.path)
                raise _bad_disk(each.path, error) from error
            self._objects.note_loose(each.type, each.key)
        self._remove([path for each in done for path in each.old_paths], firsts)


def _bad_disk(path: str, error: BaseException) -> errors.Error:
    return errors.Error(
        f"'{path}' was written, but read back from disk it is wrong ({errors.describe(error)}): it is set aside, and "
        f'what it was made of is still there; look at the disk of the store, and at the memory of this machine'
    )


def _read(path: bytes, suffix: str, most: int) -> bytes | None:
    """The plain bytes of a file; None when they are more than most, which its beginning tells."""
    parts, size = [], 0
    with open(path, 'rb', buffering=0) as file:
        if os.fstat(file.fileno()).st_size > most:
            return None
        for block in codec.decompress(codec.NAMES[suffix], iter(lambda: file.read(_SAMPLE_BYTES), b'')):
            parts.append(block)
            size += len(block)
            if size > most:
                return None
    return b''.join(parts)


def _sample(path: bytes) -> bytes:
    """What codec.pays() looks at: the middle of the file."""
    with open(path, 'rb', buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return os.pread(file.fileno(), _SAMPLE_BYTES, max(0, (size - _SAMPLE_BYTES) // 2))


def _at_least(size: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Puts blocks together into such of about size bytes; one even if there is nothing."""
    held, held_bytes, given = [], 0, False
    for block in blocks:
        held.append(block)
        held_bytes += len(block)
        if held_bytes >= size:
            yield b''.join(held)
            held, held_bytes, given = [], 0, True
    if held or not given:
        yield b''.join(held)


def _sorted_names(path: bytes) -> list[str]:
    try:
        return sorted(os.fsdecode(name) for name in os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
