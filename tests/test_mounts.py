"""mounts: which filesystem is where, and what each filesystem can be trusted with."""

import io
import os
import subprocess

import pytest

from chkfs.system import drive, mounts

LINE = '36 35 98:0 {root} {point} {options} shared:1 - {type} {source} {super}\n'


@pytest.fixture
def mountinfo(monkeypatch):
    """mountinfo(text, ...) makes /proc/self/mountinfo say that."""

    def set_lines(*lines):
        data = ''.join(lines).encode('utf-8', 'surrogateescape')
        monkeypatch.setattr(mounts, 'open', lambda path, mode: io.BytesIO(data), raising=False)

    return set_lines


def line(point, root='/', type='ext4', source='/dev/none', options='rw,relatime', super='rw,data=ordered'):
    return LINE.format(point=point, root=root, type=type, source=source, options=options, super=super)


def filesystem(path):
    fd = os.open('/', os.O_RDONLY)
    try:
        return mounts.filesystem(path, fd)
    finally:
        os.close(fd)


# ---- which filesystem ----


def test_the_innermost_mount_is_the_one(mountinfo):
    mountinfo(line('/'), line('/a', type='xfs'), line('/a/b', type='vfat'), line('/ab', type='btrfs'))
    kinds = {
        path: filesystem(path).type
        for path in (b'/', b'/x', b'/a', b'/a/x', b'/a/b', b'/a/b/x/y', b'/ab', b'/abc', b'/a/bc')
    }
    assert kinds == {
        b'/': 'ext4',
        b'/x': 'ext4',
        b'/a': 'xfs',
        b'/a/x': 'xfs',
        b'/a/b': 'vfat',
        b'/a/b/x/y': 'vfat',
        b'/ab': 'btrfs',
        b'/abc': 'ext4',
        b'/a/bc': 'xfs',
    }


def test_the_type_alone_is_told_without_asking_the_drive(mountinfo, monkeypatch):
    mountinfo(line('/'), line('/a', type='xfs', source='/dev/sda1'))
    monkeypatch.delattr(mounts, 'drive')
    assert (mounts.type_of(b'/a/x'), mounts.type_of(b'/ab')) == ('xfs', 'ext4')


def test_a_mount_on_top_of_another_hides_it(mountinfo):
    mountinfo(line('/'), line('/a', type='xfs'), line('/a', type='tmpfs'))
    assert filesystem(b'/a/x').type == 'tmpfs'


def test_options_and_source_are_told(mountinfo):
    mountinfo(line('/', options='ro,noatime', super='rw,utf8', source='/dev/sd\\040a'))
    found = filesystem(b'/')
    assert found.options == 'ro,noatime,rw,utf8'
    assert found.mount_point == b'/' and found.root == b'/'


@pytest.mark.parametrize(
    'escaped, raw',
    [('/a\\040b', b'/a b'), ('/a\\134b', b'/a\\b'), ('/a\\012b', b'/a\nb'), ('/Gr\xfc\xdfe', '/Grüße'.encode())],
)
def test_mount_points_of_odd_names_are_recognised(mountinfo, escaped, raw):
    mountinfo(line('/'), line(escaped, type='xfs'))
    assert filesystem(raw + b'/below').type == 'xfs'


def test_a_mount_point_with_a_letter_and_a_space_is_recognised(mountinfo):
    mountinfo(line('/'), line('/Grüne\\040Bilder', type='vfat'))
    assert filesystem('/Grüne Bilder/x'.encode()).type == 'vfat'


def test_a_mount_without_a_source_hides_no_later_one(mountinfo):
    mountinfo(line('/'), line('/odd', type='tmpfs', source=''), line('/later', type='vfat'))
    assert filesystem(b'/later/x').type == 'vfat'


def test_without_proc_there_is_an_answer(monkeypatch):
    def no_proc(path, mode):
        raise FileNotFoundError

    monkeypatch.setattr(mounts, 'open', no_proc, raising=False)
    found = filesystem(b'/any')
    assert (found.type, found.mount_point, found.root) == ('unknown', b'/', b'/')


