"""What goes on in the machine: backups, repacks and moves of refs, each acknowledged by a mark on the disk itself.

usage: work.py PLAN DISK DEVICE MARKS [SABOTAGE ...]

A mark is a sector beyond the end of the filesystem, at byte MARKS and after, written past the page cache.  It goes the
way of every other write, so in the log of what was written, or on the disk of a machine that was killed, it says
exactly what had been promised up to then: all that comes before it must survive, whatever is lost after it.
"""

import fcntl
import json
import mmap
import os
import sys

import commands
import operations
import sabotage
import sizes

SECTOR = 512
BEGINS, DONE = 'the work begins', 'the work is done'


class Acknowledging:
    """Runs commands of several processes, and marks each that succeeded."""

    def __init__(self, disk: str, device: str, marks: int):
        self.store = os.path.join(disk, 'store')
        self.sources = {name: os.path.join(disk, 'sources', name) for name in os.listdir(os.path.join(disk, 'sources'))}
        self._device = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self._next = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the processes that are forked
        self._next[:8] = marks.to_bytes(8)
        self._lock = os.path.join('/dev/shm', 'marks')

    def mark(self, what: str, **details) -> None:
        """What is done now must survive; details: ref, key and source, of what has them."""
        text = json.dumps({'what': what, **details})
        page = mmap.mmap(-1, mmap.PAGESIZE)  # O_DIRECT wants it aligned
        page[: len(text)] = text.encode()
        with open(self._lock, 'w') as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            at = int.from_bytes(self._next[:8])
            os.pwrite(self._device, memoryview(page)[:SECTOR], at)
            self._next[:8] = (at + SECTOR).to_bytes(8)
        print('acknowledged', text, flush=True)

    def _run(self, *argv: str) -> bytes:
        status, printed = commands.run(argv[0], '--store', self.store, *argv[1:])
        if status:
            raise SystemExit(f'{argv} ended with status {status}')
        return printed

    def init(self) -> None:
        self._run('chkfs-init')
        self.mark('init')

    def back_up(self, source: str, name: str | None = None) -> None:
        name = name or source
        if operations.backup(commands.run, self.store, {name: self.sources[source]}, name):
            raise SystemExit(f'the backup of {source} failed')
        self._mark_ref('backup', f'refs/backups/{name}', source)

    def set_ref(self, ref: str, to: str, source: str) -> None:
        self._run('chkfs-update-ref', ref, to)
        self._mark_ref('update-ref', ref, source)

    def _mark_ref(self, what: str, ref: str, source: str) -> None:
        key = self._run('chkfs-rev-parse', ref).decode().strip()
        self.mark(what, ref=ref, key=key, source=source)

    def store_file(self, path: str) -> None:
        key = self._run('chkfs-hash-object', '-w', path).decode().strip()
        self.mark('hash-object', blob=key)

    def repack(self, *options: str) -> None:
        self._run('chkfs-repack', '-q', *options)
        self.mark('repack')

    def at_once(self, *jobs) -> None:
        """Each job, a function, in a process of its own."""
        pids = []
        for job in jobs:
            pid = os.fork()
            if pid == 0:
                try:
                    job()
                except BaseException as error:
                    print(error, flush=True)
                    os._exit(1)
                os._exit(0)
            pids.append(pid)
        if any(os.waitpid(pid, 0)[1] for pid in pids):
            raise SystemExit('one of several at once failed')


def everything(doing: Acknowledging) -> None:
    first, other = 'refs/backups/first', 'refs/backups/second'
    doing.init()
    doing.back_up('first')
    doing.set_ref('refs/tags/before', first, 'first')
    doing.at_once(lambda: doing.back_up('second'), lambda: doing.back_up('third'))
    doing.store_file(os.path.join(doing.sources['fourth'], 'medium-0'))
    doing.back_up('first')  # unchanged
    doing.repack()
    doing.back_up('changed', 'first')
    for number in range(4):
        doing.set_ref('refs/tags/moving', (first, other)[number % 2], ('changed', 'second')[number % 2])
    doing.at_once(lambda: doing.back_up('fourth'), lambda: doing.repack('--compression', 'bzip2'))
    doing.repack()


def something(doing: Acknowledging) -> None:
    doing.init()
    doing.back_up('first')
    doing.back_up('changed', 'first')
    doing.set_ref('refs/tags/before', 'refs/backups/first', 'changed')
    doing.repack()


PLANS = {'everything': everything, 'something': something}


def main(plan: str, disk: str, device: str, marks: str, *sabotaged: str) -> None:
    os.environ['XDG_CACHE_HOME'] = os.path.join(disk, 'cache')  # the caches are in the machine that dies, too
    for name in sabotaged:
        getattr(sabotage, name)()
    with sizes.smaller():
        doing = Acknowledging(disk, device, int(marks))
        print(BEGINS, flush=True)
        PLANS[plan](doing)
        print(DONE, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
