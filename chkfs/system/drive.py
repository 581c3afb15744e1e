"""What a filesystem lies on: its UUID and label, and the drives below it, as the system tells them.

Told by sysfs, the database of udev, /dev/disk and ioctls; blkid(8), which reads the drive itself, is asked only when
all of these are silent.  What nobody tells is absent.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterable
from typing import NamedTuple

from chkfs.text import quote

_UDEV, _SYS, _DISKS, _PROC = '/run/udev/data', '/sys/dev/block', '/dev/disk', '/proc'
_BLKID_SECONDS = 3
_NO_UUID = frozenset('squashfs cramfs romfs'.split())  # nothing to ask blkid for
_GET_UUID, _GET_LABEL, _GET_FAT_SERIAL = 0x80111500, 0x81009431, 0x80047213  # linux/fs.h, linux/msdos_fs.h
_ENVIRONMENT = {'PATH': '/usr/sbin:/sbin:/usr/bin:/bin', 'LC_ALL': 'C'}  # sbin is not always on the user's path
_SECTOR = 512  # what sysfs counts sizes in, whatever the drive's own sectors are


class Volume(NamedTuple):
    """What a filesystem calls itself; '' when nobody tells."""

    uuid: str = ''
    label: bytes = b''


class Drive(NamedTuple):
    """A drive, or an image file in its place.  size in bytes, -1 when unknown; '' or b'' for what nobody tells."""

    device: bytes
    model: bytes = b''
    serial: bytes = b''
    wwn: bytes = b''
    bus: str = ''
    size: int = -1
    sector: int = 0
    is_removable: bool = False
    backing: bytes = b''  # the file of a loop device
    offset: int = 0  # in that file
    table: str = ''  # JSON, as "partitiontable" of sfdisk -J

    def line(self) -> str:
        """The value of a snapshot's drive line."""
        pairs = [
            ('device', quote.quote(self.device)),
            ('model', quote.quote(self.model)),
            ('serial', quote.quote(self.serial)),
            ('wwn', quote.quote(self.wwn)),
            ('bus', self.bus),
            ('size', str(self.size) if self.size >= 0 else ''),
            ('sector', str(self.sector or '')),
            ('removable', 'yes' if self.is_removable else ''),
            ('backing', quote.quote(self.backing)),
            ('offset', str(self.offset or '')),
            ('table', quote.quote(self.table.encode())),
        ]
        return ' '.join(f'{name}={text}' for name, text in pairs if text)


def is_device(source: str) -> bool:
    """Whether a mount's source is a block device."""
    try:
        return stat.S_ISBLK(os.stat(source).st_mode)
    except (OSError, ValueError):
        return False


def is_image(source: str) -> bool:
    """Whether it is a file, as FUSE drivers can mount it."""
    try:
        return os.path.isabs(source) and stat.S_ISREG(os.stat(source).st_mode)
    except (OSError, ValueError):
        return False


def served_from(connection: int, point: bytes) -> str:
    """The file or device that the server of a FUSE filesystem holds open; '' when that cannot be told for sure.

    connection is the minor number of the filesystem's device, point where it is mounted.  Kernels before 6.17 do not
    tell the connection of a server; there the words it was started with must name the mount point.
    """
    found = set()
    for name in _names(_PROC):
        if not name.isdigit():
            continue
        targets = _open_files(f'{_PROC}/{name}/fd')
        numbers = [number for number, target in targets.items() if target == '/dev/fuse']
        if numbers and _serves(f'{_PROC}/{name}', numbers, connection, point):
            found |= {target for target in targets.values() if is_image(target) or is_device(target)}
    return found.pop() if len(found) == 1 else ''


def _serves(process: str, numbers: list[str], connection: int, point: bytes) -> bool:
    told = [line for number in numbers for line in _read(f'{process}/fdinfo', number).split(b'\n')]
    connections = [line.split()[1] for line in told if re.fullmatch(rb'fuse_connection:\s*[0-9]+', line)]
    if connections:
        return b'%d' % connection in connections
    words = _read(process, 'cmdline').split(b'\0')
    return any(word and (word == point or point.endswith(b'/' + word.strip(b'./'))) for word in words[1:])


def _open_files(directory: str) -> dict[str, str]:
    """Number to name of what a process has open; nothing for somebody else's."""
    found = {}
    for number in _names(directory):
        try:
            found[number] = os.readlink(f'{directory}/{number}')
        except OSError:
            pass
    return found


