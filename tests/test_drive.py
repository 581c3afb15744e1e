"""drive: what lies below a filesystem, as sysfs, udev, ioctls and blkid tell."""

import json
import os
import shutil
import subprocess

import pytest

from chkfs.system import drive


@pytest.fixture
def system(tmp_path, monkeypatch):
    """system({path: contents}) makes a sysfs (sys/...), a database of udev (udev/...) and links in it."""
    for name in ('_SYS', '_UDEV', '_DISKS'):
        monkeypatch.setattr(drive, name, str(tmp_path / name))
    monkeypatch.setattr(drive, '_ask_blkid', lambda source: pytest.fail('blkid was asked'))

    def make(files, links=()):
        for path, contents in files.items():
            whole = tmp_path / path
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        for path, target in links:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).symlink_to(tmp_path / target)

    return make


@pytest.fixture
def device(monkeypatch):
    """device('/dev/x', 8, 1) makes that a block device."""
    numbers = {}
    real = os.stat

    def stat(path, *args, **options):
        if path in numbers:
            return os.stat_result([0o60660, 0, 0, 1, 0, 0, 0, 0, 0, 0], {'st_rdev': numbers[path]})
        return real(path, *args, **options)

    monkeypatch.setattr(os, 'stat', stat)
    return lambda path, major, minor: numbers.update({path: os.makedev(major, minor)})


STICK = 'devices/pci0/usb1/1-2'
SDA = f'{STICK}/host0/block/sda'
USB_STICK = {
    f'{STICK}/idVendor': '0781\n',
    f'{STICK}/serial': '4C53\n',
    f'{STICK}/product': 'Ultra Fit\n',
    f'{SDA}/dev': '8:0\n',
    f'{SDA}/size': '1000\n',
    f'{SDA}/removable': '1\n',
    f'{SDA}/queue/logical_block_size': '512\n',
    f'{SDA}/sda1/partition': '1\n',
    f'{SDA}/sda1/dev': '8:1\n',
    f'{SDA}/sda1/start': '63\n',
    f'{SDA}/sda1/size': '900\n',
}
LINKS = [
    ('_SYS/8:0', SDA),
    ('_SYS/8:1', f'{SDA}/sda1'),
    (f'{SDA}/device', f'{STICK}/host0'),
]


def test_a_stick_is_told_by_sysfs_alone(system, device):
    system(USB_STICK, LINKS)
    device('/dev/sda1', 8, 1)
    (found,) = drive.drives('/dev/sda1')
    assert found._replace(table='') == drive.Drive(
        b'/dev/sda', b'Ultra Fit', b'4C53', b'', 'usb', 512_000, 512, is_removable=True
    )
    assert json.loads(found.table) == {
        'unit': 'sectors',
        'sectorsize': 512,
        'partitions': [{'node': '/dev/sda1', 'start': 63, 'size': 900}],
    }
    assert drive.mark('/dev/sda1', [found]) == 'serial=4C53,63'


UDEV = {
    '_UDEV/b8:0': 'S:x\nE:ID_MODEL_ENC=Ultra\\x20Fit\\x20\nE:ID_SERIAL_SHORT=ABC\nE:ID_WWN=0x5000\nE:ID_BUS=usb\n'
    'E:ID_PART_TABLE_TYPE=gpt\nE:ID_PART_TABLE_UUID=t-id\n',
    '_UDEV/b8:1': 'E:ID_FS_UUID=1234-ABCD\nE:ID_FS_LABEL_ENC=MY\\x20DISK\nE:ID_PART_ENTRY_TYPE=0c\n'
    'E:ID_PART_ENTRY_UUID=p-id\nE:ID_PART_ENTRY_NAME=one\n',
}


def test_udev_tells_more(system, device):
    system(USB_STICK | UDEV, LINKS)
    device('/dev/sda1', 8, 1)
    (found,) = drive.drives('/dev/sda1')
    assert (found.model, found.serial, found.wwn, found.bus) == (b'Ultra Fit', b'ABC', b'0x5000', 'usb')
    table = json.loads(found.table)
    assert (table['label'], table['id']) == ('gpt', 't-id')
    assert table['partitions'] == [
        {'node': '/dev/sda1', 'start': 63, 'size': 900, 'type': '0c', 'uuid': 'p-id', 'name': 'one'}
    ]
    assert drive.volume('/dev/sda1', 'vfat', -1) == drive.Volume('1234-ABCD', b'MY DISK')


