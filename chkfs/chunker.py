"""Cuts the contents of big files where the contents say so, so that an insertion moves no later cut.

FastCDC as published in 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication
Based Storage Systems", IEEE TPDS 31) and written in fastcdc-rs v2020; the library is pyfastcdc.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chkfs import errors


class Parameters(NamedTuple):
    """Sizes in bytes.  They stand in the store's config: files cut otherwise share no pieces."""

    minimum: int = 512 << 10
    average: int = 2 << 20
    maximum: int = 8 << 20
    normalization: int = 1


def cut(blocks: Iterable[bytes], parameters: Parameters = Parameters()) -> Iterator[bytes]:
    """Pieces of the blocks laid end to end; the cuts do not depend on how the blocks came."""
    try:
        import pyfastcdc
    except ImportError:
        raise errors.Error('files above 8 MiB are cut by pyfastcdc: pip install pyfastcdc') from None
    cutter = pyfastcdc.FastCDC(
        parameters.average,
        min_size=parameters.minimum,
        max_size=parameters.maximum,
        normalized_chunking=parameters.normalization,
    )
    rest, waiting, waiting_bytes = b'', [], 0
    for block in blocks:
        waiting.append(block)
        waiting_bytes += len(block)
        if waiting_bytes >= parameters.maximum:
            data = b''.join((rest, *waiting))
            waiting, waiting_bytes, done = [], 0, 0
            for chunk in cutter.cut_buf(data):
                if chunk.offset + parameters.maximum > len(data):
                    break  # where this one ends may depend on bytes still to come
                done = chunk.offset + chunk.length
                yield data[chunk.offset : done]
            rest = data[done:]
    data = b''.join((rest, *waiting))
    if data:
        for chunk in cutter.cut_buf(data):
            yield data[chunk.offset : chunk.offset + chunk.length]


def check(parameters: Parameters) -> None:
    """Raises ValueError for sizes that FastCDC cannot work with."""
    low, middle, high, normalization = parameters
    if not (64 <= low <= 1 << 20 and 256 <= middle <= 4 << 20 and 1024 <= high <= 16 << 20 and low <= middle <= high):
        raise ValueError('chunk sizes out of range')
    if normalization not in range(4):
        raise ValueError('chunk-normalization is 0 to 3')
