"""watch: a main thread that is stuck is replaced, one that is merely slow is not."""

import os
import signal
import time

import pytest

from chkfs.system import watch

SECONDS = 0.4


def in_a_child(work, seconds=SECONDS, files=(__file__,)):
    """What a watched process wrote: work(say) is what its main thread does."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:

            def say(what):
                os.write(theirs, what)

            def stuck(variables):
                say(b'stuck at ' + variables['name'])
                os._exit(0)

            watch.Watch(seconds, files, ('look_at',), stuck)
            work(say)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, 'rb') as file:
        said = file.read()
    os.waitpid(pid, 0)
    return said


def look_at(name, call):
    call()


def blocked_signals():
    """As in a read that no signal gets out of the kernel."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    ours, theirs = os.pipe()
    os.read(ours, 1)


def test_a_main_thread_that_is_stuck_is_replaced(monkeypatch):
    monkeypatch.setattr(watch, '_ANSWER_SECONDS', 0.2)
    assert in_a_child(lambda say: look_at(b'this', blocked_signals)) == b'stuck at this'


def test_one_that_goes_from_one_to_another_is_not():
    def work(say):
        for number in range(20):
            look_at(b'%d' % number, lambda: time.sleep(SECONDS / 10))
        say(b'done')

    assert in_a_child(work) == b'done'


def test_one_that_answers_a_signal_is_not():
    def work(say):
        look_at(b'this', lambda: time.sleep(4 * SECONDS))
        say(b'done')

    assert in_a_child(work) == b'done'


def test_what_is_none_of_the_modules_is_waited_for(monkeypatch):
    monkeypatch.setattr(watch, '_ANSWER_SECONDS', 0.2)

    def work(say):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        look_at(b'this', lambda: time.sleep(4 * SECONDS))
        say(b'done')

    assert in_a_child(work, files=()) == b'done'


def test_one_that_comes_back_too_late_does_nothing_any_more(monkeypatch):
    """The signal is pending when the call ends, before anything else is done."""
    monkeypatch.setattr(watch, '_ANSWER_SECONDS', 0.2)
    ours, theirs = os.pipe()

    def stuck(variables):
        os.write(theirs, b'x')  # the read comes back
        time.sleep(0.5)
        os._exit(0)

    pid = os.fork()
    if pid == 0:
        try:
            watch.Watch(SECONDS, (__file__,), ('look_at',), stuck)
            look_at(b'this', lambda: signal_after(lambda: os.read(ours, 1)))
            os._exit(1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def signal_after(call):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    call()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])


@pytest.fixture(autouse=True)
def alarm():
    """What hangs fails."""
    old = signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail('it hangs'))
    signal.setitimer(signal.ITIMER_REAL, 60)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)
