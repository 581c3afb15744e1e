"""Prepared stores, copies of them to be harmed, and what must hold of a store afterwards."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import interposer
import sizes
from operations import OPERATIONS

import chkfs
from chkfs import errors
from chkfs.restore import checkout
from chkfs.storage import fsck, revision
from chkfs.storage import store as stores

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.abspath(chkfs.__file__)))
CHUNKS = {'chunk-minimum': 8 << 10, 'chunk-average': 16 << 10, 'chunk-maximum': 32 << 10}


class Server:
    """The warm process that runs operations; see server.py."""

    def __init__(self, library: str):
        environment = {**os.environ, 'LD_PRELOAD': library, 'PYTHONPATH': TOP}
        self._process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, 'server.py')],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def run(self, runs: list[dict]) -> list[int]:
        """Runs these at the same time; gives their statuses."""
        self._process.stdin.write(json.dumps(runs) + '\n')
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


class Outcome(NamedTuple):
    """What one run gave and said, and the steps that it took."""

    status: int
    errors: str
    calls: list[interposer.Call]


class World:
    """Sources, the trees that they restore to, and the prepared stores, each made when it is first asked for."""

    def __init__(self, directory: str, library: str, look: Callable[[bytes], dict]):
        """look: what a restore must give back of a directory."""
        self.directory = directory
        self.server = Server(library)
        self.look = look
        self.library = library
        self.trees: dict[str, dict] = {}
        self._prepared: dict[str, dict[str, str]] = {}
        self._known: dict[str, set] = {}
        self._count = 0
        self.sources = {name: os.path.join(directory, 'sources', name) for name in ('first', 'second', 'doomed')}
        self.sources['again'] = self.sources['first']
        for seed, name in enumerate(('first', 'second', 'doomed')):
            make_source(self.sources[name], seed)
            self.trees[name] = look(os.fsencode(self.sources[name]))
        self._prepare_all()

    def _prepare_all(self) -> None:
        """In this order, since the first source is changed after it was stored."""
        self._make('none', None, lambda case: {})
        self._make('empty', 'none', _make_empty)
        self._make('one', 'empty', lambda case: case.store_source('first'))
        self._make('two', 'one', lambda case: case.store_source('second', 'other'))
        self._make('damaged', 'one', _make_damaged)
        change_source(self.sources['first'])
        self.trees['again'] = self.look(os.fsencode(self.sources['first']))

    def _make(self, name: str, begins: str | None, fill: Callable[['Case'], dict[str, str]]) -> None:
        """fill: changes a case; gives key to source of the snapshots that it added."""
        path = os.path.join(self.directory, 'prepared', name)
        if begins is None:
            os.makedirs(os.path.join(path, 'disk'))
            os.makedirs(os.path.join(path, 'cache'))
        else:
            shutil.copytree(os.path.join(self.directory, 'prepared', begins), path)
        case = Case(self, path, dict(self._prepared.get(begins, {})))
        self._prepared[name] = case.earlier = {**case.earlier, **fill(case)}

    def case(self, begins: str) -> 'Case':
        """A copy of a prepared store, to be removed by its user."""
        self._count += 1
        path = os.path.join(self.directory, f'case-{self._count}')
        shutil.copytree(os.path.join(self.directory, 'prepared', begins), path)
        return Case(self, path, dict(self._prepared[begins]), self._known.get(begins, set()))

    def allow(self, begins: str, problems: set) -> None:
        """What fsck finds in a prepared store, or may find until it is healed."""
        self._known[begins] = self._known.get(begins, set()) | problems

    def close(self) -> None:
        self.server.close()


class Case:
    """A store of one's own, in PATH/disk/store, with the caches of those who use it.

    earlier: key to source of the snapshots in it; known: (kind, where) of problems that it had before.
    """

    def __init__(self, world: World, path: str, earlier: dict[str, str], known: set = frozenset()):
        self.world, self.path, self.earlier, self.known = world, path, earlier, known
        self.disk = os.path.join(path, 'disk')
        self.store = os.path.join(self.disk, 'store')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    # ---- doing ----

    def plan(self, operation: str, turn: int = 0, sabotage=(), arguments=(), **faults) -> tuple[dict, Callable]:
        """A run for the server, and what gives its Outcome of a status; turn tells concurrent ones apart."""
        scratch = os.path.join(self.path, f'run-{turn}')
        watch = interposer.Watch(scratch, self.disk, **faults)
        said = os.path.join(scratch, 'errors')
        run = {
            'operation': operation,
            'arguments': {'store': self.store, 'sources': self.world.sources, **dict(arguments)},
            'environment': {**watch.environment, 'XDG_CACHE_HOME': os.path.join(self.path, 'cache')},
            'errors': said,
            'sabotage': list(sabotage),
        }

        def outcome(status: int) -> Outcome:
            with open(said, errors='replace') as file:
                return Outcome(status, file.read(), watch.calls)

        return run, outcome

    def run(self, operation: str, **options) -> Outcome:
        """Runs an operation by itself; see plan and interposer.Watch for the options."""
        run, outcome = self.plan(operation, **options)
        return outcome(self.world.server.run([run])[0])

    def store_source(self, source: str, name: str | None = None) -> dict[str, str]:
        """Backs a source up undisturbed; gives its snapshot's key to the source."""
        sources = {**self.world.sources, (name or source): self.world.sources[source]}
        done = self.run('backup', arguments={'name': name or source, 'sources': sources})
        assert done.status == 0, done.errors
        return {self.open().refs.read(f'refs/backups/{name or source}'): source}

    def open(self) -> stores.Store:
        """With a cache that no run has seen."""
        cache = os.path.join(self.path, 'cache-of-checks')
        shutil.rmtree(cache, ignore_errors=True)
        return stores.Store(os.fsencode(self.store), {'XDG_CACHE_HOME': cache})

    # ---- checking ----

    def is_store(self) -> bool:
        return os.path.exists(os.path.join(self.store, 'config'))

    def problems(self) -> list[fsck.Problem]:
        """What chkfs-fsck --full finds."""
        with sizes.smaller():
            return list(fsck.Fsck(self.open()).check(full=True))

    def complaints(self, also: dict[str, str] | None = None) -> list[str]:
        """Lines: new problems, and snapshots (the earlier ones, and also these refs) that do not restore equal."""
        if not self.is_store():
            return [] if not self.earlier and not also else ['the store is gone']
        try:
            found = [
                f'fsck: {problem.kind} {problem.where}: {problem.detail}'
                for problem in self.problems()
                if (problem.kind, problem.where) not in self.known
            ]
            store = self.open()
            for name, source in {**self.earlier, **(also or {})}.items():
                found += self._compare(store, name, source)
            return found
        except errors.Error as error:
            return [f'the store cannot be read: {error}']

    def restored(self, store: stores.Store, name: str) -> tuple[dict, list[str]]:
        """What a snapshot restores to, and what was said about it.  Raises Error."""
        back, said = os.path.join(self.path, 'back'), []
        try:
            entry = revision.tree_of(store, name).entry
            checkout.Checkout(store.objects, said.append, said.append).restore(entry, os.fsencode(back))
            return self.world.look(os.fsencode(back)), said
        finally:
            shutil.rmtree(back, ignore_errors=True)

    def _compare(self, store: stores.Store, name: str, source: str) -> list[str]:
        try:
            found, said = self.restored(store, name)
        except errors.Error as error:
            return [f'{name} does not restore: {error}']
        is_equal = found == self.world.trees[source] and not said
        return [] if is_equal else [f'{name} does not restore to {source}: {"; ".join(said)}']

    def finish(self, operation: str) -> list[str]:
        """Runs the operation undisturbed; complaints about it and about what it makes."""
        todo = OPERATIONS[operation]
        again = self.run(operation)
        if again.status not in todo.done:
            return [f'run again, it ends with status {again.status}: {again.errors}']
        if not self.is_store():
            return ['run again, it makes no store']
        return self.complaints(todo.makes)


