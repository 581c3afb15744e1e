"""Random histories against a dictionary: backups by several writers at once, kills, repairs, lost refs, restores."""

import os
import random
import shutil
import tempfile

from conftest import EVERY_STEP
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

NAMES = ('one', 'two', 'three')
FILES = ('a', 'b', 'sub/c', 'sub/deep/d', 'e f', 'ü')
SIZES = st.sampled_from((0, 1, 700, 5_000, 20_000, 90_000))
WRITERS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.one_of(st.none(), st.integers(1, 50))), min_size=1, max_size=4
)  # of (name of the source, the step at which its backup is killed, if it is)


class History(RuleBasedStateMachine):
    """model: ref to the trees that it may hold; sources: what is to be backed up under each name.

    An acknowledged backup replaces the set by what it stored; a killed one adds to it, since it may have come to
    its end.  Of several backups of one source at once each may be the last.
    """

    world = count = None  # set by the test

    @initialize()
    def begin(self):
        self.case = self.world.case('empty')
        self.top = tempfile.mkdtemp(dir=self.case.path)
        self.model: dict[str, list[dict]] = {}
        self.sources = {name: os.path.join(self.top, name) for name in NAMES}
        self.count('histories')
        for name, path in self.sources.items():
            os.mkdir(path)
            self._write(name, 'a', len(name))

    def teardown(self):
        if hasattr(self, 'case'):
            shutil.rmtree(self.case.path)

    def _write(self, name, file, size):
        path = os.path.join(self.sources[name], file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as out:
            out.write(random.Random(f'{file} {size}').randbytes(size // 2).ljust(size, b'x'))
        os.utime(path, ns=(10**18, 10**18 + size))

    @rule(name=st.sampled_from(NAMES), file=st.sampled_from(FILES), size=SIZES)
    def change(self, name, file, size):
        self._write(name, file, size)

    @rule(name=st.sampled_from(NAMES), file=st.sampled_from(FILES))
    def remove(self, name, file):
        path = os.path.join(self.sources[name], file)
        if os.path.exists(path):
            os.unlink(path)

    @rule(writers=WRITERS)
    def backup(self, writers):
        plans = [
            self.case.plan('backup', turn=turn, kill=kill or 0, arguments={'name': name, 'sources': self.sources})
            for turn, (name, kill) in enumerate(writers)
        ]
        statuses = self.world.server.run([run for run, _ in plans])
        for (_, kill), (_, outcome), status in zip(writers, plans, statuses):
            done = outcome(status)
            assert done.status == 0 or kill and done.status == -9, done.errors
            self.count('backups')
            self.count('backups that were killed', int(done.status != 0))
        for name in {name for name, _ in writers}:
            tree = self.world.look(os.fsencode(self.sources[name]))
            ref = f'refs/backups/{name}'
            acknowledged = any(other == name and not status for (other, _), status in zip(writers, statuses))
            self.model[ref] = [tree] if acknowledged else [*self.model.get(ref, [None]), tree]

    @precondition(lambda self: any(None not in trees for trees in self.model.values()))
    @rule(data=st.data(), tag=st.sampled_from(('refs/tags/x', 'refs/tags/y/z')))
    def tag(self, data, tag):
        ref = data.draw(st.sampled_from(sorted(ref for ref, trees in self.model.items() if None not in trees)))
        done = self.case.run('update-ref', arguments={'ref': tag, 'to': ref})
        assert done.status == 0, done.errors
        self.model[tag] = list(self.model[ref])

    @rule(kill=st.one_of(st.none(), st.integers(1, 60)), lost=st.booleans())
    def repair(self, kill, lost):
        """With the refs lost, each NAME gets its newest snapshot back, which may be one that a dead backup made."""
        if lost:
            for directory in ('refs', 'logs'):
                shutil.rmtree(os.path.join(self.case.store, directory), ignore_errors=True)
            self.model = {ref: trees for ref, trees in self.model.items() if ref.startswith('refs/backups/')}
        if kill:
            self.case.run('fsck-repair', kill=kill)
        assert self.case.run('fsck-repair').status == 0
        self.count('repairs')

    @invariant()
    def all_is_there(self):
        if not hasattr(self, 'case'):
            return
        problems = [str(problem) for problem in self.case.problems()]
        assert not problems, problems
        store = self.case.open()
        for ref, trees in self.model.items():
            if store.refs.read(ref) is None:
                assert None in trees, f'{ref} is gone'
            else:
                found, said = self.case.restored(store, ref)
                assert found in trees and not said, f'{ref} does not restore to what was backed up'
                self.count('restores compared')


def test_random_histories(world, count):
    History.world, History.count = world, staticmethod(count)
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=150 if EVERY_STEP else 30,
            stateful_step_count=25 if EVERY_STEP else 15,
            derandomize=not EVERY_STEP,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
