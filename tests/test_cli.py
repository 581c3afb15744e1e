"""cli: one place that reads argv, prints errors and exits; every command is declared the same way."""

import argparse
import gc
import importlib
import io
import os
import resource
import signal
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chkfs
from chkfs import cli, errors
from chkfs.storage import store as stores
from chkfs.storage import writer
from chkfs.text import key, snapshot, tree

TOP = os.path.dirname(os.path.dirname(os.path.abspath(chkfs.__file__)))
MODULES = {name: importlib.import_module('chkfs.cmd.' + name.replace('-', '_')) for name in cli.COMMANDS}


@pytest.fixture(autouse=True)
def process():
    """What main changes in its process is changed back."""
    numbers = (signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    handlers, threshold, umask = [signal.getsignal(number) for number in numbers], gc.get_threshold(), os.umask(0o022)
    yield
    for number, handler in zip(numbers, handlers):
        signal.signal(number, handler)
    gc.set_threshold(*threshold)
    os.umask(umask)


@pytest.fixture
def stdin(monkeypatch):
    """stdin(data) is what standard input gives."""

    def give(data):
        monkeypatch.setattr(
            sys, 'stdin', io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)), 'utf-8', 'surrogateescape')
        )

    return give


@pytest.fixture
def main(monkeypatch, capfdbinary, stdin):
    """main(command, argument, ...) gives (exit status, standard output, standard error)."""

    def run(command, *arguments, given=b''):
        stdin(given)
        monkeypatch.setattr(sys, 'argv', ['/somewhere/bin/chkfs-' + command, *map(os.fsdecode, arguments)])
        capfdbinary.readouterr()
        try:
            status = cli.main(sys.argv[0])
        except SystemExit as stop:
            status = stop.code or 0
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return run


@pytest.fixture
def failing(monkeypatch, main):
    """failing(exception) is what main makes of a command that raises it."""

    def run(error):
        module = types.ModuleType('chkfs.cmd.failing', 'chkfs-failing - fail')
        module.USAGE = 'chkfs-failing'
        module.options = lambda parser: None

        def run_it(args):
            raise error

        module.run = run_it
        monkeypatch.setitem(sys.modules, 'chkfs.cmd.failing', module)
        return main('failing')

    return run


# ---- declarations ----


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_every_command_is_declared_the_same_way(name):
    module = MODULES[name]
    first = module.__doc__.partition('\n')[0]
    assert first.startswith(f'chkfs-{name} - ') and first[-1] != '.'
    assert all(line.lstrip().startswith(f'chkfs-{name}') or line.startswith(' ') for line in module.USAGE.split('\n'))
    assert callable(module.options) and callable(module.run)


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_every_option_has_help_and_stands_in_the_usage(name):
    parser = cli.make_parser(f'chkfs-{name}', MODULES[name])
    actions = [action for action in parser._actions if action.dest not in ('help', 'version', 'store')]
    assert [action.dest for action in actions if action.option_strings and not action.help] == []
    for action in actions:
        if action.option_strings and 'refused' not in action.help:
            letters = [option[1] for option in action.option_strings if not option.startswith('--')]
            shown = any(option in MODULES[name].USAGE for option in action.option_strings if option.startswith('--'))
            assert shown or any(
                f'-{letter}' in MODULES[name].USAGE or _among(letter, MODULES[name].USAGE) for letter in letters
            )


def _among(letter, usage):
    """Whether a letter stands in a group such as [-qvx]."""
    groups = [word.strip('[]') for word in usage.split() if word.startswith('[-') and not word.startswith('[--')]
    return any(letter in group[1:] for group in groups)