def test_the_real_root_is_found():
    found = filesystem(b'/')
    assert found.type not in ('unknown', '') and found.mount_point == b'/'
    assert found.identity == filesystem(b'/').identity
    assert found.identity.startswith(found.type + ':')


@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a filesystem')
def test_a_real_mount_is_found(tmp_path):
    point = tmp_path / 'a b'
    point.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m,ro', 'name', point], capture_output=True).returncode:
        pytest.skip('cannot mount here')
    try:
        fd = os.open(point, os.O_RDONLY)
        found = mounts.filesystem(os.fsencode(point), fd)
        os.close(fd)
    finally:
        subprocess.run(['umount', point], check=True)
    assert (found.type, found.device, found.mount_point, found.root) == ('tmpfs', 'name', os.fsencode(point), b'/')
    assert 'ro' in found.options.split(',')
    assert ' access=ro ' in found.mount_line(b'')


@pytest.mark.skipif(os.geteuid() != 0, reason='mounts a filesystem')
def test_the_same_filesystem_has_the_same_identity_wherever_it_is_mounted(tmp_path):
    (tmp_path / 'one').mkdir()
    (tmp_path / 'two').mkdir()
    if subprocess.run(['mount', '--bind', tmp_path / 'one', tmp_path / 'two'], capture_output=True).returncode:
        pytest.skip('cannot mount here')
    try:
        found = []
        for name in ('one', 'two'):
            fd = os.open(tmp_path / name, os.O_RDONLY)
            found.append(mounts.filesystem(os.fsencode(tmp_path / name), fd))
            os.close(fd)
    finally:
        subprocess.run(['umount', tmp_path / 'two'], check=True)
    assert found[0].identity == found[1].identity
    assert found[0].mount_point != found[1].mount_point
    inside = [each.inner_path(os.fsencode(tmp_path / name) + b'/x') for each, name in zip(found, ('one', 'two'))]
    assert inside[0] == inside[1]


# ---- what is made of it ----

SAMPLE = mounts.Filesystem(
    'ext4', '/dev/sda 1', 'rw,noatime', 'abc', b'/sub vol', b'/mnt/x', 'ext4:abc:1', 20_000_000, True, True
)


@pytest.mark.parametrize(
    'root, point, path, inner',
    [
        (b'/', b'/', b'/', b'/'),
        (b'/', b'/', b'/a/b', b'/a/b'),
        (b'/', b'/mnt/x', b'/mnt/x', b'/'),
        (b'/', b'/mnt/x', b'/mnt/x/a', b'/a'),
        (b'/sub', b'/mnt/x', b'/mnt/x', b'/sub'),
        (b'/sub', b'/mnt/x', b'/mnt/x/a/b', b'/sub/a/b'),
    ],
)
def test_paths_are_told_from_the_top_of_the_filesystem(root, point, path, inner):
    assert SAMPLE._replace(root=root, mount_point=point).inner_path(path) == inner


def test_a_place_is_the_same_short_thing_for_the_same_path():
    assert mounts.place(b'/') == b''
    assert mounts.place(b'/a/b') == mounts.place_below(mounts.place_below(b'', b'a'), b'b')
    assert len({mounts.place(path) for path in (b'/', b'/a', b'/b', b'/a/b', b'/b/a', b'/ab', b'/a/b/c')}) == 7
    assert len(mounts.place(b'/x' * 5000)) == 32


def test_a_mount_line_is_the_one_in_the_manual():
    assert SAMPLE.mount_line(b'') == (
        'path=. type=ext4 device=/dev/sda\\0401 options=rw,noatime uuid=abc root=/sub\\040vol access=rw'
        ' granularity_ns=20000000'
    )
    drives = (drive.Drive(b'/dev/sda'), drive.Drive(b'/dev/sdb'))
    more = SAMPLE._replace(driver='kernel', label='Grün'.encode(), size=4096, drives=drives)
    assert more.mount_line(b'') == (
        'path=. type=ext4 driver=kernel device=/dev/sda\\0401 options=rw,noatime uuid=abc label=Gr\\303\\274n'
        ' root=/sub\\040vol size=4096 access=rw granularity_ns=20000000 drives=/dev/sda,/dev/sdb'
    )
    skipped = SAMPLE._replace(uuid='', options='ro').mount_line(b'a b', True)
    assert skipped == (
        'path=a\\040b type=ext4 device=/dev/sda\\0401 options=ro root=/sub\\040vol access=ro'
        ' granularity_ns=20000000 skipped=yes'
    )


