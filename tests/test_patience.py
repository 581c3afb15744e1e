"""patience: what answers in time is as if called here, what does not is left behind."""

import errno
import os
import threading

import pytest

from chkfs import patience


def test_answers_and_errors_come_through():
    calls = patience.Patience(30)
    assert calls.call(lambda a, b=0: (a, b), 1, b=2) == (1, 2)
    with pytest.raises(FileNotFoundError):
        calls.call(os.open, '/nowhere', os.O_RDONLY)
    one, other = calls.call(threading.get_ident), calls.call(threading.get_ident)
    assert one == other != threading.get_ident()
    calls.rest()


def test_who_waits_for_ever_calls_it_himself():
    assert patience.Patience(0).call(threading.get_ident) == threading.get_ident()


def test_what_does_not_answer_is_left_behind_and_the_next_call_has_another_thread():
    calls, ticks = patience.Patience(0.2, lambda: ticks.append(1)), []
    block = threading.Event()
    with pytest.raises(patience.Hung) as caught:
        calls.call(block.wait)
    assert caught.value.errno == errno.ETIME and str(caught.value).endswith('no answer for 0.2 seconds')
    assert calls.call(lambda: 5) == 5
    block.set()
    calls.rest()


def test_who_waits_can_be_interrupted():
    def interrupt():
        raise KeyboardInterrupt

    block = threading.Event()
    calls = patience.Patience(1000, interrupt)
    with pytest.raises(KeyboardInterrupt):
        calls.call(block.wait)
    block.set()
    calls.rest()
