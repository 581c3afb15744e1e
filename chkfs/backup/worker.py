"""A worker of an ingest: reads the files of jobs into a writer of its own."""

from collections.abc import Callable

from chkfs.backup.reader import MAY_HANG, Reader
from chkfs.storage.writer import Writer
from chkfs.system import metadata
from chkfs.system.watch import Watch


def start(writer: Writer, read_timeout: float, give_up: Callable[[tuple], None]) -> Callable:
    """In a process that was forked: the function of a Crew.  writer: that of the parent.

    give_up is called when a file has not answered for read_timeout seconds (0: never), with what has been stored so
    far, the number of the part of the job at hand, and the file's name.
    """
    return _Worker(writer.branch(), read_timeout, give_up).work


class _Worker:
    def __init__(self, writer: Writer, read_timeout: float, give_up: Callable[[tuple], None]):
        self._writer, self._give_up = writer, give_up
        self._gatherer = metadata.Gatherer(lambda value: writer.put('blob', value))
        self._reader = Reader(writer, self._gatherer, self._step)
        self._job = (), ()  # parts and descriptors of the one at hand
        self._beats = 0
        if read_timeout:
            Watch(read_timeout, MAY_HANG, ('_read', '_open_ahead'), self._stuck, lambda: self._beats)

    def work(self, parts: list | None, fds: list[int]) -> list | tuple:
        """Reads the files of a job, as Reader.read(); a job that is None asks for what has been stored so far."""
        self._job = parts, fds
        return self._seal() if parts is None else self._reader.read(parts, fds)

    def _seal(self) -> tuple:
        """(fields of a Sealed, arguments of Gatherer.tell), as marshal can hold them."""
        loose, packed, keys, packs = self._writer.seal()
        packs = [(name, [tuple(place) for place in places]) for name, places in packs]
        return (loose, packed, keys, packs), self._gatherer.told()

    def _step(self) -> None:
        self._beats += 1

    def _stuck(self, variables: dict) -> None:
        """In another thread.  variables: of a function of Reader's that is at one file, and gets no further."""
        parts, fds = self._job
        number = parts[fds.index(variables['fd'])][0]
        self._give_up((self._seal(), number, variables['name']))
