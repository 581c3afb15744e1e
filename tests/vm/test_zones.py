"""FAT and HFS hold local times: when another time zone counts, nothing is read again, and the new times are stored."""

import os

import images
import machine
import pytest
import test_drivers
import zones

NAMES = 'vfat', 'msdos', 'hfs'
HOUR_NS = 3600 * 10**9


@pytest.fixture(scope='module')
def report(tmp_path_factory, count):
    for tool in (machine.QEMU, 'mkfs.ext4', *(images.IMAGES[name].make[0] for name in NAMES)):
        if not images.find(tool, test_drivers.KERNEL):
            pytest.skip(f'there is no {tool}: make test-vm gets it')
    if not os.path.exists(os.path.join(test_drivers.KERNEL, 'ready')):
        pytest.skip(f'there is no kernel in {test_drivers.KERNEL}: make test-vm gets it')
    scratch = str(tmp_path_factory.mktemp('zones'))
    made = {name: images.make(name, scratch, test_drivers.KERNEL) for name in NAMES}
    found = test_drivers.run(scratch, made, zones.__file__)
    count('disks backed up before and after the clocks were put forward', len(made))
    return found


def test_the_zone_of_the_kernel_is_known(report):
    assert report['zone'] == zones.ZONES['summer']


@pytest.mark.parametrize('name', NAMES)
def test_the_driver_shows_other_times_and_these_are_stored(report, name):
    seen = report[name]
    first = seen['winter']['times']
    assert first['big'] == first['small'] == zones.TIME_NS
    assert {
        path: first[path] - time_ns for path, time_ns in seen['summer']['times'].items() if path in ('big', 'small')
    } == {
        'big': HOUR_NS,
        'small': HOUR_NS,
    }


@pytest.mark.parametrize('turn', ['summer', 'utc'])
@pytest.mark.parametrize('name', NAMES)
def test_no_file_is_read_again(report, name, turn):
    if turn not in report[name]:
        pytest.skip(f'{name} has no option for that')
    assert report[name][turn]['status'] == 0
    assert 0 < report[name][turn]['read_bytes'] < zones.BIG_BYTES / 2
    assert report[name]['winter']['read_bytes'] > zones.BIG_BYTES
