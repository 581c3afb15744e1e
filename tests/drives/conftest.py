"""Takes each drive on the whole way, once for all tests: made, mounted, backed up, restored, mounted elsewhere."""

import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import drives
import kinds
import pytest
from kinds import COPIES, Kept, Look

import chkfs
from chkfs.storage import store as stores

TOP = os.path.dirname(os.path.dirname(os.path.abspath(chkfs.__file__)))
TARGET = drives.Drive(
    'target', ['mkfs.ext4'], lambda image: None, ['mount', '-o', 'loop,noatime', '{image}', '{point}']
)
TOOLS = ['getfattr', 'getfacl', 'setfacl', 'lsattr', 'rsync', 'strace', 'setpriv']
READING = 'read,pread64,preadv,preadv2,mmap'  # system calls
SOMEBODY = 65534  # a user, and a group
GRAIN_SECONDS = 2.1  # of the times of FAT


class Said(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str


class Commands:
    """Runs the commands of chkfs as a user does; locale: what LC_ALL is."""

    def __init__(self, scratch: str):
        self.store, self._prefix = os.path.join(scratch, 'store'), []
        self._environment = {
            'PATH': os.pathsep.join([os.path.join(TOP, 'bin'), os.path.dirname(sys.executable), os.environ['PATH']]),
            'HOME': os.path.join(scratch, 'home'),
            'CHKFS_STORE': self.store,
        }

    def as_somebody(self) -> 'Commands':
        """For an ordinary user, with a copy of the store that is theirs."""
        other = copy.copy(self)
        other._prefix = ['setpriv', f'--reuid={SOMEBODY}', f'--regid={SOMEBODY}', '--clear-groups']
        other.store = self.store + '.somebody'
        shutil.copytree(self.store, other.store)
        drives.run('chown', '-R', f'{SOMEBODY}:{SOMEBODY}', other.store)
        home = {'HOME': other.store, 'CHKFS_STORE': other.store}
        other._environment = {**self._environment, **home}
        return other

    def run(self, *words: str, locale: str = 'C.UTF-8', trace: str = '') -> Said:
        tracing = [
            'strace',
            '-f',
            '--seccomp-bpf',
            '-y',
            '-qq',
            '-e',
            'trace=read,pread64,preadv,preadv2,mmap',
            '-o',
            trace,
        ]
        done = subprocess.run(
            [*self._prefix, *(tracing if trace else []), *words],
            env={**self._environment, 'LC_ALL': locale},
            capture_output=True,
            encoding='utf-8',
            errors='surrogateescape',
        )
        assert 'Traceback (most' not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)


def differences(one: bytes, other: bytes) -> str:
    """What the usual tools see that is not equal in two directories."""
    words = ['rsync', '-aHAXn', '--delete', '--checksum', '--modify-window=-1', '--itemize-changes']
    words += [f'--filter=-x {name}' for name in COPIES]
    words += [f'--exclude={os.fsdecode(name)}' for name in (drives.JUNCTION, drives.JUNCTION_HERE)]
    return drives.run(*words, one + b'/', other + b'/').decode('utf-8', 'surrogateescape')


def listing(top: bytes, command: str, of: str = '') -> bytes:
    """What a command prints of everything below a directory, in an order that is the same on each filesystem."""
    text = f'find . {of} -print0 | LC_ALL=C sort -z | xargs -0r {command}'
    return subprocess.run(['sh', '-c', text], cwd=top, capture_output=True).stdout


def listings(top: bytes) -> dict[str, bytes]:
    """What each command prints of a directory."""
    regular = r'\( -type f -o -type d \)'
    return {
        'getfattr': _without_copies(listing(top, 'getfattr -h -d -m - -e hex --')),
        'getfacl': listing(top, 'getfacl -n -P --', of=r'\! -type l'),
        'lsattr': _flags_only(listing(top, 'lsattr -d --', of=regular)),
    }


def _without_copies(listing: bytes) -> bytes:
    return re.sub(rf'(?m)^({"|".join(COPIES)})=.*\n'.encode(), b'', listing)


def _flags_only(listing: bytes) -> bytes:
    """Of what lsattr prints, the flags that ext4 has as well, and that tell of the file, not of its storage."""
    lines = re.findall(rb'(?m)^([-A-Za-z]{20,}) (.*)$', listing)
    flags = [(b''.join(re.findall(rb'[iadAS]', letters)), name) for letters, name in lines]
    return b''.join(letters + b' ' + name + b'\n' for letters, name in flags if letters)


