"""Damage of every kind in every place of a store, and every command on it.

No traceback; what is given out with status 0 is right; what is damaged is named; all else is served; a good second
copy serves in silence; and the next backup heals.
"""

import gc
import io
import json
import os
import shutil
import subprocess
import tarfile

import cases
import damage
import pytest
from conftest import EVERY_STEP

from chkfs import cli
from chkfs.storage import codec

PLACES = [
    'config', 'README', 'ref', 'log of a ref', 'snapshot', 'file, plain', 'file, compressed', 'list, a file', 'pack',
    'index', 'frame of contents', 'frame of trees and lists', 'objects.sqlite', 'scan.sqlite',
]  # fmt: skip
IN_PLAIN_PACKS = [
    'tar header of a file', 'tar header of a list', 'file in a pack', 'list in a pack', 'name in a tar header',
    'size in a tar header',
]  # fmt: skip
COSTS_NOTHING = {'README', 'log of a ref', 'index', 'objects.sqlite', 'scan.sqlite'}
CACHES = {'objects.sqlite', 'scan.sqlite'}
HAVE_COPIES = {'file, plain', 'file, compressed', 'list, a file', 'pack', 'frame of contents',
               'frame of trees and lists', *IN_PLAIN_PACKS}  # fmt: skip
STATUSES = {0, 1, 3, 128}


def _cells():
    """(codec, place): all of them, or of what no codec changes only one."""
    for name in codec.SUFFIXES if EVERY_STEP else ('gzip', 'none'):
        for place in [*PLACES, *IN_PLAIN_PACKS] if name == 'none' else PLACES:
            if name != 'none' and (EVERY_STEP or name == 'gzip') or place in ('pack', *IN_PLAIN_PACKS):
                yield name, place


def _damages(turn, only=None):
    """Every damage, in the short form each third one: each place in two ways, others than at another turn."""
    return pytest.mark.parametrize(
        'codec_name, place, way',
        [
            (*cell, way)
            for number, way in enumerate(damage.WAYS)
            for at, cell in enumerate(_cells())
            if (EVERY_STEP or (number + at + turn) % 3 == 0) and (only is None or cell[1] in only)
        ],
    )


@pytest.fixture(scope='module')
def damages(tmp_path_factory):
    """damages(codec) gives the Damage of it, made when first asked for, and what its commands say undamaged."""
    made = {}

    def get(name):
        if name not in made:
            harmed = damage.Damage(str(tmp_path_factory.mktemp(name)), name)
            made[name] = harmed, {kept: _expectations(harmed, kept) for kept in ('pristine', 'doubled')}
        return made[name]

    return get


@pytest.fixture
def case(damages, count, request):
    """case(codec, place, way, ...) gives a Case, which is judged at the end."""
    made = []

    def make(codec_name, place, way, kept='pristine'):
        harmed, expected = damages(codec_name)
        context = harmed.working()
        context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
        harmed.afresh(kept)
        harmed.harm(harmed.places[place], way)
        made.append(Case(harmed, expected[kept], place, way))
        return made[-1]

    yield make
    for one in made:
        count('damaged stores')
        count('commands run on these', one.ran)
        assert not one.wrong, '\n'.join(one.wrong)


def _expectations(harmed, kept):
    """(command, arguments, standard input) to what it does with the store that is whole."""
    with harmed.working():
        harmed.afresh(kept)
        every = [one for subject in damage.SUBJECTS for one in harmed.reading(subject)]
        return {one: harmed.command(*one[:1], *one[1], stdin=one[2]) for one in [*every, *harmed.asking_about_all()]}


