"""Images of drives: how each is made, filled with odd things, and mounted.  Needs root, and the tools that it names."""

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import odd_things

SECONDS_TO_MOUNT = 20
_libc = ctypes.CDLL(None, use_errno=True)

# ntfs-3g shows these as links to below the place where it is mounted
JUNCTION, JUNCTION_HERE = b'junction', b'junction to the same drive'


class Drive(NamedTuple):
    """A filesystem and the driver that reads it."""

    name: str
    tools: list[str]
    make: Callable[[str], None]  # the image, filled, at this path
    mount: list[str]  # the command; access is ro or rw
    is_daemon: bool = False  # a driver that is a process of its own, kept in the foreground to be waited for
    needs_device: bool = False
    make_empty: Callable[[str], None] | None = None  # an image, to restore to it what ext4 cannot hold


def run(*command: str | bytes, **settings) -> bytes:
    """What a command printed.  Raises CalledProcessError, with what it said, unless it ended with 0."""
    done = subprocess.run(command, capture_output=True, **settings)
    if done.returncode:
        raise AssertionError(f'{command}: {done.returncode}: {os.fsdecode(done.stderr)}')
    return done.stdout


def get_xattr(path: bytes, name: str) -> bytes | None:
    """As getxattr(2), with a buffer that ntfs-3g takes; None where there is none."""
    buffer = ctypes.create_string_buffer(1 << 16)
    size = _libc.lgetxattr(path, name.encode(), buffer, len(buffer))
    return buffer.raw[:size] if size >= 0 else None


@contextlib.contextmanager
def loop_device(image: str, *options: str) -> Iterator[str]:
    device = run('losetup', '-f', '--show', *options, image).decode().strip()
    try:
        yield device
    finally:
        run('losetup', '-d', device)


@contextlib.contextmanager
def mounted(drive: Drive, image: str, point: str, access: str = 'ro') -> Iterator[bytes]:
    """Mounts an image; gives the point.  Afterwards nothing is left of it."""
    os.makedirs(point)
    with contextlib.ExitStack() as stack:
        stack.callback(os.rmdir, point)
        device = stack.enter_context(loop_device(image)) if drive.needs_device else image
        words = [word.format(image=image, device=device, point=point, access=access) for word in drive.mount]
        if drive.is_daemon:
            daemon = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(daemon.wait)
            stack.callback(_unmount, point)
            wait_for(lambda: os.path.ismount(point) or daemon.poll() is not None)
        else:
            run(*words)
            stack.callback(_unmount, point)
        assert os.path.ismount(point), f'{drive.name}: not mounted: {words}'
        if access == 'ro':
            run('mount', '-o', 'remount,bind,ro', point)  # what fuse2fs and fuseiso do not ask for
        yield os.fsencode(point)


def _unmount(point: str) -> None:
    """A daemon that has just been asked something may still be busy with it."""
    if not os.path.ismount(point):
        return
    wait_for(lambda: subprocess.run(['umount', point], capture_output=True).returncode == 0, or_else=lambda: None)
    if os.path.ismount(point):
        run('umount', '-l', point)
        raise AssertionError(f'{point} was busy')


def wait_for(is_so: Callable[[], bool], or_else: Callable[[], None] | None = None) -> None:
    end = time.monotonic() + SECONDS_TO_MOUNT
    while not is_so():
        if time.monotonic() > end:
            if or_else is not None:
                return or_else()
            raise AssertionError('waited in vain')
        time.sleep(0.01)


def make_empty(image: str, megabytes: int, *command: str) -> None:
    with open(image, 'wb') as file:
        file.truncate(megabytes << 20)
    run(*command, image)


def _fill(drive: str, image: str, fill: Callable[[bytes], None]) -> None:
    with mounted(BY_NAME[drive], image, image + '.filled', 'rw') as top:
        fill(top)


def _from_directory(image: str, fill: Callable[[bytes], None], *command: str) -> None:
    """An image that is made at once, from a directory."""
    source = image + '.source'
    os.mkdir(source)
    try:
        fill(os.fsencode(source))
        run(*[word.format(image=image, source=source) for word in command])
    finally:
        shutil.rmtree(source)


def _fill_everything(longest: int, flags: str) -> Callable[[bytes], None]:
    def fill(top: bytes) -> None:
        odd_things.fill_plainly(top)
        odd_things.fill_as_unix(top)
        odd_things.fill_oddly(top)
        odd_things.fill_xattrs(top, longest)
        odd_things.fill_flags(top, flags)

    return fill


