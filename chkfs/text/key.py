"""Keys: the SHA-256 of an object's plain bytes, as 64 lower-case hexadecimal digits."""

import hashlib

LENGTH = 64
SHORTEST_PREFIX = 4
TYPES = ('blob', 'tree', 'snapshot')

_NOT_HEX = str.maketrans('', '', '0123456789abcdef')


def of(data) -> str:
    """The key of bytes (any buffer)."""
    return hashlib.sha256(data).hexdigest()


def is_key(text: str) -> bool:
    return len(text) == LENGTH and not text.translate(_NOT_HEX)


def is_prefix(text: str) -> bool:
    """True for what may be the beginning of a key, or a whole one."""
    return SHORTEST_PREFIX <= len(text) <= LENGTH and not text.translate(_NOT_HEX)
