"""Worker processes that share one function's work: records and descriptors go to them, results come back.

Python runs one thread at a time; handling many small files needs more than one process.  Workers are forked,
so they begin with all that their parent knows, and take jobs over Unix sockets (SCM_RIGHTS hands descriptors
over).  Jobs and results are what marshal can hold.
"""

import array
import marshal
import os
import select
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable

from chkfs import errors

MOST_DESCRIPTORS = 200  # of one job; Linux takes at most 253 in a message

_LENGTHS = struct.Struct('<II')  # bytes of the record, number of descriptors
_JOBS_AHEAD = 2  # the one that a worker is at, and one more so that it need not wait
_WAIT_SECONDS = 0.5
_STOP_MILLISECONDS = 30_000
_KILL_MILLISECONDS = 2000
_SEND = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL  # a worker that died is an error, not the death of its parent
_STOP = signal.SIGUSR1  # unlike those that end us, it is not sent to a whole group by a person


class Crew:
    """count workers that each call start() once, and then what that gave for every job: function(job, fds)."""

    def __init__(
        self,
        count: int,
        start: Callable[[Callable[[object], None]], Callable],
        take_result: Callable[[object], None],
        idle: Callable[[], None] = lambda: None,
        take_lost: Callable[[object, list], None] | None = None,
    ):
        """take_result is called in this process with what function returned, and must not submit.

        idle is called now and then while this process waits.  A worker closes the descriptors after each job.
        A worker that can do no more may say so: start is called with a function that takes a last result, and ends
        the worker; take_lost is called here with that and the jobs that are not done.
        An exception in a worker is an error of ours, and ends it: submit or finish then raise Error; an Error
        is raised here as it was raised there.
        """
        self._take_result, self._idle, self._take_lost = take_result, idle, take_lost
        self._count, self._start = count, start
        self._workers: dict[socket.socket, deque] = {}  # to jobs not yet answered
        self._results = deque()
        self._pids: dict[socket.socket, int] = {}
        self._lost_pids: list[int] = []
        self.fill()

    @property
    def is_short(self) -> bool:
        """Whether a worker has given up."""
        return len(self._workers) < self._count

    def fill(self) -> None:
        """Forks as many workers as there should be."""
        while self.is_short:
            ours, theirs = socket.socketpair()
            pid = os.fork()
            if pid == 0:
                for worker in (*self._workers, ours):
                    worker.close()
                _work(theirs, self._start)
            theirs.close()
            self._workers[ours] = deque()
            self._pids[ours] = pid

    def submit(self, job, fds: list[int]) -> None:
        """Hands a job to the worker with least to do, waiting while all have enough; closes the descriptors."""
        try:
            while self._workers and self._least() >= _JOBS_AHEAD:
                self._receive()
            if self._workers:
                self._send(min(self._workers, key=lambda worker: len(self._workers[worker])), job, fds)
            else:
                self._results.append((None, '', [job]))
        finally:
            for fd in fds:
                os.close(fd)
        self._take_results()

    def submit_to_all(self, job) -> None:
        """Hands one job to every worker, behind what each has to do."""
        for worker in list(self._workers):
            self._send(worker, job, [])
        self._take_results()

    def finish(self) -> None:
        """Waits until every job is answered."""
        while any(self._workers.values()):
            self._receive()
            self._take_results()

    def close(self) -> None:
        """Ends the workers: what one is still at meets a KeyboardInterrupt."""
        for worker in self._workers:
            worker.close()
        for pid in self._pids.values():
            os.kill(pid, _STOP)
        for pid in self._pids.values():
            _reap(pid, _STOP_MILLISECONDS, _KILL_MILLISECONDS)
        for pid in self._lost_pids:
            _reap(pid, _KILL_MILLISECONDS)
        self._workers, self._pids, self._lost_pids = {}, {}, []

    def _least(self) -> int:
        return min(map(len, self._workers.values()))

    def _send(self, worker: socket.socket, job, fds: list[int]) -> None:
        record = memoryview(marshal.dumps(job))
        header = [_LENGTHS.pack(len(record), len(fds))]
        self._workers[worker].append(job)
        try:
            while record or header:
                self._receive(worker)  # what it says is read first, so that the two never both wait to send
                if worker not in self._workers:
                    return
                try:
                    if header:
                        worker.sendmsg(header, _rights(fds), _SEND)  # socket.send_fds() forgets the flags
                        header = []
                    else:
                        record = record[worker.send(record, _SEND) :]
                except BlockingIOError:
                    pass
        except OSError as error:
            raise errors.Error('a worker process died') from error

    def _receive(self, writable: socket.socket | None = None) -> None:
        """Waits for results, or until a worker takes more; keeps the results for _take_results."""
        busy = [worker for worker, jobs in self._workers.items() if jobs]
        ready, takes, _ = select.select(busy, [writable] if writable else [], [], _WAIT_SECONDS)
        if writable is None:
            self._idle()  # which may raise, but not between the parts of a job
        for worker in ready:
            header = _read(worker, _LENGTHS.size)
            result = header and _read(worker, _LENGTHS.unpack(header)[0])
            if not result:
                raise errors.Error('a worker process died')
            result, problem, gives_up = marshal.loads(result)
            if gives_up:
                self._results.append((result, problem, self._dismiss(worker)))
            else:
                self._workers[worker].popleft()
                self._results.append((result, problem, None))

    def _dismiss(self, worker: socket.socket) -> list:
        """Ends a worker that gives up; its jobs."""
        os.kill(self._pids[worker], signal.SIGKILL)
        self._lost_pids.append(self._pids.pop(worker))
        worker.close()
        return list(self._workers.pop(worker))

    def _take_results(self) -> None:
        while self._results:
            result, problem, lost = self._results.popleft()
            if problem:
                raise errors.Error(problem)
            if lost is not None:
                self._take_lost(result, lost)
            else:
                self._take_result(result)