class Case:
    """A damaged store, and what was found wrong with what the commands made of it."""

    def __init__(self, harmed, expected, place, way):
        self.harmed, self.expected, self.place, self.way = harmed, expected, place, way
        self.ran, self.wrong = 0, []

    def run(self, name, arguments=(), stdin=b''):
        return self.judge((name, *arguments), self.harmed.command(name, *arguments, stdin=stdin))

    def judge(self, what, done):
        """Complains unless it ended as a command may."""
        self.ran += 1
        if done.status not in STATUSES:
            self.complain(what, f'status {done.status}: {done.err}')
        says = done.err or what[0] == 'fsck' and done.out or b' missing\n' in done.out or b' damaged\n' in done.out
        if done.status and not says:
            self.complain(what, f'status {done.status}, and not a word')
        if 'Traceback' in done.err:
            self.complain(what, done.err)
        return done

    def complain(self, what, why):
        self.wrong.append(f'{self.harmed.codec}, {self.place}, {self.way}: {" ".join(map(str, what))}: {why}')

    def same(self, one):
        done, expected = self.run(*one), self.expected[one]
        if done != expected:
            self.complain(one[:2], f'{_brief(done)} in place of {_brief(expected)}')

    def same_or_not_done(self, one):
        """Nothing but what verifies is given out with status 0."""
        done, expected = self.run(*one), self.expected[one]
        if done.status == 0 and done.out != expected.out:
            self.complain(one[:2], f'status 0, and {_brief(done)} in place of {_brief(expected)}')

    def lost(self, subject='src'):
        """Restores; which files are missing.  Complains of any that is wrong, and that is missing in silence."""
        done, files = self.harmed.restore(subject)
        self.judge(('restore', subject), done)
        wanted = self.harmed.contents[subject]
        missing = set(wanted) - set(files)
        if os.path.exists(self.harmed.unset):
            again = self.run('apply-metadata', ('-q', self.harmed.unset, self.harmed.back))
            if again.status == 0 and missing:
                self.complain(('apply-metadata', subject), 'finds nothing missing')
        if any(wanted.get(path) != data for path, data in files.items()):
            self.complain(('restore', subject), 'a file is not what it was')
        if bool(done.status) != bool(missing) or done.status == 1:
            self.complain(('restore', subject), f'status {done.status}, and {len(missing)} files are missing')
        if done.status == 3:
            for path in missing:
                if not any(f"'{above}' not restored" in done.err for above in _above(path)):
                    self.complain(('restore', subject), f'says nothing of {path}')
        return missing

    def problems(self, *options):
        done = self.run('fsck', (*options, '--json'))
        if done.status == 128:
            return []
        records = [json.loads(line) for line in done.out.splitlines()]
        found = [record for record in records if record['kind'] not in ('leftover', 'dangling', 'repaired')]
        if bool(found) != bool(done.status):
            self.complain(('fsck', *options), f'status {done.status}, and {found}')
        return records

    def bound(self):
        """The files that this damage may cost, once an index is right again."""
        if self.place in COSTS_NOTHING or self.place == 'ref':
            return set()
        one = {'file, plain': 'plain-src', 'file, compressed': 'text-src', 'list, a file': 'listed-loose-src'}
        if self.place in one:
            return {one[self.place]}
        if self.place.endswith((' header', ' of a file', 'file in a pack')) or self.place == 'frame of contents':
            return self.harmed.beside['small-a' if self.place == 'frame of contents' else 'small-b']
        return set(self.harmed.contents['src'])


def _above(path):
    """A path, the directories above it, and the top, as they are shown."""
    while path:
        yield path
        path = os.path.dirname(path)
    yield '.'


def _brief(done):
    return f'{done.status} {done.out[-200:]} {done.err[-300:]}'


def test_every_command_that_opens_a_store_is_run_on_damaged_ones(damages):
    harmed, expected = damages('gzip')
    run = {name for name, *_ in [*expected['pristine'], *harmed.writing()]} | {'checkout-tree', 'apply-metadata'}
    assert run == set(cli.COMMANDS) - {'completion'}


@_damages(0)
def test_what_is_damaged_is_named_and_all_else_is_served(case, codec_name, place, way):
    it = case(codec_name, place, way)
    harmed, is_shifted = it.harmed, place in IN_PLAIN_PACKS and way in ('truncate', 'empty', 'delete', 'replace')
    for one in harmed.reading('other'):
        (it.same_or_not_done if place == 'config' else it.same)(one)
    for one in harmed.reading('src'):
        if place == 'ref' and way == 'replace' or place == 'log of a ref' and '@' in str(one[1]):
            it.run(*one)  # it is another ref now, or another log
        elif place == 'ref' and way == 'delete' and one[0] == 'for-each-ref':
            assert it.run(*one).out == b''
        else:
            (it.same if place in COSTS_NOTHING else it.same_or_not_done)(one)
    for one in harmed.asking_about_all():
        (it.same if place in CACHES else it.run)(*((one,) if place in CACHES else one))
    if place == 'config':
        return
    assert it.lost('other') == set()
    by_key = damage.SUBJECTS[0] if place != 'ref' else harmed.keys['src']
    missing = it.lost() if by_key == 'src' else set()
    if way == 'replace' and place.startswith('frame'):
        is_shifted = True  # of another length
    if not is_shifted and place != 'ref':
        assert missing <= it.bound()
    if by_key != 'src':
        done = it.run('checkout-tree', ('-q', by_key, harmed.back + '-by-key'))
        assert (done.status, done.err) == (0, '')
        shutil.rmtree(harmed.back + '-by-key')
    quick, full = it.problems(), it.problems('--full')
    if place in CACHES:
        assert quick == full == []
        return
    name = {'ref': 'refs/backups/src', 'log of a ref': 'refs/backups/src'}.get(place, '')
    if place == 'ref' and way in ('delete', 'replace'):
        name = harmed.keys['src']  # a snapshot that no ref reaches
    name = name or os.path.basename(harmed.places[place].path).partition('.')[0]
    assert any(name in record['where'] or name in record['detail'] for record in full), full
    affected = {affected for record in full for affected in record['affects']}
    for path in missing if place != 'snapshot' else ():
        assert any(f'{harmed.keys["src"]}:{above.strip(".")}' in affected for above in _above(path)), path


