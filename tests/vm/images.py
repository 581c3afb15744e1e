"""The disks of old that are tried: how each is made on the host, and how the machine mounts it."""

import os
import shutil
import subprocess
from typing import NamedTuple

import oddities


class Image(NamedTuple):
    """driver: of the kernel, and the type to mount; make: a command, {image} and {source} being filled in.

    is_from_source: the image is made of a directory; others are made empty, and filled in the machine by their driver.
    problems: patterns of all that chkfs-backup has to say.  damage: a function of harm.py.
    """

    driver: str
    size: int  # MiB
    make: list[str]
    options: str = 'ro'
    is_from_source: bool = False
    problems: tuple[str, ...] = ()
    damage: str = ''


_ISO = ['genisoimage', '-quiet', '-V', 'OLDDISC', '-o', '{image}']
IMAGES = {
    'vfat': Image('vfat', 40, ['mkfs.vfat', '-F', '32', '-n', 'OLDDISK', '-i', '1234ABCD', '{image}']),
    'vfat-latin1': Image('vfat', 16, ['mkfs.vfat', '-F', '16', '{image}'], 'ro,utf8=0,iocharset=iso8859-1'),
    'msdos': Image('msdos', 2, ['mkfs.vfat', '-F', '12', '-n', 'FLOPPY', '{image}']),
    'exfat': Image('exfat', 32, ['mkfs.exfat', '-L', 'OLDDISK', '{image}']),
    'exfat-latin1': Image(
        'exfat',
        32,
        ['mkfs.exfat', '{image}'],
        'ro,iocharset=iso8859-1',
        problems=(
            "'___' .* more than once",
            "'_' .* not found by that name",
            "'e_ apart.txt' .* not found by that name",
        ),
    ),
    'vfat-loop': Image(
        *('vfat', 16, ['mkfs.vfat', '-F', '16', '{image}']),
        problems=("'Folder/Inner/Inner' cannot be read: Too many levels",),
        damage='loop',
    ),
    'ntfs3-showmeta': Image(
        *('ntfs3', 32, ['mkntfs', '-F', '-q', '-Q', '{image}'], 'ro,showmeta'),
        problems=(r"'\$Boot' cannot be read", *(rf"'\$Extend/\${name}' .*" for name in ('ObjId', 'Quota', 'Reparse'))),
    ),
    'ntfs3': Image('ntfs3', 32, ['mkntfs', '-F', '-q', '-Q', '-L', 'OLDDISK', '{image}']),
    'iso9660': Image('iso9660', 0, [*_ISO, '-R', '-cache-inodes', '{source}'], is_from_source=True),
    'iso9660-joliet': Image(
        'iso9660', 0, [*_ISO, '-J', '-joliet-long', '-input-charset', 'utf-8', '{source}'], 'ro,norock', True
    ),
    'udf': Image('udf', 32, ['mkudffs', '--utf8', '--label=OLDDISC', '{image}']),
    'hfs': Image('hfs', 16, ['hformat', '-l', 'OLDDISK', '{image}']),
    'hfsplus': Image('hfsplus', 32, ['mkfs.hfsplus', '-v', 'OLDDISK', '{image}']),
    'hfsx': Image('hfsplus', 32, ['mkfs.hfsplus', '-s', '-v', 'OLDDISK', '{image}']),
}
NLS = ('nls_cp437', 'nls_ascii', 'nls_utf8', 'nls_iso8859_1')


def module(image: Image) -> str:
    """Of the kernel, that has the driver."""
    return {'iso9660': 'isofs'}.get(image.driver, image.driver)


def find(program: str, *directories: str) -> str | None:
    """The path of a program, which may be one of those that only root needs."""
    return shutil.which(program, path=':'.join((os.environ['PATH'], '/usr/sbin', '/sbin', *directories)))


def source_of(name: str, scratch: str) -> str:
    """The directory that an image was made of."""
    return os.path.join(scratch, f'{name}.source')


def make(name: str, scratch: str, kernel: str) -> str:
    """The path of a new image.  Raises FileNotFoundError when there is no program to make it with."""
    image, path, source = IMAGES[name], os.path.join(scratch, f'{name}.img'), source_of(name, scratch)
    command = [find(image.make[0], kernel), *image.make[1:]]
    if command[0] is None:
        raise FileNotFoundError(f'there is no {image.make[0]}')
    if image.is_from_source:
        os.mkdir(source)
        oddities.fill(os.fsencode(source), image.driver)
        if 'utf-8' in command:
            _keep_names_of_ucs2(source)
    else:
        with open(path, 'wb') as file:
            file.truncate(image.size << 20)
    environment = {**os.environ, 'HOME': scratch}  # hformat leaves a file there
    said = subprocess.run(
        [part.format(image=path, source=source) for part in command], env=environment, capture_output=True, text=True
    )
    assert said.returncode == 0, f'{command[0]}: {said.stdout}{said.stderr}'
    return path


def _keep_names_of_ucs2(source: str) -> None:
    """Removes the names at which genisoimage would stop when it makes those of Joliet."""
    for name in os.listdir(source):
        if any(letter > '\uffff' or '\ud800' <= letter <= '\udfff' for letter in name):
            os.unlink(os.path.join(source, name))
