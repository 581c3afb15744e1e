"""Numbers in stored text: plain ASCII digits, and nothing else of what int() would take; and numbers of things."""

from chkfs import errors

_DIGITS = {8: frozenset('01234567'), 10: frozenset('0123456789')}
_LONGEST = 24  # digits: more than any size, time or owner has


def parse(text: str, base: int = 10) -> int:
    """A number that is not negative, in base 8 or 10.  Raises Damaged."""
    if not text or len(text) > _LONGEST or not _DIGITS[base].issuperset(text):
        raise errors.Damaged(f'not a number: {text[:80]!r}')
    return int(text, base)


def of(count: int, one: str, many: str = '') -> str:
    """A number of things as people say it: 1 file, 2 files.  many: where that is not one and an s."""
    return f'{count} {one if count == 1 else many or one + "s"}'
