"""Tells the C library's allocator how to treat memory that is freed (mallopt(3))."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


def keep_freed() -> None:
    """Has up to 32 MiB kept for the next time: giving frames of 1 MiB back each time costs a page fault for each 4 KiB.

    Does nothing where the C library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        mallopt(parameter, _KEPT_BYTES)
