"""What a machine wrote to its disk, in order, as qemu's blklogwrites recorded it; and disks that lost power on the way.

The log has the format of dm-log-writes: a sector with the header, then for each write or flush a sector that says
what and where, followed by the data; see Documentation/admin-guide/device-mapper/log-writes.rst of the kernel.

A disk that loses power has all that was written before the last flush, and of what came later it may have anything:
of each point in time there are many disks, made by a Fate.
"""

import json
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

SECTOR = 512
BLOCK = 4096  # what the filesystems take for granted that a disk does not tear
_MAGIC = 0x6A736677736872
_FLUSH, _FUA, _DISCARD = 1, 2, 4


class Entry(NamedTuple):
    """sector, and where the data is in the log, with its length in bytes."""

    sector: int
    flags: int
    at: int
    length: int


class Cut(NamedTuple):
    """The power fails after so many entries; fate: of an entry that was not flushed, which of its blocks are kept."""

    point: int
    name: str
    fate: Callable[[int], list[bool]]


def drive(image: str, log: str) -> list[str]:
    """Options of qemu for a disk of which every write is logged.  What the machine flushes, the host need not."""
    open(log, 'wb').close()
    node = f'driver=blklogwrites,node-name=disk,log-sector-size={SECTOR},log-super-update-interval=1'
    node += f',file.driver=file,file.filename={image},file.cache.no-flush=on'
    node += f',log.driver=file,log.filename={log},log.cache.no-flush=on'
    return ['-blockdev', node, '-device', 'virtio-blk-pci,drive=disk,write-cache=on,discard=off']


class Log:
    def __init__(self, path: str):
        self._path = path
        self.entries: list[Entry] = []
        with open(path, 'rb') as file:
            magic, _, count, sector = struct.unpack('<QQQI', file.read(28))
            assert (magic, sector) == (_MAGIC, SECTOR), 'this is no log of writes'
            at = SECTOR
            for _ in range(count):
                file.seek(at)
                first, sectors, flags, _ = struct.unpack('<4Q', file.read(32))
                at += SECTOR
                length = 0 if flags & _DISCARD else sectors * SECTOR
                self.entries.append(Entry(first, flags, at, length))
                at += length
        self.flushes = [number for number, entry in enumerate(self.entries) if entry.flags & _FLUSH]

    def marks(self, begin: int) -> list[tuple[int, dict]]:
        """(number of the entry, what it says) of what was written at byte begin of the disk and after."""
        with open(self._path, 'rb') as file:
            return [
                (number, parse_mark(os.pread(file.fileno(), entry.length, entry.at)))
                for number, entry in enumerate(self.entries)
                if entry.length and entry.sector * SECTOR >= begin
            ]

    def is_durable(self, number: int, flushed: int) -> bool:
        return number <= flushed or bool(self.entries[number].flags & _FUA)


def parse_mark(sector: bytes) -> dict:
    return json.loads(sector.rstrip(b'\0'))


def marks_of_disk(image: str, begin: int) -> list[dict]:
    """The marks that the disk of a killed machine has."""
    found = []
    with open(image, 'rb') as file:
        file.seek(begin)
        while sector := file.read(SECTOR).rstrip(b'\0'):
            found.append(parse_mark(sector))
    return found


class Replay:
    """Disks that lost power, made from what they held before and the log; ask for points in ascending order."""

    def __init__(self, log: Log, path: str, before: str, scratch: str):
        self._log, self._path = log, path
        self._flushed = os.path.join(scratch, 'flushed.img')  # what no power cut takes away
        self._applied = 0
        copy(before, self._flushed)
        self.lost_blocks = 0

    def disk(self, cut: Cut, image: str) -> None:
        """Makes image what the disk may hold after the cut."""
        flushed = max((number for number in self._log.flushes if number < cut.point), default=-1)
        with open(self._path, 'rb') as log:
            with open(self._flushed, 'r+b') as disk:
                for number in range(self._applied, flushed + 1):
                    self._apply(log, disk, self._log.entries[number])
            self._applied = max(self._applied, flushed + 1)
            copy(self._flushed, image)
            with open(image, 'r+b') as disk:
                for number in range(flushed + 1, cut.point):
                    entry = self._log.entries[number]
                    blocks = -(-entry.length // BLOCK)
                    kept = [True] * blocks if self._log.is_durable(number, flushed) else cut.fate(blocks)
                    self.lost_blocks += kept.count(False)
                    self._apply(log, disk, entry, kept)

    def _apply(self, log, disk, entry: Entry, kept: list[bool] | None = None) -> None:
        data = os.pread(log.fileno(), entry.length, entry.at)
        if kept is None:
            os.pwrite(disk.fileno(), data, entry.sector * SECTOR)
            return
        for number, is_kept in enumerate(kept):
            if is_kept:
                block = data[number * BLOCK : (number + 1) * BLOCK]
                os.pwrite(disk.fileno(), block, entry.sector * SECTOR + number * BLOCK)


def copy(image: str, to: str) -> None:
    if os.path.exists(to):
        os.unlink(to)
    subprocess.run([shutil.which('cp'), '--sparse=always', '--reflink=auto', image, to], check=True)


def nothing_lost(log: Log) -> Cut:
    return Cut(len(log.entries), 'at the end', _fate('all', 1, ''))


def cuts(log: Log, marks: list[int], number: int, seed: str) -> Iterator[Cut]:
    """So many, in ascending order: after each mark with all lost that was not flushed, and others at random.

    marks: the entries of the marks.  Of those at random half are just before a flush, where most can be lost.
    """
    chance = random.Random(seed)
    chosen = [(mark + 1, 'nothing', 0) for mark in marks][:number]
    ends = [two for one, two in zip(log.flushes, log.flushes[1:]) if two > one + 1]
    while len(chosen) < number:
        point = chance.choice(ends) if len(chosen) % 2 else chance.randint(1, len(log.entries))
        chosen.append((point, *chance.choice(_FATES)))
    for point, name, odds in sorted(chosen):
        what = f'after {point} of {len(log.entries)} writes, kept of what was not flushed: {name} ({odds})'
        yield Cut(point, what, _fate(name, odds, f'{seed} {point}'))


_FATES = [
    ('nothing', 0),
    ('writes', 0.1),
    ('writes', 0.5),
    ('writes', 0.9),
    ('blocks', 0.5),
    ('blocks', 0.9),
    ('all', 1),
]


def _fate(name: str, odds: float, seed: str) -> Callable[[int], list[bool]]:
    """Keeps each whole write, or each block of it, with these odds."""
    chance = random.Random(seed)
    if name == 'blocks':
        return lambda blocks: [chance.random() < odds for _ in range(blocks)]
    return lambda blocks: [chance.random() < odds] * blocks
