"""What a backup leaves out: gitignore patterns, and directories that say that they are caches."""

import os
import re

from chkfs import errors

CACHE_TAG = b'CACHEDIR.TAG'
_CACHE_SIGNATURE = b'Signature: 8a477f597d28d172789f06886806bc55'  # bford.info/cachedir


class Patterns:
    """gitignore(5) patterns, matched against paths from the top of the source.  Raises Usage for what is none."""

    def __init__(self, lines: list[str]):
        from pathspec import GitIgnoreSpec

        for line in lines:
            try:
                GitIgnoreSpec.from_lines([line])
            except (ValueError, re.error):
                raise errors.Usage(f"'{line}' is not a pattern of gitignore(5)") from None
        self._spec = GitIgnoreSpec.from_lines(map(_one_line, lines))

    def match(self, path: bytes, is_directory: bool) -> bool:
        return self._spec.match_file(_one_line(os.fsdecode(path)) + ('/' if is_directory else ''))


def _one_line(text: str) -> str:
    """With what no name holds for each newline: before one at the end a regular expression may end, too."""
    return text.replace('\n', '\0')


def is_cache(fd: int) -> bool:
    """Whether an open directory holds a CACHEDIR.TAG with the right beginning."""
    try:
        tag = os.open(CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    except OSError:
        return False
    try:
        return os.read(tag, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(tag)