def make_ext4(image: str) -> None:
    make_empty(image, 128, 'mkfs.ext4', '-q', '-b', '4096', '-L', 'EXT')
    _fill('ext4', image, _fill_everything(3000, 'iadAS'))


def make_xfs(image: str) -> None:
    make_empty(image, 320, 'mkfs.xfs', '-q', '-L', 'XFS')
    _fill('xfs', image, _fill_everything(odd_things.LONG_VALUE_BYTES, 'iadAS'))


def make_empty_btrfs(image: str) -> None:
    make_empty(image, 200, 'mkfs.btrfs', '-q', '-L', 'BTRFS')


def make_btrfs(image: str) -> None:
    make_empty_btrfs(image)

    def fill(top: bytes) -> None:
        _fill_everything(12_000, 'iadASC')(top)
        run('btrfs', 'subvolume', 'create', os.path.join(top, b'subvolume'))
        odd_things.write(os.path.join(top, b'subvolume', b'inside'), b'in a subvolume\n')

    _fill('btrfs', image, fill)


def make_squashfs(image: str) -> None:
    def fill(top: bytes) -> None:
        odd_things.fill_plainly(top)
        odd_things.fill_as_unix(top)
        odd_things.fill_oddly(top)
        os.unlink(os.path.join(top, b'zeros'))  # squashfs shows them as a hole, and as blocks in use
        odd_things.fill_xattrs(top, 3000)

    _from_directory(image, fill, 'mksquashfs', '{source}', '{image}', '-quiet', '-no-progress', '-xattrs')


def make_empty_ntfs(image: str) -> None:
    make_empty(image, 160, 'mkntfs', '-F', '-q', '-L', 'NTFS')


def make_ntfs(image: str) -> None:
    make_empty_ntfs(image)

    def fill(top: bytes) -> None:
        odd_things.fill_plainly(top)
        odd_things.fill_as_unix(top)
        odd_things.fill_sparsely(top)
        fill_as_windows(top)
        os.utime(os.path.join(top, b'before 1970'), (0, -2))  # of earlier times, ntfs-3g shows whole seconds only

    _fill('ntfs-3g', image, fill)


def fill_as_windows(top: bytes) -> None:
    """What NTFS alone has: streams, attributes, times of creation, short names, access control lists and more."""
    path = lambda *parts: os.path.join(top, *parts)
    os.mkdir(path(b'windows'))
    for name in (b'streams', b'hidden', b'created', b'Long file name.text', b'listed', b'identified', b'extended'):
        odd_things.write(path(b'windows', name), name)
    for name in (JUNCTION, JUNCTION_HERE):
        os.mkdir(path(b'windows', name))
    os.mkdir(path(b'windows', b'attributes'))
    os.setxattr(path(b'windows', b'streams'), 'user.stream1', b'in another stream')
    os.setxattr(path(b'windows', b'streams'), 'user.Zone.Identifier', b'[ZoneTransfer]\r\nZoneId=3\r\n')
    os.setxattr(path(b'windows', b'streams'), 'user.long', odd_things.noise(odd_things.LONG_VALUE_BYTES, b'stream'))
    os.setxattr(path(b'windows'), 'user.of.directory', b'dir')
    os.setxattr(path(b'windows', b'Long file name.text'), 'system.ntfs_dos_name', b'LONGFI~1.TEX')
    acl = get_xattr(path(b'modes', b'4755'), 'system.ntfs_acl')  # that of another owner
    os.setxattr(path(b'windows', b'listed'), 'system.ntfs_acl', acl)
    os.setxattr(path(b'windows', b'identified'), 'system.ntfs_object_id', bytes(range(16)))
    os.setxattr(path(b'windows', b'extended'), 'system.ntfs_ea', ntfs_ea(b'COMMENT', b'an attribute of OS/2'))
    os.setxattr(path(b'windows', JUNCTION), 'system.ntfs_reparse_data', ntfs_junction('D:\\Data'))
    os.setxattr(path(b'windows', JUNCTION_HERE), 'system.ntfs_reparse_data', ntfs_junction('C:\\links'))
    os.setxattr(path(b'windows', b'created'), 'system.ntfs_crtime_be', bytes.fromhex('01c000000000abcd'))
    os.setxattr(path(b'windows', b'attributes'), 'system.ntfs_attrib_be', bytes.fromhex('00000006'))
    os.setxattr(path(b'windows', b'hidden'), 'system.ntfs_attrib_be', bytes.fromhex('00000027'))


def ntfs_ea(name: bytes, value: bytes) -> bytes:
    """FILE_FULL_EA_INFORMATION: offset of the next, flags, lengths, name, NUL, value, to a multiple of four."""
    data = struct.pack('<IBBH', 0, 0, len(name), len(value)) + name + b'\0' + value
    data += bytes(-len(data) % 4)
    return struct.pack('<I', len(data)) + data[4:]


