"""Old disks through the drivers of a real kernel: vfat, msdos, exfat, ntfs3, iso9660, udf, hfs, hfsplus.

Images are made here (images.py), filled by their drivers in a machine (oddities.py), and there backed up, restored to
ext4, unmounted, mounted at another place and backed up again (drivers.py).  All of it takes one boot; the tests look at
what the machine reported.
"""

import json
import os
import re
import subprocess
import sys

import cases
import coverage_table
import drivers
import images
import kinds
import machine
import oddities
import pytest

from chkfs import errors
from chkfs.text import tree

KERNEL = os.environ.get('CHKFS_VM_KERNEL', os.path.join(cases.TOP, 'build', 'vm'))
EVERYTHING = os.environ.get('CHKFS_VM') == 'everything'  # make test-vm; otherwise each driver once
MAKES_TABLES = EVERYTHING or coverage_table.FOUND
CHOSEN = [name for name, image in images.IMAGES.items() if EVERYTHING or name == image.driver]
DISK_BYTES = 384 << 20
REPORT_BYTES = 8 << 20

# What each driver tells of a file besides the usual, so what must be in its line: (kind, path, pattern of a tag).  In a
# pattern, {btime} and the like stand for what stat(1) says.
_TIMES = {word: (word, 'plain.txt', rf'\b{word}:{{{word}}}(,|$)') for word in ('btime', 'atime', 'ctime')}
_DOS = ('dos', 'hidden', r'\bdos:')
_SHORT_NAME = ('dos short name', 'l' * 31, r'LLLLLL~[1-9]')
_LINKS = ('hl', 'hard link', r'\bhl:big(,|$)')
_RAW = ('enc', 'caf\udc90.txt', r'\benc:unknown\b')
_UTF8 = ('enc', 'Grüße.txt', r'\benc:utf-8\b')
_XATTR = ('xattr', 'with xattr', r'\bxattr:user\.k:dmFsdWUA/w')
_LONG_XATTR = ('long xattr', 'with long xattr', r'\bxattr:user\.long:')
_FINDER = ('xattr of the Finder', 'with Finder information', r'\bxattr:osx\.com\.apple\.FinderInfo:VEVYVHR0eHQ')
_FLAGS = ('flags', 'immutable', r'\bflags[=:]')
TOLD = {
    'vfat': [_UTF8, _TIMES['btime'], _TIMES['atime'], _DOS, _SHORT_NAME],
    'vfat-latin1': [_RAW, _TIMES['btime'], _DOS],
    'msdos': [_RAW, _DOS],
    'exfat': [_UTF8, _TIMES['btime'], _TIMES['atime'], _DOS],
    'ntfs3': [
        *(_UTF8, _LINKS, *_TIMES.values(), _XATTR, _LONG_XATTR),
        ('dos', 'with DOS attributes', r'\bdos:'),
        ('ntfs', 'plain.txt', r'\bntfs\.(security|acl):'),
    ],
    'iso9660': [_RAW, _UTF8, _TIMES['atime'], _TIMES['ctime']],
    'iso9660-joliet': [_UTF8],
    'udf': [_UTF8, _LINKS, _TIMES['atime'], _TIMES['ctime']],
    'hfs': [
        *(_RAW, _UTF8),
        ('xattr of the type', 'with type', r'\bxattr:hfs\.type:VEVYVA'),
        ('xattr of the creator', 'with creator', r'\bxattr:hfs\.creator:dHR4dA'),
    ],
    'hfsplus': [_UTF8, _LINKS, *_TIMES.values(), _XATTR, _LONG_XATTR, _FINDER, _FLAGS],
    'hfsx': [_UTF8, _LINKS, _TIMES['btime'], _XATTR],
}
# The same of the snapshot's mount line.
_DISK, _DISC = ('label', r'\blabel=OLDDISK\b'), ('label', r'\blabel=OLDDISC\b')
_UUID = ('uuid', r'\buuid=[0-9A-Za-z-]+')
TOLD_OF_MOUNT = {
    'vfat': [_DISK, ('uuid', r'\buuid=1234-ABCD\b')],
    'vfat-latin1': [_UUID],
    'msdos': [_UUID, ('label', r'\blabel=FLOPPY\b')],
    'exfat': [_DISK, _UUID],
    'ntfs3': [_DISK, _UUID],
    'iso9660': [_DISC, _UUID],
    'iso9660-joliet': [_DISC, _UUID],
    'udf': [_DISC, _UUID],
    'hfs': [_DISK],
    'hfsplus': [_DISK, _UUID],
    'hfsx': [_DISK, _UUID],
}
# Xattrs that ext4 refuses: $LXUID and the like, hfs.type, osx.com.apple.FinderInfo.
HAS_XATTRS_OF_ITS_OWN = ('ntfs3', 'ntfs3-showmeta', 'hfs', 'hfsplus', 'hfsx')
# Names that were taken and come back as others: the driver's doing.
_DOT = {'dot.': 'dot'}
_QUESTIONED = {'caf\udc90.txt': 'caf?.txt', '\udcff\udcfe': '??'}
_HFSPLUS = {**_QUESTIONED, '\U0001f600': '????', 'e\u0301 apart.txt': '\xe9 apart.txt'}
RENAMED = {
    'vfat': _DOT,
    'vfat-latin1': _DOT,
    'vfat-loop': _DOT,
    'exfat': _DOT,
    'udf': _QUESTIONED,
    'hfsplus': _HFSPLUS,
    'hfsx': _HFSPLUS,
}


