"""chkfs-rev-list - list snapshots, newest first, following parents"""

import argparse
import heapq

from chkfs import cli, errors
from chkfs.storage import revision

USAGE = 'chkfs-rev-list [-z] [-n NUMBER] [--all] [--parents] [SNAPSHOT ...]'


def options(parser):
    parser.add_argument('-z', action='store_true', help='end records with NUL')
    parser.add_argument('-n', '--max-count', metavar='NUMBER', type=_count, help='stop after so many')
    parser.add_argument('--all', action='store_true', help='begin at every ref')
    parser.add_argument('--parents', action='store_true', help='print the keys of the parents, too')
    parser.add_argument('snapshots', metavar='SNAPSHOT', nargs='*', help='a ref, NAME~2, a key; see chkfs(7)')


def run(args):
    if not args.snapshots and not args.all:
        raise errors.Usage('which snapshot? Name some, or say --all')
    store = cli.open_store(args)
    waiting, seen, status = [], set(), errors.DONE

    def report(error):
        nonlocal status
        cli.reporter(args)(str(error))
        status = errors.NO

    def add(key):
        if key not in seen:
            seen.add(key)
            try:
                found = revision.read_snapshot(store, key)
                heapq.heappush(waiting, (-found.time_ns, key, found.parents))
            except errors.Error as error:
                report(error)

    for name in args.snapshots:
        type, key = revision.resolve_object(store, name)
        if type != 'snapshot':
            raise errors.Usage(f"'{name}' is a {type}, not a snapshot")
        add(key)
    for ref in store.refs.names() if args.all else ():
        try:
            add(store.refs.read(ref))
        except errors.Error as error:
            report(error)
    output, count = cli.printer(args), 0
    while waiting and count != args.max_count:
        _, key, parents = heapq.heappop(waiting)
        output(' '.join([key, *parents] if args.parents else [key]).encode())
        count += 1
        for parent in parents:
            add(parent)
    return status


def _count(text):
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of snapshots")
    return int(text)
