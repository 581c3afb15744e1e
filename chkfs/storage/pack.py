"""Packs: many small objects in one tar archive of independently compressed frames, with a text index.

A frame is one complete compressed stream that holds whole tar members, about 1 MiB of them; trees and
lists go to frames of their own, so that walking trees never unpacks contents.  The two zero blocks that end
a tar archive are the last frame.  chkfs-pack(5) is the authority.
"""

import hashlib
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import codec, publish
from chkfs.text import key as keys
from chkfs.text import number

FRAME_BYTES = 1 << 20
LARGEST_FRAME = 64 << 20  # bytes: far more than any has; what is larger is damaged, or a trap
BLOCK = 512
INDEX_SUFFIX = '.index'
KINDS = ('blob', 'dense', 'tree')  # of frames; dense: contents that are compressed already

_GLANCE_BYTES = 64 << 10
_HEADER_BEGINS = re.compile(rb'(?:blob|tree)/[0-9a-f]{64}(?:\.list)?\0')
_PADDING = [bytes(-size % BLOCK) for size in range(BLOCK)]
_END_OF_ARCHIVE = bytes(2 * BLOCK)
_LARGEST_OCTAL = 8**11


class Place(NamedTuple):
    """Where an object lies: name is <type>/<key> or <type>/<key>.list; sizes and offsets in bytes."""

    name: str
    size: int
    offset: int
    length: int


def _template() -> tuple[bytes, bytes, bytes, int]:
    """Constant parts of a ustar header (before the size, between size and checksum, after) and their sum."""
    owner = b'0000400\0' + b'0000000\0' + b'0000000\0'
    mtime = b'00000000000\0'
    tail = b'0' + bytes(100) + b'ustar\x0000' + bytes(247)
    return owner, mtime, tail, sum(owner) + sum(mtime) + sum(tail) + 8 * 0x20


_OWNER, _MTIME, _TAIL, _CONSTANT_SUM = _template()


# the beginnings of gzip, PNG, zip, JPEG, WOFF2, Ogg, xz, bzip2, 7z, GIF, zstd and MP3 files
_is_dense = re.compile(
    rb'\x1f\x8b\x08|\x89PNG|PK\x03\x04|\xff\xd8\xff|wOF2|OggS|\xfd7zXZ|BZh|7z\xbc\xaf|GIF8|\x28\xb5\x2f\xfd|ID3'
).match


def kind_of(data: bytes) -> str:
    """Which frames a blob belongs into.  What is compressed already does not help its neighbours to be."""
    return 'dense' if _is_dense(data) else 'blob'


def header(name: str, size: int) -> bytes:
    """A ustar header (512 bytes) of a regular file; sizes from 8 GiB on in GNU's base-256."""
    raw = name.encode('ascii')
    octal = b'%011o\0' % size if size < _LARGEST_OCTAL else (1 << 95 | size).to_bytes(12, 'big')
    checksum = b'%06o\0 ' % (_CONSTANT_SUM + (zlib.adler32(raw + octal) & 0xFFFF) - 1)  # its lower half is 1 + the sum
    return b''.join((raw.ljust(100, b'\0'), _OWNER, octal, _MTIME, checksum, _TAIL))


def members(plain: bytes) -> Iterator[tuple[str, int, int]]:
    """(name, start, size) of each member in the plain bytes of a frame.  Raises Damaged."""
    at, end = 0, len(plain)
    while at + BLOCK <= end:
        name = plain[at : at + 100].rstrip(b'\0')
        if not name:
            return  # the end of the archive
        size = number.parse(plain[at + 124 : at + 135].decode('ascii', 'replace'), 8)
        if at + BLOCK + size > end:
            raise errors.Damaged('tar member is cut short')
        yield name.decode('ascii', 'replace'), at + BLOCK, size
        at += BLOCK + size + -size % BLOCK


def parse_name(name: str) -> tuple[str, str, bool]:
    """(type, key, is it a list?) of a member's name.  Raises Damaged."""
    type, _, rest = name.partition('/')
    key = rest.removesuffix('.list')
    if type not in keys.TYPES or not keys.is_key(key):
        raise errors.Damaged(f'not the name of an object: {name[:80]!r}')
    return type, key, key != rest


