"""chkfs-hash-object - print the keys of files, and store them"""

import contextlib
import hashlib
import os
import sys

from chkfs import cli, errors
from chkfs.text import key as keys
from chkfs.text import quote, snapshot, tree

USAGE = 'chkfs-hash-object [-w] [-z] [-t TYPE] [--stdin | --stdin-paths | FILE ...]'


def options(parser):
    parser.add_argument('-w', '--write', action='store_true', help='store what is read')
    parser.add_argument('-t', '--type', choices=keys.TYPES, default='blob', help='type of object (default: blob)')
    parser.add_argument('-z', action='store_true', help='paths on standard input and records end with NUL')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--stdin', action='store_true', help='read the object from standard input')
    group.add_argument('--stdin-paths', action='store_true', help='read names of files from standard input')
    group.add_argument('files', metavar='FILE', nargs='*', default=[], help='a file whose bytes are the object')


def run(args):
    if not (args.stdin or args.stdin_paths or args.files):
        raise errors.Usage('which file? Name some, or say --stdin or --stdin-paths')
    output, status = cli.printer(args), errors.DONE
    records = []  # with -w printed when what they name is safe, so that nobody builds on what a death takes away

    def print_later():
        safe, records[:] = list(records), []
        return lambda: list(map(output, safe))

    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(cli.open_store(args).writer(loose=not args.stdin_paths)) if args.write else None
        if writer is not None:
            writer.sealing = print_later
        names = cli.input_records(args) if args.stdin_paths else map(os.fsencode, args.files)
        for name in [None] if args.stdin else names:
            try:
                key = _hash(name, args.type, writer)
            except OSError as error:
                if args.stdin:
                    raise
                cli.reporter(args)(f"cannot read '{quote.readable(name)}': {errors.describe(error)}")
                key, status = 'missing', errors.PARTIAL
            # one record for one input, misses included, so that the two can be pasted together
            if writer is None:
                output(key.encode())
            else:
                records.append(key.encode())
                writer.checkpoint_if_due()
        if writer is not None:
            writer.checkpoint()
    return status


def _hash(name, type, writer):
    file = sys.stdin.buffer if name is None else open(name, 'rb', buffering=0)
    with contextlib.nullcontext() if name is None else file:
        blocks = iter(lambda: file.read(1 << 20), b'')
        if type != 'blob':
            data = b''.join(blocks)
            list(map(tree.check, tree.parse(data))) if type == 'tree' else snapshot.parse(data)
            blocks = iter((data,))
        if writer is not None:
            return writer.put_blocks(type, blocks)[0]
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        return digest.hexdigest()