def make_source(top: str, seed: int) -> None:
    """Some of everything: small files, larger ones of both kinds, files that are cut, links, empty things."""
    for directory in ('', 'sub', 'sub/deeper', 'empty'):
        os.makedirs(os.path.join(top, directory))
    for number in range(24):
        _write(top, f'{("", "sub", "sub/deeper")[number % 3]}/small-{number}', _noise(seed, number, 60 * number))
    _write(top, 'none', b'')
    _write(top, 'shared', _noise('shared', 0, 9_000))
    _write(top, 'sub/text', b'a line of text %d\n' % seed * 1_500)
    for number in range(3):
        _write(top, f'medium-{number}', _noise(seed, 100 + number, 7_000 + 3_000 * number))
    _write(top, 'large', _noise(seed, 200, 90_000) + b'the same again ' * 2_000)
    _write(top, 'sub/large', _noise(seed, 201, 70_000))
    os.link(os.path.join(top, 'sub/text'), os.path.join(top, 'text-linked'))
    os.symlink('sub/text', os.path.join(top, 'symlink'))
    _make_old(top)


def change_source(top: str) -> None:
    """What happens between two backups."""
    _write(top, 'sub/small-1', b'changed')
    _write(top, 'sub/new-medium', _noise('new', 1, 12_000))
    _write(top, 'new/new', _noise('new', 2, 500))
    os.unlink(os.path.join(top, 'small-3'))
    _make_old(top)


