"""Texts of every format, right and then changed a little or much, as an attacker or a failing disk would."""

import hashlib
import re

from hypothesis import strategies as st

from chkfs.storage import codec, pack
from chkfs.text import key as keys
from chkfs.text import piecelist, snapshot, tree

HELLO = b'hello\n'
BLOB, NOTHING = keys.of(HELLO), keys.of(b'')
_OWNER = 'uid=0 gid=0 uname=root gname=root'
_FILE = f'type=file mode=0644 {_OWNER} size=6 time=1353624000.123456789 sha256digest={BLOB}'
SUB = tree.format([f'./inside {_FILE}\n']).decode()
TREE = keys.of(SUB.encode())
LINES = [
    f'./hello {_FILE}',
    f'./Gr\\303\\274\\303\\237e.txt {_FILE} tags=enc:utf-8',
    f'./one {_FILE} tags=hl:one',
    f'./two {_FILE} tags=hl:one,changed:1',
    f'./much {_FILE} tags=btime:-2.500000000,data:0-6,xattr:user.a:YmFy,xattr:user.b:@{BLOB},dos:x,later:y',
    f'./secret type=file mode=0000 {_OWNER} size=9 tags=unread:EACCES',
    f'./sub type=dir mode=0755 {_OWNER} time=1.000000000 tags=tree:{TREE}',
    f'./again type=dir mode=0755 {_OWNER} time=1.000000000 tags=again:sub',
    f'./up type=dir mode=0755 {_OWNER} tags=again:.',
    f'./link type=link mode=0777 {_OWNER} time=-2.500000000 link=sub/inside',
    f'./queue type=fifo mode=0600 {_OWNER} time=1.000000000',
    f'./talk type=socket mode=0600 {_OWNER} time=1.000000000',
    f'./null type=char mode=0666 {_OWNER} time=1.000000000 device=linux,1,3',
]
_TWICE = [f'./sub type=link mode=0777 {_OWNER} link=..', f'./sub type=dir mode=0755 {_OWNER} tags=tree:{TREE}']
TREES = [tree.format(f'{line}\n' for line in lines) for lines in (*([line] for line in LINES), sorted(LINES), _TWICE)]
ROOT = f'. type=dir mode=0755 {_OWNER} time=1.000000000 tags=tree:{TREE}'
SNAPSHOTS = [
    snapshot.Snapshot(
        [
            ('root', ROOT),
            ('parent', keys.of(b'a parent')),
            ('name', 'photos'),
            ('source', '/home/eve/Photos'),
            ('host', 'home'),
            ('started', '2026-11-23T04:00:00.000000000Z'),
            ('finished', '2026-11-23T04:00:01.000000000Z'),
            ('files', '1'),
            ('bytes', '6'),
            ('skipped', '0'),
            ('complete', 'yes'),
            ('mount', 'ext4 /dev/sda1 rw'),
        ],
        'A message.',
    ).format(),
    snapshot.Snapshot([('root', ROOT)]).format(),
    snapshot.Snapshot([('root', f'. {_FILE}')]).format(),
]
UNSET = [
    f'{line}{"," if " tags=" in line else " tags="}missing:{kind}'
    for line in (*LINES, ROOT, f'./sub/hello {_FILE}', f'./link/hello {_FILE}', f'./up/../hello {_FILE}')
    for kind in ('owner', 'mode', 'entry', 'name', 'hard\\040link')
]
LISTS = [piecelist.format([(BLOB, 6), (NOTHING, 0), (BLOB, 6)]), piecelist.format([])]
MEMBERS = [(f'blob/{BLOB}', HELLO), (f'tree/{TREE}', SUB.encode()), (f'blob/{keys.of(HELLO * 2)}.list', LISTS[0])]
FRAMES = [b''.join(pack.header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in MEMBERS)]
PLACES = [pack.Place(name, len(data), 0, 1024) for name, data in MEMBERS]
INDEXES = [pack.format_index(PLACES).rpartition(b'# sha256')[0]]
CONFIGS = [
    f'[store]\n\tformat = 1\n\tid = 01234567-89ab-cdef-0123-456789abcdef\n[write]\n\tcompression = {name}\n'
    '\tchunker = fastcdc-2020\n\tchunk-minimum = 524288\n\tchunk-average = 2097152\n\tchunk-maximum = 8388608\n'
    '\tchunk-normalization = 2\n'.encode()
    for name in codec.SUFFIXES
]
LOGS = [f'{"0" * 64} {BLOB} 1353624000 eve@home\tbackup\n{BLOB} {TREE} 1353624001 eve@home\tagain\n'.encode()]
REFS = [f'{BLOB}\n'.encode()]

_TOKENS = [
    b'', b'\n', b'\n\n', b' ', b'=', b',', b':', b'/', b'.', b'..', b'./', b'../', b'#', b'\\', b'\\000', b'\\057',
    b'\\056', b'\\012', b'\\377', b'\0', b'\xff', b'\xe2\x80\xae', b'\x1b[2J', b'\r', b'\t', b'-', b'-1', b'0',
    b'00000', b'1', b'8', b'777777', b'4294967296', b'9223372036854775808', b'99999999999999999999', b'9' * 25,
    b'9' * 5000, b'1e9', b'\xd9\xa1', b'NaN', b'type=', b'type=file', b'type=dir', b'type=link', b'type=char',
    b'type=block', b'type=fifo', b'mode=', b'mode=7777', b'mode=100644', b'uid=', b'size=', b'size=0', b'time=',
    b'time=-1', b'time=1.5', b'link=', b'link=/etc/passwd', b'link=..', b'device=', b'device=linux,1,', b'tags=',
    b'tags=tree:', b'tags=hl:', b'again:', b'again:..', b'hl:../../x', b'unread:', b'xattr:', b'xattr:user.x:',
    b'xattr:user.x:@', b'enc:', b'sha256digest=', BLOB.encode(), TREE.encode(), NOTHING.encode(), b'0' * 64,
    b'f' * 63, BLOB.upper().encode(), b'blob/', b'tree/', b'snapshot/', b'.list', b'root ', b'parent ', b'name ',
    b'source ', b'finished ', b'complete no', b'%', b'%s', b'$(x)', b'`x`', b"'", b'"', b';', b'[store]', b'[', b']',
    b'format = 2', b'%(x)s', b'a' * 300, b'A' * 70000,
]  # fmt: skip


@st.composite
def changed(draw, seeds: list[bytes]) -> bytes:
    """A seed in which some words were put in, left out, repeated or replaced; sometimes anything at all."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        words = re.findall(rb'[A-Za-z0-9]+|[^A-Za-z0-9]', data)
        start = draw(st.integers(0, len(words)))
        stop = start + draw(st.sampled_from([0, 0, 1, 1, 1, 2, 3, 8, 40]))
        new = draw(st.sampled_from(_TOKENS) | st.binary(max_size=8) | st.sampled_from(words or [b'']))
        data = b''.join([*words[:start], new, *words[stop:]])
    return data


@st.composite
def flipped(draw, seeds: list[bytes]) -> bytes:
    """A seed in which bytes were changed, cut out, put in, or cut off at the end: for what is no text."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.sampled_from([0, 1, 1, 1, 2, 12, 100, 512, len(data)]))
        data = data[:start] + draw(st.binary(max_size=12)) + data[stop:]
    return data


def sealed(body: bytes) -> bytes:
    """An index with a last line that is right."""
    return body + f'# sha256 {hashlib.sha256(body).hexdigest()}\n'.encode()
