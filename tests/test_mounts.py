"""mounts: which filesystem is where, and what each filesystem can be trusted with."""

import io
import os
import subprocess

import pytest

from chkfs import mounts

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
    skipped = SAMPLE._replace(uuid='', options='ro').mount_line(b'a b', True)
    assert skipped == (
        'path=a\\040b type=ext4 device=/dev/sda\\0401 options=ro root=/sub\\040vol access=ro'
        ' granularity_ns=20000000 skipped=yes'
    )


@pytest.mark.parametrize(
    'type, granularity, inodes, ctimes',
    [
        ('ext4', 20_000_000, True, True),
        ('vfat', 2_000_000_000, False, False),
        ('exfat', 2_000_000_000, False, False),
        ('fuseblk', 1_000_000_000, False, True),
        ('fuse.sshfs', 1_000_000_000, False, True),
        ('ext3', 1_000_000_000, True, True),
        ('iso9660', 1_000_000_000, True, True),
    ],
)
def test_each_filesystem_is_trusted_with_what_it_keeps(mountinfo, type, granularity, inodes, ctimes):
    mountinfo(line('/', type=type))
    found = filesystem(b'/')
    assert (found.granularity_ns, found.has_stable_inodes, found.has_true_ctime) == (granularity, inodes, ctimes)
    assert mounts.granularity_ns(type) == granularity


def test_the_kernels_own_filesystems_are_known():
    assert {'proc', 'sysfs', 'devpts', 'cgroup2'} <= mounts.PSEUDO
    assert not {'ext4', 'tmpfs', 'overlay', 'vfat', 'fuseblk', 'squashfs'} & mounts.PSEUDO
