"""patience: what answers in time is as if called here, what does not is left behind."""

import errno
import os
import signal
import threading
import time

import pytest

from chkfs.system import patience


def test_answers_and_errors_come_through(tmp_path):
    calls = patience.Patience(30)
    assert calls.call(lambda a, b=0: (a, b), 1, b=2) == (1, 2)
    with pytest.raises(FileNotFoundError):
        calls.call(os.open, tmp_path / 'nowhere', os.O_RDONLY)
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


def test_a_process_that_opens_files_and_dies_is_replaced(tmp_path):
    (tmp_path / 'file').write_bytes(b'data')
    calls = patience.Patience(30)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        os.close(calls.open(b'file', os.O_RDONLY, directory))
        (pid,) = [int(name) for name in open(f'/proc/self/task/{os.getpid()}/children').read().split()]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(calls.open(b'file', os.O_RDONLY, directory))
    finally:
        calls.rest()
        os.close(directory)


def test_a_file_is_closed_behind_the_call_that_hangs(tmp_path):
    """Its number may not be given to another file while that call may still ask for it; and nobody waits."""
    calls, block = patience.Patience(0.2), threading.Event()
    file = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(patience.Hung):
        calls.call(block.wait)
    calls.close(file)
    os.fstat(file)
    block.set()
    while is_open(file):
        time.sleep(0.001)
    calls.rest()


def test_a_file_that_hangs_when_it_is_closed_is_left_behind(tmp_path, monkeypatch):
    calls, block = patience.Patience(0.2), threading.Event()
    monkeypatch.setattr(os, 'close', lambda fd: block.wait())
    calls.close(1000)
    monkeypatch.undo()
    assert calls.call(lambda: 5) == 5
    block.set()
    calls.rest()


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
