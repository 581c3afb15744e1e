"""chkfs-checkout-tree - restore a tree, or one file, to a place on disk"""

import os

from chkfs import checkout, cli, errors, revision

USAGE = 'chkfs-checkout-tree [-qv] TREEISH[:PATH] DEST'


def options(parser):
    cli.add_quiet_verbose(parser)
    parser.add_argument('treeish', metavar='TREEISH[:PATH]', help='a tree, a snapshot, or a part of one; see chkfs(7)')
    parser.add_argument('destination', metavar='DEST', help='becomes the thing restored: absent, or an empty directory')


def run(args):
    store = cli.open_store(args)
    entry = revision.tree_of(store, args.treeish).entry
    if entry is None:
        raise errors.NotFound(f"'{args.treeish}' is a bare blob: chkfs-cat-object prints it")
    report = cli.reporter(args)
    progress = cli.Progress(args)
    work = checkout.Checkout(store.objects, report, report if args.verbose else lambda line: None, progress)
    try:
        work.restore(entry, os.fsencode(args.destination))
    except errors.Interrupted:
        raise errors.Interrupted('interrupted: the destination is incomplete') from None
    finally:
        progress.close()
    for kind, count in sorted(work.unset.items()):
        report(f'{kind} could not be set {count} times{"" if args.verbose else " (-v lists them)"}')
    if work.missing:
        report(f'{work.missing} entries were not restored')
    if not args.quiet:
        cli.say(f'{work.files} files, {work.bytes} bytes restored')
    return errors.PARTIAL if work.missing or work.unset else errors.DONE
