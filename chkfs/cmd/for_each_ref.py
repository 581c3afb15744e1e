"""chkfs-for-each-ref - list refs"""

import re
from fnmatch import fnmatchcase

from chkfs import cli, errors
from chkfs.storage import revision

USAGE = 'chkfs-for-each-ref [-z] [--format FORMAT] [PATTERN ...]'
_DEFAULT = '%(key) snapshot\t%(ref)'
_FIELD = re.compile(r'%\((.*?)\)')
_REF_WORDS = ('ref', 'short', 'key')
_SNAPSHOT_WORDS = ('name', 'source', 'host', 'started', 'finished', 'files', 'bytes', 'complete')


def options(parser):
    parser.add_argument('-z', action='store_true', help='end records with NUL')
    parser.add_argument('--format', default=_DEFAULT,
                        help=f'{_fields(_REF_WORDS)}, and of the snapshot: {_fields(_SNAPSHOT_WORDS)}'
                        .replace('%', '%%'))  # fmt: skip
    parser.add_argument('patterns', metavar='PATTERN', nargs='*',
                        help='a whole name, its beginning up to a slash, or a pattern of the shell')  # fmt: skip


def run(args):
    wanted = set(_FIELD.findall(args.format))
    if unknown := wanted.difference(_REF_WORDS, _SNAPSHOT_WORDS):
        raise errors.Usage(f"no field '%({min(unknown)})': there are {_fields(_REF_WORDS + _SNAPSHOT_WORDS)}")
    store = cli.open_store(args)
    output, status = cli.printer(args), errors.DONE
    for ref in store.refs.names():
        if args.patterns and not any(_matches(ref, pattern) for pattern in args.patterns):
            continue
        try:
            values = {'ref': ref, 'key': store.refs.read(ref)}
            if 'short' in wanted:
                values['short'] = store.refs.short_name(ref)
            if wanted.intersection(_SNAPSHOT_WORDS):
                found = revision.read_snapshot(store, values['key'])
                values.update((word, found.get(word) or '') for word in _SNAPSHOT_WORDS)
        except errors.Error as error:
            cli.reporter(args)(str(error))
            status = errors.NO
            continue
        output(_filled_in(args.format, values).encode('utf-8', 'surrogateescape'))
    return status


def _filled_in(format, values):
    return _FIELD.sub(lambda field: values[field[1]], format)


def _fields(words):
    return ' '.join(f'%({word})' for word in words)


def _matches(ref, pattern):
    return ref == pattern or ref.startswith(pattern.rstrip('/') + '/') or fnmatchcase(ref, pattern)
