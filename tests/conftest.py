"""What many tests share: fresh stores, a frozen clock, and ways to look at directories."""

import os
import re
import stat
import time

import pytest
from hypothesis import settings

from chkfs.backup import earlier, ingest
from chkfs.storage import publish, walk
from chkfs.storage import store as stores
from chkfs.text import tree

# Examples are the same in every run; HYPOTHESIS_PROFILE=hunt looks further, at random, and fuzz (make fuzz) by rounds.
settings.register_profile('same', deadline=None, derandomize=True, database=None)
settings.register_profile('hunt', deadline=None, max_examples=3000, database=None)
settings.register_profile('fuzz', deadline=None, max_examples=500, database=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'same'))

_counts: dict[str, int] = {}  # of what was proved, printed at the end

collect_ignore = ['data']  # stores, which are no tests


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """No test sees the caches or the store of whoever runs it."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('CHKFS_STORE', raising=False)


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch):
    """No test waits for the disk; test_publish has the real thing."""
    monkeypatch.setattr(publish, 'sync_filesystem', lambda fd: None)
    monkeypatch.setattr(os, 'fsync', lambda fd: None)


@pytest.fixture
def make_store(tmp_path):
    """make_store(compression='gzip', name='store') gives a new Store."""

    def make(compression='gzip', name='store'):
        root = os.fsencode(tmp_path / name)
        assert stores.create(root, compression)
        return stores.Store(root)

    return make


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def put():
    """put(store, type, data, ...) stores and publishes each data; gives the key of the last."""

    def put_all(store, type, *objects, **options):
        with store.writer(**options) as writer:
            found = [writer.put(type, data) for data in objects]
            writer.checkpoint()
        return found[-1]

    return put_all


@pytest.fixture
def source(tmp_path):
    """An empty directory to back up, as bytes."""
    path = tmp_path / 'source'
    path.mkdir()
    return os.fsencode(path)


@pytest.fixture
def later(monkeypatch):
    """The clock says an hour later than it is, so that files made just now are old; later(seconds) moves it on."""
    real, offset = time.time_ns, [3600]

    def move(seconds):
        offset[0] += seconds

    monkeypatch.setattr(time, 'time_ns', lambda: real() + offset[0] * 10**9)
    return move


class Backup:
    """What one ingest gave and said."""

    def __init__(self, store, source, **settings):
        self.store = store
        self.lines, self.notes = [], []  # of problems, and of what is merely worth knowing
        talk = {
            'report': self.lines.append,
            'note': self.notes.append,
            'step': settings.pop('step', lambda path, result: None),
        }
        scans = settings.pop('cache', None) or store.scan_cache()
        before = settings.pop('before', None)  # a Backup
        talk['before'] = before and earlier.Earlier(store.objects, before.root, True, os.path.basename(source))
        settings.setdefault('read_timeout', 0)  # everything in this process
        with store.writer() as writer:
            work = ingest.Ingest(writer, scans, ingest.Options(**settings), **talk)
            self.result = work.store(source)
            self.written_objects = writer.written_objects

    @property
    def root(self):
        return tree.parse_line(self.result.root)

    @property
    def entries(self):
        """Path to entry of everything below the root."""
        return dict(walk.below(self.store.objects, self.root.key))

    @property
    def copied(self):
        """The root's line and those of all below, without what no two copies share: their own times, keys of trees."""
        entries = [(b'', self.root), *self.entries.items()]
        return {path: re.sub(r'(?<=[=,])(tree|btime|ctime):[^, ]*,?', '', entry.line()) for path, entry in entries}

    def read(self, path):
        return self.store.objects.read('blob', self.entries[path].key)


@pytest.fixture
def backup(store):
    """backup(source, **ingest options) stores a directory in the store, and gives a Backup."""
    return lambda source, **settings: Backup(settings.pop('store', store), source, **settings)


def look(path):
    """What lstat tells of one path that a restore should give back."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    content = b''
    if kind == stat.S_IFREG:
        with open(path, 'rb') as file:
            content = file.read()
    elif kind == stat.S_IFLNK:
        content = os.readlink(path)
    size = status.st_size if kind == stat.S_IFREG else 0
    return oct(status.st_mode), status.st_uid, status.st_gid, size, status.st_mtime_ns, status.st_rdev, content


@pytest.fixture(scope='session')
def look_at_tree():
    """look_at_tree(top) gives relative path to everything that a restore should give back, hard links too."""

    def snapshot(top):
        found, inodes = {}, {}
        for directory, names, files in os.walk(top):
            for name in [b'.', *names, *files] if directory == top else [*names, *files]:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                relative = os.path.relpath(path, top)
                linked = b''
                if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                    linked = inodes.setdefault((status.st_dev, status.st_ino), relative)
                found[relative] = (*look(path), linked)
        return found

    return snapshot


@pytest.fixture
def tree_on_disk(look_at_tree):
    """The same, to be asked for like the rest."""
    return look_at_tree


@pytest.fixture
def store_on_disk():
    """store_on_disk(store) gives every path below it to its size, mode and times."""

    def snapshot(store):
        found = {}
        for directory, _, files in os.walk(store.root):
            for path in [directory, *[os.path.join(directory, name) for name in files]]:
                status = os.lstat(path)
                found[path] = status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        return found

    return snapshot


@pytest.fixture(scope='session')
def count():
    """count(what, number) adds to what is printed at the end."""

    def add(what: str, number: int = 1) -> None:
        _counts[what] = _counts.get(what, 0) + number

    return add


def pytest_terminal_summary(terminalreporter):
    if _counts:
        terminalreporter.section('what was proved')
        for what, number in sorted(_counts.items()):
            terminalreporter.line(f'{number:7} {what}')
