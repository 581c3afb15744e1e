"""Checks a store, names what is wrong and which paths of which snapshots suffer, and repairs what can be.

Repair only ever adds (indexes, refs) or sets aside (into incoming/damaged-...); it deletes nothing.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from chkfs import errors
from chkfs.storage import codec, pack, publish, refs, salvage, store, walk
from chkfs.storage.objects import LIST_SUFFIX, SUFFIXES
from chkfs.storage.writer import LISTED_ABOVE
from chkfs.text import key as keys
from chkfs.text import number, piecelist, quote, snapshot, tree

_EMPTY = keys.of(b'')


class Problem(NamedTuple):
    """kind: one word; where: a path in the store, or <type>/<key>; affects: SNAPSHOT:PATH of what suffers."""

    kind: str
    where: str
    detail: str
    affects: tuple[str, ...] = ()


class Dangling(NamedTuple):
    """A snapshot that no ref reaches."""

    key: str
    snapshot: snapshot.Snapshot


class Fsck:
    """One check of a store.  step is called with a path and this object (counts files and bytes) as it goes."""

    def __init__(self, checked: store.Store, step: Callable[[bytes, 'Fsck'], None] = lambda path, fsck: None):
        self.files = 0  # of the store, that were read
        self.bytes = 0
        self.dangling: list[Dangling] = []
        self.leftovers: list[Problem] = []  # no problems: what a writer that died leaves beside what is whole
        self._store, self._objects, self._step = checked, checked.objects, step
        self._refs: dict[str, str | None] = {}
        self._knows_refs = True
        self._snapshots: dict[str, snapshot.Snapshot] = {}
        self._silent_logs: list[str] = []  # refs whose logs do not tell of what they are at
        self._damaged_packs: set[str] = set()
        self._faults: dict[str, str] = {}  # of big blobs, looked at once
        self._known: dict[tuple[str, str], bool] = {}  # objects asked for before: are they there?

    def check(self, full: bool = False, since: str | None = None) -> Iterator[Problem]:
        """Every problem.  full: read every byte; since: do not walk what that snapshot reaches."""
        yield from self._check_written()
        yield from self._check_packs(full)
        yield from self._check_loose(full)
        # Others may be writing meanwhile: what is named is listed before what it names is looked for.
        yield from self._read_refs()
        yield from self._check_snapshots()
        yield from self._check_refs()
        yield from self._check_reachable(since)
        if self._knows_refs:
            self._find_dangling()

    def repair(self) -> Iterator[str]:
        """Rebuilds indexes and refs, sets damaged files aside; a line for each thing done."""
        for name in store.refresh(self._store.root, (store.MISSING, store.ALTERED)):
            yield f'{name}: written again'
        yield from self._salvage()
        yield from self._renew_packs()
        yield from self._rebuild_indexes()
        yield from self._set_aside()
        if self._knows_refs:
            yield from self._turn_back_refs()
            yield from self._complete_logs()
            self._find_dangling()
            yield from self._recover_refs()

    # ---- what explains a store ----

    def _check_written(self) -> Iterator[Problem]:
        try:
            states = store.outdated(self._store.root)
        except OSError as error:
            yield Problem('unreadable', 'README, restore.sh or restore.py', errors.describe(error))
            return
        for name, state in states.items():
            if state != store.EARLIER:
                beside = ' and keeps this one beside it' if state == store.ALTERED else ''
                yield Problem('readme', name, f'{state}: --repair writes it again{beside}')

    # ---- packs ----

    def _pack_names(self) -> tuple[list[str], list[str]]:
        """(packs, other names) in packs/."""
        try:
            names = sorted(os.listdir(os.path.join(os.fsdecode(self._store.root), 'packs')))
        except FileNotFoundError:
            names = []
        packs = [name for name in names if pack.codec_of(name)]
        return packs, [name for name in names if not pack.codec_of(name)]

    def _check_packs(self, full: bool) -> Iterator[Problem]:
        packs, others = self._pack_names()
        indexes = {pack.index_name(name) for name in packs}
        for name in others:
            if name not in indexes and _is_index(name):  # whatever misses objects of that pack is named below
                self.leftovers.append(Problem('leftover', f'packs/{name}', 'an index without its pack'))
            elif name not in indexes:
                yield Problem('stray', f'packs/{name}', 'not a name of this place')
        for name in packs:
            self._step(os.fsencode(name), self)
            index = f'packs/{pack.index_name(name)}'
            if pack.index_name(name) not in others:
                what = 'its pack is read without it, more slowly: --repair makes it'
                self.leftovers.append(Problem('leftover', index, what))
            elif (fault := self._index_fault(name, full)) and os.path.exists(self._objects.pack_path(name)):
                yield Problem('index', index, f'{fault}: --repair rebuilds it')
            if full:
                yield from self._check_pack_bytes(name)

    def _index_fault(self, name: str, full: bool) -> str:
        try:
            with open(self._objects.pack_path(pack.index_name(name)), 'rb') as file:
                places = pack.parse_index(file.read())
            path = self._objects.pack_path(name)
            if pack.points_outside(places, os.stat(path).st_size):
                return 'points outside its pack'
            return 'is not that of its pack' if full and not pack.is_index_of(path, pack.codec_of(name), places) else ''
        except (errors.Damaged, OSError) as error:
            return errors.describe(error)

    def _check_pack_bytes(self, name: str) -> Iterator[Problem]:
        try:
            digest = self._digest(self._objects.pack_path(name))
        except FileNotFoundError:
            return  # chkfs-repack has put its objects elsewhere; whether they are there is seen when trees are walked
        except OSError as error:
            yield Problem('unreadable', f'packs/{name}', errors.describe(error))
            return
        if f'pack-{digest}.' == name[: keys.LENGTH + 6]:
            return  # the name vouches for every byte
        self._damaged_packs.add(name)
        yield Problem('damaged', f'packs/{name}', 'its bytes are not what its name says')
        for place in self._objects.places(name):
            type, key, _ = pack.parse_name(place.name)
            if not self._is_whole(type, key):
                self._known[type, key] = False
                yield Problem('damaged', f'{type}/{key}', f'no whole copy is left (packs/{name})')

    def _digest(self, path: bytes) -> str:
        digest = hashlib.sha256()
        with open(path, 'rb', buffering=0) as file:
            while block := file.read(codec.BLOCK_BYTES):
                digest.update(block)
                self.bytes += len(block)
                self._step(path, self)
        self.files += 1
        return digest.hexdigest()

    def _is_whole(self, type: str, key: str) -> bool:
        try:
            for _ in self._objects.chunks(type, key):
                pass
            return True
        except (errors.Error, OSError):
            return False

    # ---- files of their own ----

    def _loose_files(
        self, cannot_list: Callable[[OSError], None] = lambda error: None
    ) -> Iterator[tuple[str, str, str, str]]:
        """(type, key, suffix, path from the top of the store); type is '' for a name that does not belong there."""
        top = os.path.join(os.fsdecode(self._store.root), 'objects')
        for directory, below, names in os.walk(top, onerror=cannot_list):
            below.sort()
            for name in sorted(names):
                path = os.path.relpath(os.path.join(directory, name), os.path.dirname(top))
                key, suffix = name[: keys.LENGTH], name[keys.LENGTH :]
                type = path.split('/')[1]
                fits = type in keys.TYPES and keys.is_key(key) and suffix in SUFFIXES
                yield type if fits and path == f'objects/{type}/{key[:2]}/{name}' else '', key, suffix, path

    def _check_loose(self, full: bool) -> Iterator[Problem]:
        unreadable: list[OSError] = []
        for type, key, suffix, path in self._loose_files(unreadable.append):
            if not type:
                yield Problem('stray', path, 'not a name of this place')
                continue
            fault = self._loose_fault(type, key, suffix, path, full)
            if fault and os.path.lexists(os.path.join(self._store.root, os.fsencode(path))):
                whole = self._is_whole(type, key)
                self._known[type, key] = whole
                yield Problem('damaged', path, fault + ('; another copy is whole' if whole else ''))
        for error in unreadable:
            if not isinstance(error, FileNotFoundError):
                path = os.path.relpath(error.filename, os.fsdecode(self._store.root))
                yield Problem('unreadable', path, errors.describe(error))

    def _loose_fault(self, type: str, key: str, suffix: str, path: str, full: bool) -> str:
        file = os.path.join(self._store.root, os.fsencode(path))
        try:
            if os.stat(file).st_size == 0 and (suffix or key != _EMPTY):
                return 'empty'
            if suffix == LIST_SUFFIX:
                with open(file, 'rb') as opened:
                    piecelist.parse(opened.read())
                return '' if not full or self._is_whole(type, key) else 'its pieces are not whole'
            if full:
                return '' if self._plain_digest(file, suffix) == key else 'its bytes are not what its name says'
            return ''
        except (errors.Damaged, OSError) as error:
            return errors.describe(error)

    def _plain_digest(self, path: bytes, suffix: str) -> str:
        digest = hashlib.sha256()
        with open(path, 'rb', buffering=0) as file:
            blocks = iter(lambda: file.read(codec.BLOCK_BYTES), b'')
            for block in codec.decompress(codec.NAMES[suffix], blocks):
                digest.update(block)
                self.bytes += len(block)
                self._step(path, self)
        self.files += 1
        return digest.hexdigest()

    # ---- snapshots, refs, and what they reach ----

    def _read_refs(self) -> Iterator[Problem]:
        try:
            for name in self._store.refs.names():
                try:
                    refs.check_name(name)
                    self._refs[name] = self._store.refs.read(name)
                except errors.Error as error:
                    yield Problem('ref', name, str(error))
        except errors.Error as error:
            self._knows_refs = False
            yield Problem('unreadable', 'refs', str(error))

    def _check_snapshots(self) -> Iterator[Problem]:
        for key in self._objects.keys('snapshot'):
            try:
                self._snapshots[key] = snapshot.parse(self._objects.read('snapshot', key))
            except (errors.Error, OSError) as error:
                yield Problem('damaged', f'snapshot/{key}', errors.describe(error))
        self._objects.look_again()
        for key, found in self._snapshots.items():
            for parent in found.parents:
                if parent not in self._snapshots and not self._objects.has('snapshot', parent):
                    yield Problem('missing', f'snapshot/{parent}', f'parent of {key}')

    def _check_refs(self) -> Iterator[Problem]:
        for name, key in self._refs.items():
            if key not in self._snapshots:
                yield Problem('ref', name, f'points at {key}, which is no snapshot here')
            yield from self._check_log(name, key)

    def _check_log(self, ref: str, key: str | None) -> Iterator[Problem]:
        """A log is written before its ref; what a writer that died had only begun to write is no damage."""
        where = f'logs/{ref}'
        try:
            if key is not None and key not in (change.new for change in self._store.refs.log(ref)):
                self._silent_logs.append(ref)
                yield Problem('log', where, 'does not tell of the value that the ref has: --repair adds it')
            if unreadable := self._store.refs.count_unreadable_lines(ref):
                what = f'{unreadable} lines cannot be read: earlier values of the ref may be missing'
                self.leftovers.append(Problem('leftover', where, what))
        except OSError as error:
            yield Problem('unreadable', where, errors.describe(error))

    def _check_reachable(self, since: str | None) -> Iterator[Problem]:
        """Walks every tree once, from the newest snapshot on."""
        seen: set[str] = set()
        order = sorted(self._snapshots.items(), key=lambda item: -item[1].time_ns)
        if since is not None:
            if since not in self._snapshots:
                raise errors.NotFound(f"'{since}' is not a snapshot that can be read")
            for _ in self._walk(since, self._snapshots[since].root, seen):
                pass
        for key, found in order:
            yield from self._walk(key, found.root, seen)

    def _walk(self, snapshot_key: str, root: tree.Entry, seen: set[str]) -> Iterator[Problem]:
        waiting = [(b'', root)]
        while waiting:
            path, entry = waiting.pop()
            try:
                key = entry.key
            except errors.Damaged as error:
                yield self._affecting('damaged', 'entry', str(error), snapshot_key, path)
                continue
            for value in entry.value_keys:
                if not self._is_there('blob', value):
                    yield self._affecting('missing', f'blob/{value}', 'named by a tag', snapshot_key, path)
            if key is None or entry.type == 'dir' and key in seen:
                continue
            type = 'tree' if entry.type == 'dir' else 'blob'
            try:
                is_there = self._is_there(type, key)
            except (errors.Error, OSError) as error:
                yield self._affecting('unreadable', f'{type}/{key}', errors.describe(error), snapshot_key, path)
                continue
            if not is_there:
                yield self._affecting('missing', f'{type}/{key}', 'named by a tree', snapshot_key, path)
            elif type == 'blob' and (fault := self._pieces_fault(key, entry.size)):
                yield self._affecting('damaged', f'blob/{key}', fault, snapshot_key, path)
            elif type == 'tree':
                seen.add(key)
                self._step(path, self)
                problems: list[str] = []
                try:
                    below = walk.entries(self._objects, key, problems.append)
                except (errors.Error, OSError) as error:
                    below, problems = [], [errors.describe(error)]
                for line in problems:
                    yield self._affecting('damaged', f'tree/{key}', line, snapshot_key, path)
                waiting += [(path + b'/' + child.name if path else child.name, child) for child in reversed(below)]

    def _is_there(self, type: str, key: str) -> bool:
        there = self._known.get((type, key))
        return not self._objects.is_missing(type, key) if there is None else there

    def _pieces_fault(self, key: str, size: int | None) -> str:
        """What is wrong with a big blob that is there as a list: '' when nothing is."""
        if size is not None and size <= LISTED_ABOVE:
            return ''
        if key not in self._faults:
            try:
                pieces = self._objects.pieces('blob', key)
                missing = [piece for piece, _ in pieces if not self._is_there('blob', piece)]
                self._faults[key] = f'its piece {missing[0]} is missing or damaged' if missing else ''
            except (errors.Error, OSError) as error:
                self._faults[key] = errors.describe(error)
        return self._faults[key]

    def _affecting(self, kind: str, where: str, detail: str, snapshot_key: str, path: bytes) -> Problem:
        return Problem(kind, where, detail, (f'{snapshot_key}:{quote.quote(path)}',))

    def _find_dangling(self) -> None:
        reached: set[str] = set()
        waiting = []
        for name in self._store.refs.names():
            try:
                waiting.append(self._store.refs.read(name))
            except errors.Error:
                continue
        while waiting:
            key = waiting.pop()
            if key in self._snapshots and key not in reached:
                reached.add(key)
                waiting += self._snapshots[key].parents
        newest: dict[tuple, int] = {}
        for found in self._snapshots.values():
            newest[_origin(found)] = max(found.time_ns, newest.get(_origin(found), 0))
        alone = [
            Dangling(key, found)
            for key, found in self._snapshots.items()
            if key not in reached and not (found.get('complete') == 'no' and found.time_ns < newest[_origin(found)])
        ]  # a checkpoint is superseded by whatever comes later
        self.dangling = sorted(alone, key=lambda item: item.snapshot.time_ns)

    # ---- repair ----

    def _salvage(self) -> Iterator[str]:
        lines: list[str] = []
        with self._store.writer() as writer:
            salvage.salvage(writer, self._store.root, lines.append)
        yield from lines

    def _renew_packs(self) -> Iterator[str]:
        """What is whole in a damaged pack goes into a new one, and the damaged one aside.

        The next backup stores the rest again, where its source still has it.
        """
        for name in sorted(self._damaged_packs):
            renewed, count = self._copy_whole(name)
            if renewed != name:  # else its bytes were read wrong before
                moved = publish.set_aside(self._store.root, f'packs/{name}')
                index = f'packs/{pack.index_name(name)}'
                if os.path.exists(os.path.join(self._store.root, index.encode())):
                    publish.set_aside(self._store.root, index)
                yield f'packs/{name}: moved to {moved}, its {count} whole objects are in packs/{renewed}'

    def _copy_whole(self, name: str) -> tuple[str, int]:
        """Makes a pack of what verifies in another one; gives its name and the number of its objects."""
        codec_name = pack.codec_of(name)
        with publish.Run(self._store.root) as run, ThreadPoolExecutor(1) as pool:
            fd = run.create('pack')
            copy = pack.Writer(fd, codec_name, pool)
            for place, data in pack.whole_members(self._objects.pack_path(name), codec_name):
                self._step(os.fsencode(name), self)
                type, key, listed = pack.parse_name(place.name)
                if not listed or not self._objects.is_wrong_list(key, data):
                    copy.add('tree' if type == 'tree' or listed else pack.kind_of(data), place.name, data)
            renewed, index = copy.close()
            publish.close(fd)
            run.write('index', index)
            run.publish([('pack', f'packs/{renewed}'), ('index', f'packs/{pack.index_name(renewed)}')])
        return renewed, len(copy.places)

    def _rebuild_indexes(self) -> Iterator[str]:
        """Lost and bad ones."""
        for name in self._pack_names()[0]:
            if not self._index_fault(name, full=True):
                continue
            places = pack.scan(self._objects.pack_path(name), pack.codec_of(name))
            index = f'packs/{pack.index_name(name)}'
            if os.path.exists(os.path.join(self._store.root, index.encode())):
                publish.set_aside(self._store.root, index)
            with publish.Run(self._store.root) as run:
                run.write('index', pack.format_index(places))
                run.publish([('index', index)])
            yield f'{index}: rebuilt, {number.of(len(places), "object")}'

    def _set_aside(self) -> Iterator[str]:
        """Damaged files of their own."""
        for type, key, suffix, path in list(self._loose_files()):
            if type and self._known.get((type, key)) is not None and self._loose_fault(type, key, suffix, path, True):
                yield f'{path}: moved to {publish.set_aside(self._store.root, path)}'

    def _turn_back_refs(self) -> Iterator[str]:
        """A ref that leads to no snapshot goes back to the newest value that does."""
        for ref in self._store.refs.names():
            old = self._store.refs.current(ref)
            if not self._leads_to_snapshot(ref):
                key = next((value for value in self._values(ref) if value in self._snapshots), None)
                if key is not None:
                    yield self._point(ref, key, old or '', key)

    def _complete_logs(self) -> Iterator[str]:
        for ref in self._silent_logs:
            try:
                self._store.refs.log_value(ref, 'chkfs-fsck --repair')
                yield f'logs/{ref}: tells of what the ref is at'
            except (errors.Damaged, errors.Taken) as error:  # a failing disk ends the repair
                yield f'logs/{ref}: not completed: {error}'

    def _values(self, ref: str) -> Iterator[str]:
        """What a ref may have been set to, the newest first: by its log, by its name, by the names of snapshots."""
        yield from (change.new for change in reversed(self._store.refs.log(ref)))
        yield ref.removeprefix('refs/recovered/')
        named = [key for key, found in self._snapshots.items() if _ref_of(found) == ref]
        parents = self._parents()
        yield from sorted(named, key=lambda key: (key in parents, -self._snapshots[key].time_ns))

    def _parents(self) -> set[str]:
        return {parent for found in self._snapshots.values() for parent in found.parents}

    def _leads_to_snapshot(self, ref: str) -> bool:
        try:
            key = self._store.refs.read(ref)
            snapshot.parse(self._objects.read('snapshot', key or refs.NONE))
            return True
        except (errors.Damaged, errors.NotFound):
            return False

    def _recover_refs(self) -> Iterator[str]:
        """A NAME without a ref gets its newest snapshot that nothing reaches; each of these gets refs/recovered/<key>.

        In this order: what has a ref no longer counts as lost, should this be killed and run again.  A snapshot that
        is the parent of another is older than that, whatever the clocks said.
        """
        named = set(self._store.refs.names())
        parents = self._parents()
        newest = {_ref_of(found): key for key, found in sorted(self.dangling, key=lambda item: item.key not in parents)}
        for ref, key in newest.items():
            if ref and ref not in named:
                yield self._point(ref, key, '', key)
        for key, found in self.dangling:
            what = f'{found.text("name")} {found.get("finished") or ""} {found.text("source")}'
            yield self._point(f'refs/recovered/{key}', key, '', what)

    def _point(self, ref: str, key: str, old: str, what: str) -> str:
        """Sets a ref if it still is at old; gives the line that says so."""
        try:
            self._store.refs.update(ref, key, old, 'chkfs-fsck --repair')
            return f'{ref}: {what}'
        except (errors.Usage, errors.Taken, errors.Conflict) as error:  # a failing disk ends the repair
            return f'{ref}: not restored: {error}'


def _is_index(name: str) -> bool:
    return name.startswith('pack-') and name.endswith(pack.INDEX_SUFFIX) and keys.is_key(name[5:-6])


def _origin(found: snapshot.Snapshot) -> tuple:
    return tuple(found.get(word) for word in ('name', 'host', 'source'))


def _ref_of(found: snapshot.Snapshot) -> str:
    """The ref of the backup that a snapshot is of; '' for a checkpoint, and without a name."""
    name = os.fsdecode(quote.unquote(found.get('name') or ''))
    return f'refs/backups/{name}' if name and found.get('complete') != 'no' else ''
