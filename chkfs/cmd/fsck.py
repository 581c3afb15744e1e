"""chkfs-fsck - check a store, and repair what can be repaired"""

import json

from chkfs import cli, errors
from chkfs.storage import fsck, revision

USAGE = 'chkfs-fsck [-qvz] [--full] [--since SNAPSHOT] [--repair] [--json]'


def options(parser):
    parser.add_argument('--full', action='store_true', help='read every byte of the store')
    parser.add_argument('--since', metavar='SNAPSHOT', help='do not walk the trees that this snapshot reaches')
    parser.add_argument('--repair', action='store_true', help='rebuild indexes and refs, set damaged files aside')
    parser.add_argument('--json', action='store_true', help='print each record as a JSON object')
    parser.add_argument('-z', action='store_true', help='end records with NUL')
    cli.add_quiet_verbose(parser)


def run(args):
    store = cli.open_store(args)
    output, status = cli.printer(args), errors.DONE
    since = revision.resolve_object(store, args.since)[1] if args.since else None
    progress = cli.Progress(args)
    work = fsck.Fsck(store, progress)
    try:
        for problem in work.check(args.full, since):
            output(_record(args, problem))
            status = errors.NO
    finally:
        progress.close()
    if args.verbose and status == errors.DONE:
        cli.say('no problem was found')
    for leftover in work.leftovers:
        output(_record(args, leftover))
    for key, found in work.dangling:
        detail = f'{found.text("name")} {found.get("finished") or ""} {found.text("source")}'
        output(_record(args, fsck.Problem('dangling', f'snapshot/{key}', detail)))
    if args.repair:
        for line in work.repair():
            output(_record(args, fsck.Problem('repaired', *line.split(': ', 1))))
    return status


def _record(args, problem):
    if args.json:
        return json.dumps(problem._asdict()).encode()
    text = f'{problem.kind} {problem.where}: {problem.detail}'
    return '\t'.join([text, *problem.affects]).encode('utf-8', 'surrogateescape')