@_damages(1)
def test_restored_without_chkfs_only_what_is_right_comes_back(case, codec_name, place, way):
    it = case(codec_name, place, way)
    for subject in damage.SUBJECTS:
        wanted = it.harmed.contents[subject]
        done = it.judge(('restore.py', 'tar', subject), damage.restore_without_chkfs(it.harmed.store, 'tar', subject))
        with tarfile.open(fileobj=io.BytesIO(done.out)) if done.out else _nothing() as archive:
            files = {member.name[2:]: archive.extractfile(member).read() for member in archive if member.isfile()}
        missing = set(wanted) - set(files)
        stand_ins = {path for path, data in files.items() if path not in wanted}
        if place == 'ref' and way in ('replace', 'delete') and subject == 'src':
            continue  # it is another ref now; or the snapshot is found by its name, which is said
        assert all(files[path] == wanted[path] for path in set(wanted) - missing)
        assert all(path.endswith('.chkfs-damaged') and not files[path] for path in stand_ins)
        assert bool(missing) == bool(done.status)
        # an index of another pack is believed here, since its last line is right: what it misses is named
        if subject == 'other' or place in COSTS_NOTHING and (place, way) != ('index', 'replace'):
            assert not missing
    done = it.judge(('restore.py', 'check'), damage.restore_without_chkfs(it.harmed.store, 'check'))
    if place not in COSTS_NOTHING and place not in ('config', 'ref'):
        assert done.status == 1 or way == 'delete'  # it looks at what there is
    for subject in damage.SUBJECTS:
        it.judge(('restore.py', 'ls'), damage.restore_without_chkfs(it.harmed.store, 'ls', subject))
    it.judge(('restore.py', 'list'), damage.restore_without_chkfs(it.harmed.store, 'list'))


def _nothing():
    return tarfile.open(fileobj=io.BytesIO(bytes(10240)))


@_damages(2)
def test_writing_into_a_damaged_store_costs_nothing(case, codec_name, place, way):
    it = case(codec_name, place, way)
    subjects = ('other',) if (place, way) == ('ref', 'replace') else damage.SUBJECTS  # else it is another one now
    if place == 'config':
        before = dict.fromkeys(subjects, set())
    else:
        before = {subject: it.lost(subject) for subject in subjects}
    for one in it.harmed.writing():
        it.run(*one)
    if it.harmed.command('count-objects').status == 0:
        for subject in subjects:
            assert it.lost(subject) <= before[subject]


@_damages(0)
def test_repair_and_the_next_backup_heal_a_damaged_store(case, codec_name, place, way):
    it = case(codec_name, place, way)
    harmed = it.harmed
    if place == 'config' and it.run('count-objects').status:
        _write_config_anew(it)
    it.run('fsck', ('--full', '--repair'))
    if place == 'ref':
        assert harmed.open().refs.read('refs/backups/src') or way == 'replace'
    if place != 'snapshot' and (place, way) != ('ref', 'replace'):
        assert it.lost() <= it.bound()
    for done in harmed.back_up('src'):
        it.judge(('backup', 'src'), done)
        assert done.status == 0, done
    assert it.lost('src') == it.lost('other') == set()
    left = [record for record in it.problems('--full') if record['kind'] not in ('leftover', 'dangling')]
    if place == 'snapshot':  # what it said is lost; what it named is in the one after it
        assert {record['where'] for record in left} == {f'snapshot/{harmed.keys["src"]}'}
    else:
        assert left == []


