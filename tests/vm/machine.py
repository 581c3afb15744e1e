"""A machine under qemu, with Debian's kernel and the files of the host, that can be killed like any other one.

Its disk is an image; see writelog.py for how what is written to it is recorded.
"""

import io
import lzma
import os
import re
import shlex
import subprocess
from collections.abc import Iterable

HERE = os.path.dirname(os.path.abspath(__file__))
BUSYBOX = '/bin/busybox'
QEMU = 'qemu-system-x86_64'
HUNG_SECONDS = 600  # after which a machine will not come to an end
DEVICE, DISK = '/dev/vda', '/dev/shm/disk'  # the machine's names of its disk, and of where that is mounted
_MODULES = ('virtio_pci', 'virtio_blk', '9pnet_virtio', '9p')
_NEEDED = {  # by a filesystem, besides what its module says that it depends on
    'ext4': ('crc32c_generic',),
    'xfs': ('crc32c_generic',),
    'btrfs': ('crc32c_generic', 'xxhash_generic', 'blake2b_generic'),
}


class Machine:
    """One kernel and filesystem; start() runs a command in it."""

    def __init__(self, kernel: str, filesystem: str, scratch: str, modules: Iterable[str] = ()):
        """kernel: a directory that get-machine.sh filled; modules: to be loaded, besides what it takes to run."""
        self._kernel, self._filesystem, self._scratch, self._further = kernel, filesystem, scratch, modules

    def start(self, drive: list[str], command: list[str]) -> subprocess.Popen:
        """Boots, mounts the disk at DISK and runs command; its console is the stdout.  drive: options of qemu."""
        initrd = os.path.join(self._scratch, 'initrd')
        with open(initrd, 'wb') as file:
            file.write(self._initrd(shlex.join(command)))
        options = ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '1', '-m', '512']
        options += ['-nodefaults', '-no-user-config', '-nographic', '-no-reboot', '-serial', 'stdio']
        options += ['-kernel', os.path.join(self._kernel, 'vmlinuz'), '-initrd', initrd]
        options += ['-append', 'console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable random.trust_cpu=on audit=0']
        options += ['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap']
        return subprocess.Popen(
            [QEMU, *options, *drive], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _initrd(self, command: str) -> bytes:
        archive = _Archive()
        for directory in ('bin', 'dev', 'proc', 'modules', 'host'):
            archive.add(directory, 0o40755)
        archive.add('dev/console', 0o20600, device=(5, 1))
        with open(BUSYBOX, 'rb') as file:
            archive.add('bin/busybox', 0o100755, file.read())
        with open(os.path.join(HERE, 'init'), 'rb') as file:
            archive.add('init', 0o100755, file.read())
        settings = f'TYPE={self._filesystem}\nDEVICE={DEVICE}\nDISK={DISK}\nCOMMAND={shlex.quote(command)}\n'
        archive.add('settings', 0o100644, settings.encode())
        for number, module in enumerate(self._modules()):
            archive.add(f'modules/{number:02}', 0o100644, module)
        return archive.close()

    def _modules(self) -> list[bytes]:
        """In the order in which they can be loaded.  What no file is there for is part of the kernel."""
        paths = _files_of_modules(self._kernel)
        done: dict[str, bytes] = {}

        def load(name: str) -> None:
            if name in done or name not in paths:
                return
            with (lzma.open if paths[name].endswith('.xz') else open)(paths[name], 'rb') as file:
                data = file.read()
            for depends in re.findall(rb'\0depends=([^\0]*)\0', data):
                for needed in filter(None, depends.decode().split(',')):
                    load(needed.replace('-', '_'))
            done[name] = data

        for name in (*_MODULES, *_NEEDED[self._filesystem], self._filesystem, *self._further):
            load(name)
        return list(done.values())


def has_module(kernel: str, name: str) -> bool:
    return name in _files_of_modules(kernel)


def _files_of_modules(kernel: str) -> dict[str, str]:
    directory = os.path.join(kernel, 'modules')
    return {file.partition('.')[0].replace('-', '_'): os.path.join(directory, file) for file in os.listdir(directory)}


def drive(name: str, image: str) -> list[str]:
    """Options of qemu for a disk with that serial number, of which the host need not flush anything."""
    backend = f'file={image},if=none,id={name},format=raw,cache=unsafe'
    return ['-drive', backend, '-device', f'virtio-blk-pci,drive={name},serial={name}']


class _Archive:
    """A cpio archive in the form that the kernel unpacks; see initramfs-buffer-format in its documentation."""

    def __init__(self):
        self._out, self._count = io.BytesIO(), 0

    def add(self, name: str, mode: int, data: bytes = b'', device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        path = name.encode() + b'\0'
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        for part in (b'070701' + b''.join(b'%08X' % field for field in fields) + path, data):
            self._out.write(part)
            self._out.write(bytes(-self._out.tell() % 4))

    def close(self) -> bytes:
        self.add('TRAILER!!!', 0)
        return self._out.getvalue()
