"""The operations whose safety is proved, as chains of commands.  A new one is a line in OPERATIONS.

To go in, it names the store that it begins with (see stores.py), and what holds when it is done.
"""

from collections.abc import Callable
from typing import NamedTuple


class Operation(NamedTuple):
    """run: (command, store, sources) to exit status; begins: which prepared store; makes: ref to what it restores to.

    done: the statuses of success.
    """

    run: Callable[..., int]
    begins: str
    makes: dict[str, str]
    done: tuple[int, ...] = (0,)


def backup(command, store: str, sources: dict[str, str], name: str = 'second') -> int:
    """What bin/chkfs-backup does."""
    status, draft = command('chkfs-write-tree', '--store', store, '--draft', '-q', sources[name])
    if status not in (0, 3):
        return status
    committed, _ = command('chkfs-commit-snapshot', '--store', store, '-u', '-n', name, stdin=draft)
    return committed or status


def backup_again(command, store: str, sources: dict[str, str]) -> int:
    return backup(command, store, sources, 'first')


def init(command, store: str, sources: dict[str, str]) -> int:
    return command('chkfs-init', store)[0]


def update_ref(
    command, store: str, sources: dict[str, str], ref: str = 'refs/tags/deep/again', to: str = 'refs/backups/first'
) -> int:
    return command('chkfs-update-ref', '--store', store, ref, to)[0]


def move_ref(command, store: str, sources: dict[str, str]) -> int:
    return update_ref(command, store, sources, 'refs/backups/other')


def repair(command, store: str, sources: dict[str, str]) -> int:
    return command('chkfs-fsck', '--store', store, '--full', '--repair')[0]


def repack(command, store: str, sources: dict[str, str]) -> int:
    return command('chkfs-repack', '--store', store, '-q')[0]


def recompress(command, store: str, sources: dict[str, str]) -> int:
    return command('chkfs-repack', '--store', store, '-q', '--compression', 'bzip2')[0]


OPERATIONS = {
    'backup': Operation(backup, 'one', {'refs/backups/second': 'second'}),
    'backup-again': Operation(backup_again, 'one', {'refs/backups/first': 'again'}),
    'init': Operation(init, 'none', {}),
    'update-ref': Operation(update_ref, 'one', {'refs/tags/deep/again': 'first'}),
    'move-ref': Operation(move_ref, 'two', {'refs/backups/other': 'first'}),
    'fsck-repair': Operation(repair, 'damaged', {'refs/backups/first': 'first'}, (0, 1)),
    'repack': Operation(repack, 'two', {'refs/backups/other': 'second'}),
    'recompress': Operation(recompress, 'two', {'refs/backups/other': 'second'}),
}
