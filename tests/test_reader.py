"""reader: files are asked for all at once, and read one by one."""

import os
import resource

import pytest

from chkfs.backup import reader
from chkfs.system import metadata
from chkfs.text import key


class Kept:
    """A writer that keeps what is put."""

    def __init__(self):
        self.found = []

    def put(self, type, data):
        self.found.append(data)
        return key.of(data)

    def put_blocks(self, type, blocks):
        data = b''.join(blocks)
        return self.put(type, data), len(data)


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the system, in order: 'ahead' or 'read'."""
    made = []

    def note(what, function):
        def call(*arguments):
            made.append(what)
            return function(*arguments)

        return call

    monkeypatch.setattr(os, 'posix_fadvise', note('ahead', os.posix_fadvise))
    monkeypatch.setattr(os, 'read', note('read', os.read))
    return made


@pytest.fixture
def read(tmp_path):
    """read({name: data}, may_be_many=True, prepare=...) gives the outcomes, and what was stored."""

    def make(files, may_be_many=True, prepare=lambda fd: None, kind=reader.Reader, **more):
        fd = os.open(tmp_path, os.O_RDONLY)
        wanted = []
        for name, data in files.items():
            with open(tmp_path / os.fsdecode(name), 'wb') as file:
                file.write(data)
            wanted.append((name, len(data), os.stat(name, dir_fd=fd).st_mtime_ns))
        prepare(fd)
        kept = Kept()
        before = os.listdir('/proc/self/fd')
        ((number, outcomes),) = kind(kept, metadata.Gatherer(key.of), **more).read([(7, 0, may_be_many, wanted)], [fd])
        assert os.listdir('/proc/self/fd') == before and number == 7
        os.close(fd)
        return outcomes, kept.found

    return make


FILES = {b'%d' % number: b'data %d' % number for number in range(20)} | {b'large': b'large' * 100_000}


@pytest.mark.parametrize('may_be_many', [True, False])
def test_all_are_asked_for_before_the_first_is_read(read, calls, may_be_many):
    outcomes, found = read(FILES, may_be_many)
    assert outcomes == [key.of(data) for data in FILES.values()] and found == list(FILES.values())
    ahead = ['ahead'] * len(FILES) if may_be_many else []
    assert calls[: len(ahead)] == ahead and set(calls[len(ahead) :]) == {'read'}


def test_what_is_gone_or_something_else_by_then_is_told_of_itself(read):
    def prepare(fd):
        os.unlink(b'1', dir_fd=fd)
        os.unlink(b'2', dir_fd=fd)
        os.symlink('3', b'2', dir_fd=fd)
        os.unlink(b'4', dir_fd=fd)
        os.mkfifo(b'4', dir_fd=fd)

    outcomes, found = read(FILES, prepare=prepare)
    wrong = [number for number, outcome in enumerate(outcomes) if type(outcome) is not str]
    assert wrong == [1, 2, 4]
    assert found == [data for number, data in enumerate(FILES.values()) if number not in wrong]


def test_few_descriptors_are_enough(read):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = max(map(int, os.listdir('/proc/self/fd')))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 8, hard))
    try:
        outcomes, _ = read(FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcomes == [key.of(data) for data in FILES.values()]
