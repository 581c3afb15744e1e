"""Real images of ext4, xfs, btrfs, squashfs, NTFS, exFAT, ISO 9660 and FAT, backed up and restored to ext4."""

import os
import re

import drives
import pytest

from chkfs import errors

each_drive = pytest.mark.parametrize('journey', drives.DRIVES, ids=lambda drive: drive.name, indirect=True)


@each_drive
def test_everything_is_read(journey):
    assert journey.first.status == errors.DONE, journey.first.errors
    assert re.fullmatch(r'drive: \d+ files?, \d+ bytes?, 0 skipped\n', journey.first.errors)


@each_drive
def test_everything_that_ext4_takes_is_set(journey):
    """It takes all but one of the flags of btrfs, 'C'."""
    said = [line for line in journey.restored.errors.splitlines()[:-1] if 'the target has no place for' not in line]
    if journey.drive.name == 'btrfs':
        assert journey.restored.status == errors.PARTIAL
        assert said[0] == 'chkfs-restore: flags could not be set 1 time (-v lists them)'
    else:
        assert journey.restored.status == errors.DONE, journey.restored.errors
        assert said == []


@each_drive
def test_tree_holds_what_was_seen(journey):
    assert set(journey.kept.entries) == set(journey.seen.statuses)


@each_drive
def test_restored_equal(journey):
    assert journey.differences == ''


@each_drive
def test_second_run_elsewhere_finds_nothing_changed(journey):
    assert journey.second.status == errors.DONE, journey.second.errors
    assert journey.key('drive:') == journey.key('drive~1:')


@each_drive
def test_second_run_elsewhere_reads_no_file(journey):
    assert journey.reads == []


@each_drive
def test_extended_attributes_restored(journey):
    before, after = journey.listings
    assert before['getfattr'] == after['getfattr']


@each_drive
def test_access_control_lists_restored(journey):
    before, after = journey.listings
    assert before['getfacl'] == after['getfacl']


@each_drive
def test_flags_restored(journey):
    before, after = journey.listings
    assert before['lsattr'] == after['lsattr']


@pytest.mark.parametrize('name', ['ext4', 'ntfs-3g'])
def test_restored_by_an_ordinary_user_and_completed_by_root(journeys, target, tools, name):
    differences, listings = tools
    journey = journeys(drives.BY_NAME[name])
    somebody = journey.commands.as_somebody()
    if somebody.run('chkfs', '--version').status != errors.DONE:
        pytest.skip('another user cannot run chkfs from this directory')
    home = os.path.join(target, 'of somebody')
    os.makedirs(home, exist_ok=True)
    os.chmod(home, 0o777)
    restored = os.path.join(home, name)
    said = somebody.run('chkfs-restore', '-q', 'drive', restored)
    assert said.status == errors.PARTIAL, said.errors
    said = journey.commands.run('chkfs-apply-metadata', restored + '.chkfs-missing.mtree', restored)
    assert said.status == errors.DONE, said.errors
    with drives.mounted(journey.drive, journey.image, journey.image + '.again') as top:
        assert differences(top, os.fsencode(restored)) == ''
        assert listings(os.fsencode(restored)) == listings(os.fsencode(journey.restored_to))


@pytest.mark.parametrize('name', ['ext4', 'btrfs', 'ntfs-3g'])
def test_restored_without_chkfs(journeys, target, tools, name):
    """All but sockets, which tar has not, and flags."""
    differences, listings = tools
    journey = journeys(drives.BY_NAME[name])
    restored = os.path.join(target, f'{name} by hand')
    os.mkdir(restored)
    script = 'sh "$1/restore.sh" tar drive | tar --xattrs --xattrs-include="*" -xpf - -C "$2"'
    drives.run('sh', '-c', script, 'sh', journey.commands.store, restored)
    with drives.mounted(journey.drive, journey.image, journey.image + '.again') as top:
        assert differences(top, os.fsencode(restored)) in ('', 'cS+++++++++ socket\n')
    assert listings(os.fsencode(restored))['getfattr'] == listings(os.fsencode(journey.restored_to))['getfattr']


NTFS_KINDS = [
    'symbolic links',
    'DOS attributes',
    'short names',
    'NTFS ACLs',
    'NTFS times',
    'reparse data',
    'object ids',
    'EAs',
]
NTFS_TELLS = ['File Creation Time', 'File Altered Time', 'Last Accessed Time', 'File attributes']
NTFS_NAMES = ['Filename', 'Namespace', 'Attribute name']


@pytest.mark.parametrize('kind', ['contents', 'mode and owner', 'mtime', 'devices, fifos', *NTFS_KINDS])
def test_ntfs_written_back(journeys, kind):
    journey = journeys(drives.BY_NAME['ntfs-3g'])
    assert journey.written_back.status == errors.DONE, journey.written_back.errors
    assert journey.seen.kinds[kind], 'there is some of it'
    assert journey.seen.kinds[kind] == journey.back.kinds[kind]


@pytest.mark.parametrize('name', ['streams', 'hidden', 'created', 'Long file name.text', 'identified', 'attributes'])
def test_ntfs_written_back_by_ntfsinfo(journeys, name):
    """What the offline tool of NTFS tells of a file, as far as it is not of how and where it is stored."""
    journey = journeys(drives.BY_NAME['ntfs-3g'])
    before, after = (ntfs_fields(image, f'/windows/{name}') for image in (journey.image, journey.back_image))
    assert len(before) > 5
    assert before == after


def ntfs_fields(image, path):
    """The times and attributes of a file, and the names of all that it has."""
    text = drives.run('ntfsinfo', '-f', '-F', path, image).decode()
    standard, _, others = text.partition('$FILE_NAME')
    return [*_fields(NTFS_TELLS, standard), *sorted(_fields(NTFS_NAMES, others))]


def _fields(names, text):
    return re.findall(rf'(?m)^\s*({"|".join(names)}):\s*(.*)$', text)


def test_drives_have_what_is_compared(journeys):
    """None of the comparisons above is of nothing with nothing."""
    before, _ = journeys(drives.BY_NAME['ext4']).listings
    for command, text in before.items():
        assert text.count(b'\n') > 5, command
