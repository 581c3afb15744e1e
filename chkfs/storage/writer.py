"""Adds objects to a store: small ones into packs, larger ones as files, big ones as lists of pieces.

Everything is written into one run's incoming directory and becomes visible at a checkpoint, loose blobs first and
then the pack.  Trees and lists go into packs whatever their size up to 8 MiB, so that nothing is ever visible
before what it names.  Several forked processes may put blobs into one run; one of them publishes.
"""

import contextlib
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import chunker, codec, pack, publish
from chkfs.storage.claims import Claims
from chkfs.storage.objects import LIST_SUFFIX, Objects
from chkfs.text import key as keys
from chkfs.text import piecelist

PACKED_BELOW = 256 << 10  # smaller objects go into packs
LISTED_ABOVE = 8 << 20  # larger objects are cut
CHECKPOINT_BYTES = 256 << 20
CHECKPOINT_OBJECTS = 200_000
CHECKPOINT_SECONDS = 30

_LOOSE_AT_ONCE = 3
_SMALL_AT_ONCE = 100  # that the store is asked about


class Sealed(NamedTuple):
    """What one process has ready in the run's directory: (name there, path from the store's root) of each file."""

    loose: list[tuple[str, str]]
    packed: list[tuple[str, str]]  # a pack and then its index, or nothing
    keys: list[tuple[str, str]]  # (type, key) of the loose ones
    packs: list[tuple[str, list[pack.Place]]]


