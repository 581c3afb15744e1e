"""What goes on in the machine when the clocks are put forward: disks with local times, backed up in two time zones.

usage: zones.py DISK IMAGE ...

What is seen is written as JSON to the disk whose serial number is 'report'; test_zones.py says what should be seen.
"""

import ctypes
import json
import os
import sys

import commands
import operations
from drivers import REPORT, Disk

from chkfs.storage import revision, walk
from chkfs.storage import store as stores
from chkfs.system import mounts

TIME_NS = 1_353_624_000 * 10**9
BIG_BYTES = 1 << 20
ZONES = {'winter': -60, 'summer': -120}  # minutes from local time to UTC: Central Europe
_SETTIMEOFDAY = 164  # on x86-64; the C library's would not take a zone alone


def set_zone(minutes_west: int) -> None:
    """The kernel's; the first call of all would put the clock forward if it were not for 0."""
    zone = (ctypes.c_int * 2)(minutes_west, 0)
    assert ctypes.CDLL(None).syscall(_SETTIMEOFDAY, None, ctypes.byref(zone)) == 0


def fill(top: bytes) -> None:
    for name, data in ((b'big', os.urandom(BIG_BYTES)), (b'small', b'data')):
        path = os.path.join(top, name)
        with open(path, 'wb') as file:
            file.write(data)
        os.utime(path, ns=(TIME_NS, TIME_NS))


def back_up(store: str, disk: Disk, top: bytes) -> dict:
    before = disk.read_bytes()
    status = operations.backup(commands.run, store, {disk.name: os.fsdecode(top)}, disk.name)
    opened = stores.Store(os.fsencode(store))
    root = revision.read_snapshot(opened, opened.refs.read(f'refs/backups/{disk.name}')).root
    times = {os.fsdecode(path): entry.time_ns for path, entry in walk.below(opened.objects, root.key)}
    return {'status': status, 'times': times, 'read_bytes': disk.read_bytes() - before}


def examine(store: str, disk: Disk) -> dict:
    set_zone(ZONES['winter'])
    with disk.mounted('/dev/shm/filling', 'rw') as top:
        fill(top)
    seen = {}
    for turn, options in (('winter', 'ro'), ('summer', 'ro'), ('utc', 'ro,tz=UTC')):
        set_zone(ZONES.get(turn, ZONES['summer']))
        if turn == 'utc' and disk.name == 'hfs':
            break  # it has no such option
        with disk.mounted(f'/dev/shm/{turn}', options) as top:
            seen[turn] = back_up(store, disk, top)
    return seen


def main(place: str, *names: str) -> None:
    os.environ['XDG_CACHE_HOME'] = os.path.join(place, 'cache')
    set_zone(0)
    store = os.path.join(place, 'store')
    assert commands.run('chkfs-init', store)[0] == 0
    report = {name: examine(store, Disk(name)) for name in names}
    set_zone(ZONES['summer'])
    report['zone'] = mounts._minutes_west()
    with open(Disk(REPORT).path, 'wb') as file:
        file.write(json.dumps(report).encode())
        os.fsync(file.fileno())


if __name__ == '__main__':
    main(*sys.argv[1:])