def test_names_in_dev_disk_do_too(system, device, tmp_path, monkeypatch):
    system(USB_STICK, LINKS)
    device('/dev/sda1', 8, 1)
    for kind, name in (('by-uuid', '1234-ABCD'), ('by-label', 'MY\\x20DISK')):
        system({f'_DISKS/{kind}/{name}': '', f'_DISKS/{kind}/other': ''})
        device(str(tmp_path / '_DISKS' / kind / name), 8, 1)
    assert drive.volume('/dev/sda1', 'vfat', -1) == drive.Volume('1234-ABCD', b'MY DISK')


def test_a_mapped_device_lies_on_all_the_drives_below_it(system, device):
    files = {'dm/dm/uuid': 'LVM-abc\n', 'dm/dev': '253:0\n', 'dm/slaves/none': ''}
    for name, number in (('sdb', 16), ('sdc', 32)):
        files |= {f'{name}/dev': f'8:{number}\n', f'{name}/size': '8\n', f'{name}/device/serial': f'{name}-s\n'}
        files |= {f'{name}/{name}1/partition': '1\n', f'{name}/{name}1/dev': f'8:{number + 1}\n'}
    system(files, [('_SYS/253:0', 'dm'), ('dm/slaves/sdb1', 'sdb/sdb1'), ('dm/slaves/sdc1', 'sdc/sdc1')])
    os.unlink(os.path.join(os.path.dirname(drive._SYS), 'dm/slaves/none'))
    device('/dev/mapper/x', 253, 0)
    found = drive.drives('/dev/mapper/x')
    assert [(each.device, each.serial) for each in found] == [(b'/dev/sdb', b'sdb-s'), (b'/dev/sdc', b'sdc-s')]
    assert drive.mark('/dev/mapper/x', found) == 'LVM-abc'


def test_two_partitions_of_one_drive_have_two_marks(system, device):
    system(USB_STICK | {f'{SDA}/sda2/partition': '2\n', f'{SDA}/sda2/start': '963\n'}, LINKS)
    system({}, [('_SYS/8:2', f'{SDA}/sda2')])
    device('/dev/sda1', 8, 1)
    device('/dev/sda2', 8, 2)
    marks = {drive.mark(name, drive.drives(name)) for name in ('/dev/sda1', '/dev/sda2')}
    assert marks == {'serial=4C53,63', 'serial=4C53,963'}


def test_a_loop_device_tells_its_file(system, device):
    system({'loop0/dev': '7:0\n', 'loop0/loop/backing_file': '/a b.img\n', 'loop0/loop/offset': '1048576\n'})
    system({'loop0/size': '8\n'}, [('_SYS/7:0', 'loop0')])
    device('/dev/loop0', 7, 0)
    (found,) = drive.drives('/dev/loop0')
    assert (found.backing, found.offset) == (b'/a b.img', 1048576)
    assert drive.mark('/dev/loop0', [found]) == 'file=/a b.img+1048576'
    assert found.line() == 'device=/dev/loop0 size=4096 backing=/a\\040b.img offset=1048576'


def test_an_image_file_is_a_drive_of_its_size(tmp_path):
    image = tmp_path / 'e.img'
    image.write_bytes(bytes(4096))
    assert drive.drives(str(image)) == [drive.Drive(os.fsencode(image), size=4096)]
    assert drive.mark(str(image), []) == f'file={image}'


@pytest.mark.parametrize('source', ['none', 'tmpfs', 'host:/dir', '/nowhere', '', '/dev\0', '/'])
def test_what_is_no_device_tells_nothing(source):
    assert drive.drives(source) == [] and drive.mark(source, []) == ''
    assert drive.volume(source, 'any', -1) == drive.Volume()
    assert drive.first_bytes(source, 9) == b''


def test_a_line_leaves_out_what_is_not_known():
    assert drive.Drive(b'/dev/sda').line() == 'device=/dev/sda'
    whole = drive.Drive(b'/dev/sda', b'A B', b'1=2', b'eui.0', 'ata', 512, 512, True, table='{"a":[]}')
    assert whole.line() == (
        'device=/dev/sda model=A\\040B serial=1\\0752 wwn=eui.0 bus=ata size=512 sector=512 removable=yes'
        ' table={"a":\\133]}'
    )


@pytest.mark.parametrize(
    'raw, text',
    [
        (bytes(range(16)), '00010203-0405-0607-0809-0a0b0c0d0e0f'),
        (b'\xcd\xab\x34\x12', '1234-ABCD'),
        (bytes.fromhex('5D0EA32494A3C172'), '72C1A39424A30E5D'),
    ],
)
def test_a_uuid_is_written_as_blkid_writes_it(raw, text):
    assert drive._format_uuid(raw) == text