def ntfs_junction(target: str) -> bytes:
    """REPARSE_DATA_BUFFER of a mount point: tag, length, where the two names lie, the names."""
    name, shown = ('\\??\\' + target).encode('utf-16-le'), target.encode('utf-16-le')
    names = name + b'\0\0' + shown + b'\0\0'
    offsets = struct.pack('<4H', 0, len(name), len(name) + 2, len(shown))
    return struct.pack('<IHH', 0xA0000003, len(offsets) + len(names), 0) + offsets + names


def make_exfat(image: str) -> None:
    make_empty(image, 40, 'mkfs.exfat', '-L', 'EXFAT')
    _fill('exfat-fuse', image, odd_things.fill_plainly)


def make_iso(image: str) -> None:
    def fill(top: bytes) -> None:
        odd_things.fill_plainly(top)
        odd_things.fill_as_unix(top)
        os.unlink(os.path.join(top, b'after 2038'))  # fuseiso takes years after 2027 for those before 1900

    flags = ['-quiet', '-input-charset', 'utf-8', '-allow-leading-dots', '-R', '-D', '-V', 'ISO']
    _from_directory(image, fill, 'genisoimage', *flags, '-o', '{image}', '{source}')


def make_ext2(image: str) -> None:
    make_empty(image, 64, 'mkfs.ext4', '-q', '-b', '4096', '-O', '^has_journal', '-L', 'EXT')
    _fill('ext4', image, _fill_everything(3000, 'iadAS'))


def make_fat(image: str) -> None:
    make_empty(image, 40, 'mkfs.vfat', '-F', '32', '-n', 'FAT', '-i', '1234ABCD')
    source = image + '.source'
    os.mkdir(source)
    odd_things.write(os.fsencode(source) + b'/README.TXT', b'read me\n')
    odd_things.write(os.fsencode(source) + b'/Long file name.text', b'long\n')
    for name in ('README.TXT', 'Long file name.text'):
        os.utime(f'{source}/{name}', (1_353_624_000, 1_353_624_000))  # fusefat shows one a month later
        run('mcopy', '-i', image, '-m', f'{source}/{name}', f'::/{name}')
    run('mmd', '-i', image, '::/SUB')
    run('mcopy', '-i', image, '-m', f'{source}/README.TXT', '::/SUB/HIDDEN.SYS')
    run('mattrib', '-i', image, '+h', '+s', '+r', '::/SUB/HIDDEN.SYS')
    shutil.rmtree(source)


_KERNEL = ['mount', '-o', 'loop,{access}', '{image}', '{point}']
_NTFS = ['ntfs-3g', '-o', 'no_detach,{access},streams_interface=xattr,permissions', '{image}', '{point}']
_EXFAT = ['mount.exfat-fuse', '-o', '{access}', '{device}', '{point}']
_FUSE2FS = ['fuse2fs', '-f', '-o', '{access},fakeroot', '{image}', '{point}']
_FUSEISO = ['fuseiso', '-n', '{image}', '{point}', '-f', '-o', 'fsname={image}']
_FUSEFAT = ['fusefat', '-f', '-o', '{access},fsname={image}', '{image}', '{point}']
DRIVES = [
    Drive('ext4', ['mkfs.ext4'], make_ext4, _KERNEL),
    Drive('xfs', ['mkfs.xfs'], make_xfs, _KERNEL),
    Drive('btrfs', ['mkfs.btrfs'], make_btrfs, _KERNEL, make_empty=make_empty_btrfs),
    Drive('squashfs', ['mksquashfs'], make_squashfs, _KERNEL),
    Drive('fuse2fs', ['fuse2fs', 'mkfs.ext4'], make_ext2, _FUSE2FS, is_daemon=True),
    Drive('ntfs-3g', ['ntfs-3g', 'mkntfs'], make_ntfs, _NTFS, is_daemon=True, make_empty=make_empty_ntfs),
    Drive('exfat-fuse', ['mount.exfat-fuse', 'mkfs.exfat'], make_exfat, _EXFAT, needs_device=True),
    Drive('fuseiso', ['fuseiso', 'genisoimage'], make_iso, _FUSEISO, is_daemon=True),
    Drive('fusefat', ['fusefat', 'mkfs.vfat', 'mcopy', 'mattrib'], make_fat, _FUSEFAT, is_daemon=True),
]
BY_NAME = {drive.name: drive for drive in DRIVES}
