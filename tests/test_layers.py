"""The layers of chkfs as data: a module imports only from rows below its own."""

import ast
import os

import pytest

import chkfs

# bottom first: the package of a row, and its modules
LAYERS = [
    ('', ['errors']),
    ('text', ['key', 'quote', 'number']),
    ('text', ['tree', 'piecelist', 'ranges']),
    ('text', ['snapshot']),
    ('system', ['allocation', 'statx', 'xattrs', 'flags', 'dos', 'drive', 'holes']),
    ('system', ['descent', 'patience', 'watch', 'crew', 'reflink']),
    ('system', ['ntfs', 'mounts']),
    ('system', ['metadata']),
    ('storage', ['publish', 'codec', 'chunker', 'claims']),
    ('storage', ['pack', 'refs']),
    ('storage', ['cache']),
    ('storage', ['objects']),
    ('storage', ['writer', 'walk']),
    ('storage', ['salvage', 'store', 'listing']),
    ('storage', ['fsck', 'repack', 'revision']),
    ('backup', ['scan', 'account', 'again', 'exclude', 'rescue']),
    ('backup', ['level', 'contents']),
    ('backup', ['source', 'memory', 'earlier', 'reader']),
    ('backup', ['lines', 'worker']),
    ('backup', ['outcomes', 'unfinished']),
    ('backup', ['jobs']),
    ('backup', ['ingest']),
    ('backup', ['run']),
    ('restore', ['target', 'naming', 'missing', 'ownership', 'endow']),
    ('restore', ['destination', 'maker', 'fitting']),
    ('restore', ['batches', 'survey', 'apply']),
    ('restore', ['checkout']),
    ('', ['cli']),
    ('cmd', ['*']),
]
TOP = os.path.dirname(os.path.abspath(chkfs.__file__))


def find_modules():
    """Name below chkfs ('cli', 'text.tree') to path, without the packages' __init__."""
    found = {}
    for directory, below, names in os.walk(TOP):
        below[:] = set(below) - {'written'}  # what init writes into a store: no part of the program
        for name in names:
            if name.endswith('.py') and name != '__init__.py':
                path = os.path.join(directory, name)
                found[os.path.relpath(path, TOP)[:-3].replace(os.sep, '.')] = path
    return found


MODULES = find_modules()


def row_of(module):
    package, _, name = module.rpartition('.')
    rows = [number for number, row in enumerate(LAYERS) if row[0] == package and (name in row[1] or row[1] == ['*'])]
    assert len(rows) == 1, f'{module} is not in the table once'
    return rows[0]


def imports(source):
    """Modules of chkfs that a source imports, at whatever depth: ('text.tree', ...); '' for chkfs itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition('.')[0] == 'chkfs':
                    yield alias.name.partition('.')[2]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'a relative import'
            if node.module == 'chkfs':
                yield from (alias.name for alias in node.names)
            elif node.module.startswith('chkfs.'):
                yield from (_module_of(node.module.partition('.')[2], alias.name) for alias in node.names)


def _module_of(package, name):
    """from chkfs.cmd import init means a module, from chkfs.storage.cache import ScanCache a name in one."""
    return f'{package}.{name}' if f'{package}.{name}' in MODULES else package


@pytest.mark.parametrize(
    'source, expected',
    [
        ('import chkfs', ['']),
        ('import chkfs.text.tree', ['text.tree']),
        ('from chkfs import cli, errors as e', ['cli', 'errors']),
        ('from chkfs.text import tree, key as k', ['text.tree', 'text.key']),
        ('from chkfs.storage.cache import ScanCache', ['storage.cache']),
        ('from chkfs.cmd import init', ['cmd.init']),
        ('import chkfs.cmd.init as x', ['cmd.init']),
        ('def f():\n    from chkfs.storage import store', ['storage.store']),
        ('import os, re\nfrom chkfsx import tree', []),
    ],
)
def test_every_form_of_import_is_seen(source, expected):
    assert list(imports(source)) == expected


def test_every_module_is_in_the_table_and_every_name_in_the_table_is_a_module():
    in_table = {f'{package}.{name}'.removeprefix('.') for package, names in LAYERS for name in names} - {'cmd.*'}
    assert in_table == {module for module in MODULES if not module.startswith('cmd.')}
    assert any(module.startswith('cmd.') for module in MODULES)


@pytest.mark.parametrize('module', sorted(MODULES))
def test_a_module_imports_only_from_rows_below(module):
    with open(MODULES[module]) as file:
        imported = [name for name in imports(file.read()) if name]
    wrong = [name for name in imported if row_of(name) >= row_of(module)]
    assert wrong == []


def test_backup_and_restore_know_nothing_of_each_other():
    for here, there in (('backup', 'restore'), ('restore', 'backup')):
        for module, path in MODULES.items():
            if module.startswith(here + '.'):
                with open(path) as file:
                    assert [name for name in imports(file.read()) if name.partition('.')[0] == there] == [], module


def test_the_packages_themselves_import_nothing():
    for package in {package for package, _ in LAYERS}:
        with open(os.path.join(TOP, package, '__init__.py')) as file:
            assert list(imports(file.read())) == []


def test_no_command_imports_another():
    for module, path in MODULES.items():
        if module.startswith('cmd.'):
            with open(path) as file:
                assert [name for name in imports(file.read()) if name.startswith('cmd')] == [], module


@pytest.mark.parametrize('module', sorted(MODULES))
def test_only_the_command_layer_reads_argv_and_ends_the_process(module):
    with open(MODULES[module]) as file:
        parsed = ast.parse(file.read())
    used = {
        f'{node.value.id}.{node.attr}'
        for node in ast.walk(parsed)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    if not module.startswith('cmd.') and module != 'cli':
        assert not used & {'sys.argv', 'sys.exit', 'sys.stdout', 'sys.stderr'}


def test_only_publish_renames_and_syncs():
    for module, path in MODULES.items():
        with open(path) as file:
            parsed = ast.parse(file.read())
        used = {
            f'{node.value.id}.{node.attr}'
            for node in ast.walk(parsed)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        found = used & {'os.rename', 'os.replace', 'os.fsync', 'os.fdatasync', 'os.sync', 'os.link', 'shutil.move'}
        allowed = {
            'storage.publish': {'os.rename', 'os.fsync'},
            'restore.checkout': {'os.link'},
            'restore.target': {'os.link'},
            'restore.apply': {'os.link', 'os.rename'},  # in a directory that was restored
        }
        assert found <= allowed.get(module, set()), module


def test_only_publish_removes_files_of_a_store():
    """The cache removes its own files; destination and maker what could be restored only half."""
    for module, path in MODULES.items():
        with open(path) as file:
            source = file.read()
        used = {name for name in ('os.unlink', 'os.remove(', 'os.rmdir', 'os.truncate', 'rmtree') if name in source}
        both = {'os.unlink', 'os.rmdir'}
        allowed = {
            'storage.publish': both,
            'storage.cache': {'os.unlink'},
            'restore.maker': {'os.unlink'},
            'restore.destination': {'os.rmdir'},
            'restore.target': both,
        }
        assert used <= allowed.get(module, set()), module