def _work(parent: socket.socket, start: Callable) -> None:
    """The life of a worker; never returns."""
    status = 1

    def give_up(result) -> None:
        try:
            _answer(parent, result, '', True)
        finally:
            os._exit(0)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the parent decides, and closes the line
        signal.signal(_STOP, _stop)
        _leave_standard_streams()
        function = start(give_up)
        while True:
            header, fds, _, _ = socket.recv_fds(parent, _LENGTHS.size, MOST_DESCRIPTORS + 1)
            if not header:
                break
            header += _read(parent, _LENGTHS.size - len(header)) or b''
            job = marshal.loads(_read(parent, _LENGTHS.unpack(header)[0]))
            result, problem = None, ''
            try:
                result = function(job, fds)
            except errors.Error as error:
                problem = str(error)
            finally:
                for fd in fds:
                    os.close(fd)
            _answer(parent, result, problem, False)
        status = 0
    except (OSError, KeyboardInterrupt):
        pass  # the parent is gone, or going
    finally:
        os._exit(status)


def _leave_standard_streams() -> None:
    """A worker may be stuck for ever: whoever reads what its parent writes would wait as long for the end of it."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def _answer(parent: socket.socket, result, problem: str, gives_up: bool) -> None:
    record = marshal.dumps((result, problem, gives_up))
    parent.sendall(_LENGTHS.pack(len(record), 0) + record)


def _reap(pid: int, *patience: int) -> None:
    """Waits for a worker to end, for so many ms; one that is stuck is killed then, and waited for the next ms, and at
    last left to the system when even that does not help."""
    for milliseconds in patience:
        if _has_ended(pid, milliseconds):
            os.waitpid(pid, 0)
            return
        os.kill(pid, signal.SIGKILL)


def _has_ended(pid: int, milliseconds: int) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(milliseconds))
    finally:
        os.close(fd)


def _rights(fds: list[int]) -> list[tuple]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))]


def _stop(number, frame):
    raise KeyboardInterrupt


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
