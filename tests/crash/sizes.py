"""The sizes from which chkfs treats objects differently, made smaller, so that some hundred KB have all kinds."""

import contextlib
import importlib
import pkgutil
import sys

import chkfs

SMALLER = {
    'PACKED_BELOW': 4 << 10,
    'LISTED_ABOVE': 64 << 10,
    'CHECKPOINT_BYTES': 80 << 10,
    'FRAME_BYTES': 16 << 10,
    '_MANY_FILES': 1,  # from so many on there are worker processes; see test_workers.py for why not later
    'BATCH_FILES': 4,
}


@contextlib.contextmanager
def smaller():
    """Wherever a module of chkfs has one of them, for as long as this lasts."""
    for found in pkgutil.walk_packages(chkfs.__path__, 'chkfs.'):
        importlib.import_module(found.name)
    before = []
    for name, value in SMALLER.items():
        having = [module for key, module in sys.modules.items() if key.startswith('chkfs') and name in vars(module)]
        assert having, f'no module of chkfs has {name} any more: say here what replaced it'
        for module in having:
            before.append((module, name, getattr(module, name)))
            setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
