"""chkfs-write-tree - store a directory, and print the key of its tree"""

import os

from chkfs import cli, errors
from chkfs.backup import exclude, ingest
from chkfs.backup.run import Backup
from chkfs.storage import refs
from chkfs.system import allocation
from chkfs.text import tree

USAGE = (
    'chkfs-write-tree [-qvx] [--root | --draft] [-n NAME] [--checkpoints]\n'
    '                        [--exclude PATTERN] [--exclude-from FILE] [--exclude-caches]\n'
    '                        [--atime] [--read-timeout SECONDS] [--retries NUMBER]\n'
    '                        [--rehash | --rehash-sample PERCENT] DIR'
)


def options(parser):
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--root', action='store_true', help='print the whole mtree line of DIR')
    group.add_argument('--draft', action='store_true', help='print the draft of a snapshot, for chkfs-commit-snapshot')
    parser.add_argument('-n', '--name', help='of the backup, for the draft; without it the last component of DIR')
    parser.add_argument('--checkpoints', action='store_true',
                        help='show what is stored so far as refs/checkpoints/NAME, now and then')  # fmt: skip
    add_walk_options(parser)
    cli.add_quiet_verbose(parser)
    parser.add_argument('directory', metavar='DIR', help='a directory, or one file')


def add_walk_options(parser):
    parser.add_argument('-x', '--one-file-system', action='store_true', help='do not enter other filesystems')
    parser.add_argument('--atime', action='store_true',
                        help='keep times of access, even where the source is not read-only')  # fmt: skip
    parser.add_argument('--exclude', metavar='PATTERN', action='append', default=[],
                        help='leave out what matches, as in gitignore(5); may be given again')  # fmt: skip
    parser.add_argument('--read-timeout', metavar='SECONDS', default='300',
                        help='give up a file that does not answer for so long (300); 0: never')  # fmt: skip
    parser.add_argument('--retries', metavar='NUMBER', default='1',
                        help='how often to try again, in the end, what could not be read (1)')  # fmt: skip
    parser.add_argument('--exclude-from', metavar='FILE', action='append', default=[], help='read patterns from FILE')
    parser.add_argument(
        '--exclude-caches', action='store_true', help='of directories with a CACHEDIR.TAG keep only that'
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--rehash', action='store_true', help='read every file, changed or not')
    group.add_argument('--rehash-sample', metavar='PERCENT', help='read so many files at random, changed or not')


def run(args):
    if not args.directory:
        raise errors.Usage("which directory? '' is none")
    store = cli.open_store(args)
    settings = _walk_options(args)
    name = args.name or refs.tidy(os.path.basename(os.path.abspath(args.directory)))
    refs.check_name(f'refs/backups/{name}')
    allocation.keep_freed()
    report, progress = cli.reporter(args), cli.Progress(args)
    note = (lambda line: None) if args.quiet else report
    work = Backup(store, os.fsencode(args.directory), name, args.checkpoints)
    try:
        result = work.run(settings, report, note, progress)
    except errors.Interrupted:
        raise errors.Interrupted('interrupted: what is stored so far will not be read again') from None
    except errors.Gone as error:
        raise errors.Gone(f'{error}; what is stored so far will not be read again') from None
    finally:
        progress.close()
    if args.draft:
        cli.write(work.draft(result))
    else:
        print(result.root if args.root else tree.parse_line(result.root).key)
    is_perfect = not (result.skipped or result.changed or result.damaged or result.differing)
    return errors.DONE if is_perfect else errors.PARTIAL


def _walk_options(args):
    lines = list(args.exclude)
    for name in args.exclude_from:
        try:
            with open(name, encoding='utf-8', errors='surrogateescape') as file:
                lines += file.read().splitlines()
        except OSError as error:
            raise errors.Usage(f"cannot read patterns from '{name}': {errors.describe(error)}") from error
    patterns = exclude.Patterns(lines) if lines else None
    rehash = 1.0 if args.rehash else 0.0 if args.rehash_sample is None else _share(args.rehash_sample)
    return ingest.Options(
        args.one_file_system,
        patterns,
        args.exclude_caches,
        _number('--read-timeout', args.read_timeout),
        int(_number('--retries', args.retries)),
        rehash,
        args.atime,
    )


def _number(option, text):
    try:
        if 0 <= float(text) < 1e6:
            return float(text)
    except ValueError:
        pass
    raise errors.Usage(f"{option} '{text}' is not a number of at least 0")


def _share(percent):
    """A number of percent as a part of 1.  Raises Usage."""
    try:
        share = float(percent) / 100
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise errors.Usage(f"'{percent}' is not a number of percent, 0 to 100")
    return share
