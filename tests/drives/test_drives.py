"""Real images of ext4, xfs, btrfs, squashfs, NTFS, exFAT, ISO 9660 and FAT, backed up and restored to ext4."""

import drives
import pytest

from chkfs import errors

UNIX = 'ext4', 'xfs', 'btrfs', 'squashfs', 'fuse2fs'


def each_drive(**not_yet):
    """Gives a test the journey of each drive; not_yet: what is missing to the names of drives where it shows."""
    reasons = {name: reason for reason, names in not_yet.items() for name in names}
    marks = {name: [pytest.mark.xfail(strict=True, reason=reason)] for name, reason in reasons.items()}
    drive_marks = [pytest.param(drive, marks=marks.get(drive.name, []), id=drive.name) for drive in drives.DRIVES]
    return pytest.mark.parametrize('journey', drive_marks, indirect=True)


@each_drive()
def test_everything_is_read(journey):
    assert journey.first.status == errors.DONE, journey.first.errors


@each_drive()
def test_tree_holds_what_was_seen(journey):
    assert set(journey.kept.entries) == set(journey.seen.statuses)


@each_drive(xattrs=(*UNIX, 'ntfs-3g'))
def test_restored_equal(journey):
    assert journey.differences == ''


@each_drive(junctions=['ntfs-3g'])
def test_second_run_elsewhere_finds_nothing_changed(journey):
    assert journey.second.status == errors.DONE, journey.second.errors
    assert journey.key('drive:') == journey.key('drive~1:')


@each_drive()
def test_second_run_elsewhere_reads_no_file(journey):
    assert journey.reads == []


@each_drive(xattrs=(*UNIX, 'ntfs-3g'))
def test_extended_attributes_restored(journey):
    before, after = journey.listings
    assert before['getfattr'] == after['getfattr']


@each_drive(xattrs=('ext4', 'xfs', 'btrfs', 'fuse2fs'))
def test_access_control_lists_restored(journey):
    before, after = journey.listings
    assert before['getfacl'] == after['getfacl']


@each_drive(flags=('ext4', 'xfs', 'btrfs'))
def test_flags_restored(journey):
    before, after = journey.listings
    assert before['lsattr'] == after['lsattr']


def test_drives_have_what_is_compared(journeys):
    """None of the comparisons above is of nothing with nothing."""
    before, _ = journeys(drives.BY_NAME['ext4']).listings
    for command, text in before.items():
        assert text.count(b'\n') > 5, command
