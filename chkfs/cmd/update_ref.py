"""chkfs-update-ref - point a ref at a snapshot"""

from chkfs import cli, errors
from chkfs.storage import revision
from chkfs.text import key as keys

USAGE = 'chkfs-update-ref [-m REASON] REF NEW [OLD]'


def options(parser):
    parser.add_argument('-m', '--message', metavar='REASON', default='', help='a line for the log')
    parser.add_argument('-d', '--delete', action='store_true', help='refused: nothing is ever deleted')
    parser.add_argument('ref', metavar='REF', help='its full name: refs/backups/NAME, refs/tags/NAME')
    parser.add_argument('new', metavar='NEW', nargs='?', help='the snapshot to point at')
    parser.add_argument('old', metavar='OLD', nargs='?',
                        help="only if the ref is there now; 64 zeros or '' for a ref that does not exist")  # fmt: skip


def run(args):
    if args.delete:
        raise errors.Usage(
            'a ref cannot be deleted: a store keeps everything; point it at another snapshot, its log keeps this value'
        )
    if args.new is None:
        raise errors.Usage('which snapshot? chkfs-update-ref REF NEW')
    store = cli.open_store(args)
    type, key = revision.resolve_object(store, args.new)
    if type != 'snapshot':
        raise errors.Usage(f"'{args.new}' is a {type}: a ref points at a snapshot")
    revision.read_snapshot(store, key)  # a ref to something damaged would help nobody
    old = args.old
    if old and not keys.is_key(old):
        old = revision.resolve_object(store, old)[1]
    store.refs.update(args.ref, key, old, args.message)
    return errors.DONE
