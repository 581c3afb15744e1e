"""A warm process with all of chkfs loaded, under the interposer: each operation runs in a fork of it.

Reads a request a line on standard input: a JSON list of runs that are to go on at the same time.  Answers a line:
for each run its exit status (negative: the signal that ended it).  Each run is a process group of its own.
Nothing in here changes what chkfs does but sizes.py, and what a negative control asks for, in sabotage.py.
"""

import ctypes
import json
import os
import signal
import sys
import traceback

import operations
import sabotage
import sizes

from chkfs import cli

_HUNG_SECONDS = 300  # of runs that take less than one
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER


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
            status = cli.main(argv[0])
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


def wait_for(pids: list[int]) -> list[int]:
    """Waits until nothing of any run is left; what hangs is killed, and has the status -SIGALRM."""
    ended, hung = {}, set()

    def kill(number, frame):
        for pid in set(pids) - set(ended):
            hung.add(pid)
            os.killpg(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, kill)
    signal.alarm(_HUNG_SECONDS)
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        ended[pid] = os.waitstatus_to_exitcode(status)
    signal.alarm(0)
    return [-signal.SIGALRM if pid in hung else ended[pid] for pid in pids]


def main() -> None:
    ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        print(json.dumps(wait_for([start(run) for run in json.loads(line)])), flush=True)


with sizes.smaller():
    main()
