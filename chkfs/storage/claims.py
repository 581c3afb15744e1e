"""What the processes of one run have stored so far, in memory that they share: the same file is stored once.

A table of keys in sets of four, without locks.  It may forget a key, which costs a second copy; it never gives
one that was not put in, since a torn or half-written slot equals no other key.
"""

import mmap

from chkfs.text import key as keys

_SETS = 1 << 16
_WAYS = 4
_SET_BYTES = _WAYS * keys.LENGTH


class Claims:
    """A set of keys; made before the fork."""

    def __init__(self):
        self._table = mmap.mmap(-1, _SETS * _SET_BYTES)  # takes memory only where it is written

    def __contains__(self, key: str) -> bool:
        at = int(key[:4], 16) * _SET_BYTES
        return key.encode() in self._table[at : at + _SET_BYTES]

    def add(self, key: str) -> bool:
        """Whether it was not in yet.  Takes a free slot of its set; when there is none, the place of another."""
        at, bytes = int(key[:4], 16) * _SET_BYTES, key.encode()
        found = self._table[at : at + _SET_BYTES]
        if bytes in found:
            return False
        free = found.find(b'\0')
        slot = free // keys.LENGTH if free >= 0 else int(key[4], 16) % _WAYS
        at += slot * keys.LENGTH
        self._table[at : at + keys.LENGTH] = bytes
        return True