def test_every_module_of_a_command_is_a_command():
    files = {
        name[:-3].replace('_', '-') for name in os.listdir(os.path.join(TOP, 'chkfs', 'cmd')) if name.endswith('.py')
    }
    assert files - {'--init--'} == set(cli.COMMANDS)


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_every_command_has_a_file_to_call_it_by(name):
    path = os.path.join(TOP, 'bin', f'chkfs-{name}')
    assert os.access(path, os.X_OK)
    with open(os.path.join(TOP, 'setup.cfg')) as file:
        assert f'    bin/chkfs-{name}\n' in file.read()


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_and_version_go_to_standard_output(main, name):
    status, out, err = main(name, '-h')
    assert (status, err) == (0, '') and out.startswith(f'usage: chkfs-{name}'.encode())
    assert f'man chkfs-{name}'.encode() in out
    assert main(name, '--version') == (0, f'chkfs-{name} {chkfs.__version__}\n'.encode(), '')


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_a_wrong_option_is_wrong_usage(main, name):
    status, out, err = main(name, '--no-such-option')
    assert (status, out) == (errors.USAGE, b'') and f'usage: chkfs-{name}' in err


def test_options_are_not_abbreviated(main):
    assert main('init', '--compress', 'gzip')[0] == errors.USAGE


# ---- errors and statuses ----


@pytest.mark.parametrize(
    'error, status, said',
    [
        (errors.Error('it failed'), 128, 'chkfs-failing: it failed\n'),
        (errors.NotFound('no such thing'), 128, 'chkfs-failing: no such thing\n'),
        (errors.Damaged('bad bytes'), 128, 'chkfs-failing: bad bytes\n'),
        (errors.Usage('wrong'), 2, 'chkfs-failing: wrong\n'),
        (errors.Conflict('too late'), 1, 'chkfs-failing: too late\n'),
        (errors.Interrupted('stopped'), 130, 'chkfs-failing: stopped\n'),
        (KeyboardInterrupt(), 130, 'chkfs-failing: interrupted\n'),
        (OSError(28, 'No space left on device'), 128, 'chkfs-failing: No space left on device\n'),
        (OSError(2, 'No such file or directory', '/a b'), 128, "chkfs-failing: '/a b': No such file or directory\n"),
        (
            OSError(2, 'No such file or directory', b'/a\xff'),
            128,
            "chkfs-failing: '/a\\377': No such file or directory\n",
        ),
        (OSError('odd'), 128, 'chkfs-failing: odd\n'),
        (MemoryError(), 128, 'chkfs-failing: out of memory\n'),
    ],
)
def test_every_error_is_one_line_and_a_status(failing, error, status, said):
    assert failing(error) == (status, b'', said)


def test_a_bug_of_ours_is_a_traceback(failing):
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_statuses_are_those_of_the_manual():
    assert (errors.DONE, errors.NO, errors.USAGE, errors.PARTIAL, errors.FATAL) == (0, 1, 2, 3, 128)


def test_describe_gives_the_reason_alone():
    assert errors.describe(OSError(13, 'Permission denied', '/x')) == 'Permission denied'
    assert errors.describe(errors.Damaged('bad')) == 'bad'


# ---- records ----


@pytest.mark.parametrize('z, end', [(False, b'\n'), (True, b'\0')])
@given(records=st.lists(st.binary(max_size=30)), last=st.binary(max_size=5))
def test_records_of_any_bytes_are_read(z, end, records, last):
    records = [record.replace(end, b'?') for record in records]
    data = b''.join(record + end for record in records) + last
    expected = [*records, *last.split(end)] if last else records
    expected = expected[:-1] if last and last.endswith(end) else expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'stdin', io.TextIOWrapper(io.BufferedReader(io.BytesIO(data), 7)))
        assert list(cli.input_records(argparse.Namespace(z=z))) == expected


@pytest.mark.parametrize('z, end', [(False, b'\n'), (True, b'\0')])
def test_records_are_written_with_their_end(capfdbinary, z, end):
    printer = cli.printer(argparse.Namespace(z=z))
    printer(b'one')
    printer(b'\xff')
    cli.write(b'data')
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == b'one' + end + b'\xff' + end + b'data'


def test_problems_bear_the_name_of_the_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['/usr/bin/chkfs-x'])
    cli.reporter(None)('it went wrong')
    assert capsys.readouterr() == ('', 'chkfs-x: it went wrong\n')


# ---- progress ----


def progress(**options):
    return cli.Progress(argparse.Namespace(**{'quiet': False, 'verbose': False, **options}))


