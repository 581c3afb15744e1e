"""crew: other processes do the work, every job is answered, and nothing waits for ever."""

import os
import signal
import time

import pytest

from chkfs import errors
from chkfs.system import crew


@pytest.fixture(autouse=True)
def alarm():
    """What hangs fails."""

    def ring(number, frame):
        raise RuntimeError('it hangs')

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


@pytest.fixture
def make():
    """make(function, count=2) gives a crew and the list of its results; it is closed in the end."""
    crews = []

    def make_one(function, count=2):
        results = []
        crews.append(crew.Crew(count, lambda give_up: function, results.append))
        return crews[-1], results

    yield make_one
    for made in crews:
        made.close()


def descriptors():
    return len(os.listdir('/proc/self/fd'))


def test_every_job_is_answered_by_another_process(make):
    made, results = make(lambda job, fds: (job, os.getpid()), 3)
    for number in range(50):
        made.submit(number, [])
    made.finish()
    assert sorted(job for job, _ in results) == list(range(50))
    pids = {pid for _, pid in results}
    assert os.getpid() not in pids and 1 <= len(pids) <= 3


def test_start_is_called_once_in_each_worker():
    def start(give_up):
        calls = [0]

        def count(job, fds):
            calls[0] += 1
            return calls[0], os.getpid()

        return count

    results = []
    made = crew.Crew(2, start, results.append)
    for _ in range(10):
        made.submit(None, [])
    made.finish()
    made.close()
    for pid in {pid for _, pid in results}:
        counts = sorted(count for count, worker in results if worker == pid)
        assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize('count', [0, 1, crew.MOST_DESCRIPTORS])
def test_descriptors_are_handed_over_and_closed(make, tmp_path, count):
    paths = [tmp_path / str(number) for number in range(count)]
    for path in paths:
        path.write_text(path.name)
    made, results = make(lambda job, fds: [os.read(fd, 10) for fd in fds])
    before = descriptors()
    for _ in range(3):
        made.submit('read them', [os.open(path, os.O_RDONLY) for path in paths])
    assert descriptors() == before
    made.finish()
    assert results[0] == [str(number).encode() for number in range(count)]


def test_a_worker_closes_what_it_was_handed(make, tmp_path):
    made, results = make(lambda job, fds: descriptors(), 1)
    for _ in range(5):
        made.submit(None, [os.open(tmp_path, os.O_RDONLY) for _ in range(50)])
    made.finish()
    assert len(set(results)) == 1


@pytest.mark.parametrize('size', [0, 1 << 10, 3 << 20])
def test_jobs_of_any_size_arrive_whole(make, size):
    data = os.urandom(size)
    made, results = make(lambda job, fds: len(job) if job == data else 'other')
    for _ in range(4):
        made.submit(data, [])
    made.finish()
    assert results == [size] * 4


@pytest.mark.parametrize('size', [0, 1 << 10, 3 << 20])
def test_results_of_any_size_arrive_whole(make, size):
    made, results = make(lambda job, fds: bytes([job]) * size)
    for number in range(4):
        made.submit(number, [])
    made.finish()
    assert sorted(results) == [bytes([number]) * size for number in range(4)]


def test_large_jobs_and_large_results_at_once_do_not_hang(make):
    made, results = make(lambda job, fds: job)
    for number in range(8):
        made.submit(bytes([number]) * (1 << 20), [])
    made.finish()
    assert sorted(results) == [bytes([number]) * (1 << 20) for number in range(8)]


def test_a_worker_that_dies_is_an_error_and_no_hang(make):
    made, _ = make(lambda job, fds: os._exit(3) if job == 'die' else job, 1)
    made.submit('live', [])
    made.finish()
    made.submit('die', [])
    with pytest.raises(errors.Error, match='died'):
        made.finish()


def test_work_for_a_dead_worker_is_the_same_error(make):
    made, _ = make(lambda job, fds: (time.sleep(0.05), os._exit(3)), 1)
    with pytest.raises(errors.Error, match='died'):
        made.submit('die', [])
        made.submit('never seen', [])
        made.finish()