def _write_config_anew(it):
    """As the message about it says."""
    config = os.path.join(it.harmed.store, 'config')
    if os.path.exists(config):
        assert 'chkfs-init' in it.run('count-objects').err
        os.rename(config, it.harmed.store + '.config-damaged')
    done = it.run('init', (it.harmed.store,))
    assert (done.status, done.out, done.err) == (0, b'', '')


@_damages(1, HAVE_COPIES)
def test_a_good_second_copy_serves_in_silence(case, codec_name, place, way):
    it = case(codec_name, place, way, 'doubled')
    for subject in damage.SUBJECTS:
        for one in it.harmed.reading(subject):
            it.same(one)
        assert it.lost(subject) == set()
    assert [record for record in it.problems() if record['affects']] == []
    assert [record for record in it.problems('--full') if record['affects']] == []
    it.run('fsck', ('--full', '--repair'))
    assert it.lost('src') == it.lost('other') == set()
    assert [record for record in it.problems('--full') if record['kind'] != 'leftover'] == []


SCRIPTS = [
    ('chkfs-log',), ('chkfs-log', 'other'), ('chkfs-ls', '-lr', 'src'), ('chkfs-ls', '-lr', 'other'),
    ('chkfs-restore', '-q', 'src', 'BACK'), ('chkfs-restore', '-q', 'other', 'BACK'), ('chkfs-backup', '-q', 'SRC'),
    ('STORE/restore.sh', 'list'), ('STORE/restore.sh', 'check'), ('STORE/restore.sh', 'tar', 'src'),
    ('STORE/restore.sh', 'tar', 'other'),
]  # fmt: skip


@pytest.mark.parametrize(
    'codec_name, place, way',
    [(*cell, way) for way in damage.WAYS for cell in _cells() if EVERY_STEP and cell[0] in ('gzip', 'none')]
    or [('gzip', 'pack', 'flip'), ('gzip', 'snapshot', 'zero')],
)
def test_the_scripts_on_a_damaged_store(case, codec_name, place, way):
    it = case(codec_name, place, way)
    harmed = it.harmed
    stand_for = {'BACK': harmed.back, 'SRC': harmed.sources['src']}
    for words in SCRIPTS:
        shutil.rmtree(harmed.back, ignore_errors=True)
        words = [stand_for.get(word, word.replace('STORE', harmed.store)) for word in words]
        if words[0].startswith('chkfs-'):
            words[0] = os.path.join(cases.TOP, 'bin', words[0])
        else:
            words[:0] = ['sh']
        ran = subprocess.run(words, capture_output=True, env={**os.environ, 'CHKFS_STORE': harmed.store})
        done = damage.Ran(ran.returncode, ran.stdout, ran.stderr.decode())
        it.judge((words[0], *words[1:]), done)
        if 'other' in words and place not in ('config', 'snapshot'):
            assert done.status == 0, done
        if 'chkfs-restore' in words[0]:
            # where the ref was replaced, src is a name of the other one now
            wanted = harmed.contents['other' if (place, way) == ('ref', 'replace') else words[-2]]
            files = damage.files_below(harmed.back)
            assert all(wanted.get(path) == data for path, data in files.items())
            assert (done.status == 0) == (files.keys() == wanted.keys())


@pytest.mark.parametrize('name', ['objects.sqlite', 'scan.sqlite'])
def test_a_cache_with_any_byte_changed_changes_no_answer(damages, count, name):
    """SQLite has no checksums: what stands in a row may be anything, of any type."""
    harmed, expected = damages('gzip')
    with harmed.working():
        harmed.afresh()
        path = harmed.cache(name)
        data = damage.read(path)
        used = [at for at in range(100, len(data)) if data[at]]
        step = len(used) // (1000 if EVERY_STEP else 40)
        wrong = []
        for at in used[::step]:
            harmed.afresh()
            with open(path, 'wb') as file:
                file.write(data[:at] + bytes((data[at] ^ (0xFF, 0x01, 0x80, 0x40)[at % 4],)) + data[at + 1 :])
            done, files = harmed.restore('src')
            if (done.status, done.err, files) != (0, '', harmed.contents['src']):
                wrong.append(f'byte {at}: {_brief(done)}')
            for ran in harmed.back_up('src'):
                if ran.status or ran.err:
                    wrong.append(f'byte {at}, backup: {_brief(ran)}')
            done, files = harmed.restore('src')
            if (done.status, done.err, files) != (0, '', harmed.contents['src']):
                wrong.append(f'byte {at}, after a backup: {_brief(done)}')
            gc.collect()
        count('caches with a changed byte', len(used[::step]))
        assert not wrong, '\n'.join(wrong)