DONE = types.SimpleNamespace(files=3, bytes=4000)


def test_without_a_terminal_progress_is_silent(capsys):
    shown = progress()
    for _ in range(3):
        shown(b'path', DONE)
    shown.close()
    assert capsys.readouterr() == ('', '')


def test_with_v_progress_is_a_line_now_and_then(capsys, monkeypatch):
    import time

    clock = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])
    shown = progress(verbose=True)
    for _ in range(60):
        clock[0] += 1
        shown(b'a\xffb', DONE)
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 6
    assert lines[0].startswith('3 files, 4000 bytes, ') and lines[0].endswith(' s: a\\377b')


@pytest.mark.parametrize('quiet', [False, True])
def test_on_a_terminal_there_is_a_bar_unless_quiet(monkeypatch, capsys, quiet):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    shown = progress(quiet=quiet)
    shown(b'some/very/long/path/' * 5 + b'end', DONE)
    shown.close()
    assert (capsys.readouterr().err == '') is quiet


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_a_safe_place_and_a_second_one_at_once(number):
    shown = progress()
    shown(b'', DONE)
    os.kill(os.getpid(), number)
    with pytest.raises(errors.Interrupted) as caught:
        shown(b'', DONE)
    assert caught.value.status == 130
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
        signal.sigpending()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_so(main, failing, number):
    signal.signal(number, signal.SIG_IGN)
    shown = progress()
    os.kill(os.getpid(), number)
    shown(b'', DONE)
    failing(errors.Error('x'))
    assert signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_command_is_being_loaded_is_no_traceback(main, monkeypatch, number):
    def load(name):
        os.kill(os.getpid(), number)
        raise AssertionError('not reached')

    monkeypatch.setattr(importlib, 'import_module', load)
    assert main('init') == (130, b'', 'chkfs-init: interrupted\n')


# ---- the commands, from argv to records ----


@pytest.fixture
def made(main, store, source, monkeypatch, later):
    """A store with one backup, made by commands; gives its keys."""
    monkeypatch.setenv('CHKFS_STORE', os.fsdecode(store.root))
    for name, data in ((b'file', b'hello\n'), (b'lat\xeen', b'')):
        with open(os.path.join(source, name), 'wb') as file:
            file.write(data)
    os.mkdir(os.path.join(source, b'sub'))
    status, draft, err = main('write-tree', '--draft', source)
    assert (status, err) == (0, '')
    status, out, _ = main('commit-snapshot', '-m', 'why', '-n', 'photos', given=draft)
    assert status == 0
    found = out.decode().strip()
    assert main('update-ref', 'refs/backups/photos', found)[0] == 0
    root = snapshot.parse(store.objects.read('snapshot', found)).root
    return types.SimpleNamespace(snapshot=found, tree=root.key, blob=key.of(b'hello\n'))


def test_from_init_to_checkout(main, made, source, tmp_path, store):
    assert main('rev-parse', 'photos', 'photos:file') == (0, f'{made.snapshot}\n{made.blob}\n'.encode(), '')
    assert main('cat-object', 'photos:file') == (0, b'hello\n', '')
    status, out, _ = main('ls-tree', 'photos')
    assert status == 0 and [line.split(b'\t')[1] for line in out.splitlines()] == [b'file', b'lat\\356n', b'sub']
    assert main('ls-tree', '-z', '--name-only', 'photos')[1] == b'file\0lat\xeen\0sub\0'
    assert main('for-each-ref')[1] == f'{made.snapshot} snapshot\trefs/backups/photos\n'.encode()
    assert main('rev-list', 'photos')[1] == f'{made.snapshot}\n'.encode()
    status, _, err = main('checkout-tree', 'photos', tmp_path / 'out')
    assert (status, err) == (0, '2 files, 6 bytes restored\n')
    assert (tmp_path / 'out' / 'file').read_bytes() == b'hello\n'
    status, out, _ = main('ls-tree', '-l', main('write-tree', tmp_path / 'out')[1].decode().strip())
    assert out == main('ls-tree', '-l', made.tree)[1]
    found = snapshot.parse(store.objects.read('snapshot', made.snapshot))
    assert (found.message, found.get('name'), found.get('files'), found.get('bytes')) == ('why\n', 'photos', '2', '6')
    assert found.get('complete') == 'yes' and found.text('source') == os.fsdecode(source)


