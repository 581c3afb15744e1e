"""Real power cuts, of a machine with a real kernel and real filesystems.  make test-vm runs all of it.

How it works
    machine.py starts qemu with Debian's kernel (get-machine.sh fetches both).  The machine sees the files of this one,
    read-only, and has one disk, with ext4, xfs or btrfs, on which are the sources of the backups, the store and the
    caches.  qemu's driver blklogwrites records every write and every flush of that disk.
    work.py goes on in the machine: backups with several checkpoints each, several writers at once, repacks,
    moves of refs.  Whatever a command has acknowledged is marked, with a write to the same disk, so the log says
    exactly what had been promised when.
    writelog.py makes from the log the disks that a power cut can leave: after so many writes, of which those
    before the last flush are all there, and of the later ones none, some, blocks of some, or all.  What is lost is
    drawn at random, from seeds that are the same in every run.
    survival.py looks at such a disk, mounted here: the filesystem's journal is replayed, chkfs-fsck --full must
    find nothing, every ref must be where it was acknowledged to be or further, every acknowledged snapshot must restore
    equal.  Then every source is backed up again, with the caches that survived, and restored and checked again.
    The same is done with the disk of a machine of which the whole process was killed.

    Negative controls: when nothing is synced before it is renamed, or refs are not synced, damage must be found.

make test runs a short form of it, on ext4, where there are root, qemu and the kernel: it takes less than a minute
without hardware virtualisation.  The disks of a failed run can be made again from
what stays in pytest's temporary directory.
"""

import filecmp
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import cases
import machine
import pytest
import survival
import work
import writelog

EVERYTHING = os.environ.get('CHKFS_VM') == 'everything'  # make test-vm
FILESYSTEMS = ('ext4', 'xfs', 'btrfs') if EVERYTHING else ('ext4',)
PLAN = 'everything' if EVERYTHING else 'something'
CUTS = 120 if EVERYTHING else 12
CUTS_OF_CONTROLS = 20
KILLS = 5

TOP = cases.TOP
KERNEL = os.environ.get('CHKFS_VM_KERNEL', os.path.join(TOP, 'build', 'vm'))
FILESYSTEM_BYTES = 400 << 20  # xfs will have no less than 300 MB
DISK_BYTES = FILESYSTEM_BYTES + (1 << 20)  # the marks are after the filesystem
MAKE = {
    'ext4': ['mkfs.ext4', '-q', '-F', '{image}', f'{FILESYSTEM_BYTES >> 10}k'],
    'xfs': ['mkfs.xfs', '-q', '-d', f'size={FILESYSTEM_BYTES}', '{image}'],
    'btrfs': ['mkfs.btrfs', '-q', '-b', str(FILESYSTEM_BYTES), '{image}'],
}
only_long = pytest.mark.skipif(not EVERYTHING, reason='takes minutes: make test-vm')


class Recording(NamedTuple):
    """What a machine wrote to its disk; before: the image before; marks: (entry, what was acknowledged)."""

    path: str
    before: str
    log: writelog.Log
    marks: list[tuple[int, dict]]


