"""Exit statuses, and the errors that a person may meet; each knows the status it ends a command with."""

DONE = 0  # done, or the answer is yes
NO = 1  # the answer is no, or problems were found
USAGE = 2  # the command was called wrongly
PARTIAL = 3  # done, but some items were skipped or are damaged
FATAL = 128  # could not be done


class Error(Exception):
    """Something that the command cannot get around."""

    status = FATAL


class Usage(Error):
    """The command was called wrongly."""

    status = USAGE


class NotFound(Error):
    """No such object, ref or path."""


class Damaged(Error):
    """Stored bytes that are not what their name says, or a text that breaks its format."""


class Conflict(Error):
    """Somebody else was first: a ref no longer has the value that was expected."""

    status = NO


class Taken(Error):
    """A ref's name that cannot be beside those that are there."""


class Gone(Error):
    """The filesystem that was being read has disappeared."""


class Interrupted(Error):
    """Somebody asked to stop, and this is a good place to."""

    status = 130


def describe(error: BaseException) -> str:
    """The reason in an OSError, without its number and path; other errors as they are."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
