"""Every step fails once, or from it on everything fails: a clean end with one message, and the next run completes."""

import errno
import os

import interposer
import pytest
from conftest import EVERY_STEP
from operations import OPERATIONS

from chkfs import errors

FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
STEPS = {'backup': 60, 'backup-again': 30, 'fsck-repair': 40}  # others 20
FREEING = ('unlink', 'unlinkat', 'rmdir', 'ftruncate')


@pytest.mark.parametrize('lasting', [False, True], ids=['once', 'lasting'])
@pytest.mark.parametrize('name', OPERATIONS)
def test_each_step_fails(world, sample, count, name, lasting):
    operation, complaints = OPERATIONS[name], []
    with world.case(operation.begins) as case:
        steps = range(1, len(case.run(name).calls) + 1)
    number = STEPS.get(name, 20) // (4 if lasting else 1)
    faults = [(step, FAULTS[at % len(FAULTS)]) for at, step in enumerate(sample(steps, number))]
    if EVERY_STEP:
        faults = [(step, fault) for step in steps for fault in FAULTS]
    for step, fault in faults:
        with world.case(operation.begins) as case:
            done = case.run(name, fail=step, error=fault, lasting=lasting)
            found = _faults_of(case, operation, done, step, fault)
            # what a failed sync left is visible, though perhaps not durable: the next run must not build on it
            found += case.complaints() + case.finish(name)
            complaints += [f'{_failed(done)} (status {done.status}): {line}' for line in found]
    count('faults that last' if lasting else 'faults injected into one step', len(faults))
    assert not complaints, '\n'.join(complaints)


def test_it_would_notice_failed_syncs_that_are_not_looked_at(world):
    """A negative control."""
    with world.case('one') as case:
        steps = [call.step for call in case.run('backup').calls if call.name == 'syncfs']
    noticed = 0
    for step in steps:
        with world.case('one') as case:
            done = case.run('backup', fail=step, error=errno.EIO, sabotage=['ignore_failed_syncs'])
            if any(call.step == step and call.name == 'syncfs' for call in done.calls):  # threads may change places
                assert _faults_of(case, OPERATIONS['backup'], done, step, errno.EIO), f'syncfs at step {step}'
                noticed += 1
    assert noticed


def _faults_of(case, operation, done, step, fault) -> list[str]:
    """What is wrong with how an operation ended."""
    failed = [call for call in done.calls if call.result < 0 and call.errno == fault]
    # with threads it may take fewer steps; and a full disk does not keep anybody from removing and syncing
    could = [call for call in done.calls if call.step >= step and call.name not in (*interposer.SYNCS, *FREEING)]
    assert failed or not could, f'nothing failed at {step}'
    found = []
    if 'Traceback' in done.errors:
        found.append(f'a traceback: {done.errors}')
    if done.status in operation.done:
        unheeded = [call for call in failed if call.name not in ('unlink', 'rmdir')]
        found += [f'status {done.status} all the same' for _ in unheeded[:1]]
        found += case.complaints(operation.makes)
    elif done.status != errors.FATAL:
        found.append(f'status {done.status}: {done.errors}')
    else:
        lines = done.errors.splitlines()
        if len(lines) != 1 or not lines[0].startswith('chkfs-') or os.strerror(fault) not in lines[0]:
            found.append(f'not one clear message: {done.errors!r}')
    first_sync = next((call for call in failed if call.name in interposer.SYNCS), None)
    if first_sync is not None:
        found += [f'went on after it: {call}' for call in done.calls if call.step > first_sync.step and _shows(call)]
    return found


def _shows(call) -> bool:
    """Whether this makes something visible to readers."""
    return call.result >= 0 and call.name in ('rename', 'link') and '/incoming/' not in call.other


def _failed(done) -> str:
    return next((str(call) for call in done.calls if call.result < 0 and call.errno in FAULTS), 'nothing failed')
