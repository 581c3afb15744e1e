"""chkfs-commit-snapshot - store a snapshot of a tree, and print its key"""

import sys
import time

from chkfs import cli, errors, revision, snapshot

USAGE = 'chkfs-commit-snapshot [-p PARENT] [-m MESSAGE] [-n NAME] [TREEISH]'


def options(parser):
    parser.add_argument('-p', '--parent', action='append', default=[], help='an earlier snapshot; may be given again')
    parser.add_argument('-m', '--message', action='append', default=[], help='a paragraph; may be given again')
    parser.add_argument('-n', '--name', help='what the snapshot is called')
    parser.add_argument('treeish', metavar='TREEISH', nargs='?',
                        help='without it, a draft by chkfs-write-tree is read from standard input')  # fmt: skip


def run(args):
    store = cli.open_store(args)
    draft = _draft_of(store, args.treeish) if args.treeish else snapshot.parse(sys.stdin.buffer.read())
    for parent in args.parent:
        type, key = revision.resolve_object(store, parent)
        if type != 'snapshot':
            raise errors.Usage(f"'{parent}' is a {type}, not a snapshot")
        if ('parent', key) not in draft.lines:
            draft.lines.append(('parent', key))
    if args.name:
        others = [line for line in draft.lines if line[0] != 'name']
        draft.lines = [*others, snapshot.quoted('name', args.name.encode('utf-8', 'surrogateescape'))]
    if args.message:
        draft.message = '\n\n'.join(args.message)
    snapshot.check(draft)
    root = draft.root
    type = 'tree' if root.type == 'dir' else 'blob'
    if root.key and not store.objects.has(type, root.key):
        raise errors.NotFound(f"no {type} '{root.key}' in the store")
    with store.writer() as writer:
        key = writer.put('snapshot', draft.format())
        writer.checkpoint()
    print(key)
    return errors.DONE


def _draft_of(store, name):
    entry = revision.tree_of(store, name).entry
    if entry is None or entry.type not in ('dir', 'file'):
        raise errors.NotFound(f"'{name}' is not a tree")
    entry.name = b'.'
    entry.fields.setdefault('mode', '0755')
    now = snapshot.format_time(time.time_ns())
    return snapshot.Snapshot([('root', entry.line()), ('started', now), ('finished', now), ('complete', 'yes')])
