"""Worker processes that share one function's work: records and descriptors go to them, results come back.

Python runs one thread at a time; creating many small files needs more than one process.  Workers are forked,
so they begin with all that their parent knows, and take jobs over Unix sockets (SCM_RIGHTS hands descriptors
over).  Jobs and results are what marshal can hold.
"""

import marshal
import os
import select
import socket
import struct
from collections.abc import Callable

from chkfs import errors

MOST_DESCRIPTORS = 200  # of one job; Linux takes at most 253 in a message

_LENGTHS = struct.Struct('<II')  # bytes of the record, number of descriptors


class Crew:
    """count workers that each call start() once, and then what that gave for every job: function(job, fds)."""

    def __init__(self, count: int, start: Callable[[], Callable], take_result: Callable[[object], None]):
        """take_result is called in this process with what function returned.

        A worker closes the descriptors after each job.  An exception in a worker is an error of ours, and
        ends it: submit or finish then raise Error.
        """
        self._take_result = take_result
        self._workers: dict[socket.socket, int] = {}  # to jobs not yet answered
        self._pids = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                for worker in (*self._workers, ours):
                    worker.close()
                _work(theirs, start)
            theirs.close()
            self._workers[ours] = 0
            self._pids.append(pid)

    def submit(self, job, fds: list[int]) -> None:
        """Hands a job to the worker with least to do, waiting while all have enough; closes the descriptors."""
        try:
            # a worker gets a job only when it waits for one, so that the two never send at the same time
            while min(self._workers.values()):
                self._receive()
            worker = min(self._workers, key=self._workers.get)
            record = marshal.dumps(job)
            try:
                socket.send_fds(worker, [_LENGTHS.pack(len(record), len(fds))], fds)
                worker.sendall(record)
            except OSError as error:
                raise errors.Error('a worker process died') from error
            self._workers[worker] += 1
        finally:
            for fd in fds:
                os.close(fd)

    def finish(self) -> None:
        """Waits until every job is answered."""
        while any(self._workers.values()):
            self._receive()

    def close(self) -> None:
        """Ends the workers, after the job that each is at."""
        for worker in self._workers:
            worker.close()
        for pid in self._pids:
            os.waitpid(pid, 0)
        self._workers, self._pids = {}, []

    def _receive(self) -> None:
        ready, _, _ = select.select([worker for worker, jobs in self._workers.items() if jobs], [], [])
        for worker in ready:
            header = _read(worker, _LENGTHS.size)
            result = header and _read(worker, _LENGTHS.unpack(header)[0])
            if not result:
                raise errors.Error('a worker process died')
            self._workers[worker] -= 1
            self._take_result(marshal.loads(result))


def _work(parent: socket.socket, start: Callable[[], Callable]) -> None:
    """The life of a worker; never returns."""
    status = 1
    try:
        function = start()
        while True:
            header, fds, _, _ = socket.recv_fds(parent, _LENGTHS.size, MOST_DESCRIPTORS + 1)
            if not header:
                break
            header += _read(parent, _LENGTHS.size - len(header)) or b''
            job = marshal.loads(_read(parent, _LENGTHS.unpack(header)[0]))
            try:
                result = marshal.dumps(function(job, fds))
            finally:
                for fd in fds:
                    os.close(fd)
            parent.sendall(_LENGTHS.pack(len(result), 0) + result)
        status = 0
    except (OSError, KeyboardInterrupt):
        pass  # the parent is gone, or going
    finally:
        os._exit(status)


def _read(peer: socket.socket, size: int) -> bytes | None:
    """Exactly size bytes, None at the end of the stream."""
    parts = []
    while size:
        try:
            part = peer.recv(min(size, 1 << 20))
        except ConnectionError:
            part = b''
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b''.join(parts)
