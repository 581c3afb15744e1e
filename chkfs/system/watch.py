"""Watches over the main thread of a worker, and takes its place when it is stuck in a system call.

That costs the main thread nothing: what it is at can be seen on its stack.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Container

_LOOKS = 8  # in the time after which the main thread counts as stuck
_ANSWER_SECONDS = 2
_CALL = signal.SIGUSR2


class Watch:
    """files: those of the modules whose calls may be stuck; a call from any other is waited for.

    stuck is called then, in another thread, with the values of the local variables of the innermost of the
    functions that are named; the main thread never does anything again.
    """

    def __init__(
        self,
        seconds: float,
        files: Container[str],
        functions: Container[str],
        stuck: Callable[[dict], None],
        beats: Callable[[], int] = lambda: 0,
    ):
        """beats gives what is another number whenever the main thread has got on."""
        self._seconds, self._functions, self._stuck, self._beats = seconds, functions, stuck, beats
        self._files = files
        self._main = threading.main_thread().ident
        self._turn, self._answered = threading.Lock(), threading.Event()
        signal.signal(_CALL, self._answer)
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        last, since = None, time.monotonic()
        while True:
            time.sleep(self._seconds / _LOOKS)
            where = self._where()
            if where is None or where[:-1] != last:
                last, since = where and where[:-1], time.monotonic()
            elif time.monotonic() - since >= self._seconds and self._is_out_of_reach():
                self._stuck(where[-1])
                return

    def _where(self) -> tuple | None:
        """What the main thread is at, None when that is nothing that may be stuck; the local variables come last."""
        frame = sys._current_frames().get(self._main)
        if frame is None or frame.f_code.co_filename not in self._files:
            return None
        top, place = frame, frame.f_lasti
        while frame is not None and frame.f_code.co_name not in self._functions:
            frame = frame.f_back
        if frame is None:
            return None
        variables = dict(frame.f_locals)
        innermost = {name: value for name, value in top.f_locals.items() if isinstance(value, (int, bytes))}
        return self._beats(), top.f_code, place, innermost, variables

    def _is_out_of_reach(self) -> bool:
        """Whether the main thread does not come back even for a signal; if it does later, it stops at once."""
        self._answered.clear()
        signal.pthread_kill(self._main, _CALL)
        self._answered.wait(_ANSWER_SECONDS)
        self._turn.acquire()  # kept for ever, unless there was an answer
        if self._answered.is_set():
            self._turn.release()
            return False
        return True

    def _answer(self, number, frame) -> None:
        """In the main thread, before it does anything else."""
        while not self._turn.acquire(blocking=False):
            signal.pause()
        self._answered.set()
        self._turn.release()