class Laboratory:
    """One filesystem: disks that have the sources, machines that work on copies of them, looks at what is left."""

    def __init__(self, filesystem: str, scratch: str, look):
        self.seconds = 0.0  # that the last machine worked
        self._scratch, self._look = scratch, look
        self._machine = machine.Machine(KERNEL, filesystem, scratch)
        self._mount = os.path.join(scratch, 'mount')
        images = (os.path.join(scratch, f'{name}.img') for name in ('before', 'live', 'cut'))
        self._before, self._live, self.cut = images
        with open(self._before, 'wb') as file:
            file.truncate(DISK_BYTES)
        subprocess.run([part.format(image=self._before) for part in MAKE[filesystem]], check=True)
        self._trees = {}
        with self._mounted(self._before):
            sources = os.path.join(self._mount, 'sources')
            os.mkdir(sources)
            for seed, name in enumerate(('first', 'second', 'third', 'fourth')):
                cases.make_source(os.path.join(sources, name), seed)
            cases.make_source(os.path.join(sources, 'changed'), 0)
            cases.change_source(os.path.join(sources, 'changed'))
            for name in os.listdir(sources):
                self._trees[name] = look(os.fsencode(os.path.join(sources, name)))

    def clear(self) -> None:
        """Leaves what it takes to make the disk of any cut again: the disk before and the logs."""
        for image in os.listdir(self._scratch):
            if image.endswith('.img') and image != os.path.basename(self._before):
                os.unlink(os.path.join(self._scratch, image))

    def _mounted(self, image: str):
        return survival.mounted(image, self._mount)

    def _start(self, drive: list[str], sabotaged: tuple[str, ...]) -> subprocess.Popen:
        environment = ['-i', 'PATH=/usr/bin:/bin', 'HOME=/dev/shm', 'TMPDIR=/dev/shm', 'PYTHONDONTWRITEBYTECODE=1']
        environment.append(f'PYTHONPATH={TOP}:{cases.HERE}')
        script = [sys.executable, work.__file__, PLAN, machine.DISK, machine.DEVICE, str(FILESYSTEM_BYTES), *sabotaged]
        return self._machine.start(drive, ['/usr/bin/env', *environment, *script])

    def record(self, *sabotaged: str) -> Recording:
        """Has the work done in a machine, undisturbed."""
        writelog.copy(self._before, self._live)
        path = os.path.join(self._scratch, f'{"-".join(sabotaged) or "work"}.log')
        console = self._watch(self._start(writelog.drive(self._live, path), sabotaged))
        assert work.DONE in console, console
        log = writelog.Log(path)
        writelog.Replay(log, path, self._before, self._scratch).disk(writelog.nothing_lost(log), self.cut)
        assert filecmp.cmp(self.cut, self._live, shallow=False), 'the log is not all that was written'
        return Recording(path, self._before, log, log.marks(FILESYSTEM_BYTES))

    def kill(self, after: float) -> list[dict]:
        """Kills a machine so many seconds after its work began; gives what it had acknowledged.  Its disk is .cut."""
        writelog.copy(self._before, self.cut)
        drive = ['-drive', f'file={self.cut},if=virtio,format=raw,cache=writeback']
        self._watch(self._start(drive, ()), after)
        return writelog.marks_of_disk(self.cut, FILESYSTEM_BYTES)

    def _watch(self, process: subprocess.Popen, kill_after: float = machine.HUNG_SECONDS) -> str:
        """The console of a machine, which is killed so many seconds after its work begins.

        Fails when it does not end by that, or its own end, within machine.HUNG_SECONDS.
        """
        hung = threading.Event()
        killers = [threading.Timer(machine.HUNG_SECONDS, lambda: (hung.set(), process.kill()))]
        lines, begun = [], time.monotonic()
        killers[0].start()
        for line in process.stdout:
            lines.append(line.decode(errors='replace'))
            if work.BEGINS in lines[-1]:
                begun = time.monotonic()
                killers.append(threading.Timer(kill_after, process.kill))
                killers[-1].start()
        for killer in killers:
            killer.cancel()
        process.stdout.close()
        process.wait()
        self.seconds = time.monotonic() - begun
        assert not hung.is_set(), f'the machine hung: {"".join(lines)}'
        return ''.join(lines)

    def complaints(self, marks: list[dict]) -> list[str]:
        """About the disk .cut, which is mounted, and written to."""
        try:
            with self._mounted(self.cut):
                survivor = survival.Survivor(self._mount, self._scratch, self._look, self._trees)
                found = survivor.complaints(marks)
                return found or (survivor.finish() if survivor.is_store() else [])
        except subprocess.CalledProcessError as error:
            return [f'it cannot be mounted: {error.stderr}']

    def cuts(self, recording: Recording, number: int, count=lambda what, number: None):
        """(what, complaints) of power cuts during a recording."""
        replay = writelog.Replay(recording.log, recording.path, recording.before, self._scratch)
        positions = [position for position, _ in recording.marks]
        for cut in writelog.cuts(recording.log, positions, number, 'power cut'):
            replay.disk(cut, self.cut)
            marks = [mark for position, mark in recording.marks if position < cut.point]
            yield cut.name, self.complaints(marks)
            count('acknowledgements checked after power cuts', len(marks))
        count('blocks lost in power cuts', replay.lost_blocks)


@pytest.fixture(scope='module', params=FILESYSTEMS)
def laboratory(request, tmp_path_factory, look_at_tree):
    if os.getuid():
        pytest.skip('mounting disks needs root')
    for tool in (machine.QEMU, MAKE[request.param][0]):
        if not shutil.which(tool):
            pytest.skip(f'there is no {tool}: make test-vm gets it')
    if not os.path.exists(os.path.join(KERNEL, 'ready')):
        pytest.skip(f'there is no kernel in {KERNEL}: make test-vm gets it')
    scratch = tmp_path_factory.mktemp(request.param)
    try:
        made = Laboratory(request.param, str(scratch), look_at_tree)
    except subprocess.CalledProcessError as error:
        pytest.skip(f'{request.param} cannot be mounted here: {error.stderr}')
    yield request.param, made
    made.clear()


@pytest.fixture(scope='module')
def recording(laboratory):
    return laboratory[1].record()


def test_what_was_acknowledged_survives_power_cuts(laboratory, recording, count):
    filesystem, laboratory = laboratory
    assert len(recording.marks) >= (5 if PLAN == 'something' else 15)
    complaints, replayed = [], 0
    for what, found in laboratory.cuts(recording, CUTS, count):
        complaints += [f'{what}: {line}' for line in found]
        replayed += 1
    count(f'power cuts of {filesystem}', replayed)
    count(f'writes recorded of {filesystem}', len(recording.log.entries))
    count(f'flushes recorded of {filesystem}', len(recording.log.flushes))
    assert not complaints, '\n'.join(complaints)


@only_long
def test_what_was_acknowledged_survives_killed_machines(laboratory, recording, count):
    filesystem, laboratory = laboratory
    complaints = []
    seconds = laboratory.seconds
    for number in range(KILLS):
        after = seconds * random.Random(f'kill {number}').random()
        marks = laboratory.kill(after)
        found = laboratory.complaints(marks)
        complaints += [f'killed after {after:.3f} s, {len(marks)} marks: {line}' for line in found]
        count('acknowledgements checked after kills', len(marks))
    count(f'machines killed on {filesystem}', KILLS)
    assert not complaints, '\n'.join(complaints)


@only_long
@pytest.mark.parametrize('sabotage', ['rename_before_sync', 'ref_without_sync'])
def test_it_would_notice_what_is_not_synced(laboratory, count, sabotage):
    """Negative controls."""
    filesystem, laboratory = laboratory
    recording = laboratory.record(sabotage)
    bad = [found for _, found in laboratory.cuts(recording, CUTS_OF_CONTROLS) if found]
    count(f'{sabotage} on {filesystem}: power cuts of {CUTS_OF_CONTROLS} that showed it', len(bad))
    assert bad
