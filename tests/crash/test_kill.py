"""kill -9 at every step of every operation: the store is whole, what was there restores, the next run completes."""

import os
import subprocess

import cases
import interposer
import pytest
from cases import TOP
from operations import OPERATIONS

STEPS = {'backup': 90, 'backup-again': 50, 'init': 30, 'update-ref': 20, 'move-ref': 10, 'fsck-repair': 40}


@pytest.mark.parametrize('name', OPERATIONS)
def test_killed_at_each_step(world, sample, count, name):
    operation, complaints = OPERATIONS[name], []
    points = sample(_points(world, name), STEPS.get(name, 30))
    for step, tear in points:
        with world.case(operation.begins) as case:
            killed = case.run(name, kill=step, tear=tear)
            found = [] if killed.status in (-9, *operation.done) else [f'it ended by itself: {killed.errors}']
            found += case.complaints() + case.finish(name)
            complaints += [f'killed at {step}{" torn" * tear} (status {killed.status}): {line}' for line in found]
    count('steps at which an operation was killed', len(points))
    assert not complaints, '\n'.join(complaints)


def test_the_backup_has_everything(world):
    """What is swept here would prove little without."""
    with world.case('one') as case:
        calls = case.run('backup').calls
    moved = [(os.path.basename(os.path.dirname(call.path)), call.other) for call in calls if call.name == 'rename']
    made = [path.removeprefix(case.store) for _, path in moved]
    first_run = {path for run, path in moved if run == moved[0][0]}
    assert sum(path.startswith('/packs/') and not path.endswith('.index') for path in made) > 2
    assert any(path.startswith('/objects/blob/') and path.endswith('.gz') for path in made)
    assert any(path.startswith('/objects/blob/') and len(path.partition('.')[0]) == len(path) for path in made)
    assert sum(path.startswith('/objects/snapshot/') for path in made) == 1
    assert '/refs/backups/second' in made
    assert len({call.pid for call in calls if call.name == 'write' and f'/{moved[0][0]}/' in call.path}) > 1, 'workers'
    published = [call.name == 'syncfs' for call in calls if call.name == 'syncfs' or call.other in first_run]
    assert sum(one and not two for one, two in zip(published, published[1:])) > 1, 'checkpoints'
    assert any(b'.list ' in call.data for call in calls if call.path.endswith('index')), 'a list in a pack'


def test_it_would_notice_files_that_are_written_where_readers_look(world, sample):
    """A negative control."""
    with world.case('one') as case:
        last = len(case.run('backup', sabotage=['write_in_place']).calls)
    for step in sample(range(last, 0, -1), 200):
        with world.case('one') as case:
            case.run('backup', kill=step, tear=True, sabotage=['write_in_place'])
            if case.complaints():
                return
    raise AssertionError('killed at every step, and nothing was found')


def test_the_commands_killed_as_a_user_runs_them(world, sample, count):
    """The shell script with its processes, not their like in the server."""
    with world.case('one') as case:
        steps = [call.step for call in _run_script(case).calls]
    chosen = sample(steps, 8)
    for step in chosen:
        with world.case('one') as case:
            assert _run_script(case, kill=step).status == -9
            complaints = case.complaints()
            assert _run_script(case).status == 0
            complaints += case.complaints({'refs/backups/second': 'second'})
            assert not complaints, f'killed at {step}: {complaints}'
    count('steps at which the shell script was killed', len(chosen))


def _run_script(case, **faults):
    watch = interposer.Watch(os.path.join(case.path, 'run'), case.disk, **faults)
    environment = {**os.environ, **watch.environment, 'XDG_CACHE_HOME': os.path.join(case.path, 'cache')}
    done = subprocess.run(
        [os.path.join(TOP, 'bin/chkfs-backup'), '-q', '--store', case.store, case.world.sources['second']],
        env={**environment, 'LD_PRELOAD': case.world.library},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return cases.Outcome(done.returncode, done.stderr, watch.calls)


def _points(world, name):
    """(step, whether a write is torn) of every place to die at."""
    with world.case(OPERATIONS[name].begins) as case:
        done = case.run(name)
        assert done.status in OPERATIONS[name].done, done.errors
        assert not case.complaints(OPERATIONS[name].makes)
    for call in done.calls:
        yield call.step, False
        if call.name == 'write' and call.length > 1:
            yield call.step, True