@pytest.fixture(scope='module')
def machine_report(tmp_path_factory, count):
    """(what the machine reported, image to why it could not be made)."""
    for tool in (machine.QEMU, 'mkfs.ext4'):
        if not images.find(tool):
            pytest.skip(f'there is no {tool}: make test-vm gets it')
    if not os.path.exists(os.path.join(KERNEL, 'ready')):
        pytest.skip(f'there is no kernel in {KERNEL}: make test-vm gets it')
    scratch = str(tmp_path_factory.mktemp('drivers'))
    made, missing = {}, {}
    for name, image in ((name, images.IMAGES[name]) for name in CHOSEN):
        try:
            if not machine.has_module(KERNEL, images.module(image)):
                raise FileNotFoundError(f'the kernel has no {image.driver}')
            made[name] = images.make(name, scratch, KERNEL)
        except FileNotFoundError as error:
            missing[name] = str(error)
    report = run(scratch, made, drivers.__file__, 'yes' if MAKES_TABLES else 'no')
    for name in made:
        if images.IMAGES[name].is_from_source:
            report[name]['taken'] = os.listdir(images.source_of(name, scratch))
    count('disks backed up, restored and backed up again through drivers', len(made))
    for name, path in made.items():
        if 'outcomes' in report[name]:
            line = report[name]['first']['mounts'][0]
            report[name]['outcomes']['label and UUID'] = kinds.outcome_of_identity(path, line)
        os.unlink(path)
    return report, missing


def run(scratch: str, made: dict[str, str], script: str, *arguments: str) -> dict:
    """What the script reports, run in the machine with these images as its disks."""
    disk, report = os.path.join(scratch, 'disk.img'), os.path.join(scratch, 'report.img')
    for path, size in ((disk, DISK_BYTES), (report, REPORT_BYTES)):
        with open(path, 'wb') as file:
            file.truncate(size)
    subprocess.run([images.find('mkfs.ext4'), '-q', '-F', '-b', '4096', disk], check=True)
    drives = {'disk': disk, drivers.REPORT: report, **made}
    modules = [*images.NLS, *dict.fromkeys(images.module(images.IMAGES[name]) for name in made)]
    environment = ['-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/dev/shm', 'TMPDIR=/dev/shm', 'LC_ALL=C.UTF-8']
    paths = (cases.TOP, cases.HERE, machine.HERE, os.path.dirname(kinds.__file__))
    environment += ['PYTHONDONTWRITEBYTECODE=1', f'PYTHONPATH={":".join(paths)}']
    command = [sys.executable, script, machine.DISK, *arguments, *made]
    with machine.Machine(KERNEL, 'ext4', scratch, modules).start(
        [option for name, path in drives.items() for option in machine.drive(name, path)],
        ['/usr/bin/env', *environment, *command],
    ) as process:
        try:
            console = process.communicate(timeout=machine.HUNG_SECONDS)[0].decode(errors='replace')
        finally:
            process.kill()
    os.unlink(disk)
    with open(report, 'rb') as file:
        text = file.read().rstrip(b'\0')
    assert text, console
    return json.loads(text)


@pytest.fixture
def seen(machine_report):
    """seen(name of an image) gives what there was to see of it."""

    def of(name: str) -> dict:
        report, missing = machine_report
        if name in missing:
            pytest.skip(missing[name])
        assert 'failed' not in report[name], report[name]['failed']
        return report[name]

    return of


