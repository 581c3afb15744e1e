"""chkfs-for-each-ref - list refs"""

from fnmatch import fnmatchcase

from chkfs import cli, errors, revision

USAGE = 'chkfs-for-each-ref [-z] [--format FORMAT] [PATTERN ...]'
_DEFAULT = '%(key) snapshot\t%(ref)'
_SNAPSHOT_WORDS = ('name', 'source', 'host', 'started', 'finished', 'files', 'bytes', 'complete')


def options(parser):
    parser.add_argument('-z', action='store_true', help='end records with NUL')
    parser.add_argument('--format', default=_DEFAULT,
                        help='%%(ref) %%(short) %%(key), and of the snapshot: '
                        + ' '.join(f'%%({word})' for word in _SNAPSHOT_WORDS))  # fmt: skip
    parser.add_argument('patterns', metavar='PATTERN', nargs='*',
                        help='a whole name, its beginning up to a slash, or a pattern of the shell')  # fmt: skip


def run(args):
    store = cli.open_store(args)
    output, status = cli.printer(args), errors.DONE
    wants_snapshot = any(f'%({word})' in args.format for word in _SNAPSHOT_WORDS)
    for ref in store.refs.names():
        if args.patterns and not any(_matches(ref, pattern) for pattern in args.patterns):
            continue
        try:
            key = store.refs.read(ref)
            found = revision.read_snapshot(store, key) if wants_snapshot else None
        except errors.Error as error:
            cli.reporter(args)(str(error))
            status = errors.NO
            continue
        text = args.format.replace('%(ref)', ref).replace('%(key)', key)
        text = text.replace('%(short)', ref.removeprefix('refs/').removeprefix('backups/').removeprefix('tags/'))
        if found is not None:
            for word in _SNAPSHOT_WORDS:
                text = text.replace(f'%({word})', found.get(word) or '')
        output(text.encode('utf-8', 'surrogateescape'))
    return status


def _matches(ref, pattern):
    return ref == pattern or ref.startswith(pattern.rstrip('/') + '/') or fnmatchcase(ref, pattern)
