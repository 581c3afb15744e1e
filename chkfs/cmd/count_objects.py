"""chkfs-count-objects - count the objects of a store, and what they take on disk"""

from chkfs import cli, errors

USAGE = 'chkfs-count-objects'


def options(parser):
    pass


def run(args):
    for name, number in cli.open_store(args).objects.count().items():
        print(f'{name}: {number}')
    return errors.DONE
