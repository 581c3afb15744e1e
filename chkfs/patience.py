"""Calls the system in a thread of its own, which is left behind when the answer does not come.

A read that is stuck in the kernel cannot be taken back; who must go on cannot make it himself.
"""

import errno
import queue
import threading
import time
from collections.abc import Callable

_TICK_SECONDS = 0.5


class Hung(OSError):
    """No answer in time.  Its errno is ETIME, which no disk gives."""

    def __init__(self, seconds: float):
        super().__init__(errno.ETIME, f'no answer for {seconds:g} seconds')


class Patience:
    """seconds: how long an answer may take, 0 for ever; idle is called now and then while it is awaited."""

    def __init__(self, seconds: float, idle: Callable[[], None] = lambda: None):
        self.seconds, self._idle = seconds, idle
        self._calls: queue.SimpleQueue | None = None

    def call(self, function: Callable, *arguments, **options):
        """What the function gives or raises; raises Hung when it does neither."""
        if not self.seconds:
            return function(*arguments, **options)
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
                    self.rest()
                    raise Hung(self.seconds) from None
            self._idle()
        if error is not None:
            raise error
        return result

    def rest(self) -> None:
        """Ends the thread, now or when it comes back."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _work(calls: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    while (call := calls.get()) is not None:
        function, arguments, options = call
        try:
            answers.put((function(*arguments, **options), None))
        except Exception as error:
            answers.put((None, error))
