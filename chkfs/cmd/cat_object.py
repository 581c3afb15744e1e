"""chkfs-cat-object - print objects, or their types and sizes"""

from chkfs import cli, errors
from chkfs.storage import revision
from chkfs.storage.objects import WHOLE_BYTES

USAGE = 'chkfs-cat-object [-z] {-t | -s | -e | -p} OBJECT\n       chkfs-cat-object [-z] {--batch | --batch-check}'


def options(parser):
    group = parser.add_mutually_exclusive_group()
    group.add_argument('-t', dest='what', action='store_const', const='type', help='print the type')
    group.add_argument('-s', dest='what', action='store_const', const='size', help='print the size in bytes')
    group.add_argument('-e', dest='what', action='store_const', const='exists', help='only say by the status: 0, 1')
    group.add_argument('-p', dest='what', action='store_const', const='print', help='print the contents (default)')
    group.add_argument('--batch', action='store_true',
                       help='for each name on standard input: key, type, size, newline, contents, newline')  # fmt: skip
    group.add_argument('--batch-check', action='store_true', help='the same without the contents')
    parser.add_argument('-z', action='store_true', help='names and records of --batch end with NUL')
    parser.add_argument('object', metavar='OBJECT', nargs='?', help='a key, a ref, SNAPSHOT:PATH; see chkfs(7)')


def run(args):
    is_batch = args.batch or args.batch_check
    if is_batch == (args.object is not None):
        raise errors.Usage('name one object, or say --batch or --batch-check')
    store = cli.open_store(args)
    if is_batch:
        return _batch(args, store)
    try:
        target = _find(store, args.object)
    except errors.NotFound:
        if args.what == 'exists':
            return errors.NO
        raise
    if args.what == 'type':
        print(target.type)
    elif args.what == 'size':
        print(store.objects.size(target.type, target.key))
    elif args.what == 'exists':
        return errors.DONE if store.objects.has(target.type, target.key) else errors.NO
    else:
        for chunk in store.objects.chunks(target.type, target.key):
            cli.write(chunk)
    return errors.DONE


def _find(store, name):
    target = revision.resolve(store, name)
    if target.key is None:
        raise errors.NotFound(f"'{name}' is a {target.entry.type}: it has no contents")
    return target


def _batch(args, store):
    output, status = cli.printer(args), errors.DONE
    for name in cli.input_records(args):
        try:
            target = _find(store, name.decode('utf-8', 'surrogateescape'))
            if args.batch:
                size, chunks = _verified(store.objects, target.type, target.key)
            else:
                size, chunks = store.objects.size(target.type, target.key), ()
        except (errors.NotFound, errors.Usage):
            output(name + b' missing')
            status = errors.NO
            continue
        except errors.Error as error:
            cli.reporter(args)(str(error))
            output(name + b' damaged')
            status = errors.NO
            continue
        output(f'{target.key} {target.type} {size}'.encode())
        for chunk in chunks:
            cli.write(chunk)
        if args.batch:
            output(b'')
    return status


def _verified(objects, type, key):
    """(size, contents in chunks), all of it verified before the first is given: what is long is read twice."""
    if objects.size(type, key) <= WHOLE_BYTES:
        contents = objects.read(type, key)
        return len(contents), (contents,)
    size = sum(map(len, objects.chunks(type, key)))  # the size of a file or in an index may be that of a damaged copy
    return size, objects.chunks(type, key)