def test_a_whole_store_passes_the_check(main, made):
    assert main('fsck', '-q', '--full')[:2] == (0, b'')


def test_objects_are_listed_and_counted(main, made, store):
    status, out, _ = main('list-objects', '--sizes')
    listed = dict(line.split(' ', 1) for line in out.decode().splitlines())
    assert status == 0 and listed[made.blob] == 'blob 6' and listed[made.snapshot].startswith('snapshot ')
    assert set(listed) == {found for type in key.TYPES for found in store.objects.keys(type)}
    assert main('list-objects', '--type', 'snapshot')[1] == f'{made.snapshot} snapshot\n'.encode()
    assert b'loose-snapshots: 1\n' in main('count-objects')[1]


def test_a_batch_answers_one_record_for_each_name(main, made):
    given = f'photos:file\nnothing\n{made.blob[:10]}\n'.encode()
    status, out, _ = main('cat-object', '--batch-check', given=given)
    assert (status, out) == (errors.NO, f'{made.blob} blob 6\nnothing missing\n{made.blob} blob 6\n'.encode())
    assert main('cat-object', '--batch', '-z', given=b'photos:file\0')[1] == f'{made.blob} blob 6\0hello\n\0'.encode()


@pytest.mark.parametrize('option, out', [('-t', b'blob\n'), ('-s', b'6\n'), ('-e', b''), ('-p', b'hello\n')])
def test_what_cat_object_tells_of_one_object(main, made, option, out):
    assert main('cat-object', option, 'photos:file')[:2] == (0, out)


@pytest.mark.parametrize(
    'command, status',
    [
        (('cat-object', '-e', 'nothing'), 1),
        (('cat-object', 'nothing'), 128),
        (('cat-object',), 2),
        (('cat-object', '--batch', 'x'), 2),
        (('rev-parse', 'nothing'), 128),
        (('rev-parse', '-q', 'nothing'), 1),
        (('rev-list',), 2),
        (('rev-list', 'photos:file'), 128),
        (('ls-tree', 'photos:nothing'), 128),
        (('write-tree', '/no/such/place'), 128),
        (('write-tree', '--exclude-from', '/no/such/file', '.'), 2),
        (('hash-object',), 2),
        (('hash-object', '/no/such/file'), 3),
        (('update-ref', '-d', 'refs/backups/photos'), 2),
        (('update-ref', 'photos', 'photos'), 2),
        (('update-ref', 'refs/backups/photos', 'photos', '0' * 64), 1),
        (('update-ref', 'refs/backups/photos', 'photos:file'), 128),
        (('checkout-tree', 'photos', '/'), 128),
        (('commit-snapshot', '-p', 'photos:file', 'photos'), 128),
        (('init', '--compression', 'lzo', 'x'), 2),
        (('for-each-ref', '--store', '/no/such/store'), 128),
    ],
)
def test_exit_statuses(main, made, monkeypatch, tmp_path, command, status):
    monkeypatch.chdir(tmp_path)
    found, out, err = main(*command)
    assert (found, out) == (status, b'missing\n' if command == ('hash-object', '/no/such/file') else b'')
    assert err == '' if '-q' in command or '-e' in command else err.count('\n') >= 1


def test_hash_object_says_what_sha256sum_says_and_stores_only_with_w(main, made, store, tmp_path):
    (tmp_path / 'a').write_bytes(b'new')
    found = key.of(b'new')
    assert main('hash-object', tmp_path / 'a') == (0, f'{found}\n'.encode(), '')
    assert main('cat-object', '-e', found)[0] == 1
    assert main('hash-object', '-w', tmp_path / 'a')[1] == f'{found}\n'.encode()
    assert main('cat-object', found)[1] == b'new'
    assert main('hash-object', '--stdin', given=b'new')[1] == f'{found}\n'.encode()
    names = f'{tmp_path}/a\n{tmp_path}/missing\n'.encode()
    status, out, _ = main('hash-object', '--stdin-paths', given=names)
    assert (status, out) == (errors.PARTIAL, f'{found}\nmissing\n'.encode())


