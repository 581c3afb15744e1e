"""chkfs-apply-metadata - set what could not be set when a directory was restored"""

import os

from chkfs import cli, errors
from chkfs.restore import apply, missing, ownership
from chkfs.restore.maker import Maker
from chkfs.text import number

USAGE = 'chkfs-apply-metadata [-q] [--owner WHOSE] FILE DEST'


def options(parser):
    parser.add_argument('-q', '--quiet', action='store_true', help='say nothing but problems')
    parser.add_argument('--owner', metavar='WHOSE', help='numeric (default), keep (by name), me, or map:FILE')
    parser.add_argument('file', metavar='FILE', help='what chkfs-restore wrote beside DEST: DEST.chkfs-missing.mtree')
    parser.add_argument('destination', metavar='DEST', help='the directory that was restored, wherever it is now')


def run(args):
    report = cli.reporter(args)
    owners = ownership.parse(args.owner) if args.owner else None
    work = apply.Apply(Maker(_Objects(args), owners=owners), report)
    work.run(missing.entries(os.fsencode(args.file)), os.fsencode(args.destination))
    if work.problems:
        report(f'{number.of(work.problems, "thing")} could not be set')
    if not args.quiet:
        cli.say(number.of(work.entries, 'entry', 'entries'))
    return errors.PARTIAL if work.problems else errors.DONE


class _Objects:
    """The objects of the store, which is opened when it is needed: only for contents that are missing."""

    def __init__(self, args):
        self._args = args

    def __getattr__(self, name):
        if '_found' not in self.__dict__:
            self._found = cli.open_store(self._args).objects
        return getattr(self._found, name)
