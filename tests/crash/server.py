"""A warm process with all of chkfs loaded, under the interposer: each operation runs in a fork of it.

Reads a request a line on standard input: a JSON list of runs that are to go on at the same time.  Answers a line:
for each run its exit status (negative: the signal that ended it).  Each run is a process group of its own.
Nothing in here changes what chkfs does but the sizes from which it treats objects differently, so that a source of
some hundred KB has all kinds of them; and what a negative control asks for, in sabotage.py.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import sys
import traceback

import operations
import sabotage

import chkfs.cmd

SMALLER = {
    'PACKED_BELOW': 4 << 10,
    'LISTED_ABOVE': 64 << 10,
    'CHECKPOINT_BYTES': 80 << 10,
    'FRAME_BYTES': 16 << 10,
}
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER


def load() -> None:
    """Imports every module of chkfs, and makes its sizes smaller wherever a module has them."""
    for package in (chkfs, chkfs.cmd):
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):
            importlib.import_module(found.name)
    for name, value in SMALLER.items():
        having = [module for key, module in sys.modules.items() if key.startswith('chkfs') and name in vars(module)]
        if not having:
            raise SystemExit(f'no module of chkfs has {name} any more: say in server.py what replaced it')
        for module in having:
            setattr(module, name, value)


def command(*argv: str, stdin: bytes = b'') -> tuple[int, bytes]:
    """Runs a chkfs command in a fork; gives its status and what it printed."""
    here, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.dup2(there, 1)
            feed, tap = os.pipe()
            os.write(tap, stdin)
            os.close(tap)
            os.dup2(feed, 0)
            sys.argv = list(argv)
            sys.stdin, sys.stdout = open(0, closefd=False), open(1, 'w', closefd=False)
            status = chkfs.cli.main(argv[0])
            sys.stdout.flush()
        except SystemExit as leaving:
            status = leaving.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(there)
    with open(here, 'rb') as file:
        printed = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed


def start(run: dict) -> int:
    """Forks an operation; gives its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        os.environ.update(run['environment'])
        fd = os.open(run['errors'], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        for name in run['sabotage']:
            getattr(sabotage, name)()
        ctypes.CDLL(None).interpose_begin()
        status = operations.OPERATIONS[run['operation']].run(command, **run['arguments'])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    load()
    for line in sys.stdin:
        pids = [start(run) for run in json.loads(line)]
        ended = {}
        while True:  # until nothing of any run is left
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
        print(json.dumps([ended[pid] for pid in pids]), flush=True)


main()
