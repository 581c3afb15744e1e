"""What goes on in the machine with old disks: each is filled, backed up, restored, and backed up from another place.

usage: drivers.py DISK yes|no IMAGE ...

yes: also finds out what the tables of chkfs-metadata(7) should say, which takes as long again.

What is seen is written as JSON to the disk whose serial number is 'report'; test_drivers.py says what should be seen.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
import traceback

import commands
import harm
import images
import kinds
import oddities
import operations

from chkfs.storage import revision, walk
from chkfs.storage import store as stores

REPORT = 'report'
KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'link', stat.S_IFIFO: 'fifo', stat.S_IFCHR: 'char'}
_SETTLED_SECONDS = 2  # the coarsest grain of a clock here, FAT's
_SECTOR = 512


class Disk:
    """One of the machine's disks, found by its serial number, and the image that it is."""

    def __init__(self, name: str):
        self.name = name
        for device in os.listdir('/sys/block'):
            with contextlib.suppress(FileNotFoundError), open(f'/sys/block/{device}/serial') as file:
                if file.read().strip() == name:
                    self.device = device
        self.path = f'/dev/{self.device}'

    @contextlib.contextmanager
    def mounted(self, place: str, options: str):
        """Mounts it; when it is unmounted, nothing of it stays in memory."""
        os.makedirs(place, exist_ok=True)
        subprocess.run(['mount', '-t', images.IMAGES[self.name].driver, '-o', options, self.path, place], check=True)
        try:
            yield os.fsencode(place)
        finally:
            subprocess.run(['umount', place], check=True)

    def read_bytes(self) -> int:
        """So many were read of it since the machine began."""
        with open(f'/sys/block/{self.device}/stat') as file:
            return int(file.read().split()[2]) * _SECTOR


def look(top: bytes) -> dict[str, dict]:
    """What can be seen of everything below a directory, by its relative path."""
    found, names_of = {}, {}
    for directory, names, files in os.walk(top):
        for name in [b'.', *names, *files] if directory == top else [*names, *files]:
            path = os.path.join(directory, name)
            relative = os.fsdecode(os.path.relpath(path, top))
            try:
                found[relative] = _look_at(path)
                status = os.lstat(path)
            except OSError as error:
                found[relative] = {'failed': errno.errorcode[error.errno]}
                continue
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                names_of.setdefault(status.st_ino, []).append(relative)
    for links in names_of.values():
        if len(links) > 1:  # an ISO 9660 counts links whose inodes differ
            for name in links:
                found[name]['linked'] = sorted(links)
    return found


def _look_at(path: bytes) -> dict:
    status = os.lstat(path)
    seen = {'type': KINDS[stat.S_IFMT(status.st_mode)], 'mode': stat.S_IMODE(status.st_mode)}
    seen |= {'uid': status.st_uid, 'gid': status.st_gid, 'time_ns': status.st_mtime_ns}
    if seen['type'] == 'file':
        with open(path, 'rb') as file:
            data = file.read()
        seen |= {'size': status.st_size, 'sha256': hashlib.sha256(data).hexdigest()}
    elif seen['type'] == 'link':
        seen['link'] = os.fsdecode(os.readlink(path))
    elif seen['type'] == 'char':
        seen['device'] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return seen


def other_times(top: bytes, seen: dict[str, dict]) -> dict[str, dict[str, str]]:
    """Times of birth, access and change, as a tree would have them; stat(1) says 0 for a birth that is not known."""
    paths = [path for path, facts in seen.items() if '\n' not in path and 'failed' not in facts]
    names = [os.path.join(top, os.fsencode(path)) for path in paths]
    printed = subprocess.run(['stat', '-c', '%.9W %.9X %.9Z', '--', *names], check=True, capture_output=True).stdout
    return {
        path: dict(zip(('btime', 'atime', 'ctime'), line.split()))
        for path, line in zip(paths, printed.decode().splitlines())
    }


