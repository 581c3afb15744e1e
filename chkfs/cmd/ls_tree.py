"""chkfs-ls-tree - list a tree"""

from chkfs import cli, errors
from chkfs.restore import naming
from chkfs.storage import listing, revision
from chkfs.text import quote

USAGE = 'chkfs-ls-tree [-rdlz] [--name-only | --human | --mtree] [--name-encoding ENCODING] TREEISH [PATH ...]'


def options(parser):
    parser.add_argument('-r', '--recursive', action='store_true', help='list what is below, too')
    parser.add_argument('-d', '--directory', action='store_true', help='list directories only')
    parser.add_argument('-l', '--long', action='store_true', help='show owners, sizes and times')
    parser.add_argument('-z', action='store_true', help='end records with NUL, and show names as they are')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--name-only', action='store_true', help='print only names')
    group.add_argument('--human', action='store_true', help='like ls -l: for people, times in the local zone')
    group.add_argument(
        '--mtree', action='store_true', help='print mtree(5) with full paths, for other programs to check'
    )
    parser.add_argument('--name-encoding', metavar='ENCODING', help='show names as text; those not UTF-8 are in this')
    parser.add_argument('treeish', metavar='TREEISH', help='a tree, a snapshot, SNAPSHOT:PATH; see chkfs(7)')
    parser.add_argument('paths', metavar='PATH', nargs='*', default=[], help='only these entries')


def run(args):
    if args.name_encoding and args.mtree:
        raise errors.Usage('--mtree is not for people: it has no --name-encoding')
    readable = naming.Reader(args.name_encoding).readable if args.name_encoding else quote.escape
    store = cli.open_store(args)
    problems = []

    def shown(path):
        return path if args.z else readable(path).encode()

    def report(line):
        cli.reporter(args)(line)
        problems.append(line)

    root = revision.tree_of(store, args.treeish).entry
    if root is None:
        raise errors.NotFound(f"'{args.treeish}' is not a tree")
    output, line = cli.printer(args), _form(args)
    if args.mtree:
        for text in listing.mtree_head(root):
            output(text)
    paths = [path.encode('utf-8', 'surrogateescape') for path in args.paths]
    for path, entry in listing.entries(store.objects, root, paths, args.recursive, report):
        if entry.type == 'dir' or not args.directory:
            output(line(path, entry, shown, args.z))
    return errors.NO if problems else errors.DONE


def _form(args):
    if args.human:
        return listing.human
    if args.mtree:
        return listing.mtree
    if args.name_only:
        return listing.name
    return listing.long if args.long else listing.short
