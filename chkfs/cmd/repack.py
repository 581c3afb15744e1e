"""chkfs-repack - put small objects together into larger packs, and compress anew"""

import argparse

from chkfs import cli, errors
from chkfs.storage import repack

USAGE = 'chkfs-repack [-qv] [--compression CODEC] [--max-pack-size SIZE]'
_UNITS = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}


def options(parser):
    parser.add_argument('--compression', metavar='CODEC', help='recompress everything that is not in this codec')
    parser.add_argument(
        '--max-pack-size',
        metavar='SIZE',
        type=_size,
        default=repack.MAX_PACK_BYTES,
        help='of the packs made, in bytes, or with K, M or G (default: 128M)',
    )
    cli.add_quiet_verbose(parser)


def run(args):
    store = cli.open_store(args)
    progress = cli.Progress(args)
    note = (lambda line: None) if args.quiet else cli.reporter(args)
    work = repack.Repack(store, args.compression, args.max_pack_size, progress, cli.reporter(args), note)
    try:
        outcome = work.run()
    except errors.Interrupted:
        raise errors.Interrupted('interrupted: nothing is lost, and what is done is done') from None
    finally:
        progress.close()
    if not args.quiet:
        cli.say(_describe(outcome))
    return errors.PARTIAL if outcome.damaged_files else errors.DONE


def _describe(outcome):
    before, after = outcome.before, outcome.after
    if not outcome.removed_files:
        return 'nothing to do'
    objects = [found['loose-blobs'] + found['loose-trees'] for found in (before, after)]
    sizes = [found['pack-bytes'] + found['loose-bytes'] for found in (before, after)]
    return (
        f'packs: {before["packs"]}, now {after["packs"]}; files of their own: {objects[0]}, now {objects[1]}; '
        f'bytes: {sizes[0]}, now {sizes[1]}'
    )


def _size(text):
    digits, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size: a number of bytes, or one with K, M or G")
    return int(digits) * unit