def volume(source: str, type: str, fd: int) -> Volume:
    """UUID and label of the filesystem that source holds and that fd, a directory on it, is on."""
    if type == 'tmpfs':
        return Volume(_uuid(fd)[0])  # a new one at each mount, and so are its inodes
    if not is_device(source):
        return _ask_blkid(source) if is_image(source) and type not in _NO_UUID else Volume()
    number = os.stat(source).st_rdev
    told = _udev(number)
    uuid = told.get('ID_FS_UUID') or _link('by-uuid', number)
    label = _decode(told.get('ID_FS_LABEL_ENC') or _link('by-label', number))
    answers = uuid or label
    if not uuid:
        uuid, answers = _uuid(fd)
    if not label:
        label = _ioctl(fd, _GET_LABEL, 256).partition(b'\0')[0]
    if not answers and type not in _NO_UUID:
        asked = _ask_blkid(source)
        return Volume(uuid or asked.uuid, label or asked.label)
    return Volume(uuid, label)


def drives(source: str) -> list[Drive]:
    """The drives below a device: one as a rule, several below a RAID; or the image file that source is."""
    if is_image(source):
        return [Drive(os.fsencode(source), size=os.stat(source).st_size)]
    if not is_device(source):
        return []
    return [_drive(path) for path in _disks(os.stat(source).st_rdev)]


def mark(source: str, found: Iterable[Drive]) -> str:
    """What tells a device from a copy of it: serial numbers, and where on the drive; '' if nobody tells.

    found: its drives.
    """
    if is_image(source):
        return f'file={source}'
    if not is_device(source):
        return ''
    number = os.stat(source).st_rdev
    path = _sys_path(number)
    start = _read(path, 'start').decode('ascii', 'replace')
    mapped = _read(path, 'dm/uuid').decode('utf-8', 'surrogateescape')
    parts = []
    for each in found:
        if each.backing:
            parts.append(f'file={os.fsdecode(each.backing)}+{each.offset}')
        elif each.serial or each.wwn:
            parts.append(f'serial={os.fsdecode(each.serial or each.wwn)}')
    return ','.join([*([mapped] if mapped else sorted(parts)), *([start] if start and parts else [])])


def image_of(source: str, found: Iterable[Drive]) -> str:
    """The file that source, whose drives are found, takes its bytes from; '' when there is none that can be seen."""
    names = [source, *(os.fsdecode(each.backing) for each in found)]
    return next((name for name in names if is_image(name)), '')


def first_bytes(source: str, size: int) -> bytes:
    """The beginning of a device or image, b'' for who may not read it."""
    if not (is_device(source) or is_image(source)):
        return b''
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(fd, size)
        finally:
            os.close(fd)
    except OSError:
        return b''


def _drive(path: str) -> Drive:
    """The drive whose directory in sysfs that is."""
    name = os.path.basename(path).replace('!', '/')
    number = _number(_read(path, 'dev'))
    told = _udev(number) if number else {}
    usb = _usb(path)
    model = _decode(told.get('ID_MODEL_ENC', '')) or _read(path, 'device/model') or _read(path, 'device/name')
    serial = told.get('ID_SERIAL_SHORT', '').encode() or _read(path, 'device/serial') or _read(path, 'serial')
    return Drive(
        device=os.fsencode(f'/dev/{name}'),
        model=(model or _read(usb, 'product')).strip(),
        serial=(serial or _page_80(path) or _read(usb, 'serial')).strip(),
        wwn=(told.get('ID_WWN', '').encode() or _read(path, 'device/wwid') or _read(path, 'wwid')).strip(),
        bus=re.sub('[^a-z0-9-]', '', told.get('ID_BUS') or ('usb' if usb else '')),
        size=_count(_read(path, 'size'), -1, _SECTOR),
        sector=_count(_read(path, 'queue/logical_block_size'), 0),
        is_removable=_read(path, 'removable') == b'1',
        backing=_read(path, 'loop/backing_file'),
        offset=_count(_read(path, 'loop/offset'), 0),
        table=_table(path, told),
    )


def _table(path: str, told: dict[str, str]) -> str:
    """The partitions of a drive, '' when it has none; sizes in sectors of 512 bytes."""
    partitions = []
    for name in _names(path):
        inside = f'{path}/{name}'
        if not name.startswith(os.path.basename(path)) or not _read(inside, 'partition'):
            continue
        number = _number(_read(inside, 'dev'))
        more = _udev(number) if number else {}
        entry: dict[str, str | int] = {'node': f'/dev/{name}'}
        entry.update(start=_count(_read(inside, 'start'), 0), size=_count(_read(inside, 'size'), 0))
        for word, key in (('type', 'TYPE'), ('uuid', 'UUID'), ('name', 'NAME'), ('attrs', 'FLAGS')):
            if more.get(f'ID_PART_ENTRY_{key}'):
                entry[word] = more[f'ID_PART_ENTRY_{key}']
        partitions.append((entry['start'], entry))
    table: dict[str, object] = {}
    for word, key in (('label', 'TYPE'), ('id', 'UUID')):
        if told.get(f'ID_PART_TABLE_{key}'):
            table[word] = told[f'ID_PART_TABLE_{key}']
    if not table and not partitions:
        return ''
    import json

    table.update(unit='sectors', sectorsize=_SECTOR)
    table['partitions'] = [entry for _, entry in sorted(partitions, key=lambda pair: pair[0])]
    return json.dumps(table, separators=(',', ':'))


