"""A power cut at every step: whatever of the unsynced changes was lost, what was acknowledged is there and whole."""

import os
import shutil

import powercut
import pytest
from conftest import EVERY_STEP
from operations import OPERATIONS

STATES = {'backup': 70, 'backup-again': 30, 'fsck-repair': 30}  # others 20
RANDOM = 12 if EVERY_STEP else 2  # at each step, besides the extremes
KILLS = {'backup': 12, 'update-ref': 20, 'init': 12}  # others 6


@pytest.mark.parametrize('name', OPERATIONS)
def test_a_power_cut_at_each_step(world, sample, count, name):
    complaints = []
    with world.case(OPERATIONS[name].begins) as case:
        disk = powercut.Disk(case.disk)
        done = case.run(name)
        assert done.status in OPERATIONS[name].done
        states = list(_states(disk, done.calls))
    chosen = sample(states, STATES.get(name, 20))
    if states[-1] not in chosen:
        chosen.append(states[-1])
    for what, is_done, state in chosen:
        complaints += [f'{what}: {line}' for line in _complaints(world, name, state, is_done)]
    count('states after a power cut replayed', len(chosen))
    assert not complaints, '\n'.join(complaints)


@pytest.mark.parametrize('name', OPERATIONS)
def test_a_power_cut_after_a_run_that_followed_a_killed_one(world, sample, count, name):
    """What the dead run made visible and did not live to sync, the next one must not take for safe."""
    complaints, replayed = [], 0
    with world.case(OPERATIONS[name].begins) as case:
        steps = range(1, len(case.run(name).calls) + 1)
    for step in sample(steps, KILLS.get(name, 6)):
        with world.case(OPERATIONS[name].begins) as case:
            disk = powercut.Disk(case.disk)
            for call in case.run(name, kill=step).calls:
                disk.apply(call)
            again = case.run(name)
            assert again.status in OPERATIONS[name].done
            for call in again.calls:
                disk.apply(call)
        for how, state in _after(disk, (step,)):
            replayed += 1
            found = _complaints(world, name, state, True)
            complaints += [f'killed at {step}, run again, power cut ({how}): {line}' for line in found]
    count('states after a kill and a power cut replayed', replayed)
    assert not complaints, '\n'.join(complaints)


@pytest.mark.parametrize('sabotage', ['rename_before_sync', 'ref_without_sync'])
def test_it_would_notice_what_is_not_synced(world, sabotage):
    """Negative controls."""
    with world.case('one') as case:
        disk = powercut.Disk(case.disk)
        states = list(_states(disk, case.run('backup', sabotage=[sabotage]).calls))
    assert any(_complaints(world, 'backup', state, is_done) for _, is_done, state in reversed(states))


def _states(disk, calls):
    """(what, whether the operation was done, state) of every state that a power cut may leave, each once."""
    seen = set()
    for step in range(len(calls) + 1):
        if step:
            disk.apply(calls[step - 1])
        is_done = step == len(calls)
        for how, state in _after(disk, (step,)):
            key = powercut.digest(state), is_done
            if key not in seen:
                seen.add(key)
                yield f'after {calls[step - 1] if step else "nothing"}, {how}', is_done, state


def _after(disk, seed):
    """(how, state) of power cuts now, each state once."""
    fates = powercut.extremes()
    for number in range(RANDOM):
        name = f'at random, seed {(*seed, number)}'
        fates[name] = powercut.at_random(str((*seed, number)))
    seen = set()
    for how, fate in fates.items():
        state = disk.state(fate)
        key = powercut.digest(state)
        if key not in seen:
            seen.add(key)
            yield how, state


def _complaints(world, name, state, is_done) -> list[str]:
    """About a state; is_done: the operation had ended well, so what it makes must be there."""
    operation = OPERATIONS[name]
    with world.case(operation.begins) as case:
        shutil.rmtree(case.disk)
        os.mkdir(case.disk)
        powercut.write(state, case.disk)
        found = [] if case.is_store() or not is_done else ['the store is gone']
        return found + case.complaints(operation.makes if is_done else None) + case.finish(name)