class Writer:
    """Use as a context manager, and call checkpoint() before leaving: what is not published then is dropped."""

    def __init__(self, objects: Objects, codec_name: str, chunks: chunker.Parameters, loose: bool = False):
        """loose: small objects become files too, for a caller that writes only one or two."""
        self.written_objects = 0  # a small blob counts once it is packed
        # gather gives what other processes of this run have sealed; sealing is called then, may put something
        # more, and what it gives is called when all that was put before is safe
        self.gather: Callable[[], list[Sealed]] = list
        self.sealing: Callable[[], Callable[[], None]] = lambda: lambda: None
        self._objects, self._codec, self._chunks, self._loose = objects, codec_name, chunks, loose
        self._run = publish.Run(objects.root)
        self._prefix = ''
        self._pool = self._publisher = None
        self._publication: tuple | None = None  # (future of publishing, what to call then)
        self._is_preparing = False
        self._claims: Claims | None = None
        self._new: dict[str, set[str]] = {type: set() for type in keys.TYPES}
        self._being_published: dict[str, set[str]] = self._new
        self._waiting = deque()  # of (future of (name, path))
        self._pack, self._pack_fd, self._sealed_packs = None, -1, 0
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end_threads()
        if self._pack_fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._pack_fd)
        self._run.__exit__()

    def prepare_to_branch(self) -> None:
        """To be called before the processes are forked that will call branch().

        No thread is left then: what it held at the fork, an import say, would be held in the child for ever.
        """
        self._pack_small()
        self._settle(0)
        if self._pack is not None:
            self._pack.settle()
        self._end_checkpoint()
        self._end_threads()
        if self._claims is None:
            self._claims = Claims()
            for key in self._new['blob']:
                self._claims.add(key)

    @contextlib.contextmanager
    def forking(self) -> Iterator[None]:
        """Around the fork of processes that will call branch()."""
        self.prepare_to_branch()
        with self._objects.cache.put_away():
            yield

    def branch(self) -> 'Writer':
        """In a forked process: a writer for the same run.  Its process calls seal(); the first one publishes."""
        other = object.__new__(Writer)
        other.__dict__.update(self.__dict__)
        other._objects = self._objects.reopened()
        other._prefix = f'{os.getpid()}-'
        other._pool = other._publisher = other._publication = None
        other._new = {type: set() for type in keys.TYPES}
        other._being_published = other._new
        other._waiting = deque()
        other._pack_fd = -1
        other._start()
        return other

    def has(self, type: str, key: str, size: int | None = None) -> bool:
        """Whether it need not be put.  Raises Error when the store cannot be read."""
        if key in self._new[type] or key in self._being_published[type]:
            return True
        if type == 'blob' and self._claims is not None and key in self._claims:
            return True
        return self._is_stored(type, key, size)

    def _is_stored(self, type: str, key: str, size: int | None) -> bool:
        try:
            return self._objects.has_at_hand(type, key, size)
        except OSError as error:
            raise publish.failure(error) from error

    def has_whole(self, key: str, size: int) -> bool:
        """Whether a blob of that size need not be put; of a listed one every piece must be there."""
        if not self.has('blob', key):
            return False
        if size <= LISTED_ABOVE:
            return True
        try:
            with publish.storing():
                pieces = self._objects.pieces('blob', key)
        except errors.Damaged:
            return False
        return all(self.has('blob', piece, piece_size) for piece, piece_size in pieces)

    def put(self, type: str, data: bytes) -> str:
        """Stores bytes (all in memory) and gives their key."""
        size = len(data)
        if size > LISTED_ABOVE and type != 'snapshot':
            return self.put_blocks(type, (data,))[0]
        key = hashlib.sha256(data).hexdigest()
        if type == 'blob' and size < PACKED_BELOW and not self._loose:
            self._put_small(key, data)
        elif not self.has(type, key, size):
            if type == 'tree' and not self._loose:
                self._put_packed(type, type, key, data)
            else:
                self._put_loose(type, key, data)
        return key

    def _put_small(self, key: str, data: bytes) -> None:
        """Keeps a small blob that no process of this run has put, until many have gathered."""
        new = self._new['blob']
        if key in new or key in self._being_published['blob']:
            return
        if self._claims is not None and not self._claims.add(key):
            return
        new.add(key)
        self._small[key] = data
        self._small_bytes += len(data)
        if len(self._small) == _SMALL_AT_ONCE or self._small_bytes >= pack.FRAME_BYTES:
            self._pack_small()

    def _pack_small(self) -> None:
        """Packs the small blobs that have gathered, but those that the store has: it is asked once for all."""
        if not self._small:
            return
        try:
            lacking = self._objects.lacking('blob', {key: len(data) for key, data in self._small.items()})
        except OSError as error:
            raise publish.failure(error) from error
        if lacking:
            add = self._open_pack().add
            for key in lacking:
                data = self._small[key]
                add(pack.kind_of(data), f'blob/{key}', data)
                self._bytes += len(data) + pack.BLOCK
            self._put_objects += len(lacking)
            self.written_objects += len(lacking)
        self._small, self._small_bytes = {}, 0

    def put_blocks(self, type: str, blocks: Iterable[bytes]) -> tuple[str, int]:
        """Stores what flows by, cut into pieces when it is long; gives key and size."""
        blocks = iter(blocks)
        head, size = [], 0
        for block in blocks:
            head.append(block)
            size += len(block)
            if size > LISTED_ABOVE and type != 'snapshot':
                return self._put_listed(type, _chain(head, blocks))
        return self.put(type, b''.join(head)), size

    def checkpoint_if_due(self) -> None:
        """Publishes when enough has gathered or enough time has gone by; goes on while that is being done."""
        if self._prefix or self._is_preparing:
            return  # the process that publishes asks for what is here; what gather() puts goes with the rest
        self.notice()
        if (
            self._bytes + self._small_bytes >= CHECKPOINT_BYTES
            or self._put_objects + len(self._small) >= CHECKPOINT_OBJECTS
            or time.monotonic() - self._started >= CHECKPOINT_SECONDS
        ):
            publish_all, note = self._prepare_checkpoint()
            if self._publisher is None:
                self._publisher = _threads(1)
            self._publication = self._publisher.submit(publish_all), note

    def checkpoint(self) -> None:
        """Makes all that was put visible and safe, children before their parents."""
        publish_all, note = self._prepare_checkpoint()
        publish_all()
        note()

    def count_elsewhere(self, objects: int, size: int) -> None:
        """Tells of objects that another process of this run may have to put, for the checkpoints' sake."""
        self._bytes += size + objects * pack.BLOCK
        self._put_objects += objects

    def seal(self) -> Sealed:
        """Finishes the files that this process has been writing; what is put from now on goes into others."""
        self._pack_small()
        self._settle(0)
        packed, packs = [], []
        if self._pack is not None:
            name, index = self._pack.close()
            fd, self._pack_fd = self._pack_fd, -1
            publish.close(fd)
            self._run.write(self._name('index'), index)
            packed = [(self._pack_name(), f'packs/{name}'), (self._name('index'), f'packs/{pack.index_name(name)}')]
            packs = [(name, self._pack.places)]
        sealed = Sealed(self._places, packed, self._loose_keys, packs)
        self._being_published, self._new = self._new, {type: set() for type in keys.TYPES}
        self._start()
        self._objects.cache.renew()
        return sealed

    def _prepare_checkpoint(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """(what publishes, in whatever thread; what to call then); the checkpoint before is over when this returns."""
        self._end_checkpoint()
        self._is_preparing = True
        others = self.gather()
        secured = self.sealing()
        parts = [*others, self.seal()]  # trees and lists are in our own pack, so that comes last
        loose = [place for part in parts for place in part.loose]
        places = [place for place in loose if not place[1].endswith(LIST_SUFFIX)]
        places += [place for part in others for place in part.packed]
        places += [place for place in loose if place[1].endswith(LIST_SUFFIX)]
        places += parts[-1].packed
        places.sort(key=lambda place: place[1].startswith('objects/snapshot/'))  # after all that they name
        self._is_preparing = False

        def publish_all() -> None:
            self._run.publish(places)
            with publish.storing():
                self._objects.note_packs([found for part in parts for found in part.packs])

        def note() -> None:
            for part in parts:
                for type, key in part.keys:
                    self._objects.note_loose(type, key)
            self._objects.cache.renew()
            secured()

        return publish_all, note

    def notice(self) -> None:
        """Ends a checkpoint that has been begun if it is published by now.  Raises Error when it failed."""
        if self._publication is not None and self._publication[0].done():
            self._end_checkpoint()

    def _end_checkpoint(self) -> None:
        """Waits for the checkpoint that has been begun, if any.  Raises Error when it failed."""
        if self._publication is not None:
            (future, note), self._publication = self._publication, None
            future.result()
            note()

    def _start(self) -> None:
        self._places, self._loose_keys, self._pack, self._bytes, self._put_objects = [], [], None, 0, 0
        self._sealed_packs += 1
        self._small: dict[str, bytes] = {}  # put, but not packed yet
        self._small_bytes = 0
        self._started = time.monotonic()

    def _name(self, kind: str) -> str:
        """Of a file in the run's directory that no other process of the run uses."""
        return f'{self._prefix}{self._sealed_packs}-{kind}'

    def _pack_name(self) -> str:
        return self._name(f'pack.tar{codec.SUFFIXES[self._codec]}')

    def _end_threads(self) -> None:
        for pool in (self._pool, self._publisher):
            if pool is not None:
                pool.shutdown(cancel_futures=True)
        self._pool = self._publisher = None

    def submit(self, function, *arguments):
        """Has a thread call a function, as concurrent.futures executors do."""
        if self._pool is None:
            self._pool = _threads(1 if self._prefix else os.cpu_count() or 1)
        return self._pool.submit(function, *arguments)

    def _open_pack(self) -> pack.Writer:
        if self._pack is None:
            self._pack_fd = self._run.create(self._pack_name())
            self._pack = pack.Writer(self._pack_fd, self._codec, self)
        return self._pack

    def _put_packed(self, kind: str, type: str, key: str, data: bytes, suffix: str = '') -> None:
        self._open_pack().add(kind, f'{type}/{key}{suffix}', data)
        self._count(type, key, len(data) + pack.BLOCK)

    def _put_loose(self, type: str, key: str, data: bytes, suffix: str | None = None) -> None:
        if type == 'snapshot':
            suffix = ''
        self._waiting.append(self.submit(self._write_loose, type, key, data, suffix))
        self._count(type, key, len(data))
        self._loose_keys.append((type, key))
        self._settle(_LOOSE_AT_ONCE)

    def _write_loose(self, type: str, key: str, data: bytes, suffix: str | None) -> tuple[str, str]:
        """In a thread of the pool: compresses if that pays, and writes; gives the names here and there."""
        if suffix is None:
            name = self._codec if codec.pays(self._codec, data) else 'none'
            data, suffix = codec.verified(name, data, light=True), codec.SUFFIXES[name]
        name = f'{self._prefix}{type}-{key}{suffix}'
        self._run.write(name, data)
        return name, f'objects/{type}/{key[:2]}/{key}{suffix}'

    def _put_listed(self, type: str, blocks: Iterable[bytes]) -> tuple[str, int]:
        whole, size = hashlib.sha256(), 0
        pieces: list[tuple[str, int]] = []
        hashing, last, future = deque(), None, None
        for piece in chunker.cut(blocks, self._chunks):
            if piece is not last:  # as the pieces of a long hole are
                last, future = piece, self.submit(keys.of, piece)
            hashing.append((future, piece))
            whole.update(piece)
            size += len(piece)
            if len(hashing) > 2:
                pieces.append(self._put_piece(*hashing.popleft()))
                self.checkpoint_if_due()
        while hashing:
            pieces.append(self._put_piece(*hashing.popleft()))
        key = whole.hexdigest()
        if not self.has(type, key):
            self._put_list(type, key, piecelist.format(pieces))
        return key, size

    def _put_piece(self, future, piece: bytes) -> tuple[str, int]:
        key = future.result()
        if not self._has_piece(key, len(piece)):
            if len(piece) < PACKED_BELOW and not self._loose:  # the list then is a file, and comes before packs
                self._put_packed(pack.kind_of(piece), 'blob', key, piece)
            else:
                self._put_loose('blob', key, piece)
        return key, len(piece)

    def _has_piece(self, key: str, size: int) -> bool:
        """A worker's lists become visible before the last pack: no piece of theirs may lie only there."""
        if self._prefix and key not in self._new['blob']:
            return self._is_stored('blob', key, size)
        return self.has('blob', key, size)

    def _put_list(self, type: str, key: str, data: bytes) -> None:
        if not self._loose and not self._prefix:  # the pieces may be in the pack of another process
            self._put_packed('tree', type, key, data, LIST_SUFFIX)
        else:
            self._put_loose(type, key, data, LIST_SUFFIX)

    def _count(self, type: str, key: str, size: int) -> None:
        self._new[type].add(key)
        if self._claims is not None and type == 'blob':
            self._claims.add(key)
        self._bytes += size
        self._put_objects += 1
        self.written_objects += 1

    def _settle(self, allowed: int) -> None:
        """Waits until at most so many files are still being written."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._places.append(self._waiting.popleft().result())


def _chain(head: list[bytes], rest: Iterable[bytes]) -> Iterable[bytes]:
    while head:
        yield head.pop(0)
    yield from rest


def _threads(count: int):
    from concurrent.futures import ThreadPoolExecutor  # takes 10 ms, and many commands write nothing large

    return ThreadPoolExecutor(count)