class Recorder:
    """Backs up disks and gathers what there was to see."""

    def __init__(self, disk: str, makes_tables: bool):
        self._disk, self._store, self._makes_tables = disk, os.path.join(disk, 'store'), makes_tables
        self.said = ''  # on stderr, by the last command
        assert commands.run('chkfs-init', self._store)[0] == 0

    def examine(self, disk: Disk) -> dict:
        options, restored = images.IMAGES[disk.name].options, os.path.join(self._disk, 'restored', disk.name)
        seen = {}
        with disk.mounted('/dev/shm/one place', options) as top:
            seen['source'] = look(top)
            seen['times'] = other_times(top, seen['source'])
            is_plain = disk.name == images.IMAGES[disk.name].driver
            shown = kinds.Look(top) if self._makes_tables and is_plain else None
            seen['first'] = self._back_up(disk, top)
        seen['lines'] = self._lines(seen['first']['tree'])
        os.makedirs(os.path.dirname(restored), exist_ok=True)
        seen['restore'] = self._run('chkfs-checkout-tree', f'refs/backups/{disk.name}', restored)
        found = kinds.Look(os.fsencode(restored)) if shown else None  # before anything is read there: times of access
        seen['restored'] = look(os.fsencode(restored))
        with disk.mounted('/dev/shm/another/place', options) as top:
            before = disk.read_bytes()
            seen['second'] = self._back_up(disk, top)
            seen['read_bytes'] = disk.read_bytes() - before
        if shown:
            seen['outcomes'] = self._outcomes(disk, shown, found)
        return seen

    def fsck(self) -> tuple[int, str]:
        return self._run('chkfs-fsck', '--full')

    def _back_up(self, disk: Disk, top: bytes) -> dict:
        with self._listening():
            status = operations.backup(commands.run, self._store, {disk.name: os.fsdecode(top)}, disk.name)
        store = stores.Store(os.fsencode(self._store))
        snapshot = revision.read_snapshot(store, store.refs.read(f'refs/backups/{disk.name}'))
        return {
            'status': status,
            'said': self.said,
            'root': snapshot.get('root'),
            'tree': snapshot.root.key,
            'mounts': snapshot.all('mount'),
        }

    def _lines(self, key: str) -> dict[str, str]:
        store = stores.Store(os.fsencode(self._store))
        return {os.fsdecode(path): entry.line() for path, entry in walk.below(store.objects, key)}

    def _outcomes(self, disk: Disk, shown: kinds.Look, restored: kinds.Look) -> dict[str, str]:
        """What the tables of chkfs-metadata(7) say of this driver."""
        kept = kinds.Kept(stores.Store(os.fsencode(self._store)), f'refs/backups/{disk.name}~1')  # the first
        targets = [restored]
        if not images.IMAGES[disk.name].is_from_source:  # to the disk itself, too, which may hold what ext4 cannot
            with disk.mounted('/dev/shm/back', images.IMAGES[disk.name].options.replace('ro', 'rw', 1)) as top:
                back = os.path.join(top, b'back')
                said = self._run('chkfs-checkout-tree', f'refs/backups/{disk.name}', os.fsdecode(back))
                assert os.path.isdir(back), said
                targets.append(kinds.Look(back))
        return {kind.name: kinds.outcome(kind, shown, kept, targets) for kind in kinds.KINDS}

    def _run(self, command: str, *argv: str) -> tuple[int, str]:
        with self._listening():
            status, printed = commands.run(command, '--store', self._store, *argv)
        return status, self.said + printed.decode(errors='replace')

    @contextlib.contextmanager
    def _listening(self):
        """What is said on stderr meanwhile."""
        with open('/dev/shm/said', 'w+b') as file:
            stderr = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
                file.seek(0)
                self.said = file.read().decode(errors='replace')


def fill(disk: Disk) -> dict:
    if images.IMAGES[disk.name].is_from_source:
        return {}
    image = images.IMAGES[disk.name]
    options = image.options.replace('ro', 'rw', 1) if not image.problems else 'rw'
    with disk.mounted('/dev/shm/filling', options) as top:
        filling = oddities.fill(top, image.driver)
        oddities.set_flags(filling)
    if image.damage:
        getattr(harm, image.damage)(disk.path)
    return {
        'taken': [os.fsdecode(name) for name in filling.done],
        'refused': {os.fsdecode(name): error for name, error in filling.refused.items()},
    }


def attempt(action, *arguments) -> dict:
    try:
        return action(*arguments)
    except Exception:
        return {'failed': traceback.format_exc()}


def main(place: str, makes_tables: str, *names: str) -> None:
    os.environ['XDG_CACHE_HOME'] = os.path.join(place, 'cache')
    disks = [Disk(name) for name in names]
    report = {disk.name: attempt(fill, disk) for disk in disks}
    filled = time.monotonic()
    while time.monotonic() < filled + _SETTLED_SECONDS:  # what changed just now would be read again
        time.sleep(0.1)
    recorder = Recorder(place, makes_tables == 'yes')
    for disk in disks:
        began = time.monotonic()
        report[disk.name] |= attempt(recorder.examine, disk)
        print(f'{disk.name}: {time.monotonic() - began:.1f} s', flush=True)
    report['fsck'] = recorder.fsck()
    with open(Disk(REPORT).path, 'wb') as file:
        file.write(json.dumps(report).encode())


if __name__ == '__main__':
    main(*sys.argv[1:])
