"""chkfs-rev-parse - print the key that a name means"""

import os

from chkfs import cli, errors
from chkfs.storage import refs, revision

USAGE = 'chkfs-rev-parse [-q] [--ref | --ref-name | --check-ref] NAME ...'


def options(parser):
    parser.add_argument('-q', '--quiet', action='store_true', help='say nothing when there is no such thing, only 1')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--ref', action='store_true', help='print the full name of a ref instead')
    group.add_argument(
        '--ref-name', action='store_true', help='print the name of a ref that suits a backup of the path NAME'
    )
    group.add_argument('--check-ref', action='store_true', help='only say by the status if each NAME can be a ref')
    parser.add_argument('names', metavar='NAME', nargs='+', help='a ref, NAME~2, NAME@{1}, a key, SNAPSHOT:PATH')


def run(args):
    if args.ref_name:
        for name in args.names:
            cli.write(refs.tidy(os.path.basename(os.path.abspath(name))).encode('utf-8', 'surrogateescape') + b'\n')
        return errors.DONE
    if args.check_ref:
        for name in args.names:
            refs.check_name(name)
        return errors.DONE
    store = cli.open_store(args)
    for name in args.names:
        try:
            print(_meaning(store, name, args.ref))
        except errors.NotFound:
            if args.quiet:
                return errors.NO
            raise
    return errors.DONE


def _meaning(store, name, wants_ref):
    if wants_ref:
        full = store.refs.full_name(name)
        if full is None:
            raise errors.NotFound(f"no ref '{name}'")
        return full
    key = revision.resolve(store, name).key
    if key is None:
        raise errors.NotFound(f"'{name}' has no contents and so no key")
    return key