def _disks(number: int) -> list[str]:
    """The directories in sysfs of the drives that a device lies on, through partitions, LVM, RAID and encryption."""
    found, waiting, seen = [], [_sys_path(number)], set()
    while waiting:
        path = waiting.pop()
        if not path or path in seen:
            continue
        seen.add(path)
        if _read(path, 'partition'):
            path = os.path.dirname(path)
        below = [os.path.realpath(f'{path}/slaves/{name}') for name in _names(f'{path}/slaves')]
        if below:
            waiting += below
        elif path not in found:
            found.append(path)
    return sorted(found)


def _sys_path(number: int) -> str:
    path = f'{_SYS}/{os.major(number)}:{os.minor(number)}'
    return os.path.realpath(path) if os.path.exists(path) else ''


def _usb(path: str) -> str:
    """The directory in sysfs of the USB device that a drive is in, '' for others."""
    here = os.path.realpath(f'{path}/device')
    while '/usb' in here:
        if os.path.exists(f'{here}/idVendor'):
            return here
        here = os.path.dirname(here)
    return ''


def _page_80(path: str) -> bytes:
    """The serial number as a SCSI drive tells it: four bytes of head, then text."""
    return _read(path, 'device/vpd_pg80')[4:].strip(b'\0 ')


def _udev(number: int) -> dict[str, str]:
    """What the database of udev has on a block device."""
    data = _read(_UDEV, f'b{os.major(number)}:{os.minor(number)}').decode('utf-8', 'surrogateescape')
    return dict(line[2:].split('=', 1) for line in data.split('\n') if line.startswith('E:') and '=' in line)


def _link(directory: str, number: int) -> str:
    """The name under which /dev/disk has a device."""
    for name in _names(f'{_DISKS}/{directory}'):
        try:
            if os.stat(f'{_DISKS}/{directory}/{name}').st_rdev == number:
                return name
        except OSError:
            pass
    return ''


def _uuid(fd: int) -> tuple[str, bool]:
    """(UUID as blkid writes it, whether the filesystem tells all: of FAT the kernel knows no label)."""
    answer = _ioctl(fd, _GET_UUID, 17)
    if answer and answer[0] in (4, 8, 16):
        raw = answer[1 : 1 + answer[0]]
        return (_format_uuid(raw) if any(raw) else ''), len(raw) > 4
    serial = _ioctl(fd, _GET_FAT_SERIAL, 4)
    return (_format_uuid(serial) if any(serial) else ''), False


def _format_uuid(raw: bytes) -> str:
    if len(raw) == 16:
        text = raw.hex()
        return '-'.join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    text = raw[::-1].hex().upper()  # FAT's serial of 4 bytes and NTFS's of 8 begin with the lowest
    return f'{text[:4]}-{text[4:]}' if len(raw) == 4 else text


def _ioctl(fd: int, request: int, size: int) -> bytes:
    answer = bytearray(size)
    try:
        fcntl.ioctl(fd, request, answer)
    except OSError:
        return b''
    return bytes(answer)


def _ask_blkid(source: str) -> Volume:
    """From blkid -p, which looks at the beginning of a device or file."""
    import subprocess

    try:
        process = subprocess.Popen(
            ['blkid', '-p', '-o', 'udev', '--', source],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_ENVIRONMENT,
        )  # fmt: skip
    except OSError:
        return Volume()
    try:
        answer = process.communicate(timeout=_BLKID_SECONDS)[0].decode('utf-8', 'surrogateescape')
    except subprocess.TimeoutExpired:
        process.kill()  # and not waited for: what a dying drive holds back cannot even be killed
        return Volume()
    told = dict(line.split('=', 1) for line in answer.split('\n') if '=' in line)
    return Volume(told.get('ID_FS_UUID', ''), _decode(told.get('ID_FS_LABEL_ENC', '')))


def _decode(text: str) -> bytes:
    """A text of udev's, in which bytes may stand as \\x20."""
    return re.sub(rb'\\x([0-9a-fA-F]{2})', lambda match: bytes((int(match[1], 16),)), os.fsencode(text)).strip()


def _read(directory: str, name: str) -> bytes:
    """A short file's contents without the newline, b'' when there is none; vpd_pg80 is binary."""
    if not directory:
        return b''
    try:
        with open(f'{directory}/{name}', 'rb') as file:
            return file.read().removesuffix(b'\n')
    except (OSError, ValueError):
        return b''


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _number(text: bytes) -> int:
    """A device number of a text like 8:0, 0 for none."""
    match = re.fullmatch(rb'([0-9]+):([0-9]+)', text)
    return os.makedev(int(match[1]), int(match[2])) if match else 0


def _count(text: bytes, otherwise: int, unit: int = 1) -> int:
    return int(text) * unit if text.isdigit() else otherwise