def _write(top: str, path: str, data: bytes) -> None:
    path = os.path.join(top, path.lstrip('/'))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)


def _make_old(top: str) -> None:
    for directory, below, names in os.walk(top, topdown=False):
        for name in [*below, *names, '']:
            os.utime(os.path.join(directory, name), ns=(10**18, 10**18 + 123), follow_symlinks=False)


def _noise(seed, number: int, size: int) -> bytes:
    return hashlib.shake_128(f'{seed} {number}'.encode()).digest(size)


def _make_empty(case: Case) -> dict[str, str]:
    assert case.run('init').status == 0
    config = os.path.join(case.store, 'config')
    with open(config) as file:
        text = file.read()
    for name, value in CHUNKS.items():
        text = re.sub(f'{name} = .*', f'{name} = {value}', text)
    with open(config, 'w') as file:
        file.write(text)
    return {}


def _make_damaged(case: Case) -> dict[str, str]:
    """All refs lost, one index lost and one bad; and of what only one source had, a pack and a file with a flipped
    byte."""
    before = _files(case.store)
    case.store_source('doomed')
    new = [path for path in _files(case.store) if path not in before]
    flip(next(path for path in new if '/packs/' in path and not path.endswith('.index')))
    flip(next(path for path in new if '/objects/blob/' in path))
    indexes = [path for path in before if path.endswith('.index')]
    assert len(indexes) > 1
    os.unlink(indexes[0])
    os.truncate(indexes[1], 40)
    for name in ('refs', 'logs'):
        shutil.rmtree(os.path.join(case.store, name))
    case.world.allow('damaged', {(problem.kind, problem.where) for problem in case.problems()})
    with _copy(case) as repaired:
        assert repaired.run('fsck-repair').status == 1
        case.world.allow('damaged', {(problem.kind, problem.where) for problem in repaired.problems()})
    return {}


def _copy(case: Case) -> Case:
    path = case.path + '-copy'
    shutil.copytree(case.path, path)
    return Case(case.world, path, dict(case.earlier))


def _files(top: str) -> list[str]:
    return sorted(os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names)


def flip(path: str) -> None:
    """Damages one byte in the middle."""
    os.chmod(path, 0o600)
    with open(path, 'r+b') as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte[0] ^ 0xFF,)))