@pytest.mark.skipif(not shutil.which('mkfs.ext4') or not shutil.which('blkid'), reason='needs mkfs.ext4 and blkid')
def test_blkid_tells_of_an_image(tmp_path):
    image = str(tmp_path / 'e.img')
    with open(image, 'wb') as file:
        file.truncate(1 << 20)
    subprocess.run(['mkfs.ext4', '-q', '-L', 'my label', image], check=True, stderr=subprocess.DEVNULL)
    wanted = subprocess.run(['blkid', '-p', '-o', 'value', '-s', 'UUID', image], capture_output=True, text=True)
    assert drive.volume(image, 'fuse.ext4', -1) == drive.Volume(wanted.stdout.strip(), b'my label')


@pytest.mark.parametrize('answers', [{4: b'\xcd\xab\x34\x12'}, {17: b'\4\xcd\xab\x34\x12' + bytes(12)}])
def test_of_fat_the_kernel_tells_the_serial_and_blkid_the_label(system, device, monkeypatch, answers):
    system({})
    device('/dev/sdx1', 8, 17)
    monkeypatch.setattr(drive, '_ioctl', lambda fd, request, size: answers.get(size, b''))
    monkeypatch.setattr(drive, '_ask_blkid', lambda source: drive.Volume('', b'OLD DISK'))
    assert drive.volume('/dev/sdx1', 'vfat', -1) == drive.Volume('1234-ABCD', b'OLD DISK')


def test_without_blkid_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, '_ENVIRONMENT', {'PATH': str(tmp_path)})
    image = tmp_path / 'image'
    image.write_bytes(b'x')
    assert drive.volume(str(image), 'fuse', -1) == drive.Volume()


def test_a_blkid_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(drive, '_ENVIRONMENT', {'PATH': str(tmp_path)})
    monkeypatch.setattr(drive, '_BLKID_SECONDS', 0.01)
    script = tmp_path / 'blkid'
    script.write_text('#!/bin/sh\nexec /bin/sleep 60\n')
    script.chmod(0o755)
    image = tmp_path / 'image'
    image.write_bytes(b'x')
    assert drive.volume(str(image), 'fuse', -1) == drive.Volume()


# ---- servers of filesystems in user space ----


@pytest.fixture
def server(tmp_path, monkeypatch):
    """server(pid, [what it has open], connection or None, [its words]) makes a process."""
    monkeypatch.setattr(drive, '_PROC', str(tmp_path / 'proc'))

    def start(pid, targets, connection, words):
        process = tmp_path / 'proc' / str(pid)
        (process / 'fd').mkdir(parents=True)
        (process / 'fdinfo').mkdir()
        for number, target in enumerate(targets):
            (process / 'fd' / str(number)).symlink_to(target)
            told = f'\nfuse_connection:\t{connection}\n' if connection and target == '/dev/fuse' else '\n'
            (process / 'fdinfo' / str(number)).write_text('pos:\t0' + told)
        (process / 'cmdline').write_bytes(b'\0'.join(words) + b'\0')

    return start


@pytest.fixture
def images(tmp_path):
    found = [str(tmp_path / name) for name in ('one.iso', 'two.iso')]
    for path in found:
        with open(path, 'wb') as file:
            file.write(b'x')
    return found


def test_a_server_is_known_by_its_connection(server, images):
    server(1, ['/dev/null', images[0], '/dev/fuse'], 41, [b'fuseiso', b'one.iso', b'm'])
    server(2, ['/dev/fuse', images[1]], 42, [b'fuseiso', b'two.iso', b'm'])
    assert drive.served_from(41, b'/x/m') == images[0]
    assert drive.served_from(42, b'/x/m') == images[1]
    assert drive.served_from(43, b'/x/m') == ''


@pytest.mark.parametrize(
    'words, is_it', [([b'm'], True), ([b'./m'], True), ([b'/x/m'], True), ([b'/y/m'], False), ([b'n'], False)]
)
def test_or_by_the_mount_point_among_its_words(server, images, words, is_it):
    server(1, ['/dev/fuse', images[0]], None, [b'fuseiso', b'one.iso', *words])
    assert drive.served_from(41, b'/x/m') == (images[0] if is_it else '')


def test_two_that_may_be_meant_are_none(server, images):
    for pid, image in enumerate(images):
        server(pid, ['/dev/fuse', image], None, [b'fuseiso', image.encode(), b'm'])
    assert drive.served_from(41, b'/x/m') == ''


def test_a_server_that_holds_two_files_tells_nothing(server, images):
    server(1, ['/dev/fuse', *images], 41, [b'server', b'm'])
    assert drive.served_from(41, b'/x/m') == ''
