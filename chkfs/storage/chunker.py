"""Cuts the contents of big files where the contents say so, so that an insertion moves no later cut.

FastCDC as published in 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication
Based Storage Systems", IEEE TPDS 31) and written in fastcdc-rs v2020; the library is pyfastcdc.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chkfs import errors

ZEROS = bytes(1 << 20)  # a block that is this very object is known to be zeros without a look


class Parameters(NamedTuple):
    """Sizes in bytes.  They stand in the store's config: files cut otherwise share no pieces."""

    minimum: int = 512 << 10
    average: int = 2 << 20
    maximum: int = 8 << 20
    normalization: int = 1


def cut(blocks: Iterable[bytes], parameters: Parameters = Parameters()) -> Iterator[bytes]:
    """Pieces of the blocks laid end to end; the cuts do not depend on how the blocks came.

    Within a run of blocks that are ZEROS no cuts are looked for, and the pieces are one and the same object.
    """
    cutter, maximum = _cutter(parameters), parameters.maximum
    held, held_bytes, zeros, zero_piece = [], 0, 0, b''  # zeros: how many of the bytes at the end are known to be so
    next_look = maximum
    for block in blocks:
        if block is not ZEROS:
            if zeros == held_bytes:
                held = [bytes(zeros)]
            zeros = 0
        elif zeros == held_bytes:  # nothing else is held: they need only be counted
            zero_piece = zero_piece or _first(cutter, bytes(maximum))
            held_bytes += len(block)
            while held_bytes >= maximum:
                yield zero_piece
                held_bytes -= len(zero_piece)
            zeros, next_look = held_bytes, held_bytes + maximum
            continue
        else:
            zeros += len(block)
        held.append(block)
        held_bytes += len(block)
        if held_bytes >= next_look:
            data, done = b''.join(held), 0
            for chunk in cutter.cut_buf(data):
                if chunk.offset + maximum > len(data) or chunk.offset >= len(data) - zeros:
                    break  # where this one ends may depend on bytes still to come
                done = chunk.offset + chunk.length
                yield data[chunk.offset : done]
            held, held_bytes = [data[done:]], len(data) - done
            zeros, next_look = min(zeros, held_bytes), held_bytes + maximum
    data = bytes(zeros) if zeros == held_bytes else b''.join(held)
    if data:
        for chunk in cutter.cut_buf(data):
            yield data[chunk.offset : chunk.offset + chunk.length]


def _cutter(parameters: Parameters):
    try:
        import pyfastcdc
    except ImportError:
        raise errors.Error('files above 8 MiB are cut by pyfastcdc: pip install pyfastcdc') from None
    return pyfastcdc.FastCDC(
        parameters.average,
        min_size=parameters.minimum,
        max_size=parameters.maximum,
        normalized_chunking=parameters.normalization,
    )


def _first(cutter, data: bytes) -> bytes:
    return data[: next(iter(cutter.cut_buf(data))).length]


def check(parameters: Parameters) -> None:
    """Raises ValueError for sizes that FastCDC cannot work with."""
    low, middle, high, normalization = parameters
    if not (64 <= low <= 1 << 20 and 256 <= middle <= 4 << 20 and 1024 <= high <= 16 << 20 and low <= middle <= high):
        raise ValueError('chunk sizes out of range')
    if normalization not in range(4):
        raise ValueError('chunk-normalization is 0 to 3')
