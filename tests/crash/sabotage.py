"""Negative controls: each breaks one rule of the write protocol, in a run of its own, and a test must notice."""

import os

from chkfs.storage import publish


def rename_before_sync():
    """Nothing waits for the disk before it makes things visible."""
    publish.sync_filesystem = lambda fd: None


def ref_without_sync():
    """A ref is replaced by a file that was never synced."""
    os.fsync = lambda fd: None


def ignore_failed_syncs():
    """What the disk answers is not looked at."""
    real = publish.sync_filesystem

    def sync(fd):
        try:
            real(fd)
        except OSError:
            pass

    publish.sync_filesystem = sync


def write_in_place():
    """Files are made where readers look, and filled then."""
    real = publish.Run.publish

    def publish_in_place(run, places):
        for name, path in places:
            source, target = os.path.join(run.path, name.encode()), os.path.join(run._root, path.encode())
            publish._make_private(os.path.dirname(target))
            with open(source, 'rb') as old, open(target, 'wb') as new:
                new.write(old.read())
        real(run, [])

    publish.Run.publish = publish_in_place