class Writer:
    """One pack being written into an open file.  Frames are compressed by pool, and appended in order."""

    def __init__(self, fd: int, codec_name: str, pool):
        """pool: a concurrent.futures executor."""
        self.bytes = 0  # plain bytes taken so far
        self.places: list[Place] = []
        self._fd, self._codec, self._pool = fd, codec_name, pool
        self._frames = {kind: ([], []) for kind in KINDS}  # parts, (name, size)
        self._frame_bytes = dict.fromkeys(KINDS, 0)
        self._waiting = deque()  # of (future of the stream, (name, size) of its members, plain bytes)
        self._waiting_bytes = 0
        self._offset = 0
        self._hash = hashlib.sha256()

    def add(self, kind: str, name: str, data: bytes) -> None:
        """kind: the frames to put it in, one of KINDS."""
        size = len(data)
        parts, names = self._frames[kind]
        parts += (header(name, size), data, _PADDING[size % BLOCK])
        names.append((name, size))
        self._frame_bytes[kind] += size + BLOCK
        if self._frame_bytes[kind] >= FRAME_BYTES:
            self._seal(kind)

    @property
    def largest_size(self) -> int:
        """What the pack may come to on disk when it is closed now, at most; in bytes."""
        return self._offset + self._waiting_bytes + sum(self._frame_bytes.values()) + 2 * BLOCK

    def settle(self) -> None:
        """Ends the frames that are being filled and waits until all are written: now largest_size is what it is."""
        for kind in self._frames:
            self._seal(kind)
        self._append_waiting(0)

    def close(self) -> tuple[str, bytes]:
        """Writes what is left and the end of the archive; gives the pack's name and its index text."""
        self.settle()
        self._append(codec.compress(self._codec, _END_OF_ARCHIVE))
        name = f'pack-{self._hash.hexdigest()}.tar{codec.SUFFIXES[self._codec]}'
        return name, format_index(self.places)

    def _seal(self, kind: str) -> None:
        parts, names = self._frames[kind]
        if names:
            plain = b''.join(parts)
            self.bytes += len(plain)
            stream = self._pool.submit(codec.verified, self._codec, plain, kind == 'dense')
            self._waiting.append((stream, names, len(plain)))
            self._waiting_bytes += len(plain)
            self._frames[kind], self._frame_bytes[kind] = ([], []), 0
            self._append_waiting(8)

    def _append_waiting(self, allowed: int) -> None:
        """Appends the frames that are ready, and waits while more than allowed are not."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0][0].done()):
            future, names, plain_bytes = self._waiting.popleft()
            stream = future.result()
            self._waiting_bytes -= plain_bytes
            self.places += [Place(name, size, self._offset, len(stream)) for name, size in names]
            self._append(stream)

    def _append(self, stream: bytes) -> None:
        publish.write_all(self._fd, stream)
        self._hash.update(stream)
        self._offset += len(stream)


def format_index(places: list[Place]) -> bytes:
    """The index text: one sorted line an object, and the digest of all lines before the last."""
    body = ''.join([f'{name} {size} {offset} {length}\n' for name, size, offset, length in sorted(places)])
    return f'{body}# sha256 {keys.of(body.encode())}\n'.encode()


def parse_index(data: bytes) -> list[Place]:
    """Raises Damaged when the text is cut short or changed."""
    body, mark, digest = data.rpartition(b'# sha256 ')
    if not mark or digest.decode('ascii', 'replace').rstrip('\n') != keys.of(body):
        raise errors.Damaged('index is cut short or changed')
    places = []
    for line in body.decode('ascii', 'replace').split('\n')[:-1]:
        name, *numbers = line.split(' ')
        parse_name(name)
        if len(numbers) != 3:
            raise errors.Damaged('index has a line that is none')
        places.append(Place(name, *map(number.parse, numbers)))
    return places


def codec_of(file_name: str) -> str | None:
    """The codec of a pack's file name, None when it is not the name of a pack."""
    stem, tar, suffix = file_name.partition('.tar')
    whole = tar and stem.startswith('pack-') and keys.is_key(stem[5:])
    return codec.NAMES.get(suffix) if whole else None


def digest(path: bytes) -> str:
    """The SHA-256 of a file: what the name of a pack says that it is."""
    with open(path, 'rb', buffering=0) as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def index_name(file_name: str) -> str:
    """pack-<sha256>.index of a pack's file name."""
    return file_name.partition('.tar')[0] + INDEX_SUFFIX


def points_outside(places: list[Place], size: int) -> bool:
    """Whether an index cannot be that of a pack of so many bytes."""
    return any(offset + length > size or plain >= 1 << 62 for _, plain, offset, length in places)


def is_index_of(path: bytes, codec_name: str, places: list[Place]) -> bool:
    """Whether the first frame that an index tells of begins with a member that it tells of.  Raises OSError."""
    if not places:
        return True
    offset, length = min((place.offset, place.length) for place in places)
    plain = b''
    with open(path, 'rb', buffering=0) as file:
        file.seek(offset)
        blocks = (file.read(min(_GLANCE_BYTES, length - at)) for at in range(0, length, _GLANCE_BYTES))
        try:
            for block in codec.decompress(codec_name, blocks):
                plain += block
                if len(plain) >= BLOCK:
                    break
        except errors.Damaged:
            pass
    found = _parse_header(plain[:BLOCK])
    return found is None or any(place.name == found[0] for place in places if place.offset == offset)