def test_an_exception_in_a_worker_is_an_error_and_no_hang(make):
    made, _ = make(lambda job, fds: 1 // 0)
    with pytest.raises(errors.Error, match='died'):
        made.submit('x', [])
        made.finish()


def test_descriptors_are_closed_even_when_the_worker_died(make, tmp_path):
    made, _ = make(lambda job, fds: os._exit(3), 1)
    before = descriptors()
    made.submit('die', [os.open(tmp_path, os.O_RDONLY)])
    with pytest.raises(errors.Error):
        made.finish()
    with pytest.raises((errors.Error, OSError)):
        made.submit('too late', [os.open(tmp_path, os.O_RDONLY)])
    assert descriptors() == before


def test_closing_leaves_no_process_and_no_descriptor():
    before = descriptors()
    made = crew.Crew(3, lambda give_up: lambda job, fds: os.getpid(), lambda result: None)
    made.submit(None, [])
    pids = list(made._pids.values())
    made.close()
    assert descriptors() == before
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_closing_interrupts_the_job_at_hand(tmp_path):
    def slow(job, fds):
        try:
            (tmp_path / 'begun').touch()
            time.sleep(60)
        except BaseException:
            (tmp_path / 'tidied up').touch()
            raise

    made = crew.Crew(1, lambda give_up: slow, lambda result: None)
    made.submit(None, [])
    while not (tmp_path / 'begun').exists():
        time.sleep(0.01)
    made.close()
    assert (tmp_path / 'tidied up').exists()


def test_a_worker_that_died_while_it_had_nothing_to_do_is_an_error(make):
    old = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as in every command
    try:
        made, _ = make(lambda job, fds: None, 1)
        made.submit(None, [])
        made.finish()
        os.kill(list(made._pids.values())[0], signal.SIGKILL)
        os.waitid(os.P_PID, list(made._pids.values())[0], os.WEXITED | os.WNOWAIT)
        with pytest.raises(errors.Error, match='died'):
            made.submit(None, [])
    finally:
        signal.signal(signal.SIGPIPE, old)


def giving_up(results, lost, count=2):
    """A crew whose workers give up at a job that is 'stuck'."""

    def start(give_up):
        return lambda job, fds: give_up('last words') if job == 'stuck' else job

    return crew.Crew(count, start, results.append, take_lost=lambda result, jobs: lost.append((result, jobs)))


def test_a_worker_that_gives_up_leaves_its_jobs_to_others():
    results, lost = [], []
    made = giving_up(results, lost, 1)
    try:
        for job in (1, 'stuck', 2):
            made.submit(job, [])
        made.finish()
        assert results == [1] and lost == [('last words', ['stuck', 2])]
        assert made.is_short
        made.submit(3, [])  # there is nobody to do it
        made.finish()
        assert lost[1:] == [(None, [3])]
        made.fill()
        made.submit(4, [])
        made.finish()
        assert results == [1, 4] and not made.is_short
    finally:
        made.close()


def test_the_others_go_on_when_one_gives_up():
    results, lost = [], []
    made = giving_up(results, lost, 3)
    try:
        for job in range(100):
            made.submit(job, [])
            if job == 50:
                made.submit('stuck', [])
        made.finish()
        ((words, jobs),) = lost
        assert sorted([*results, *jobs], key=str) == sorted([*range(100), 'stuck'], key=str)
        assert jobs[0] == 'stuck' and len(jobs) <= 2
    finally:
        made.close()


def test_a_worker_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(crew, '_STOP_MILLISECONDS', 100)

    def deaf(job, fds):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.write(fds[0], b'x')
        time.sleep(1000)

    made = crew.Crew(1, lambda give_up: deaf, lambda result: None)
    ours, theirs = os.pipe()
    (pid,) = made._pids.values()
    made.submit(None, [theirs])
    assert os.read(ours, 1) == b'x'
    os.close(ours)
    made.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
