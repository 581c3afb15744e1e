"""chkfs-ls-tree - list a tree"""

import stat
import time

from chkfs import cli, errors, naming, quote, revision, tree, walk

USAGE = 'chkfs-ls-tree [-rdlz] [--name-only | --human | --mtree] [--name-encoding ENCODING] TREEISH [PATH ...]'
_TYPES = {'file': 'blob', 'dir': 'tree'}


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
    output = cli.printer(args)
    if args.human:
        show = _human
    else:
        show = _mtree if args.mtree else _name if args.name_only else _long if args.long else _short
    if args.mtree:
        output(b'#mtree')
        top = {word: text for word, text in root.fields.items() if word not in ('size', 'tags')}
        output(tree.Entry(b'.', top).line().encode())
    for path, entry in _entries(store.objects, root, args, report):
        if entry.type == 'dir' or not args.directory:
            output(show(path, entry, shown, args.z))
    return errors.NO if problems else errors.DONE


def _entries(objects, root, args, report):
    if not args.paths:
        yield from _below(objects, root, b'', args, report)
    for path in args.paths:
        raw = path.encode('utf-8', 'surrogateescape').strip(b'/')
        entry = walk.find(objects, root, raw)
        if path.endswith('/') and entry.type == 'dir':
            yield from _below(objects, entry, raw + b'/', args, report)
            continue
        yield raw, entry
        if args.recursive and entry.type == 'dir' and entry.key is not None:
            yield from _below(objects, entry, raw + b'/', args, report)


def _below(objects, entry, prefix, args, report):
    if entry.type != 'dir':
        yield entry.name, entry
    elif entry.key is None:
        raise errors.NotFound(f"'{quote.readable(entry.name)}' holds nothing here: {_why(entry)}")
    elif args.recursive:
        yield from walk.below(objects, entry.key, prefix, report)
    else:
        for child in walk.entries(objects, entry.key, report):
            yield prefix + child.name, child


def _why(entry):
    again = entry.tag('again')
    return 'a directory without a tree' if again is None else f"it is '{quote.readable(quote.unquote(again))}' again"


def _name(path, entry, shown, exact):
    return shown(path)


def _short(path, entry, shown, exact):
    mode = entry.fields.get('mode', '-')
    return f'{mode} {_TYPES.get(entry.type, entry.type)} {entry.key or "-"}\t'.encode() + shown(path)


def _long(path, entry, shown, exact):
    fields = entry.fields
    owner = f'{fields.get("uname") or fields.get("uid", "-")} {fields.get("gname") or fields.get("gid", "-")}'
    size = fields.get('size') or fields.get('device', 'linux,-')[6:]
    head = f'{fields.get("mode", "-")} {_TYPES.get(entry.type, entry.type)} {entry.key or "-"} {owner} {size}'
    tail = b'' if exact else _tail(entry, shown)
    return f'{head} {fields.get("time", "-")}\t'.encode() + shown(path) + tail


def _tail(entry, shown):
    """What is said after a name: where a link leads, and which directory this one is once more."""
    if entry.type == 'link':
        return b' -> ' + shown(entry.link)
    again = entry.tag('again') if entry.type == 'dir' else None
    return b' is ' + shown(quote.unquote(again)) + b' again' if again is not None else b''


def _human(path, entry, shown, exact):
    fields = entry.fields
    letter = '-' if entry.type == 'file' else {'socket': 's', 'fifo': 'p'}.get(entry.type, entry.type[:1])
    mode = stat.filemode((entry.mode or 0) & 0o7777)[1:]
    owner = f'{fields.get("uname") or fields.get("uid", "-"):8} {fields.get("gname") or fields.get("gid", "-"):8}'
    size = fields.get('size') or fields.get('device', 'linux,-')[6:]
    seconds = (entry.time_ns or 0) // 10**9
    try:
        when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        when = f'@{seconds}'
    tail = b'' if exact else _tail(entry, shown)
    if not exact and (unread := entry.tag('unread')) is not None:
        tail += f' (could not be read: {unread})'.encode()
    elif not exact and entry.tag('damaged') is not None:
        tail += b' (damaged)'
    return f'{letter}{mode} {owner} {size:>12} {when} '.encode() + shown(path) + tail


def _mtree(path, entry, shown, exact):
    fields = {word: text for word, text in entry.fields.items() if word != 'tags'}
    return tree.Entry(path, fields).line().encode()
