"""chkfs-mktree - make a tree object of mtree lines on standard input"""

import sys

from chkfs import cli, errors, quote, tree

USAGE = 'chkfs-mktree [--missing]'


def options(parser):
    parser.add_argument('--missing', action='store_true', help='do not insist that the store has what is named')


def run(args):
    text = sys.stdin.buffer.read().decode('utf-8', 'surrogateescape')
    lines = [line for line in text.split('\n') if line.strip() and not line.startswith('#')]
    entries = [tree.parse_line(' '.join(line.split())) for line in lines]
    entries = [entry for entry in entries if entry.name != b'.']
    data = tree.build(entries)
    store = cli.open_store(args)
    for entry in entries:
        type = 'tree' if entry.type == 'dir' else 'blob'
        if entry.key and not args.missing and not store.objects.has(type, entry.key):
            raise errors.NotFound(f"'{quote.readable(entry.name)}': no {type} '{entry.key}' in the store")
    with store.writer(loose=True) as writer:
        key = writer.put('tree', data)
        writer.checkpoint()
    print(key)
    return errors.DONE
