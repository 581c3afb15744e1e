"""Codecs: the five ways to store bytes, all of which standard command-line tools undo.

Every compressed stream is complete in itself, and streams laid end to end decode as one: gzip (RFC 1952),
bzip2, xz (LZMA2 alone, dictionary 8 MiB), zstd (RFC 8878, content checksum, window at most 2^27).
Libraries are imported when first used; reading gzip, bzip2 and xz needs only the standard library.
"""

from collections.abc import Iterable, Iterator

from chkfs import errors

SUFFIXES = {'none': '', 'gzip': '.gz', 'bzip2': '.bz2', 'xz': '.xz', 'zstd': '.zst'}
NAMES = {suffix: name for name, suffix in SUFFIXES.items()}
DEFAULT = 'gzip'
MAGICS = {'gzip': b'\x1f\x8b\x08', 'bzip2': b'BZh', 'xz': b'\xfd7zXZ\0', 'zstd': b'\x28\xb5\x2f\xfd'}
BLOCK_BYTES = 1 << 20

_SAMPLE_BYTES = 64 << 10
_WORTH = 0.97  # compressed sample over plain sample: above this, compression does not pay


def compress(name: str, data, light: bool = False) -> bytes:
    """One complete stream of the codec called name; raises Error when its library is missing.

    light: with less effort, where more would not pay or would take too long.
    """
    return _compressor(name, light)(data)


def verified(name: str, data, light: bool = False) -> bytes:
    """compress(), read back and compared: a compressor has been wrong before (restic issue 4523).

    gzip is read back by another library than the one that wrote it.
    """
    stream = compress(name, data, light)
    if name != 'none' and _read_back(name, stream, len(data), light) != data:
        raise errors.Error(f'{name} did not give back what was compressed: check the memory of this machine')
    return stream


def pays(name: str, data: bytes) -> bool:
    """Whether compressing saves 3 percent or more of a sample from the middle of data."""
    if name == 'none':
        return False
    start = max(0, (len(data) - _SAMPLE_BYTES) // 2)
    sample = data[start : start + _SAMPLE_BYTES]
    sampler = name if name in ('gzip', 'zstd') else 'gzip'  # the slow ones agree with gzip on what is random
    return len(compress(sampler, sample, light=True)) < _WORTH * len(sample)


def decompress(name: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes of streams laid end to end, in blocks of at most BLOCK_BYTES.

    Takes the compressed bytes in any pieces and holds one of them at a time, so that a small file that
    unpacks to terabytes can be stopped by its reader.  Raises Damaged.
    """
    for _, plain in streams(name, blocks):
        yield plain


def decompress_whole(name: str, stream: bytes, most: int) -> bytes:
    """The plain bytes of one stream, with what can do that fastest.  Raises Damaged, also when they are more than most.

    For gzip that is libdeflate, half as fast again as ISA-L; it must be told the size, which stands at the end.
    """
    if name == 'gzip' and len(stream) > 18:
        size = int.from_bytes(stream[-4:], 'little')
        try:
            from deflate import DeflateError, gzip_decompress
        except ImportError:
            size = most + 1
        if 0 < size <= most:
            try:
                return gzip_decompress(stream, size)
            except DeflateError:
                pass  # what is wrong is found below
    parts, size = [], 0
    for block in decompress(name, (stream,)):
        size += len(block)
        if size > most:
            raise errors.Damaged(f'unpacks to more than {most} bytes')
        parts.append(block)
    return b''.join(parts)


def streams(name: str, blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Like decompress, but each piece comes with the number of streams ended before it (0, 0, 1, ...)."""
    if name == 'none':
        yield from ((0, block) for block in blocks)
        return
    new, wrong = _decompressor(name)
    number, stream = 0, None
    for block in blocks:
        while block or stream is not None and not stream.eof and not stream.needs_input:
            stream = stream or new()
            try:
                plain = stream.decompress(block, BLOCK_BYTES)
            except wrong as error:
                raise errors.Damaged(f'not a whole {name} stream: {error}') from None
            block = b''
            if plain:
                yield number, plain
            if stream.eof:
                block, stream, number = stream.unused_data, None, number + 1
    if stream is not None:
        raise errors.Damaged(f'{name} stream is cut short')


def _compressor(name: str, light: bool):
    """The function bytes to bytes."""
    if name == 'none':
        return bytes
    if name == 'gzip':
        return _gzip_compressor(light)
    if name == 'bzip2':
        import bz2

        return bz2.compress
    if name == 'xz':
        import lzma

        return lambda data: lzma.compress(data, check=lzma.CHECK_CRC64, preset=6)
    zstd = _zstd()
    level = zstd.CompressionParameter.compression_level
    options = {level: 3, zstd.CompressionParameter.checksum_flag: 1}
    return lambda data: zstd.compress(data, options=options)


def _gzip_compressor(light: bool):
    """libdeflate compresses best for its time, ISA-L is fastest; without them there is zlib."""
    try:
        if light:
            from isal import igzip_lib

            memory = igzip_lib.MEM_LEVEL_SMALL  # smaller blocks, so codes that fit better
            return lambda data: igzip_lib.compress(data, 3, igzip_lib.COMP_GZIP, memory, 0)
        from deflate import gzip_compress

        return lambda data: bytes(gzip_compress(data, 2))
    except ImportError:
        import gzip

        return lambda data: gzip.compress(data, 6, mtime=0)


def _read_back(name: str, stream: bytes, size: int, light: bool) -> bytes | None:
    """The plain bytes of one stream that should hold size of them, None when it is damaged.

    What ISA-L wrote is read by libdeflate, and the other way round; where one is missing, by what there is.
    """
    if name == 'gzip' and not light:
        try:
            from isal import igzip_lib

            return igzip_lib.decompress(stream, igzip_lib.DECOMP_GZIP, 15, size)
        except ImportError:
            pass
        except igzip_lib.error:
            return None
    try:
        return decompress_whole(name, stream, size)
    except errors.Damaged:
        return None


def _decompressor(name: str):
    """A class with bz2.BZ2Decompressor's interface, and what it raises for bytes that are wrong."""
    if name == 'gzip':
        try:
            from isal import igzip_lib

            return lambda: igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), (igzip_lib.error, EOFError)
        except ImportError:
            import zlib

            return _ZlibDecompressor, zlib.error
    if name == 'bzip2':
        import bz2

        return bz2.BZ2Decompressor, OSError
    if name == 'xz':
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=256 << 20), (lzma.LZMAError, EOFError)
    zstd = _zstd()
    return zstd.ZstdDecompressor, (zstd.ZstdError, EOFError)


def _zstd():
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise errors.Error(
                'zstd is not available: pip install backports.zstd, or use Python 3.14 or later'
            ) from None
    return zstd


class _ZlibDecompressor:
    """zlib.decompressobj for gzip with the interface of bz2.BZ2Decompressor."""

    def __init__(self):
        import zlib

        self._stream = zlib.decompressobj(31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data
