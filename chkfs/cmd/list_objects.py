"""chkfs-list-objects - list all objects of a store"""

from chkfs import cli, errors
from chkfs.text import key as keys

USAGE = 'chkfs-list-objects [-z] [--type TYPE] [--sizes]'


def options(parser):
    parser.add_argument('-z', action='store_true', help='end records with NUL')
    parser.add_argument('--type', choices=keys.TYPES, help='only objects of this type')
    parser.add_argument('--sizes', action='store_true', help='print the plain size in bytes, too')


def run(args):
    store = cli.open_store(args)
    output, status = cli.printer(args), errors.DONE
    for type in (args.type,) if args.type else keys.TYPES:
        for key in store.objects.keys(type):
            try:
                size = f' {store.objects.size(type, key)}' if args.sizes else ''
            except errors.Error as error:
                cli.reporter(args)(str(error))
                status = errors.NO
                continue
            output(f'{key} {type}{size}'.encode())
    return status
