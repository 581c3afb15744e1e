"""chkfs-mktree - make a tree object of mtree lines on standard input"""

import sys

from chkfs import cli, errors
from chkfs.text import quote, tree

USAGE = 'chkfs-mktree [--missing]'


def options(parser):
    parser.add_argument('--missing', action='store_true', help='do not insist that the store has what is named')


def run(args):
    text = sys.stdin.buffer.read().decode('utf-8', 'surrogateescape')
    lines = [words for line in text.split('\n') if (words := line.split()) and not line.startswith('#')]
    entries = [tree.parse_line(' '.join(words)) for words in lines if words[0] != '.']
    data = tree.build(entries)
    store = cli.open_store(args)
    for entry in entries:
        if not args.missing:
            _check_contents(store.objects, entry)
    with store.writer(loose=True) as writer:
        key = writer.put('tree', data)
        writer.checkpoint()
    print(key)
    return errors.DONE


def _check_contents(objects, entry):
    type, shown = 'tree' if entry.type == 'dir' else 'blob', quote.readable(entry.name)
    for key in entry.value_keys:
        if objects.is_missing('blob', key):
            raise errors.NotFound(f"'{shown}': no blob '{key}' in the store")
    if not entry.key:
        return
    if objects.is_missing(type, entry.key):
        raise errors.NotFound(f"'{shown}': no {type} '{entry.key}' in the store")
    if type == 'blob' and (size := objects.size(type, entry.key)) != entry.size:
        raise errors.Damaged(f"'{shown}' has {size} bytes, not {entry.size}")
