import os
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from chkfs.system import allocation
if sys.argv[1] == 'kept':
    allocation.keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for number in range(50):
    b''.join([b'x' * (4 << 20), b'y'])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif('glibc' not in os.confstr('CS_GNU_LIBC_VERSION'), reason='what is told is told to glibc')
def test_memory_that_is_freed_is_used_again():
    faults = {
        how: int(subprocess.run([sys.executable, '-c', PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ('kept', 'given back')
    }
    pages = (4 << 20) // resource.getpagesize()
    assert faults['kept'] < 10 * pages < faults['given back']
