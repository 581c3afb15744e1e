"""What must hold of a store, and of the caches beside it, on a disk that lost power."""

import contextlib
import os
import shutil
import subprocess
import unittest.mock
from collections.abc import Callable

import commands
import operations
import sizes

from chkfs import errors
from chkfs.restore import checkout
from chkfs.storage import fsck, revision
from chkfs.storage import store as stores


@contextlib.contextmanager
def mounted(image: str, at: str):
    """Mounts an image, with which the filesystem's journal is replayed.  Raises CalledProcessError."""
    os.makedirs(at, exist_ok=True)
    subprocess.run(['mount', '-o', 'loop', image, at], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(['umount', at], check=True)


class Survivor:
    """The filesystem of a machine that lost power, mounted at top.  trees: source to what it must restore to."""

    def __init__(self, top: str, scratch: str, look: Callable[[bytes], dict], trees: dict[str, dict]):
        self._top, self._scratch, self._look, self._trees = top, scratch, look, trees
        self._path = os.path.join(top, 'store')

    def complaints(self, marks: list[dict]) -> list[str]:
        """Lines; marks: what was acknowledged, oldest first."""
        if not self.is_store():
            return ['the store is gone'] if marks else []
        try:
            store = self._open()
            found = self._problems(store) + self._lost_blobs(store, marks) + self._lost_refs(store, marks)
            return found + self._restore(store, {mark['key']: mark['source'] for mark in marks if 'source' in mark})
        except errors.Error as error:
            return [f'the store cannot be read: {error}']

    def finish(self) -> list[str]:
        """Backs up every source again, with the caches that survived; complaints about that and what comes of it."""
        try:
            failed = [source for source in self._trees if self._back_up(source)]
            if failed:
                return [f'the next backup of {", ".join(failed)} failed']
            store = self._open()
            last = {store.refs.read(f'refs/backups/{source}'): source for source in self._trees}
            return [f'after the next backup: {line}' for line in self._problems(store) + self._restore(store, last)]
        except errors.Error as error:
            return [f'after the next backup the store cannot be read: {error}']

    def is_store(self) -> bool:
        return os.path.exists(os.path.join(self._path, 'config'))

    def _open(self) -> stores.Store:
        """With a cache that nothing else has seen."""
        cache = os.path.join(self._scratch, 'cache-of-checks')
        shutil.rmtree(cache, ignore_errors=True)
        return stores.Store(os.fsencode(self._path), {'XDG_CACHE_HOME': cache})

    def _back_up(self, source: str) -> int:
        with sizes.smaller(), unittest.mock.patch.dict(os.environ, XDG_CACHE_HOME=os.path.join(self._top, 'cache')):
            sources = {source: os.path.join(self._top, 'sources', source)}
            return operations.backup(commands.run, self._path, sources, source)

    def _problems(self, store: stores.Store) -> list[str]:
        with sizes.smaller():
            return [f'fsck: {one.kind} {one.where}: {one.detail}' for one in fsck.Fsck(store).check(full=True)]

    def _lost_blobs(self, store: stores.Store, marks: list[dict]) -> list[str]:
        blobs = [mark['blob'] for mark in marks if 'blob' in mark]
        return [f'blob {key} is lost' for key in blobs if not store.objects.has('blob', key)]

    def _lost_refs(self, store: stores.Store, marks: list[dict]) -> list[str]:
        """The log of a ref must have what was acknowledged, and the ref be at the last of that or at a later value."""
        acknowledged: dict[str, list[str]] = {}
        for mark in marks:
            if 'ref' in mark:
                acknowledged.setdefault(mark['ref'], []).append(mark['key'])
        found = []
        for ref, values in acknowledged.items():
            logged, now = [change.new for change in store.refs.log(ref)], store.refs.read(ref)
            if logged[: len(values)] != values or now not in logged[len(values) - 1 :]:
                found.append(f'{ref} was acknowledged at {values}; it is at {now}, and its log says {logged}')
        return found

    def _restore(self, store: stores.Store, sources: dict[str, str]) -> list[str]:
        """sources: key of a snapshot to what it must restore to.  What has the same tree is restored once."""
        found, roots = [], {}
        for key, source in sources.items():
            try:
                root = revision.read_snapshot(store, key).get('root')
                if root not in roots:
                    roots[root] = source, self._equals(store, key, source)
                if roots[root] != (source, True):
                    found.append(f'snapshot {key} does not restore to {source}')
            except errors.Error as error:
                found.append(f'snapshot {key} does not restore: {error}')
        return found

    def _equals(self, store: stores.Store, key: str, source: str) -> bool:
        back, said = os.path.join(self._scratch, 'back'), []
        try:
            entry = revision.tree_of(store, key).entry
            checkout.Checkout(store.objects, said.append, said.append).restore(entry, os.fsencode(back))
            return self._look(os.fsencode(back)) == self._trees[source] and not said
        finally:
            shutil.rmtree(back, ignore_errors=True)
