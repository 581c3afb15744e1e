"""Adds objects to a store: small ones into packs, larger ones as files, big ones as lists of pieces.

Everything is written into one run's incoming directory and becomes visible at a checkpoint, loose blobs first and
then the pack.  Trees and lists go into packs whatever their size up to 8 MiB, so that nothing is ever visible
before what it names.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable

from chkfs import chunker, codec, pack, piecelist, publish
from chkfs import key as keys
from chkfs.objects import LIST_SUFFIX, Objects

PACKED_BELOW = 256 << 10  # smaller objects go into packs
LISTED_ABOVE = 8 << 20  # larger objects are cut
CHECKPOINT_BYTES = 256 << 20
CHECKPOINT_OBJECTS = 200_000
CHECKPOINT_SECONDS = 30

_LOOSE_AT_ONCE = 3


class Writer:
    """Use as a context manager, and call checkpoint() before leaving: what is not published then is dropped."""

    def __init__(self, objects: Objects, codec_name: str, chunks: chunker.Parameters, loose: bool = False):
        """loose: small objects become files too, for a caller that writes only one or two."""
        from concurrent.futures import ThreadPoolExecutor

        self.written_objects = 0
        self.after_checkpoint: Callable[[], None] = lambda: None
        self._objects, self._codec, self._chunks, self._loose = objects, codec_name, chunks, loose
        self._run = publish.Run(objects.root)
        self._pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1))
        self._new: dict[str, set[str]] = {type: set() for type in keys.TYPES}
        self._waiting = deque()  # of (future of (name, path))
        self._places: list[tuple[str, str]] = []
        self._loose_keys: list[tuple[str, str]] = []
        self._pack, self._pack_fd = None, -1
        self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pool.shutdown(cancel_futures=True)
        if self._pack_fd >= 0:
            os.close(self._pack_fd)
        self._run.__exit__()

    def has(self, type: str, key: str) -> bool:
        return key in self._new[type] or self._objects.has(type, key)

    def put(self, type: str, data: bytes) -> str:
        """Stores bytes (all in memory) and gives their key."""
        size = len(data)
        if size > LISTED_ABOVE and type != 'snapshot':
            return self.put_blocks(type, (data,))[0]
        key = hashlib.sha256(data).hexdigest()
        if key in self._new[type] or self._objects.has(type, key, size):
            return key
        if not self._loose and (type == 'tree' or type == 'blob' and size < PACKED_BELOW):
            self._put_packed(type, type, key, data)
        else:
            self._put_loose(type, key, data)
        return key

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
        """Publishes when enough has gathered or enough time has gone by."""
        if (
            self._bytes >= CHECKPOINT_BYTES
            or sum(map(len, self._new.values())) >= CHECKPOINT_OBJECTS
            or time.monotonic() - self._started >= CHECKPOINT_SECONDS
        ):
            self.checkpoint()

    def checkpoint(self) -> None:
        """Makes all that was put visible and safe, children before their parents."""
        self._settle(0)
        packed = None
        if self._pack is not None:
            name, index = self._pack.close()
            os.close(self._pack_fd)
            self._pack_fd = -1
            self._run.write('index', index)
            # the trees and lists in the pack name loose blobs: those go first; a pack can be read without its index
            self._places += [('pack', f'packs/{name}'), ('index', f'packs/{pack.index_name(name)}')]
            packed = name, self._pack.places
        self._run.publish(self._places)
        for type, key in self._loose_keys:
            self._objects.note_loose(type, key)
        if packed is not None:
            self._objects.note_pack(*packed)
        self._start()
        self.after_checkpoint()

    def _start(self) -> None:
        for new in self._new.values():
            new.clear()
        self._places, self._loose_keys, self._pack, self._bytes = [], [], None, 0
        self._started = time.monotonic()

    def _put_packed(self, kind: str, type: str, key: str, data: bytes, suffix: str = '') -> None:
        if self._pack is None:
            self._pack_fd = self._run.create('pack')
            self._pack = pack.Writer(self._pack_fd, self._codec, self._pool)
        self._pack.add(kind, f'{type}/{key}{suffix}', data)
        self._count(type, key, len(data) + pack.BLOCK)

    def _put_loose(self, type: str, key: str, data: bytes, suffix: str | None = None) -> None:
        if type == 'snapshot':
            suffix = ''
        self._waiting.append(self._pool.submit(self._write_loose, type, key, data, suffix))
        self._count(type, key, len(data))
        self._loose_keys.append((type, key))
        self._settle(_LOOSE_AT_ONCE)

    def _write_loose(self, type: str, key: str, data: bytes, suffix: str | None) -> tuple[str, str]:
        """In a thread of the pool: compresses if that pays, and writes; gives the names here and there."""
        if suffix is None:
            name = self._codec if codec.pays(self._codec, data) else 'none'
            data, suffix = codec.verified(name, data), codec.SUFFIXES[name]
        self._run.write(f'{type}-{key}{suffix}', data)
        return f'{type}-{key}{suffix}', f'objects/{type}/{key[:2]}/{key}{suffix}'

    def _put_listed(self, type: str, blocks: Iterable[bytes]) -> tuple[str, int]:
        whole, size = hashlib.sha256(), 0
        pieces: list[tuple[str, int]] = []
        hashing = deque()
        for piece in chunker.cut(blocks, self._chunks):
            hashing.append((self._pool.submit(keys.of, piece), piece))
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
        if key not in self._new['blob'] and not self._objects.has('blob', key, len(piece)):
            if len(piece) < PACKED_BELOW:
                self._put_packed('blob', 'blob', key, piece)
            else:
                self._put_loose('blob', key, piece)
        return key, len(piece)

    def _put_list(self, type: str, key: str, data: bytes) -> None:
        if not self._loose:
            self._put_packed('tree', type, key, data, LIST_SUFFIX)
        else:
            self._put_loose(type, key, data, LIST_SUFFIX)

    def _count(self, type: str, key: str, size: int) -> None:
        self._new[type].add(key)
        self._bytes += size
        self.written_objects += 1

    def _settle(self, allowed: int) -> None:
        """Waits until at most so many files are still being written."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._places.append(self._waiting.popleft().result())


def _chain(head: list[bytes], rest: Iterable[bytes]) -> Iterable[bytes]:
    while head:
        yield head.pop(0)
    yield from rest
