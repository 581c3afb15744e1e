"""Real images of ext4, xfs, btrfs, squashfs, NTFS, exFAT, ISO 9660 and FAT, backed up and restored to ext4."""

import re

import drives
import pytest

from chkfs import errors

each_drive = pytest.mark.parametrize('journey', drives.DRIVES, ids=lambda drive: drive.name, indirect=True)


@each_drive
def test_everything_is_read(journey):
    assert journey.first.status == errors.DONE, journey.first.errors


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