def set_ctime(monkeypatch, ns):
    """Every file has that ctime."""
    real = os.fstat
    monkeypatch.setattr(os, 'fstat', lambda fd: os.stat_result(tuple(real(fd))[:10], {'st_ctime_ns': ns}))


TRUST = [  # type, granularity, stable inodes, true ctime, unique inodes
    ('ext4', 20_000_000, True, True, True),
    ('vfat', 2_000_000_000, False, False, True),
    ('msdos', 2_000_000_000, False, False, True),
    ('exfat', 20_000_000, False, False, True),
    ('hfs', 1_000_000_000, True, False, True),
    ('ext3', 1_000_000_000, True, True, True),
    ('iso9660', 1_000_000_000, True, True, True),
    ('udf', 20_000_000, True, True, True),
    ('ntfs3', 20_000_000, True, True, True),
    ('overlay', 20_000_000, True, True, False),
    ('nfs4', 1_000_000_000, True, True, False),
    ('cifs', 1_000_000_000, False, True, False),
    ('fuse.ext4', 1_000_000_000, True, True, True),
    ('fuseblk', 1_000_000_000, False, False, False),
    ('fuse.sshfs', 1_000_000_000, False, False, False),
    ('fuse.fuseiso', 1_000_000_000, False, True, False),
]


@pytest.mark.parametrize('type, granularity, inodes, ctimes, unique', TRUST)
def test_each_filesystem_is_trusted_with_what_it_keeps(
    mountinfo, monkeypatch, type, granularity, inodes, ctimes, unique
):
    mountinfo(line('/', type=type))
    set_ctime(monkeypatch, 10**18 + 1)
    found = filesystem(b'/')
    assert (found.granularity_ns, found.has_stable_inodes, found.has_true_ctime) == (granularity, inodes, ctimes)
    assert found.has_unique_inodes == unique
    assert found.may_be_endless == (not unique and type != 'overlay')


def test_a_filesystem_that_shows_only_whole_seconds_is_taken_to_keep_no_more(mountinfo, monkeypatch):
    mountinfo(line('/', type='ext4'))
    set_ctime(monkeypatch, 10**18)
    assert filesystem(b'/').granularity_ns == 10**9


def test_the_inodes_of_a_server_count_where_they_are_the_servers(mountinfo):
    mountinfo(line('/', type='cifs', super='rw,serverino'))
    assert filesystem(b'/').has_stable_inodes


# ---- drivers in user space ----


@pytest.mark.parametrize(
    'type, at, magic, driver',
    [
        ('fuse', 3, b'NTFS    ', 'ntfs-3g'),
        ('fuse', 3, b'EXFAT   ', 'exfat-fuse'),
        ('fuse', 1080, b'\x53\xef', 'fuse2fs'),
        ('fuse', 0, b'hsqs', 'squashfuse'),
        ('fuse', 32769, b'CD001', 'fuseiso'),
        ('fuse', 0, b'nothing that is known', ''),
        ('fuse.sshfs', 0, b'hsqs', 'sshfs'),
        ('fuse.ext4', 0, b'', 'fuse2fs'),
        ('fuse.lowntfs-3g', 0, b'', 'ntfs-3g'),
        ('ext4', 0, b'', 'kernel'),
    ],
)
def test_a_driver_is_told_by_its_name_or_by_what_it_reads(mountinfo, tmp_path, monkeypatch, type, at, magic, driver):
    image = tmp_path / 'image'
    image.write_bytes(bytes(at) + magic)
    mountinfo(line('/', type=type, source=image))
    monkeypatch.setattr(drive, 'volume', lambda source, type, fd: drive.Volume())
    assert filesystem(b'/').driver == driver


# ---- identity ----


