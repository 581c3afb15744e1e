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


def test_files_are_opened_by_another_process(tmp_path):
    (tmp_path / 'file').write_bytes(b'data')
    calls = patience.Patience(30)
    directory = os.open(tmp_path, os.O_RDONLY)
    before = set(os.listdir('/proc/self/fd'))
    try:
        for _ in range(3):
            fd = calls.open(b'file', os.O_RDONLY, directory)
            assert os.read(fd, 10) == b'data' and not os.get_inheritable(fd)
            os.close(fd)
        with pytest.raises(FileNotFoundError):
            calls.open(b'other', os.O_RDONLY, directory)
        with pytest.raises(NotADirectoryError):
            calls.open(b'file', os.O_RDONLY | os.O_DIRECTORY, directory)
        calls.rest()
        assert set(os.listdir('/proc/self/fd')) == before
    finally:
        os.close(directory)


def test_a_file_that_hangs_when_it_is_opened_is_given_up(tmp_path):
    os.mkfifo(tmp_path / 'fifo')  # nobody writes into it
    (tmp_path / 'file').write_bytes(b'data')
    calls = patience.Patience(0.2)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(patience.Hung):
            calls.open(b'fifo', os.O_RDONLY, directory)
        os.close(calls.open(b'file', os.O_RDONLY, directory))
        calls.rest()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    finally:
        os.close(directory)


def test_a_process_that_opens_files_holds_no_others(tmp_path):
    """Not the other end of a pipe, and no lock."""
    ours, theirs = os.pipe()
    calls = patience.Patience(30)
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        calls.open(b'none', os.O_RDONLY, directory)
    os.close(theirs)
    assert os.read(ours, 1) == b''
    os.close(ours)
    os.close(directory)
    calls.rest()
