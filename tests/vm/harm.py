"""Damages filesystems as old disks are damaged."""

_DIRECTORY = 0x10


def loop(device: str) -> None:
    """FAT: a directory that is one of those above it once more, by its first cluster."""
    with open(device, 'r+b') as disk:
        data = disk.read()
        above, below = (data.index(name.ljust(11) + bytes((_DIRECTORY,))) for name in (b'FOLDER', b'INNER'))
        for at in (20, 26):  # the halves of the number of the cluster
            disk.seek(below + at)
            disk.write(data[above + at : above + at + 2])