@pytest.mark.parametrize('image', CHOSEN)
def test_problems_are_told_and_nothing_else_is(seen, image):
    said, patterns = seen(image)['first']['said'].splitlines(), images.IMAGES[image].problems
    assert seen(image)['first']['status'] == (errors.PARTIAL if patterns else errors.DONE)
    assert [line for line in said if not any(re.search(pattern, line) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(re.search(pattern, line) for line in said)] == []


@pytest.mark.parametrize('image', CHOSEN)
def test_everything_a_driver_shows_is_stored(seen, image):
    told = seen(image)
    entries = {path: tree.parse_line(line) for path, line in told['lines'].items()}
    entries['.'] = tree.parse_line(told['first']['root'])
    links = {}
    for path, entry in entries.items():
        if entry.tag('hl') is not None:
            links.setdefault(entry.tag('hl'), []).append(path)
    stored = {path: _facts(entry, links) for path, entry in entries.items() if entry.tag('unread') is None}
    assert stored == _readable(told['source'])


def _readable(seen: dict[str, dict]) -> dict[str, dict]:
    return {path: facts for path, facts in seen.items() if 'failed' not in facts}


def _facts(entry: tree.Entry, links: dict[str, list[str]]) -> dict:
    """A tree's entry as drivers.look() tells what is on a disk."""
    facts = {'type': entry.type, 'mode': entry.mode, 'uid': entry.uid, 'gid': entry.gid, 'time_ns': entry.time_ns}
    if entry.type == 'file':
        facts |= {'size': entry.size, 'sha256': entry.key}
    elif entry.type == 'link':
        facts['link'] = os.fsdecode(entry.link)
    elif entry.type == 'char':
        facts['device'] = list(entry.device)
    together = links.get(entry.tag('hl'), [])
    return facts | ({'linked': sorted(together)} if len(together) > 1 else {})


@pytest.mark.parametrize('image', CHOSEN)
def test_what_was_put_in_is_there(seen, image):
    told = seen(image)
    assert {'big', 'empty', 'Folder/same', 'Folder/Inner/same'} <= {_long(path) for path in told['source']}
    assert len(told['source']) > 45
    if image not in ('msdos', 'iso9660-joliet', 'exfat-latin1'):  # which make other names of many
        names = {RENAMED.get(image, {}).get(name, name) for name in told['taken']}
        assert names <= set(told['source']) and len(names) > 30
    assert told['source']['big']['size'] == oddities.BIG_BYTES


def _long(path: str) -> str:
    """A path as it was asked for: msdos makes names small."""
    return path.replace('folder', 'Folder').replace('inner', 'Inner')


@pytest.mark.parametrize('image', CHOSEN)
def test_it_is_restored_equal_to_ext4(seen, image):
    told = seen(image)
    status, said = told['restore']
    unread = [path for path, line in told['lines'].items() if 'unread:' in line]
    refused = [line for line in said.splitlines() if 'could not be set' in line]
    assert status == (errors.PARTIAL if unread or refused else errors.DONE)
    assert [line for line in refused if image not in HAS_XATTRS_OF_ITS_OWN or ': xattr could not' not in line] == []
    assert told['restored'] == _readable(told['source'])


@pytest.mark.parametrize('image', CHOSEN)
def test_mounted_elsewhere_it_is_the_same_and_not_read_again(seen, image):
    told = seen(image)
    assert told['second']['status'] == told['first']['status']
    assert told['second']['tree'] == told['first']['tree']
    assert 0 < told['read_bytes'] < oddities.BIG_BYTES, 'directories have to be read, the big file has not'


@pytest.mark.parametrize('image', CHOSEN)
def test_the_snapshot_says_how_it_was_mounted(seen, image):
    (line,) = seen(image)['first']['mounts']
    assert f'type={images.IMAGES[image].driver} ' in line and ' access=ro ' in line


@pytest.mark.skipif(not MAKES_TABLES, reason='takes minutes: make test-vm')
@pytest.mark.parametrize('image', [image for image in CHOSEN if image == images.IMAGES[image].driver])
def test_table_is_what_was_found(seen, image):
    """Of chkfs-metadata(7)."""
    found = seen(image)['outcomes']
    if coverage_table.FOUND:
        coverage_table.add(image, found)
    else:
        assert coverage_table.known().get(image) == found, 'make coverage-table brings it up to date'


def test_fsck_finds_nothing(machine_report):
    assert machine_report[0]['fsck'] == [0, '']


@pytest.mark.parametrize(
    'image, path, pattern',
    [
        pytest.param(image, path, pattern, id=f'{image} {kind}')
        for image, told in TOLD.items()
        if image in CHOSEN
        for kind, path, pattern in told
    ],
)
def test_what_a_driver_tells_is_in_the_tree(seen, image, path, pattern):
    told = seen(image)
    for word, time in told['times'][path].items():
        if f'{{{word}}}' in pattern and float(time) == 0:
            raise LookupError(f'stat knows no {word}: the table asks for too much')
        pattern = pattern.replace(f'{{{word}}}', re.escape(time))
    assert re.search(pattern, told['lines'][path])


@pytest.mark.parametrize(
    'image, pattern',
    [
        pytest.param(image, pattern, id=f'{image} {kind}')
        for image, told in TOLD_OF_MOUNT.items()
        if image in CHOSEN
        for kind, pattern in told
    ],
)
def test_what_a_filesystem_is_called_is_in_the_snapshot(seen, image, pattern):
    assert re.search(pattern, seen(image)['first']['mounts'][0])