class Journey:
    """One drive, backed up twice and restored: what was seen before, kept in the store, and found afterwards."""

    def __init__(self, drive: drives.Drive, image: str, target: str):
        self.drive, self.image = drive, image
        scratch = image + '.journey'
        os.mkdir(scratch)
        self.commands = Commands(scratch)
        self.commands.run('chkfs-init', self.commands.store)
        self.restored_to = os.path.join(target, drive.name)
        with drives.mounted(drive, self.image, os.path.join(scratch, 'here')) as top:
            self.seen = Look(top)
            self.first = self.commands.run('chkfs-backup', '-n', 'drive', os.fsdecode(top))
            self.restored = self.commands.run('chkfs-restore', 'drive', self.restored_to, locale='no_SUCH')
            self.found = Look(os.fsencode(self.restored_to))
            self.differences = differences(top, os.fsencode(self.restored_to))
            self.listings = [listings(directory) for directory in (top, os.fsencode(self.restored_to))]
        trace = os.path.join(scratch, 'trace')
        with drives.mounted(drive, self.image, os.path.join(scratch, 'else', 'where')) as top:
            self.second = self.commands.run('chkfs-backup', '-n', 'drive', os.fsdecode(top), locale='C', trace=trace)
            self.reads = self._reads(trace, top)
        self.back_image, self.back = scratch + '/back.img', None
        if drive.make_empty is not None:
            drive.make_empty(self.back_image)
            with drives.mounted(drive, self.back_image, os.path.join(scratch, 'back'), 'rw') as top:
                self.written_back = self.commands.run('chkfs-restore', 'drive~1', os.fsdecode(top))
            with drives.mounted(drive, self.back_image, os.path.join(scratch, 'back')) as top:
                self.back = Look(top)
        self.kept = Kept(stores.Store(os.fsencode(self.commands.store)), 'drive~1')

    def _reads(self, trace: str, top: bytes) -> list[str]:
        """The calls that read a file of the drive."""
        with open(trace, errors='surrogateescape') as file:
            lines = [line for line in file if f'<{os.fsdecode(top)}/' in line]
        return [line for line in lines if not re.search(r' = (0|-1 E.*)$', line)]

    def outcomes(self) -> dict[str, str]:
        """What a table says of this drive."""
        targets = [look for look in (self.found, self.back) if look is not None]
        found = {kind.name: kinds.outcome(kind, self.seen, self.kept, targets) for kind in kinds.KINDS}
        mounts = re.findall(r'(?m)^mount .*$', self.commands.run('chkfs-cat-object', 'drive~1').output)
        return found | {'label and UUID': kinds.outcome_of_identity(self.image, mounts[0])}

    def key(self, name: str) -> str:
        return self.commands.run('chkfs-rev-parse', name).output


@pytest.fixture(scope='session')
def scratch():
    """A directory in which everybody may look, and which is gone afterwards; nothing is mounted below it then."""
    path = tempfile.mkdtemp(prefix='chkfs-drives.')
    os.chmod(path, 0o755)
    yield path
    with open('/proc/self/mountinfo') as file:
        left = [line for line in file if path in line]
    assert not left, left
    shutil.rmtree(path)


@pytest.fixture
def tools():
    """What tests compare directories with: differences(one, other), listings(one)."""
    return differences, listings


@pytest.fixture(scope='session')
def target(scratch):
    """An ext4 filesystem to restore to, that takes long extended attributes."""
    if os.geteuid():
        pytest.skip('mounting needs root')
    image = os.path.join(scratch, 'target.img')
    drives.make_empty(image, 512, 'mkfs.ext4', '-q', '-b', '4096', '-O', 'ea_inode')
    with drives.mounted(TARGET, image, os.path.join(scratch, 'target'), 'rw') as top:
        yield os.fsdecode(top)


@pytest.fixture(scope='session')
def images(scratch):
    """The image of each drive, or why there is none; so old that every clock shows it, and its times are trusted."""
    found: dict[str, str | Exception] = {}
    for drive in drives.DRIVES:
        missing = [tool for tool in (*drive.tools, *TOOLS) if not shutil.which(tool)]
        image = os.path.join(scratch, drive.name + '.img')
        if missing:
            found[drive.name] = pytest.skip.Exception(f'there is no {", ".join(missing)} here')
            continue
        try:
            drive.make(image)
            found[drive.name] = image
        except (OSError, AssertionError) as error:
            found[drive.name] = error
    old = time.time() + GRAIN_SECONDS
    drives.wait_for(lambda: time.time() > old)
    return found


@pytest.fixture(scope='session')
def journeys(images, target):
    """journeys(drive) is its Journey."""
    made: dict[str, Journey | Exception] = {}

    def journey(drive: drives.Drive) -> Journey:
        if drive.name not in made:
            image = images[drive.name]
            try:
                made[drive.name] = image if isinstance(image, Exception) else Journey(drive, image, target)
            except Exception as error:  # of which every test of this drive shall tell, without another try
                made[drive.name] = error
        if not isinstance(made[drive.name], Journey):
            raise made[drive.name]
        return made[drive.name]

    return journey


@pytest.fixture(params=drives.DRIVES, ids=lambda drive: drive.name)
def journey(request, journeys):
    return journeys(request.param)
