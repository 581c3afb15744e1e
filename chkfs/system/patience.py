"""Asks the system for what may hang in a way that can be left behind when the answer does not come.

A call that is stuck in the kernel cannot be taken back; who must go on cannot make it himself.  Where a signal can
end the process all the same, as while it reads, a thread does it; files are opened by another process, since to open
one of which pages are being read may be stuck beyond the reach of any signal, and a process with such a thread does
not end.
"""

import contextlib
import errno
import os
import queue
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable

_TICK_SECONDS = 0.5
_KILL_SECONDS = 1
_FLAGS = struct.Struct('<I')  # before a name; in an answer, the errno


class Hung(OSError):
    """No answer in time.  Its errno is ETIME, which no disk gives."""

    def __init__(self, seconds: float):
        super().__init__(errno.ETIME, f'no answer for {seconds:g} seconds')


class Patience:
    """seconds: how long an answer may take, 0 for ever; idle is called now and then while it is awaited."""

    def __init__(self, seconds: float, idle: Callable[[], None] = lambda: None):
        self.seconds, self._idle = seconds, idle
        self._calls: queue.SimpleQueue | None = None
        self._stuck: queue.SimpleQueue | None = None  # calls of the thread that was left behind just now
        self._opener: socket.socket | None = None
        self._opener_pid = 0

    def call(self, function: Callable, *arguments, **options):
        """What the function gives or raises; raises Hung when it does neither."""
        if not self.seconds:
            return function(*arguments, **options)
        self._leave_behind(None)
        if self._calls is None:
            self._calls, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
            threading.Thread(target=_work, args=(self._calls, self._answers), daemon=True).start()
        self._calls.put((function, arguments, options))
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                result, error = self._answers.get(timeout=min(_TICK_SECONDS, self.seconds))
                break
            except queue.Empty:
                if time.monotonic() >= deadline:
                    self._stuck, self._calls = self._calls, None
                    raise Hung(self.seconds) from None
            self._idle()
        if error is not None:
            raise error
        return result

    def close(self, file: int) -> None:
        """Closes what was asked just now: behind the call that hangs, if one does, since that may ask it once more.

        Nothing is to be known of it any more, so no error is one.
        """
        if self._stuck is not None:
            self._leave_behind((os.close, (file,), {}))
            return
        with contextlib.suppress(OSError):
            self.call(os.close, file)

    def open(self, name: bytes, flags: int, fd: int) -> int:
        """As os.open of a name in an open directory."""
        if not self.seconds:
            return os.open(name, flags, dir_fd=fd)
        answer, fds = self._ask_to_open(name, flags, fd)
        if not answer:
            answer, fds = self._ask_to_open(name, flags, fd)
        if not answer:
            raise OSError(errno.ECHILD, 'the process that opens files died')
        (number,) = _FLAGS.unpack(answer)
        if number:
            raise OSError(number, os.strerror(number))
        os.set_inheritable(fds[0], False)
        return fds[0]

    def _ask_to_open(self, name: bytes, flags: int, fd: int) -> tuple[bytes, list[int]]:
        """The answer of the process that opens files, b'' when it has died: the next time it is another one."""
        if self._opener is None:
            self._begin_to_open()
        try:
            socket.send_fds(self._opener, [_FLAGS.pack(flags) + name], [fd])
        except ConnectionError:
            self._end_to_open()
            return b'', []
        deadline = time.monotonic() + self.seconds
        while not select.select([self._opener], [], [], min(_TICK_SECONDS, self.seconds))[0]:
            if time.monotonic() >= deadline:
                self._end_to_open()
                raise Hung(self.seconds)
            self._idle()
        answer, fds, _, _ = socket.recv_fds(self._opener, _FLAGS.size, 1)
        if not answer:
            self._end_to_open()
        return answer, fds

    def _begin_to_open(self) -> None:
        self._opener, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._opener_pid = os.fork()
        if self._opener_pid == 0:
            _open_files(theirs)
        theirs.close()

    def _end_to_open(self) -> None:
        """It ends now, or when the kernel lets it."""
        if self._opener is not None:
            self._opener.close()
            os.kill(self._opener_pid, signal.SIGKILL)
            self._opener = None
            deadline = time.monotonic() + _KILL_SECONDS
            while not os.waitpid(self._opener_pid, os.WNOHANG)[0] and time.monotonic() < deadline:
                time.sleep(0.001)

    def rest(self) -> None:
        """Ends the thread and the process, now or when they come back."""
        self._end_to_open()
        self._leave_behind(None)
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    def _leave_behind(self, last: tuple | None) -> None:
        """The thread that hangs, if any, ends when it comes back; last: the call that it still is to make then."""
        if self._stuck is not None:
            self._stuck.put(last)
            if last is not None:
                self._stuck.put(None)
            self._stuck = None


def _work(calls: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    while (call := calls.get()) is not None:
        function, arguments, options = call
        try:
            answers.put((function(*arguments, **options), None))
        except Exception as error:
            answers.put((None, error))


def _open_files(parent: socket.socket) -> None:
    """The life of the process that opens files; never returns."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the parent decides, and closes the line
        keep = parent.fileno()
        os.closerange(0, keep)  # what is left behind must hold no lock
        os.closerange(keep + 1, os.sysconf('SC_OPEN_MAX'))
        while True:
            request, (fd,), _, _ = socket.recv_fds(parent, 1 << 16, 1)
            try:
                file = os.open(request[_FLAGS.size :], _FLAGS.unpack_from(request)[0], dir_fd=fd)
            except OSError as error:
                parent.send(_FLAGS.pack(error.errno or errno.EIO))
            else:
                socket.send_fds(parent, [_FLAGS.pack(0)], [file])
                os.close(file)
            os.close(fd)
    except BaseException:
        pass  # the parent is gone: there is nobody to tell
    finally:
        os._exit(0)
