"""chkfs-init - make a store"""

import os

from chkfs import cli, errors
from chkfs.storage import codec, store
from chkfs.text import quote

USAGE = 'chkfs-init [--compression CODEC] [DIR]'


def options(parser):
    parser.add_argument('--compression', metavar='CODEC', choices=list(codec.SUFFIXES), default=codec.DEFAULT,
                        help='for new objects: %(choices)s (default: %(default)s)')  # fmt: skip
    parser.add_argument('directory', metavar='DIR', nargs='?', help='absent or empty; else --store, $CHKFS_STORE, here')


def run(args):
    root = os.fsencode(args.directory or args.store or os.environ.get('CHKFS_STORE') or '.')
    if not store.create(root, args.compression):
        renewed = ', '.join(store.refresh(root))
        what = f'{renewed} written anew' if renewed else 'nothing changed'
        cli.say(f"chkfs-init: '{quote.readable(root)}' is a store already: {what}")
    return errors.DONE
