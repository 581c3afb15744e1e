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

import commands
import operations
import sabotage
import sizes

_HUNG_SECONDS = 300  # of runs that take less than one
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER


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
        status = operations.OPERATIONS[run['operation']].run(commands.run, **run['arguments'])
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
