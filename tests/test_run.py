"""run: one backup, from what dead ones left to the draft of a snapshot."""

import os

import pytest

from chkfs.backup import ingest
from chkfs.backup.run import Backup
from chkfs.storage import writer
from chkfs.text import snapshot


@pytest.fixture
def run(store):
    """run(source, name='here', has_checkpoints=False) gives the Backup, its result, and what it noted."""

    def make(source, name='here', has_checkpoints=False):
        work, notes = Backup(store, source, name, has_checkpoints), []
        return work, work.run(ingest.Options(), note=notes.append), notes

    return make


def write(source, name, data):
    with open(os.path.join(source, name), 'wb') as file:
        file.write(data)


@pytest.mark.parametrize('is_complete, word', [(True, 'yes'), (False, 'no')])
def test_the_draft_is_a_snapshot_that_says_what_it_is_of(run, source, is_complete, word):
    write(source, b'file', b'data')
    work, result, _ = run(source, 'a name')
    found = snapshot.parse(work.draft(result, is_complete))
    assert found.get('root') == result.root and found.parents == []
    assert (found.text('name'), found.text('source')) == ('a name', os.path.realpath(source).decode())
    assert [found.get(kind) for kind in ('files', 'bytes', 'skipped', 'complete')] == ['1', '4', '0', word]
    assert 0 < snapshot.parse_time(found.get('started')) <= found.time_ns


@pytest.mark.parametrize('has_checkpoints', [True, False])
def test_what_is_stored_so_far_has_a_ref_where_that_is_asked_for(run, store, source, monkeypatch, has_checkpoints):
    monkeypatch.setattr(writer, 'CHECKPOINT_BYTES', 1 << 20)
    for number in range(4):
        write(source, b'%d' % number, os.urandom(1 << 20))
    run(source, 'here', has_checkpoints)
    found = store.refs.read('refs/checkpoints/here')
    assert (found is not None) == has_checkpoints
    if has_checkpoints:
        assert snapshot.parse(store.objects.read('snapshot', found)).get('complete') == 'no'
    assert store.refs.read('refs/backups/here') is None


def test_the_store_and_its_cache_are_left_out_of_the_very_first_backup(run, tmp_path):
    assert not (tmp_path / 'cache').exists()
    _, result, notes = run(os.fsencode(tmp_path))
    assert sorted(notes) == ["'cache/chkfs' is the cache of chkfs: left out", "'store' is the store itself: left out"]
    assert result.files == 0
