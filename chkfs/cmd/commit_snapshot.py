"""chkfs-commit-snapshot - store a snapshot of a tree, and print its key"""

import os
import sys
import time

from chkfs import cli, errors
from chkfs.storage import revision
from chkfs.text import quote, snapshot

USAGE = 'chkfs-commit-snapshot [-qu] [-p PARENT] [-m MESSAGE] [-n NAME] [TREEISH]'


def options(parser):
    parser.add_argument('-p', '--parent', action='append', default=[], help='an earlier snapshot; may be given again')
    parser.add_argument('-m', '--message', action='append', default=[], help='a paragraph; may be given again')
    parser.add_argument('-n', '--name', help='what the snapshot is called; else as the draft says')
    parser.add_argument('-u', '--update-ref', action='store_true',
                        help='follow on what refs/backups/NAME is at, and move that; print the ref, too')  # fmt: skip
    parser.add_argument('-q', '--quiet', action='store_true', help='say nothing but problems')
    parser.add_argument('treeish', metavar='TREEISH', nargs='?',
                        help='without it, a draft by chkfs-write-tree is read from standard input')  # fmt: skip


def run(args):
    store = cli.open_store(args)
    draft = _draft_of(store, args.treeish) if args.treeish else _draft_from_input()
    for parent in args.parent:
        type, key = revision.resolve_object(store, parent)
        if type != 'snapshot':
            raise errors.Usage(f"'{parent}' is a {type}, not a snapshot")
        draft.add_parent(key)
    if args.name:
        others = [line for line in draft.lines if line[0] != 'name']
        draft.lines = [*others, snapshot.quoted('name', args.name.encode('utf-8', 'surrogateescape'))]
    if args.message:
        draft.message = '\n\n'.join(args.message)
    snapshot.check(draft)
    root = draft.root
    type = 'tree' if root.type == 'dir' else 'blob'
    if root.key and store.objects.is_missing(type, root.key):
        raise errors.NotFound(f"no {type} '{root.key}' in the store")
    if args.update_ref:
        ref, key = _commit_on_top(args, store, draft)
        print(f'{key}\t{ref}')
    else:
        print(_put(store, draft))
    return errors.DONE


def _commit_on_top(args, store, draft):
    name = os.fsdecode(quote.unquote(draft.get('name') or ''))
    if not name:
        raise errors.Usage('which ref? Give -n NAME: the draft has no name')
    ref = f'refs/backups/{name}'

    def make(old):
        if old is not None:
            draft.add_parent(old)
            if not args.quiet:
                _note_another_source(args, store, draft, ref, old)
        return _put(store, draft)

    key = store.refs.advance(ref, make, args.message[0] if args.message else 'backup')
    checkpoint = f'refs/checkpoints/{name}'
    if store.refs.read(checkpoint) is not None:  # what a run that did not get to its end had made visible
        store.refs.update(checkpoint, key, reason='superseded')
    return ref, key


def _note_another_source(args, store, draft, ref, old):
    try:
        was = revision.read_snapshot(store, old)
    except errors.Error as error:  # it stays a parent: the new snapshot does not need it
        cli.reporter(args)(f'note: the snapshot that {ref} was at cannot be read: {error}')
        return
    if was.get('source') != draft.get('source'):
        cli.reporter(args)(f'note: {ref} was of {was.text("source")} so far; -n NAME keeps sources apart')
        return
    filesystems = _filesystem(was), _filesystem(draft)
    if all(filesystems) and filesystems[0] != filesystems[1]:  # drives that were mounted at one place in turn
        uuids = ', not '.join(quote.readable(quote.unquote(uuid)) for uuid in filesystems)
        cli.reporter(args)(f'note: {ref} was of another filesystem so far, UUID {uuids}; -n NAME keeps drives apart')


def _filesystem(found):
    """The UUID, quoted, of what is on the drive that the source lies on; '' if nobody told."""
    for line in found.all('mount'):
        words = dict(pair.partition('=')[::2] for pair in line.split(' '))
        if words.get('path') == '.' and words.get('device', '').startswith('/dev/'):
            return words.get('uuid', '')
    return ''


def _draft_from_input():
    try:
        return snapshot.parse(sys.stdin.buffer.read())
    except errors.Damaged as error:
        raise errors.Damaged(f'standard input is not a draft of chkfs-write-tree --draft: {error}') from error


def _put(store, draft):
    with store.writer() as writer:
        key = writer.put('snapshot', draft.format())
        writer.checkpoint()
    return key


def _draft_of(store, name):
    entry = revision.tree_of(store, name).entry
    if entry is None or entry.type not in ('dir', 'file'):
        raise errors.NotFound(f"'{name}' is not a tree")
    entry.name = b'.'
    entry.fields.setdefault('mode', '0755')
    now = snapshot.format_time(time.time_ns())
    return snapshot.Snapshot([('root', entry.line()), ('started', now), ('finished', now), ('complete', 'yes')])
