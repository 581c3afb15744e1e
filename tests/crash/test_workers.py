"""What the sweeps cannot show at will: a fork at a bad moment."""

import threading

from chkfs.storage import publish


def test_nothing_is_being_published_when_workers_are_forked(store, monkeypatch):
    """A child would wait for ever for a lock of SQLite that the publishing thread held: seen once in 300 backups."""
    never = threading.Event()
    with store.writer() as writer:
        writer.put('blob', b'data')
        monkeypatch.setattr('chkfs.storage.writer.CHECKPOINT_BYTES', 0)
        monkeypatch.setattr(publish, 'sync_filesystem', lambda fd: never.wait(0.3))
        writer.checkpoint_if_due()
        writer.prepare_to_branch()
        assert writer._publication is None or writer._publication[0].done()
