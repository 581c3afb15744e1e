"""A store in which everything can be damaged in every way, and the commands that are run on it, in this process.

A place is a range of bytes of one file, so that a frame, a list in a pack or a tar header is damaged like a file.
"""

import contextlib
import gc
import importlib.util
import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import cases
import sizes

from chkfs import cli
from chkfs.backup import jobs
from chkfs.restore import missing as unset
from chkfs.storage import codec, pack, publish
from chkfs.storage import store as stores
from chkfs.text import key as keys

WAYS = ('flip', 'truncate', 'empty', 'delete', 'zero', 'replace')
SUBJECTS = ('src', 'other')


class Place(NamedTuple):
    """Bytes start to end of a file (path below the case); another: what may stand there instead, of the same kind."""

    path: str
    start: int
    end: int
    another: bytes
    is_whole: bool = True


class Ran(NamedTuple):
    status: int
    out: bytes
    err: str


def run(*argv: str, stdin: bytes = b'', program: Callable[[], int] | None = None) -> Ran:
    """One command, as its file in bin/ runs it; an exception that leaves it is what a user would see as a traceback.

    program: what to call instead, with sys.argv as given.
    """
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO(), errors='surrogateescape')
    numbers = (signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    handlers, threshold, umask = [signal.getsignal(number) for number in numbers], gc.get_threshold(), os.umask(0o022)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            stack.enter_context(mock.patch.object(sys, 'stdin', io.TextIOWrapper(io.BytesIO(stdin))))
            stack.enter_context(mock.patch.object(sys, 'argv', list(argv)))
            try:
                status = program() if program else cli.main(argv[0])
            except SystemExit as stop:
                status = stop.code or 0
    finally:
        for number, handler in zip(numbers, handlers):
            signal.signal(number, handler)
        gc.set_threshold(*threshold)
        os.umask(umask)
    out.flush()
    err.flush()
    return Ran(status, out.buffer.getvalue(), err.buffer.getvalue().decode('utf-8', 'surrogateescape'))


def restore_without_chkfs(store: str, *arguments: str) -> Ran:
    """restore.py of a store, which is the one of the library."""
    path = os.path.join(os.path.dirname(cli.__file__), 'written/restore.py')
    spec = importlib.util.spec_from_file_location('restore', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with mock.patch.dict(os.environ, {'CHKFS_STORE': store}), mock.patch.object(os, '_exit', sys.exit):
        return run('restore.py', *arguments, program=lambda: module.main(list(arguments)))


@contextlib.contextmanager
def undisturbed(directory: str) -> Iterator[None]:
    """Small sizes, no waiting for the disk, no processes, caches in directory, and sources that are an hour old."""
    real = time.time_ns
    with contextlib.ExitStack() as stack:
        stack.enter_context(sizes.smaller())
        stack.enter_context(mock.patch.object(jobs, '_MANY_FILES', 1 << 30))
        stack.enter_context(mock.patch.object(publish, 'sync_filesystem', lambda fd: None))
        stack.enter_context(mock.patch.object(os, 'fsync', lambda fd: None))
        stack.enter_context(mock.patch.object(time, 'time_ns', lambda: real() + 3600 * 10**9))
        stack.enter_context(mock.patch.dict(os.environ, {'XDG_CACHE_HOME': directory}))
        yield


class Damage:
    """A store of two sources that have nothing in common, of one codec; and copies of it, one at a time.

    Everything lies in directory: sources/, pristine/, doubled/ (a good second copy of each object) and case/, the copy,
    each with a store/ and a cache/.
    """

    def __init__(self, directory: str, codec_name: str):
        self.directory, self.codec = directory, codec_name
        self.store, self.back = os.path.join(directory, 'case/store'), os.path.join(directory, 'case/back')
        self.unset = os.fsdecode(os.fsencode(self.back) + unset.SUFFIX)  # what a restore could not do
        self.sources = {name: os.path.join(directory, 'sources', name) for name in SUBJECTS}
        for name, path in self.sources.items():
            _make_source(path, name)
        with self.working():
            self._make()
            self.keys = {name: self.open().refs.read(f'refs/backups/{name}') for name in SUBJECTS}
            self.contents = {name: files_below(path) for name, path in self.sources.items()}
            self._keep('pristine')
            self._double()
            self._keep('doubled')
            self.afresh('pristine')
            self.places = dict(self._find_places())
            self.beside = {name: self._beside(f'{name}-src') for name in ('small-a', 'small-b')}

    def working(self):
        return undisturbed(os.path.join(self.directory, 'case/cache'))

    def open(self) -> stores.Store:
        return stores.Store(os.fsencode(self.store), {})

    # ---- making ----

    def _make(self) -> None:
        os.makedirs(os.path.join(self.directory, 'case'))
        self.succeed('init', '--compression', self.codec, self.store)
        config = os.path.join(self.store, 'config')
        text = read(config).decode()
        for name, value in cases.CHUNKS.items():
            text = re.sub(f'{name} = .*', f'{name} = {value}', text)
        with open(config, 'w') as file:
            file.write(text)
        for name, path in self.sources.items():
            self.succeed('hash-object', '-w', f'{path}/listed-loose-{name}')  # whose list becomes a file
            self.back_up(name)

    def _double(self) -> None:
        """A good second copy of every object that can have one: packs and files anew in another codec, lists whole."""
        objects = self.open().objects
        other = 'bzip2' if self.codec != 'bzip2' else 'xz'
        suffix = codec.SUFFIXES[other]
        for name in [name for name in os.listdir(f'{self.store}/packs') if pack.codec_of(name)]:
            with objects.cache.in_this_thread():
                members = [(place.name, bytes(data)) for place, data in _members(objects, name)]
            temporary = f'{self.store}/packs/beside'
            with open(temporary, 'wb') as file:
                places, offset = [], 0
                for member, data in members:
                    frame = codec.compress(other, pack.header(member, len(data)) + data + bytes(-len(data) % 512))
                    places.append(pack.Place(member, len(data), offset, len(frame)))
                    offset += file.write(frame)
                file.write(codec.compress(other, bytes(1024)))
            new = f'pack-{keys.of(read(temporary))}.tar{suffix}'
            os.rename(temporary, f'{self.store}/packs/{new}')
            with open(f'{self.store}/packs/{pack.index_name(new)}', 'wb') as file:
                file.write(pack.format_index(places))
        for type in ('blob', 'tree'):
            listed = [place.name[5:69] for _, place in self._packed() if place.name.endswith('.list')]
            for path in _below(f'{self.store}/objects/{type}'):
                key = os.path.basename(path)[:64]
                with open(f'{os.path.dirname(path)}/{key}{suffix}', 'wb') as file:
                    file.write(codec.compress(other, objects.read(type, key)))
            for key in listed if type == 'blob' else ():
                os.makedirs(f'{self.store}/objects/blob/{key[:2]}', exist_ok=True)
                with open(f'{self.store}/objects/blob/{key[:2]}/{key}', 'wb') as file:
                    file.write(objects.read('blob', key))

    def _keep(self, name: str) -> None:
        """What is in case/ from now on is what afresh(name) gives, with caches that know all of it."""
        for subject in SUBJECTS:
            self.succeed('checkout-tree', '-q', subject, self.back)
            shutil.rmtree(self.back)
            assert self.succeed('write-tree', self.sources[subject]).out
        gc.collect()  # closes the caches: a connection of Python's is part of a cycle
        assert not os.path.exists(self.cache('objects.sqlite-wal'))
        shutil.copytree(f'{self.directory}/case', f'{self.directory}/{name}', symlinks=True)

    def afresh(self, name: str = 'pristine') -> None:
        gc.collect()  # a cache that is closed while it is removed removes files of its own
        shutil.rmtree(f'{self.directory}/case')
        shutil.copytree(f'{self.directory}/{name}', f'{self.directory}/case', symlinks=True)

    # ---- places ----

    def cache(self, name: str) -> str:
        (only,) = os.listdir(f'{self.directory}/case/cache/chkfs')
        return f'{self.directory}/case/cache/chkfs/{only}/{name}'

    def _find_places(self) -> Iterator[tuple[str, Place]]:
        """Name to place of the kinds of things that src has; what may stand there instead belongs to other."""
        config = f'{self.store}/config'
        another = re.sub(b'id = [0-9a-f]{8}', b'id = 01234567', read(config))
        yield 'config', self._file(config, another)
        yield 'README', self._file(f'{self.store}/README', read(f'{self.store}/restore.sh'))
        for name in ('refs', 'logs/refs'):
            kind = {'refs': 'ref', 'logs/refs': 'log of a ref'}[name]
            yield kind, self._file(*(f'{self.store}/{name}/backups/{subject}' for subject in SUBJECTS))
        snapshots = [f'{self.store}/objects/snapshot/{key[:2]}/{key}' for key in self.keys.values()]
        yield 'snapshot', self._file(*snapshots)
        yield 'file, plain', self._file(*(self._loose(subject, f'plain-{subject}') for subject in SUBJECTS))
        if self.codec != 'none':
            yield 'file, compressed', self._file(*(self._loose(subject, f'text-{subject}') for subject in SUBJECTS))
        yield (
            'list, a file',
            self._file(*(self._loose(subject, f'listed-loose-{subject}', '.list') for subject in SUBJECTS)),
        )
        packs = [self._member_of(subject, f'listed-{subject}', '.list')[0] for subject in SUBJECTS]
        yield 'pack', self._file(*packs)
        yield 'index', self._file(*(f'{path.partition(".tar")[0]}.index' for path in packs))
        yield 'frame of contents', self._frame('small-a')
        yield 'frame of trees and lists', self._frame('listed', '.list')
        yield 'objects.sqlite', self._file(self.cache('objects.sqlite'), read(self.cache('scan.sqlite')))
        yield 'scan.sqlite', self._file(self.cache('scan.sqlite'), read(self.cache('objects.sqlite')))
        if self.codec == 'none':
            for what, name, suffix in (('file', 'small-b', ''), ('list', 'listed', '.list')):
                yield f'tar header of a {what}', self._in_frame(name, suffix, 0, 512)
                yield f'{what} in a pack', self._in_frame(name, suffix, 512, None)
            yield 'name in a tar header', self._in_frame('small-b', '', 0, 100)
            yield 'size in a tar header', self._in_frame('small-b', '', 124, 136)

    def _file(self, path: str, another: str | bytes) -> Place:
        another = another if isinstance(another, bytes) else read(another)
        assert read(path) != another
        return Place(os.path.relpath(path, self.directory), 0, os.path.getsize(path), another)

    def _loose(self, subject: str, name: str, suffix: str = '') -> str:
        key = keys.of(read(f'{self.sources[subject]}/{name}'))
        stem = f'{self.store}/objects/blob/{key[:2]}/{key}'
        return stem + (suffix or ('' if os.path.exists(stem) else codec.SUFFIXES[self.codec]))

    def _packed(self) -> Iterator[tuple[str, pack.Place]]:
        """(path of the pack, place) of all that is packed."""
        for name in os.listdir(f'{self.store}/packs'):
            if pack.codec_of(name):
                index = f'{self.store}/packs/{pack.index_name(name)}'
                for place in pack.parse_index(read(index)):
                    yield f'{self.store}/packs/{name}', place

    def _member_of(self, subject: str, name: str, suffix: str = '') -> tuple[str, pack.Place]:
        wanted = f'blob/{keys.of(read(f"{self.sources[subject]}/{name}"))}{suffix}'
        return next((path, place) for path, place in self._packed() if place.name == wanted)

    def _frame(self, name: str, suffix: str = '') -> Place:
        """A whole frame of src, in place of which may stand that of the same thing in other."""
        found = [self._member_of(subject, f'{name}-{subject}', suffix) for subject in SUBJECTS]
        (path, mine), (elsewhere, other) = found
        another = read(elsewhere)[other.offset : other.offset + other.length]
        return Place(os.path.relpath(path, self.directory), mine.offset, mine.offset + mine.length, another, False)

    def _in_frame(self, name: str, suffix: str, start: int, end: int | None) -> Place:
        """Bytes start to end (None: of its contents) of a member that is not compressed."""
        found = []
        for subject in SUBJECTS:
            path, place = self._member_of(subject, f'{name}-{subject}', suffix)
            data = read(path)
            at = data.index(place.name.encode() + b'\0', place.offset)
            found.append((path, at + start, at + (512 + place.size if end is None else end)))
        (path, begin, stop), (elsewhere, *there) = found
        return Place(os.path.relpath(path, self.directory), begin, stop, read(elsewhere)[slice(*there)], False)

    def _beside(self, name: str) -> set[str]:
        """The files of src in the frame that a file of it is in."""
        path, place = self._member_of('src', name)
        there = {each.name for pack, each in self._packed() if (pack, each.offset) == (path, place.offset)}
        return {path for path, data in self.contents['src'].items() if f'blob/{keys.of(data)}' in there}

    def harm(self, place: Place, way: str) -> None:
        path = f'{self.directory}/{place.path}'
        if way == 'delete' and place.is_whole:
            os.unlink(path)
            return
        data, (_, start, end, another, _) = read(path), place
        middle = (start + end) // 2
        new = {
            'flip': lambda: data[start:middle] + bytes((data[middle] ^ 0xFF,)) + data[middle + 1 : end],
            'truncate': lambda: data[start:middle],
            'empty': lambda: b'',
            'delete': lambda: b'',
            'zero': lambda: bytes(end - start),
            'replace': lambda: another,
        }[way]()
        os.chmod(path, 0o600)
        with open(path, 'wb') as file:
            file.write(data[:start] + new + data[end:])

    # ---- commands ----

    def command(self, name: str, *arguments: str, stdin: bytes = b'') -> Ran:
        store = () if name == 'init' else ('--store', self.store)
        return run(f'chkfs-{name}', *store, *arguments, stdin=stdin)

    def succeed(self, name: str, *arguments: str, stdin: bytes = b'') -> Ran:
        done = self.command(name, *arguments, stdin=stdin)
        assert done.status == 0 and not done.err, (name, done)
        return done

    def back_up(self, subject: str) -> list[Ran]:
        """What bin/chkfs-backup does."""
        draft = self.command('write-tree', '--draft', '-q', self.sources[subject])
        if draft.status:
            return [draft]
        return [draft, self.command('commit-snapshot', '-u', '-q', '-n', subject, stdin=draft.out)]

    def restore(self, subject: str) -> tuple[Ran, dict[str, bytes]]:
        """What chkfs-checkout-tree did, and path to contents of what came back."""
        shutil.rmtree(self.back, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.unset)
        done = self.command('checkout-tree', '-q', subject, self.back)
        return done, files_below(self.back)

    def reading(self, subject: str) -> Iterator[tuple[str, tuple, bytes]]:
        """(command, arguments, standard input) of all that reads a store and can tell of one subject."""
        plain, key = f'{subject}:plain-{subject}', keys.of(read(f'{self.sources[subject]}/plain-{subject}'))
        every = ''.join(f'{subject}:{path}\n' for path in self.contents[subject]).encode()
        yield 'cat-object', ('-t', subject), b''
        yield 'cat-object', ('-p', subject), b''
        yield 'cat-object', (plain,), b''
        yield 'cat-object', (f'{subject}:listed-{subject}',), b''
        yield 'cat-object', (key[:12],), b''
        yield 'cat-object', ('--batch',), every
        yield 'ls-tree', ('-r', subject), b''
        yield 'ls-tree', ('-r', '--mtree', subject), b''
        yield 'for-each-ref', ('--format', '%(ref) %(key) %(source) %(files)', f'refs/backups/{subject}'), b''
        yield 'rev-parse', (subject, f'{subject}:sub', f'{subject}@{{0}}'), b''
        yield 'rev-list', (subject,), b''
        yield 'hash-object', (f'{self.sources[subject]}/plain-{subject}',), b''

    def asking_about_all(self) -> Iterator[tuple[str, tuple, bytes]]:
        """The same of what tells of the whole store."""
        yield 'for-each-ref', (), b''
        yield 'rev-list', ('--all', '--parents'), b''
        yield 'list-objects', (), b''
        yield 'list-objects', ('--sizes',), b''
        yield 'count-objects', (), b''
        yield 'fsck', (), b''
        yield 'fsck', ('--full', '--json'), b''

    def writing(self) -> Iterator[tuple[str, tuple, bytes]]:
        """The commands that write, as they would follow upon each other."""
        plain = f'{self.sources["src"]}/plain-src'
        line = f'./x type=file mode=0644 size={os.path.getsize(plain)} sha256digest={keys.of(read(plain))}\n'
        yield 'init', (self.store,), b''
        yield 'hash-object', ('-w', plain), b''
        yield 'mktree', (), line.encode()
        yield 'update-ref', ('refs/tags/kept', 'src'), b''
        yield 'commit-snapshot', ('-m', 'again', '-p', 'src', 'src'), b''
        yield 'commit-snapshot', ('-u', '-n', 'third', 'other'), b''
        yield 'repack', ('-q',), b''
        yield 'write-tree', ('-q', self.sources['src']), b''


def read(path: str) -> bytes:
    with open(path, 'rb') as file:
        return file.read()


def files_below(top: str) -> dict[str, bytes]:
    return {os.path.relpath(path, top): read(path) for path in _below(top)}


def _below(top: str) -> list[str]:
    return sorted(os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names)


def _members(objects, name: str) -> Iterator[tuple[pack.Place, bytes]]:
    for place in objects.places(name):
        yield place, objects.packed_copy(place.name, name, place.offset, place.length)


def _make_source(top: str, name: str) -> None:
    """What takes each of the forms that a store has; nothing of it is the same for two names."""
    os.makedirs(f'{top}/sub/deep')
    noise = cases._noise
    below = ('', 'sub/', 'sub/deep/')
    wanted = {f'{below[number % 3]}small-{number}': noise(name, number, 3000) for number in range(9)}
    wanted |= {
        'small-a': noise(name, 101, 3000),
        'small-b': noise(name, 102, 900 + len(name)),
        'plain': noise(name, 200, 9_000),
        'text': b'a line of %s\n' % name.encode() * 900,
        'listed': noise(name, 201, 90_000),
        'listed-loose': noise(name, 202, 80_000),
    }
    for path, data in wanted.items():
        cases._write(top, f'{path}-{name}', data)
    cases._make_old(top)