def scan(path: bytes, codec_name: str) -> list[Place]:
    """The places of all members that verify, read from the pack itself: the index made anew."""
    return [place for place, _ in whole_members(path, codec_name)]


def whole_members(path: bytes, codec_name: str) -> Iterator[tuple[Place, bytes]]:
    """(place, bytes) of all members that verify, of a pack however damaged.

    A list cannot be verified by itself and is taken as it stands.  A damaged frame is left out.
    """
    with open(path, 'rb') as file:
        for offset, length, plain in _scan_frames(file, codec_name):
            try:
                for name, start, size in members(plain):
                    data = plain[start : start + size]
                    _, key, listed = parse_name(name)
                    if listed or keys.of(data) == key:
                        yield Place(name, size, offset, length), data
            except errors.Damaged:
                continue


def contents(path: bytes, codec_name: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of every member of a whole pack, in order, from the pack alone.

    Raises Damaged at whatever is not as the name says, and at any byte that belongs to no member: who has been
    given everything can be sure that there is nothing else in the file.
    """
    with open(path, 'rb') as file:
        offset = 0
        for start, length, plain in _scan_frames(file, codec_name):
            if start != offset:
                raise errors.Damaged(f'what begins at byte {offset} is no frame')
            offset += length
            end = 0
            for name, start, size in members(plain):
                data = plain[start : start + size]
                _, key, listed = parse_name(name)
                if not listed and keys.of(data) != key:
                    raise errors.Damaged(f"'{name}' is not what its name says")
                yield name, data
                end = start + size + -size % BLOCK
            if plain[end:].strip(b'\0'):
                raise errors.Damaged(f'something lies behind the members of the frame at byte {start}')
        file.seek(offset)
        while rest := file.read(FRAME_BYTES):
            if rest.strip(b'\0'):
                raise errors.Damaged(f'what begins at byte {offset} is no frame')


def _scan_frames(file, codec_name: str) -> Iterator[tuple[int, int, bytes]]:
    """(offset, length, plain bytes) of each whole frame, found without an index."""
    if codec_name == 'none':
        yield from _scan_plain(file)
        return
    size = os.fstat(file.fileno()).st_size
    offset = 0
    while offset < size:
        file.seek(offset)
        frame = _first_frame(file, codec_name)
        if frame is None:
            magic = codec.MAGICS[codec_name]
            offset = _next_match(file, offset + 1, re.compile(re.escape(magic)), len(magic))
            continue
        length, plain = frame
        yield offset, length, plain
        offset += length


def _first_frame(file, codec_name: str) -> tuple[int, bytes] | None:
    """(compressed length, plain bytes) of the stream that begins here; None when it is damaged."""
    new, wrong = codec._decompressor(codec_name)
    stream, read_bytes, parts = new(), 0, []
    while not stream.eof:
        block = file.read(BLOCK * 128) if stream.needs_input else b''
        if stream.needs_input and not block:
            return None
        read_bytes += len(block)
        try:
            parts.append(stream.decompress(block, 4 * FRAME_BYTES))
        except wrong:
            return None
        if sum(map(len, parts)) > LARGEST_FRAME:
            return None
    return read_bytes - len(stream.unused_data), b''.join(parts)


def _next_match(file, start: int, pattern: re.Pattern, longest: int) -> int:
    """Where the next frame may begin; the end of the file when nowhere.  longest: bytes that pattern can match."""
    file.seek(start)
    before = b''
    while block := file.read(1 << 20):
        found = pattern.search(before + block)
        if found:
            return start - len(before) + found.start()
        start += len(block)
        before = (before + block)[-longest + 1 :]
    return start


def _scan_plain(file) -> Iterator[tuple[int, int, bytes]]:
    """Uncompressed packs: every member is a frame of its own.

    Where no header follows, bytes may be lost: one is looked for at every byte, also in the member before.
    """
    offset, block = 0, file.read(BLOCK)
    while len(block) == BLOCK:
        found = _parse_header(block)
        if found is not None and found[1] <= LARGEST_FRAME:
            rest = file.read(found[1] + -found[1] % BLOCK)
            yield offset, BLOCK + len(rest), block + rest
            after, next_block = offset + BLOCK + len(rest), file.read(BLOCK)
            if _parse_header(next_block) or not next_block.strip(b'\0'):
                offset, block = after, next_block
                continue
        offset = _next_match(file, offset + 1, _HEADER_BEGINS, 76)
        file.seek(offset)
        block = file.read(BLOCK)


def _parse_header(block: bytes) -> tuple[str, int] | None:
    """(name, size) of a member that a header of ours tells; None when the block is no such header."""
    try:
        name = block[:100].rstrip(b'\0').decode('ascii', 'replace')
        parse_name(name)
        size = number.parse(block[124:135].decode('ascii', 'replace'), 8)
    except errors.Damaged:
        return None
    return (name, size) if block == header(name, size) else None
