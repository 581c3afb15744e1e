"""chkfs-checkout-tree - restore a tree, or one file, to a place on disk"""

import os
import shlex

from chkfs import cli, errors
from chkfs.restore import checkout, destination, fitting, missing, naming, ownership
from chkfs.storage import revision
from chkfs.system import allocation
from chkfs.text import number, quote

USAGE = """chkfs-checkout-tree [-qv] [--missing FILE] [--recursion HOW] [--on-collision HOW]
                           [--name-encoding FROM:TO] [--owner WHOSE] [--reflink] TREEISH[:PATH] DEST"""


def options(parser):
    cli.add_quiet_verbose(parser)
    parser.add_argument('--missing', metavar='FILE', help='list there what could not be set, not beside DEST')
    parser.add_argument('--recursion', metavar='HOW', choices=checkout.RECURSION, default='symlink',
                        help='what a directory that is another one again becomes: symlink, skip, bind')  # fmt: skip
    parser.add_argument('--on-collision', metavar='HOW', choices=fitting.ON_COLLISION, default=fitting.RENAME,
                        help='what names that DEST cannot hold or tell apart meet: rename, skip, fail')  # fmt: skip
    parser.add_argument('--name-encoding', metavar='FROM:TO', help='rewrite names from one encoding to another')
    parser.add_argument('--owner', metavar='WHOSE', help='numeric (default), keep (by name), me, or map:FILE')
    parser.add_argument('--reflink', action='store_true', help='share blocks with the store, on btrfs and xfs')
    parser.add_argument('treeish', metavar='TREEISH[:PATH]', help='a tree, a snapshot, or a part of one; see chkfs(7)')
    parser.add_argument('destination', metavar='DEST', help='becomes the thing restored: absent, or an empty directory')


def run(args):
    transcoding = naming.Transcoding(args.name_encoding) if args.name_encoding is not None else None
    owners = ownership.parse(args.owner) if args.owner not in (None, ownership.NUMERIC) else None
    settings = checkout.Options(args.on_collision, transcoding, owners, args.reflink)
    store = cli.open_store(args)
    target = revision.tree_of(store, args.treeish)
    entry = target.entry
    if entry is None:
        raise errors.NotFound(f"'{args.treeish}' is a bare blob: chkfs-cat-object prints it")
    if args.recursion == 'bind' and os.geteuid():
        raise errors.Usage('--recursion=bind needs root, to mount')
    report = cli.reporter(args)
    progress = cli.Progress(args)
    allocation.keep_freed()
    path = os.fsencode(args.destination)
    lacking = missing.File(destination.whole(path), args.missing and os.fsencode(args.missing), _applying(args))
    detail = report if args.verbose else lambda line: None
    talk = report, detail, progress, lacking.add
    work = checkout.Checkout(store.objects, *talk, args.recursion, target.path, settings)
    try:
        work.restore(entry, path)
    except errors.Interrupted:
        raise errors.Interrupted('interrupted: the destination is incomplete') from None
    finally:
        progress.close()
        lacking.close()
    for kind, count in sorted(work.unset.items()):
        report(f'{kind} could not be set {number.of(count, "time")}{"" if args.verbose else " (-v lists them)"}')
    if work.left_out:
        kinds = ', '.join(
            f'{kind} (of {number.of(count, "entry", "entries")})' for kind, count in sorted(work.left_out.items())
        )
        report(f'what the target has no place for stays in the store: {kinds}')
    if work.missing:
        report(f'{number.of(work.missing, "entry was", "entries were")} not restored')
    if work.damaged:
        one = 'file is damaged: it could not be read wholly when it was stored'
        report(number.of(work.damaged, one, 'files are damaged: they could not be read wholly when they were stored'))
    _say_what_is_missing(lacking, path, _applying(args), report)
    if work.binds and not args.quiet:
        one = 'directory is a bind mount: umount -R before you remove it'
        cli.say(number.of(len(work.binds), one, 'directories are bind mounts: umount -R before you remove them'))
    if not args.quiet:
        cli.say(f'{number.of(work.files, "file")}, {number.of(work.bytes, "byte")} restored')
    return errors.PARTIAL if work.missing or work.damaged or work.unset else errors.DONE


def _applying(args):
    """The command that sets what is missing."""
    return f'chkfs-apply-metadata --owner {shlex.quote(args.owner)}' if args.owner else 'chkfs-apply-metadata'


def _say_what_is_missing(lacking, path, command, report):
    if lacking.problem:
        report(f'{lacking.problem}; --missing names another place for the list of what is missing')
    elif lacking.lines:
        words = (shlex.quote(quote.readable(each)) for each in (lacking.path, path))
        report(f'to set what is missing, as root: {command} {" ".join(words)}')
