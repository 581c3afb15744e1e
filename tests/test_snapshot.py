"""snapshot: keyword lines and a message; what this version does not know survives it."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import quote, snapshot

KEY = 'cd' * 32
ROOT = f'. type=dir mode=0755 uid=0 gid=0 uname=root gname=root time=1.000000000 tags=tree:{KEY}'
GOOD = f'chkfs-snapshot 1\nroot {ROOT}\nparent {KEY}\nname photos\nsource /home/eve\nhost box\n\nA message.\n'.encode()

words = st.text('abcdefghij-', min_size=1, max_size=12).filter(lambda word: word not in snapshot.KEYWORDS)
values = st.text(st.characters(exclude_characters='\n', exclude_categories=['Cs']), max_size=30)
messages = st.text(st.characters(exclude_categories=['Cs']), max_size=60)


@given(st.lists(st.tuples(words, values), max_size=5), messages, st.binary(max_size=30), st.integers(0, 3))
def test_any_snapshot_survives_with_its_unknown_keywords(unknown, message, source, parents):
    assume(not message.strip('\n') or message == message.rstrip('\n'))
    made = snapshot.Snapshot(
        [*unknown, snapshot.quoted('source', source), *[('parent', KEY)] * parents, ('root', ROOT)],
        message.rstrip('\n'),
    )
    data = made.format()
    found = snapshot.parse(data)
    assert found.format() == data
    assert found.lines == [('root', ROOT), *[('parent', KEY)] * parents, ('source', quote.quote(source)), *unknown]
    assert found.message.rstrip('\n') == message.rstrip('\n')
    assert quote.unquote(found.get('source')) == source


@given(st.binary(max_size=60))
def test_a_message_of_any_bytes_survives(raw):
    message = raw.rstrip(b'\n').decode('utf-8', 'surrogateescape')
    data = snapshot.Snapshot([('root', ROOT)], message).format()
    assert snapshot.parse(data).format() == data
    assert data.partition(b'\n\n')[2] == (raw.rstrip(b'\n') + b'\n' if message else b'')


def test_the_text_is_the_one_in_the_manual():
    made = snapshot.Snapshot(
        [
            ('colour', 'red'),
            ('finished', '2026-11-23T04:00:01.000000000Z'),
            ('mount', 'path=. type=ext4'),
            ('mount', 'path=a'),
            ('started', '2026-11-23T04:00:00.000000000Z'),
            ('name', 'photos'),
            ('root', ROOT),
            ('parent', KEY),
        ],
        'First line.\n\nSecond paragraph.\n\n',
    )
    assert made.format().decode() == (
        f'chkfs-snapshot 1\nroot {ROOT}\nparent {KEY}\nname photos\nstarted 2026-11-23T04:00:00.000000000Z\n'
        'finished 2026-11-23T04:00:01.000000000Z\nmount path=. type=ext4\nmount path=a\ncolour red\n'
        '\nFirst line.\n\nSecond paragraph.\n'
    )


def test_what_a_snapshot_tells():
    found = snapshot.parse(GOOD.replace(b'/home/eve', b'/home/\\303\\244\\377'))
    assert found.root.key == KEY and found.root.name == b'.' and found.root.mode == 0o755
    assert found.parents == [KEY]
    assert found.text('source') == '/home/ä\\377'
    assert (found.text('host'), found.text('nothing'), found.get('nothing')) == ('box', '', None)
    assert found.message == 'A message.\n'


def test_the_time_is_when_it_finished_or_else_started():
    made = snapshot.Snapshot([('started', '1970-01-01T00:00:01.000000000Z')])
    assert made.time_ns == 10**9
    made.lines.append(('finished', '1970-01-01T00:00:02.500000000Z'))
    assert made.time_ns == 2_500_000_000
    assert snapshot.Snapshot([]).time_ns == 0


@given(st.integers(-30_000_000_000 * 10**9, 250_000_000_000 * 10**9))
@example(-1)
@example(0)
def test_any_time_from_year_1020_to_9890_survives(ns):
    assert snapshot.parse_time(snapshot.format_time(ns)) == ns


def test_times_are_utc():
    assert snapshot.format_time(1353624000123456789) == '2012-11-22T22:40:00.123456789Z'
    assert snapshot.format_time(-1) == '1969-12-31T23:59:59.999999999Z'


@given(st.text() | st.text('0123456789-T:.Z', max_size=31))
def test_what_is_no_time_is_zero(text):
    assert isinstance(snapshot.parse_time(text), int)
    assert snapshot.parse_time('yesterday') == 0


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\n\n',
        b'chkfs-snapshot 2\nroot ' + ROOT.encode() + b'\n\n',
        b'chkfs-snapshot 1\n\n',
        b'chkfs-snapshot 1\nname photos\n\n',
        b'chkfs-snapshot 1\nroot\n\n',
        GOOD.replace(b'name photos', b'photos'),
        GOOD.replace(b'name photos', b' photos'),
        GOOD.replace(b'root .', b'root ./a'),
        GOOD.replace(b'type=dir', b'type=door'),
        GOOD.replace(b'tree:', b'tree:x'),
        GOOD.replace(b'tags=tree:', b'link='),
        GOOD.replace(b'parent cd', b'parent CD'),
        GOOD.replace(b'name photos', b'name a\\9'),
        GOOD.replace(b'name photos', b'name gr\xfcn'),
    ],
)
def test_what_is_no_snapshot_is_refused(data):
    snapshot.parse(GOOD)
    with pytest.raises(errors.Damaged):
        snapshot.parse(data)


pieces = st.lists(
    st.sampled_from(
        [
            b'chkfs-snapshot 1\n',
            b'root ',
            b'. ',
            b'type=dir ',
            b'type=file ',
            b'tags=tree:',
            KEY.encode(),
            b'parent ',
            b'name ',
            b'\\',
            b'\n',
            b'\n\n',
            b'sha256digest=',
            b'mode=',
            b'=',
            b'\xff',
            ROOT.encode(),
        ]
    ),
    max_size=15,
).map(b''.join)


@given(st.binary() | pieces | pieces.map(lambda data: b'chkfs-snapshot 1\nroot ' + ROOT.encode() + b'\n' + data))
def test_parse_of_any_bytes_raises_only_damaged(data):
    try:
        found = snapshot.parse(data)
    except errors.Damaged:
        return
    _ = found.root, found.parents, found.time_ns, found.text('source'), found.format()


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_raises_only_damaged(at, change):
    data = bytearray(GOOD)
    data[at] ^= change
    try:
        snapshot.parse(bytes(data))
    except errors.Damaged:
        pass