@pytest.fixture
def disk(monkeypatch):
    """disk(number, serial, uuid) makes every device one of that serial number and UUID; 8:1 is /dev/x."""

    def insert(serial='', uuid='', devices=('/dev/x', '/dev/y'), file=''):
        found = [drive.Drive(b'/dev/sd', serial=serial.encode(), backing=file.encode())]
        monkeypatch.setattr(drive, 'is_device', lambda source: source in devices)
        monkeypatch.setattr(drive, 'volume', lambda source, type, fd: drive.Volume(uuid))
        monkeypatch.setattr(drive, 'drives', lambda source: found if source in devices else [])
        monkeypatch.setattr(drive, 'mark', lambda source, found: ','.join(os.fsdecode(d.serial) for d in found))
        monkeypatch.setattr(drive, 'first_bytes', lambda source, size: b'')

    return insert


def test_an_identity_is_the_uuid_the_size_and_the_serial_number(mountinfo, disk):
    mountinfo(line('/', source='/dev/x'))
    disk('S1', 'U1')
    here = filesystem(b'/').identity
    mountinfo(line('/', source='/dev/y', options='ro', root='/sub'))
    assert filesystem(b'/').identity == here
    disk('S2', 'U1')
    copy = filesystem(b'/').identity
    disk('S1', 'U2')
    assert len({here, copy, filesystem(b'/').identity}) == 3


@pytest.mark.parametrize('type', ['vfat', 'exfat', 'fuseblk', 'fuse.fuseiso'])
def test_where_nothing_tells_a_drive_from_the_next_one_there_is_no_identity(mountinfo, disk, type):
    disk()
    mountinfo(line('/', type=type, source='/dev/x'))
    assert filesystem(b'/').identity == ''
    mountinfo(line('/', type=type, source='word'))
    assert filesystem(b'/').identity == ''


def test_the_serial_number_of_a_reader_does_not_tell_one_floppy_from_the_next(mountinfo, disk, monkeypatch):
    mountinfo(line('/', type='vfat', source='/dev/x'))
    disk('READER')
    assert filesystem(b'/').identity != ''
    reader = [drive.Drive(b'/dev/sd', serial=b'READER', is_removable=True)]
    monkeypatch.setattr(drive, 'drives', lambda source: reader)
    assert filesystem(b'/').identity == ''


def test_an_hfs_floppy_is_known_by_when_it_was_made(mountinfo, disk, monkeypatch):
    mountinfo(line('/', type='hfs', source='/dev/x'))
    disk('READER')
    found = set()
    for born, changed, name in (
        (b'1234', b'1', b'A'),
        (b'1234', b'2', b'A'),
        (b'5678', b'1', b'A'),
        (b'1234', b'1', b'B'),
    ):
        start = bytes(1024) + b'BD' + born + changed * 30 + b'\x01' + name + bytes(26)
        monkeypatch.setattr(drive, 'first_bytes', lambda source, size, start=start: start)
        found.add(filesystem(b'/').identity)
    assert len(found) == 3 and '' not in found


def test_a_server_is_known_by_its_name(mountinfo, disk):
    disk()
    mountinfo(line('/', type='fuse.sshfs', source='host:/home'))
    assert filesystem(b'/').identity.startswith('fuse.sshfs:host:/home:')


def test_of_two_mounted_filesystems_with_one_uuid_neither_is_the_other(mountinfo, disk):
    disk('', 'U1')
    one = line('/', type='ext4', source='/dev/x')
    mountinfo(one)
    alone = filesystem(b'/')
    two = line('/dev', type='ext4', source='/dev/y').replace('98:0', '98:1')
    mountinfo(one, two)
    first, second = filesystem(b'/'), filesystem(b'/dev/x')
    assert (alone.twin, first.twin, second.twin) == ('', '/dev/y', '/dev/x')
    assert len({alone.identity, first.identity, second.identity}) == 3


def test_a_drive_whose_serial_number_is_known_stays_known_beside_its_copy(mountinfo, disk, monkeypatch):
    disk('', 'U1')
    monkeypatch.setattr(drive, 'mark', lambda source, found: f'serial={source}')
    one, two = line('/', source='/dev/x'), line('/dev', source='/dev/y').replace('98:0', '98:1')
    mountinfo(one)
    alone = filesystem(b'/')
    mountinfo(one, two)
    beside = filesystem(b'/')
    assert beside.twin == '/dev/y' and beside.identity == alone.identity != filesystem(b'/dev/x').identity


