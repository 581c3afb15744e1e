"""Each parser on hostile bytes: it raises Damaged (or Error), or gives what can be used and written again."""

import os

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import codec, pack, refs, revision
from chkfs.storage import store as stores
from chkfs.text import key, piecelist, quote, snapshot, tree

NAME = 'refs/backups/photos'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    path = os.fsencode(tmp_path_factory.mktemp('hostile') / 'store')
    stores.create(path)
    return path


def write(root, name, data):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(data)


@given(data=hostile.changed(hostile.TREES))
def test_trees(data, count):
    count('hostile trees')
    try:
        entries = list(tree.parse(data))
    except errors.Damaged:
        return
    for entry in entries:
        for word in ('mode', 'uid', 'gid', 'size', 'key', 'link', 'device', 'time_ns'):
            try:
                getattr(entry, word)
            except errors.Damaged:
                pass
        plain = tree.parse_plain_file(entry.line())
        if plain is not None:
            assert plain == (entry.name, entry.mode, entry.uid, entry.gid, entry.size, entry.time_ns, entry.key)
    try:
        built = tree.build(entries)
    except errors.Damaged:
        return
    again = list(tree.parse(built))
    assert tree.build(again) == built
    assert [entry.name for entry in again] == sorted(entry.name for entry in entries)
    for entry in again:
        tree.check(entry)
        if entry.tags():
            assert entry.tag(entry.tags()[0].partition(':')[0]) is not None or ':' not in entry.tags()[0]


@given(data=hostile.changed(hostile.SNAPSHOTS))
def test_snapshots(data, count):
    count('hostile snapshots')
    try:
        found = snapshot.parse(data)
    except errors.Damaged:
        return
    assert isinstance(found.time_ns, int)
    assert found.root.name == b'.' and all(key.is_key(parent) for parent in found.parents)
    for word in ('name', 'source', 'host'):
        assert len(found.text(word).splitlines()) <= 1
    assert snapshot.parse(found.format()).format() == found.format()


@given(data=hostile.changed(hostile.LISTS))
def test_lists(data, count):
    count('hostile lists')
    try:
        pieces = piecelist.parse(data)
    except errors.Damaged:
        return
    assert piecelist.parse(piecelist.format(pieces)) == pieces


@given(body=hostile.changed(hostile.INDEXES), is_sealed=st.booleans())
def test_indexes(body, is_sealed, count):
    count('hostile indexes')
    try:
        places = pack.parse_index(hostile.sealed(body) if is_sealed else body)
    except errors.Damaged:
        return
    assert pack.parse_index(pack.format_index(places)) == sorted(places)
    for place in places:
        pack.parse_name(place.name)
        assert min(place[1:]) >= 0
    assert pack.points_outside(places, 10) == any(place.offset + place.length > 10 for place in places)


@given(data=hostile.changed(hostile.CONFIGS))
def test_configs(root, data, count):
    count('hostile configs')
    write(root, b'config', data)
    try:
        found = stores.Store(root, {})
    except errors.Error as error:
        assert len(str(error).splitlines()) == 1
        return
    with found.writer() as writer:
        writer.put('blob', b'x')
    assert found.config['format'] == '1'


@given(data=hostile.changed(hostile.REFS), log=hostile.changed(hostile.LOGS))
def test_refs_and_their_logs(root, data, log, count):
    count('hostile refs and logs')
    write(root, b'refs/backups/photos', data)
    write(root, b'logs/refs/backups/photos', log)
    made = refs.Refs(root)
    for change in made.log(NAME):
        assert key.is_key(change.old) and key.is_key(change.new) and 0 <= change.time < 10**20
    assert made.count_unreadable_lines(NAME) <= log.count(b'\n') + 1
    now = made.current(NAME)
    assert now is None or key.is_key(now)
    try:
        assert key.is_key(made.read(NAME))
    except errors.Damaged as error:
        assert len(str(error).splitlines()) == 1
    made.update(NAME, hostile.TREE)
    assert made.read(NAME) == hostile.TREE
    assert now == hostile.TREE or made.log(NAME)[-1].new == hostile.TREE


@given(text=st.text() | hostile.changed([b'photos', b'photos~2', b'photos@{1}:sub/x', b'refs/tags/x:', b'abcd~~^'])
       .map(lambda data: data.decode('utf-8', 'surrogateescape')))  # fmt: skip
def test_names_of_snapshots(root, text, count):
    count('hostile names of snapshots')
    write(root, b'config', hostile.CONFIGS[0])
    write(root, b'refs/backups/photos', hostile.REFS[0])
    try:
        revision.resolve(stores.Store(root, {}), text)
    except errors.Error:
        pass


@given(text=st.text() | hostile.changed(hostile.TREES).map(lambda data: data.decode('utf-8', 'surrogateescape')))
def test_quoted_words(text, count):
    count('hostile quoted words')
    try:
        raw = quote.unquote(text)
    except errors.Damaged:
        return
    assert quote.unquote(quote.quote(raw)) == raw


@given(data=hostile.flipped(hostile.FRAMES))
def test_tar_headers(data, count):
    count('hostile frames of tar')
    try:
        for name, start, size in pack.members(data):
            assert start % 512 == 0 and 0 <= size <= len(data) - start
            assert isinstance(name, str)
    except errors.Damaged:
        pass


@pytest.mark.parametrize('name', codec.SUFFIXES)
@given(data=st.data())
def test_packs_of_any_bytes(root, name, data, count):
    """What a scan gives verifies, and can be read where it says; the strict reader gives all or raises."""
    count('hostile packs')
    frames = [codec.compress(name, hostile.FRAMES[0]), codec.compress(name, bytes(1024))]
    stream = data.draw(hostile.flipped([b''.join(frames), frames[0] * 2, frames[0]]))
    write(root, b'scratch/pack', stream)
    path = os.path.join(root, b'scratch/pack')
    for place, found in pack.whole_members(path, name):
        assert place.name.endswith('.list') or key.of(found) == place.name[5:]
        assert place.offset + place.length <= len(stream)
        whole = codec.decompress_whole(name, stream[place.offset : place.offset + place.length], 1 << 20)
        assert bytes(found) in whole
    try:
        list(pack.contents(path, name))
        list(codec.decompress(name, [stream]))
    except errors.Damaged:
        pass
    assert isinstance(pack.is_index_of(path, name, hostile.PLACES), bool)
