"""Every command on stores that hold hostile objects under the right keys: what an attacker hands over as a store.

No traceback, nothing outside of where a restore goes, and what is beside it is served.
"""

import io
import os
import shutil
import tarfile

import damage
import hostile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkfs.restore import missing
from chkfs.storage import pack
from chkfs.text import key as keys
from chkfs.text import piecelist, snapshot

STATUSES = {0, 1, 2, 3, 128}
few = settings(
    max_examples=max(settings.default.max_examples // 5, 1), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class World:
    """A store with a good snapshot, of which each example gets a copy."""

    def __init__(self, directory: str):
        self.directory, self.store = directory, f'{directory}/case/store'
        self.back, self.pristine = f'{directory}/case/restored/here', f'{directory}/pristine'
        os.makedirs(f'{directory}/source')
        with open(f'{directory}/source/good', 'wb') as file:
            file.write(b'what must be served')
        with self.working():
            assert damage.run('chkfs-init', f'{self.pristine}/store').status == 0
            draft = self._run('write-tree', '--draft', '-q', f'{directory}/source', store=f'{self.pristine}/store').out
            for name in ('good', 'photos'):
                self._run('commit-snapshot', '-uq', '-n', name, stdin=draft, store=f'{self.pristine}/store')
        for type, data in (('blob', hostile.HELLO), ('blob', b''), ('tree', hostile.SUB.encode())):
            self.put(type, data, top=self.pristine)
        for name in ('restored', 'cache'):
            os.makedirs(f'{self.pristine}/{name}', exist_ok=True)

    def working(self):
        return damage.undisturbed(f'{self.directory}/case/cache')

    def _run(self, name: str, *arguments: str, stdin: bytes = b'', store: str | None = None) -> damage.Ran:
        return damage.run(f'chkfs-{name}', '--store', store or self.store, *arguments, stdin=stdin)

    def afresh(self) -> None:
        shutil.rmtree(f'{self.directory}/case', ignore_errors=True)
        shutil.copytree(self.pristine, f'{self.directory}/case', symlinks=True)

    def put(self, type: str, data: bytes, suffix: str = '', key: str | None = None, top: str | None = None) -> str:
        """A file of its own."""
        key = key or keys.of(data)
        self.write(f'objects/{type}/{key[:2]}/{key}{suffix}', data, top)
        return key

    def write(self, name: str, data: bytes, top: str | None = None) -> None:
        path = f'{top or os.path.dirname(self.store)}/store/{name}'
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.chmod(path, 0o600)
        with open(path, 'wb') as file:
            file.write(data)

    def commit(self, root: str) -> str:
        """A snapshot whose top is that line, at refs/backups/photos."""
        key = self.put('snapshot', snapshot.Snapshot([('root', root), ('name', 'photos')]).format())
        self.write('refs/backups/photos', f'{key}\n'.encode())
        return key

    def command(self, name: str, *arguments: str, stdin: bytes = b'') -> damage.Ran:
        done = self._run(name, *arguments, stdin=stdin)
        assert done.status in STATUSES and 'Traceback' not in done.err, done
        assert done.status in (0, 1) or done.err, done
        return done

    def everything(self) -> None:
        """All that reads, then all that writes."""
        for words in (
            ['ls-tree', '-r', 'photos'], ['ls-tree', '-r', '--mtree', 'photos'], ['ls-tree', 'photos:sub'],
            ['cat-object', 'photos'], ['cat-object', 'photos:hello'], ['list-objects', '--sizes'], ['count-objects'],
            ['rev-parse', 'photos~1', 'photos:', 'photos@{1}'], ['rev-list', '--all', '--parents'], ['for-each-ref'],
            ['for-each-ref', '--format', '%(ref) %(key) %(source) %(files) %(finished)'], ['fsck', '--full', '--json'],
        ):  # fmt: skip
            self.command(*words)
        self.command('cat-object', '--batch', stdin=b'photos\nphotos:\nphotos:hello\nphotos:sub/inside\n')
        self.restore()
        self.restore_without_chkfs()
        for words in (
            ['commit-snapshot', '-m', 'again', 'photos:'], ['update-ref', 'refs/tags/one', 'photos'],
            ['fsck', '--full', '--repair'], ['repack', '-q'], ['fsck', '--full'],
        ):  # fmt: skip
            self.command(*words)
        good = self._run('cat-object', 'good:good')
        assert (good.status, good.out) == (0, b'what must be served'), good

    def restore(self) -> None:
        shutil.rmtree(os.path.dirname(self.back))
        os.mkdir(os.path.dirname(self.back))
        beside, above = os.listdir(f'{self.directory}/case'), os.listdir(self.directory)
        self.command('checkout-tree', '-q', 'photos', self.back)
        unset = os.fsdecode(missing.SUFFIX)
        assert set(os.listdir(os.path.dirname(self.back))) <= {'here', 'here' + unset}
        if os.path.exists(self.back + unset):
            self.command('apply-metadata', '-q', self.back + unset, self.back)
        assert (os.listdir(f'{self.directory}/case'), os.listdir(self.directory)) == (beside, above)

    def restore_without_chkfs(self) -> None:
        for words in ('list', 'ls photos', 'check', 'cat photos:hello', 'times photos', 'tar photos'):
            done = damage.restore_without_chkfs(self.store, *words.split())
            assert done.status in STATUSES, done
        if done.out:
            with tarfile.open(fileobj=io.BytesIO(done.out)) as archive:
                for member in archive:
                    assert not member.name.startswith('/') and '..' not in member.name.split('/')
                    assert not member.islnk() or '..' not in member.linkname.split('/')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    return World(str(tmp_path_factory.mktemp('hostile')))


@pytest.fixture
def afresh(world):
    """afresh() gives the world with a copy of its store."""
    with world.working():

        def copy():
            world.afresh()
            return world

        yield copy


@few
@given(data=hostile.changed(hostile.TREES))
def test_hostile_trees(afresh, data, count):
    it = afresh()
    it.commit(f'. type=dir mode=0755 tags=tree:{it.put("tree", data)}')
    it.everything()
    lines = data.partition(b'. type=dir\n')[2]
    it.command('mktree', stdin=lines)
    it.command('mktree', '--missing', stdin=lines)
    count('stores with a hostile tree')


@few
@given(data=hostile.changed([missing.HEADER.encode() + line.encode() + b'\n' for line in hostile.UNSET]))
def test_hostile_texts_of_what_is_missing(afresh, data, count):
    it = afresh()
    tree = hostile.TREES[-2]
    it.commit(f'. type=dir mode=0755 tags=tree:{it.put("tree", tree)}')
    it.restore()
    beside = os.listdir(os.path.dirname(it.back))
    it.write('../unset', data)
    it.command('apply-metadata', f'{it.directory}/case/unset', it.back)
    assert os.listdir(os.path.dirname(it.back)) == beside
    count('hostile texts of what is missing')


@few
@given(data=hostile.changed(hostile.SNAPSHOTS))
def test_hostile_snapshots(afresh, data, count):
    it = afresh()
    it.write('refs/backups/photos', f'{it.put("snapshot", data)}\n'.encode())
    it.everything()
    it.command('commit-snapshot', '-uq', stdin=data)
    it.everything()
    count('stores with a hostile snapshot')


@few
@given(data=hostile.changed([*hostile.LISTS, piecelist.format([(keys.of(b'x'), 3)])]), is_tree=st.booleans())
def test_hostile_lists(afresh, data, is_tree, count):
    """Of an object that nobody has otherwise, and that the top of a snapshot names."""
    it, key = afresh(), keys.of(b'x')
    if is_tree:
        it.put('tree', data, '.list', key)
        it.commit(f'. type=dir mode=0755 tags=tree:{key}')
    else:
        it.put('blob', data, '.list', key)
        top = f'#mtree\n# chkfs tree 1\n. type=dir\n./hello type=file mode=0644 size=1 sha256digest={key}\n'
        it.commit(f'. type=dir mode=0755 tags=tree:{it.put("tree", top.encode())}')
    it.everything()
    count('stores with a hostile list')


@few
@given(plain=hostile.flipped(hostile.FRAMES), body=hostile.changed(hostile.INDEXES))
def test_hostile_packs(afresh, plain, body, count):
    it = afresh()
    data = plain + bytes(1024)
    name = f'pack-{keys.of(data)}.tar'
    it.write(f'packs/{name}', data)
    it.write(f'packs/{pack.index_name(name)}', hostile.sealed(body))
    it.everything()
    count('stores with a hostile pack')


@few
@given(ref=hostile.changed(hostile.REFS), log=hostile.changed(hostile.LOGS), config=hostile.changed(hostile.CONFIGS),
       harms_config=st.integers(0, 4))  # fmt: skip
def test_hostile_refs_logs_and_configs(afresh, ref, log, config, harms_config, count):
    it = afresh()
    it.write('refs/backups/photos', ref)
    it.write('logs/refs/backups/photos', log)
    it.everything()
    if harms_config == 0:
        it.write('config', config)
        for words in (['for-each-ref'], ['init', it.store], ['fsck'], ['repack', '-q']):
            it.command(*words)
    count('stores with a hostile ref, log or config')