def test_one_filesystem_mounted_twice_is_no_twin(mountinfo, disk):
    disk('', 'U1')
    mountinfo(line('/', source='/dev/x'), line('/dev', source='/dev/x'))
    assert filesystem(b'/').twin == ''


def test_a_read_only_image_that_was_changed_is_another_one(mountinfo, disk, tmp_path):
    image = tmp_path / 'image'
    image.write_bytes(b'x')
    disk('', 'U1', file=str(image))
    mountinfo(line('/', source='/dev/x', options='ro'))
    os.utime(image, ns=(1, 1))
    first = filesystem(b'/').identity
    os.utime(image, ns=(2, 2))
    assert filesystem(b'/').identity != first
    mountinfo(line('/', source='/dev/x'))
    writable = filesystem(b'/').identity
    os.utime(image, ns=(3, 3))
    assert filesystem(b'/').identity == writable


def test_what_is_seen_with_other_options_is_another_thing(mountinfo, disk):
    disk('', 'U1')
    found = set()
    for options in ('rw', 'ro', 'rw,noatime', 'rw,norock', 'rw,norock,nojoliet'):
        mountinfo(line('/', type='iso9660', source='/dev/x', options=options, super=''))
        found.add(filesystem(b'/').identity)
    assert len(found) == 3


# ---- local time ----


@pytest.mark.parametrize(
    'type, options, minutes',
    [
        ('vfat', 'rw', -60),
        ('vfat', 'rw,tz=UTC', 0),
        ('vfat', 'rw,time_offset=120', -120),
        ('vfat', 'rw,time_offset=-330', 330),
        ('msdos', 'rw', -60),
        ('hfs', 'rw', -60),
        ('exfat', 'rw', 0),
        ('exfat', 'rw,sys_tz', -60),
        ('exfat', 'rw,time_offset=60', -60),
        ('ext4', 'rw', 0),
    ],
)
def test_what_a_driver_adds_to_local_times_is_known(mountinfo, monkeypatch, type, options, minutes):
    monkeypatch.setattr(mounts, '_minutes_west', lambda: -60)
    mountinfo(line('/', type=type, super=options))
    assert filesystem(b'/').zone_ns == minutes * 60 * 10**9


def test_the_kernels_zone_is_a_number_of_minutes():
    assert abs(mounts._minutes_west()) <= 15 * 60


# ---- where ----


def test_a_bind_mount_is_where_the_directory_is(mountinfo):
    mountinfo(line('/'), line('/a/b', root='/c'), line('/d', type='xfs').replace('98:0', '98:1'))
    assert mounts.where(b'/a/b/x') == mounts.where(b'/c/x') == (b'98:0', b'/c/x')
    assert mounts.where(b'/d/x') == (b'98:1', b'/x')
    assert mounts.points_below(b'/a') == {b'/a/b': b'98:0'}
    assert mounts.points_below(b'/d') == {}
    assert set(mounts.points_below(b'/')) == {b'/a/b', b'/d'}


def test_the_kernels_own_filesystems_are_known():
    assert {'proc', 'sysfs', 'devpts', 'cgroup2'} <= mounts.PSEUDO
    assert not {'ext4', 'tmpfs', 'overlay', 'vfat', 'fuseblk', 'squashfs'} & mounts.PSEUDO


def test_two_tmpfs_are_two(tmp_path, monkeypatch):
    """Also for kernels before 6.9, which have no ioctl for their UUIDs: their inode numbers are the same."""
    monkeypatch.setattr(drive, '_uuid', lambda fd: ('', False))
    found = set()
    for name in ('one', 'other'):
        point = tmp_path / name
        point.mkdir()
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'x', point], capture_output=True).returncode:
            pytest.skip('cannot mount here')
        fd = os.open(point, os.O_RDONLY)
        try:
            found.add(mounts.filesystem(os.fsencode(point), fd).identity)
        finally:
            os.close(fd)
            subprocess.run(['umount', '-l', point], check=True)
    assert len(found) == 2
