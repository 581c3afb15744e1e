"""The command line: shared options, the store, output, progress, and the one place that prints errors and exits.

A command is a module in chkfs.cmd: its docstring's first line is "chkfs-NAME - what it does", USAGE is its
synopsis, options(parser) declares its arguments, and run(args) does it and returns an exit status.
"""

import argparse
import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
import time

import chkfs
from chkfs import errors
from chkfs.storage import store
from chkfs.text import number, quote

COMMANDS = (
    'init', 'hash-object', 'cat-object', 'write-tree', 'mktree', 'ls-tree', 'checkout-tree', 'apply-metadata',
    'commit-snapshot',
    'update-ref', 'for-each-ref', 'rev-parse', 'rev-list', 'list-objects', 'count-objects', 'fsck', 'repack',
    'completion',
)  # fmt: skip

_DESCRIPTORS = 1024  # no more: select(2), which waits for workers, takes none beyond


def main(program: str) -> int:
    """Runs the command of that name (chkfs-init, ...) with sys.argv; gives the exit status."""
    program = os.path.basename(program)
    spoken = _spoken_name(program)
    try:
        _on_interrupts(_interrupt)
        _require_utf8()
        _open_standard_streams()
        gc.set_threshold(200_000)  # nearly nothing here is cyclic, and there may be millions of entries
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        module = importlib.import_module('chkfs.cmd.' + program.removeprefix('chkfs-').replace('-', '_'))
        parser = make_parser(program, module)
        if '_ARGCOMPLETE' in os.environ:
            import argcomplete

            argcomplete.autocomplete(parser)
        status = module.run(parser.parse_args())
        sys.stdout.flush()
        return status
    except errors.Error as error:
        say(f'{spoken}: {error}')
        return error.status
    except KeyboardInterrupt:
        say(f'{spoken}: interrupted')
        return 128 + signal.SIGINT
    except (OSError, MemoryError) as error:
        name = getattr(error, 'filename', None)
        where = f"'{quote.readable(os.fsencode(name))}': " if isinstance(name, (str, bytes)) else ''
        say(f'{spoken}: {where}{errors.describe(error) or "out of memory"}')
        return errors.FATAL
    finally:
        _on_interrupts(signal.SIG_DFL)  # Python has yet to end


def make_parser(program: str, module) -> argparse.ArgumentParser:
    """The parser of a command's module; options that all commands share come last."""
    summary = module.__doc__.partition('\n')[0].partition(' - ')[2]
    parser = argparse.ArgumentParser(
        prog=program,
        usage=module.USAGE,
        description=f'{summary[:1].upper()}{summary[1:]}.',
        epilog=f'The manual: man {program}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.options(parser)
    parser.add_argument('--store', metavar='DIR', help='the store; else $CHKFS_STORE, else the current directory')
    parser.add_argument('--version', action='version', version=f'{program} {chkfs.__version__}')
    return parser


def open_store(args) -> store.Store:
    """The store that the command line or the environment names, opened.  Raises Error."""
    os.umask(0o077)
    _allow_descriptors()
    return store.Store(store.find(args.store))


def say(line: str) -> None:
    """A line for people, on standard error."""
    try:
        sys.stdout.flush()
    except OSError:  # Python would try again in the end, and change the exit status
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
    with contextlib.suppress(OSError):  # where nobody can be told, the status still tells
        print(line, file=sys.stderr, flush=True)


def reporter(args):
    """A function that prints one problem as a line of this program."""
    program = _spoken_name(os.path.basename(sys.argv[0]))
    return lambda line: say(f'{program}: {line}')


def _spoken_name(program: str) -> str:
    """The name that messages begin with: that of the script which called us and says so, else our own."""
    return os.environ.get('CHKFS_SPEAKER') or program


def write(data: bytes) -> None:
    """Data for standard output, byte by byte as it is."""
    sys.stdout.buffer.write(data)


def printer(args):
    """A function that prints one record (bytes) and ends it with a newline, or with NUL after -z."""
    end = b'\0' if args.z else b'\n'
    out = sys.stdout.buffer.write
    return lambda record: out(record + end)


def input_records(args) -> list[bytes]:
    """The records of standard input: lines, or after -z what stands between NULs.

    Before it waits for more of them, what was printed is sent off: somebody may ask, and wait for the answer.
    """
    end = b'\0' if args.z else b'\n'
    rest = b''
    while block := _read_more():
        *whole, rest = (rest + block).split(end)
        yield from whole
    if rest:
        yield rest


def _read_more() -> bytes:
    sys.stdout.flush()
    return sys.stdin.buffer.read1(1 << 16)


def add_quiet_verbose(parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument('-q', '--quiet', action='store_true', help='say nothing but problems')
    group.add_argument('-v', '--verbose', action='store_true', help='say more')


class Progress:
    """Files, bytes, rate and the current path: a tqdm bar on a terminal, with -v elsewhere a line now and then."""

    SECONDS_BETWEEN_LINES = 10

    def __init__(self, args):
        self._bar, self._verbose, self._stop = None, args.verbose, False
        _on_interrupts(self._ask_to_stop)
        self._next = 0.0
        self._started = time.monotonic()
        if sys.stderr.isatty() and not args.quiet:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no thread of its own: there will be forks
            self._bar = tqdm(unit='B', unit_scale=True, leave=False, dynamic_ncols=True)

    def __call__(self, path: bytes, done) -> None:
        """Called as often as one likes; done has the counts files and bytes.

        Raises Interrupted after a signal: unlike in a signal handler, the caller is at a place where it can stop.
        """
        if self._stop:
            raise errors.Interrupted('interrupted')
        if self._bar is None and not self._verbose:
            return
        now = time.monotonic()
        if now < self._next:
            return
        if self._bar is not None:
            self._next = now + 0.1
            files = number.of(done.files, 'file')
            self._bar.set_description(f'{files}, {_shorten(quote.readable(path))}', refresh=False)
            self._bar.update(done.bytes - self._bar.n)
        elif self._next:
            self._next = now + self.SECONDS_BETWEEN_LINES
            counts = f'{number.of(done.files, "file")}, {number.of(done.bytes, "byte")}'
            say(f'{counts}, {now - self._started:.0f} s: {quote.readable(path)}')
        else:
            self._next = now + self.SECONDS_BETWEEN_LINES

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _ask_to_stop(self, number, frame) -> None:
        if self._stop:
            raise KeyboardInterrupt  # asked twice: at once
        self._stop = True


def _shorten(path: str, width: int = 40) -> str:
    return path if len(path) <= width else '...' + path[3 - width :]


def _require_utf8() -> None:
    """File names pass through str in places; only Python's UTF-8 mode gives every byte back in every locale."""
    if sys.getfilesystemencoding().lower() != 'utf-8' and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.argv])


def _open_standard_streams() -> None:
    """What is closed of them becomes /dev/null: print() has somewhere to write, and no file of ours takes its place."""
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8', errors='surrogateescape'))


def _allow_descriptors() -> None:
    """As many open files as we need, where the system allows them but does not begin with them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _on_interrupts(handler) -> None:
    """Who is told of signals that end us.  One that was ignored at the start (nohup) stays so."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, handler)


def _interrupt(number, frame):
    raise KeyboardInterrupt