def test_hash_object_prints_keys_when_what_they_name_is_safe(main, made, store, tmp_path, monkeypatch):
    names, written = [], []
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b'new %d' % number)
        names.append(os.fsencode(tmp_path / str(number)))
    monkeypatch.setattr(writer, 'CHECKPOINT_OBJECTS', 2)

    def printer(args):
        return lambda record: written.append((record, stores.Store(store.root).objects.has('blob', record.decode())))

    monkeypatch.setattr(cli, 'printer', printer)
    assert main('hash-object', '-w', '--stdin-paths', given=b'\n'.join(names))[0] == 0
    assert written == [(key.of(b'new %d' % number).encode(), True) for number in range(5)]


def test_few_descriptors_become_enough(main, made):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        assert main('count-objects')[0] == 0
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_mktree_makes_the_canonical_tree(main, made, store):
    line = f'size=6 sha256digest={made.blob}'
    given = f'./b mode=0644 type=file {line}\n\n# remark\n./a type=file mode=0644 {line}\n'.encode()
    status, out, _ = main('mktree', given=given)
    data = store.objects.read('tree', out.decode().strip())
    assert status == 0 and [entry.name for entry in tree.parse(data)] == [b'a', b'b']
    missing = f'./a type=file mode=0644 size=1 sha256digest={"a" * 64}\n'.encode()
    assert main('mktree', given=missing)[0] == 128
    assert main('mktree', '--missing', given=missing)[0] == 0
    assert main('mktree', given=b'rubbish\n')[0] == 128


def test_a_partial_backup_says_so_by_its_status(main, made, source, monkeypatch):
    real = os.open

    def refuse(path, flags, *arguments, **options):
        if path in (b'file', 'file'):
            raise PermissionError(13, 'Permission denied')
        return real(path, flags, *arguments, **options)

    with open(os.path.join(source, b'file'), 'ab') as file:
        file.write(b'more')
    monkeypatch.setattr(os, 'open', refuse)
    status, out, err = main('write-tree', source)
    assert status == errors.PARTIAL and len(out) == 65
    assert err == "chkfs-write-tree: 'file' cannot be read: Permission denied\n"


def test_a_partial_restore_says_so_by_its_status(main, made, tmp_path):
    line = f'./gone type=file mode=0644 size=1 sha256digest={"a" * 64}\n'.encode()
    found = main('mktree', '--missing', given=line)[1].decode().strip()
    status, _, err = main('checkout-tree', found, tmp_path / 'out')
    assert status == errors.PARTIAL
    assert "'gone' not restored" in err and '1 entry was not restored' in err


def test_init_where_there_is_a_store_changes_nothing(main, made, store):
    status, out, err = main('init', store.root)
    assert (status, out) == (0, b'') and 'is a store already' in err
    assert main('init', os.path.join(store.root, b'refs', b'backups'))[0] == 128


def test_rev_parse_suits_a_name_to_a_ref(main, made):
    assert main('rev-parse', '--ref-name', '/home/eve/My Photos', '/')[1] == b'My-Photos\nroot\n'
    assert main('rev-parse', '--ref', 'photos')[1] == b'refs/backups/photos\n'


def test_completion_teaches_every_command(main):
    status, out, _ = main('completion')
    assert status == 0 and all(f'chkfs-{name}'.encode() in out for name in cli.COMMANDS)


def test_a_script_that_calls_us_may_have_its_own_name_in_messages(main, tmp_path, monkeypatch):
    monkeypatch.setenv('CHKFS_SPEAKER', 'chkfs-porcelain')
    status, _, err = main('ls-tree', '--store', str(tmp_path), 'x')
    assert (status, err[:17]) == (errors.FATAL, 'chkfs-porcelain: ')
    assert main('ls-tree', '--version')[1].startswith(b'chkfs-ls-tree ')
