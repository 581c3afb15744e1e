"""batches: all of a directory's files are made before it is ended, and no batch is too large for a message."""

import os

import pytest

from chkfs.restore import batches, maker
from chkfs.system import crew
from chkfs.text import key

FILE = './{} type=file mode=0600 size=4 sha256digest=' + key.of(b'data')


@pytest.fixture
def made(store, put, monkeypatch):
    """made(descriptors) gives Batches and, as they are done, what each was: (path, number of files, is it ended)."""
    put(store, 'blob', b'data')
    works, done = [], []

    def make(most_descriptors=crew.MOST_DESCRIPTORS):
        monkeypatch.setattr(crew, 'MOST_DESCRIPTORS', most_descriptors)
        real = maker.Maker(store.objects)
        make_real = real.make

        def note(parts, fds):
            assert len(parts) == len(fds)
            done.append([(path, len(lines), attributes is not None) for path, lines, attributes, *_ in parts])
            return make_real(parts, fds)

        real.make = note
        works.append(batches.Batches(real, store.objects, lambda outcome: None, lambda: None))
        return works[-1], done

    yield make
    for work in works:
        work.close()


@pytest.fixture
def directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


ATTRIBUTES = 0o700, -1, -1, None, ()


def test_small_directories_share_a_batch(made, directory):
    work, done = made()
    work.add(directory, b'a', [FILE.format('x')], ATTRIBUTES, './a type=dir')
    work.add(directory, b'b', [FILE.format(name) for name in 'yz'], ATTRIBUTES, './b type=dir')
    assert done == []
    work.finish()
    assert done == [[(b'a', 1, True), (b'b', 2, True)]]


def test_a_large_directory_is_ended_when_all_of_it_is_made(made, directory, monkeypatch):
    work, done = made()
    monkeypatch.setattr(batches.crew, 'Crew', lambda count, start, take, idle: Here(start(None), take))
    monkeypatch.setattr(batches, '_BATCH_BYTES', 2 * (batches._FILE_BYTES + 4))
    monkeypatch.setattr(maker.Maker, 'reopened', lambda self: self)
    work.add(directory, b'a', [FILE.format(name) for name in 'stuvw'], ATTRIBUTES, './a type=dir')
    work.finish()
    assert done == [[(b'a', 2, False)], [(b'a', 2, False)], [(b'a', 1, False)], [(b'a', 0, True)]]


class Here:
    """A crew without processes: what it does is taken in the end."""

    def __init__(self, do, take):
        self._do, self._take, self._results = do, take, []

    def submit(self, parts, fds):
        self._results.append(self._do(parts, fds))

    def finish(self):
        while self._results:
            self._take(self._results.pop())

    def close(self):
        pass


def test_ends_of_more_large_directories_than_fit_into_one_batch(made, directory):
    work, done = made(3)
    numbers = [work._begin_split(directory) for _ in range(8)]
    for number in numbers:
        work._splits[number].part = b'', [], None, '', 0
    work._take_made((maker.Outcome().pack(), numbers))
    work.finish()
    assert [len(batch) for batch in done] == [3, 3, 2]
