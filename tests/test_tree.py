"""tree: a directory as mtree text; every line comes back as it was, and hostile text is only ever Damaged."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.text import quote, tree

KEY = 'ab' * 32
FILE = f'type=file mode=0644 uid=0 gid=0 size=3 time=1.000000000 sha256digest={KEY}'
names = st.binary(min_size=1, max_size=255).map(
    lambda raw: raw.replace(b'/', b'_').replace(b'\0', b'_')
).filter(lambda raw: raw not in (b'.', b'..'))  # fmt: skip
times = st.integers(-(2**70), 2**70)
# what an attacker would write: pieces of the syntax in any order
hostile_text = st.lists(
    st.sampled_from(
        [
            '.',
            './',
            'a',
            ' ',
            '=',
            '\\',
            '\\057',
            '\\000',
            '..',
            'type=',
            'file',
            'dir',
            'link',
            'char',
            ' mode=',
            '0644',
            '-1',
            '0o7',
            '1_0',
            '٣',
            ' uid=',
            ' gid=',
            ' size=',
            '9' * 5000,
            ' time=',
            '1.5',
            '.',
            ' sha256digest=',
            KEY,
            ' tags=',
            'tree:',
            ',',
            ':',
            ' link=',
            ' device=',
            'linux,1,2',
            'linux,',
            ' flags=',
            ' nlink=',
            'unread:EIO',
            'again:',
            'x=y',
        ]
    )
    | st.text(max_size=5),
    max_size=24,
).map(''.join)


def entry(name, text=FILE):
    return tree.parse_line('./' + quote.quote(name) + ' ' + text)


def touch_everything(found):
    for word in ('type', 'mode', 'uid', 'gid', 'size', 'key', 'time_ns', 'device'):
        try:
            getattr(found, word)
        except errors.Damaged:
            pass
    found.tags()
    found.tag('hl')
    found.line()
    repr(found)


# ---- round trips ----


@given(names)
def test_a_name_of_any_bytes_survives_a_line(name):
    *comments, line = tree.format_lines(name, FILE).splitlines()
    found = tree.parse_line(line)
    assert found.name == name
    assert found.fields['sha256digest'] == KEY
    assert all(comment.startswith('# ') for comment in comments)


@given(st.dictionaries(names, st.binary(min_size=1, max_size=50).filter(lambda raw: b'\0' not in raw), max_size=20))
def test_a_directory_survives_build_and_parse(links):
    made = [
        entry(name, f'type=link mode=0777 uid=1 gid=1 time=-1.500000000 link={quote.quote(target)}')
        for name, target in links.items()
    ]
    data = tree.build(made)
    found = list(tree.parse(data))
    assert {found_entry.name: found_entry.link for found_entry in found} == links
    assert [found_entry.name for found_entry in found] == sorted(links)
    assert tree.build(reversed(found)) == data


@given(names, st.text('abcdefgh', min_size=1), st.binary(max_size=40))
def test_tags_of_any_bytes_survive(name, word, value):
    tags = f'xattr:user.{word}:{quote.quote_tag(value)},hl:{quote.quote_tag(value)}'
    line = tree.format_lines(name, FILE, tags).splitlines()[-1]
    found = tree.parse_line(line)
    assert quote.unquote(found.tag('hl')) == value
    assert found.tag('xattr').split(':', 1) == [f'user.{word}', quote.quote_tag(value)]
    assert [tag for tag in found.tags() if not tag.startswith('enc:')] == tags.split(',')


@given(times)
def test_any_time_survives(ns):
    text = tree.format_time(ns)
    assert tree.parse_time(text) == ns
    assert len(text.partition('.')[2]) == 9


@pytest.mark.parametrize(
    'ns, text',
    [
        (0, '0.000000000'),
        (1353624000123456789, '1353624000.123456789'),
        (-1, '-1.999999999'),
        (-1_500_000_000, '-2.500000000'),
        (2**31 * 10**9, '2147483648.000000000'),
    ],
)
def test_times_look_as_the_manual_says(ns, text):
    assert tree.format_time(ns) == text


@given(names, st.integers(0, 0o7777), st.integers(0, 2**33), st.integers(0, 2**33), st.integers(0, 2**66), times,
       st.sampled_from(['', 'eve', 'gr\xfc\xdfe', 'a b=c']))  # fmt: skip
def test_the_fast_parser_says_what_the_general_one_says(name, mode, uid, gid, size, ns, owner):
    rest = tree.attributes('file', mode, uid, gid, owner.encode(), owner.encode())
    rest += f' size={size} time={tree.format_time(ns)} sha256digest={KEY}'
    line = tree.format_lines(name, rest).splitlines()[-1]
    plain, found = tree.parse_plain_file(line), tree.parse_line(line)
    assert plain == (name, mode, uid, gid, size, ns, KEY)
    assert plain == (found.name, found.mode, found.uid, found.gid, found.size, found.time_ns, found.key)


@pytest.mark.parametrize(
    'rest',
    [FILE + ' tags=hl:a', FILE + ' tags=changed:1', FILE + ' flags=uchg', FILE.replace('file', 'link'),
     FILE + f' sha256digest={KEY}', FILE.replace('time=1.', 'time=1,'), FILE.replace(KEY, KEY[1:]), FILE + '\n'],
)  # fmt: skip
def test_the_fast_parser_leaves_the_special_to_the_general_one(rest):
    assert tree.parse_plain_file('./a ' + rest) is None


# ---- the bytes themselves ----


def test_the_text_is_the_one_in_the_manual():
    lines = [
        tree.format_lines(
            'Grüße.txt'.encode(),
            tree.attributes('file', 0o644, 1000, 1000, b'eve', b'eve')
            + f' size=12 time=1.000000000 sha256digest={KEY}',
            'xattr:user.tag:YmFy',
        ),
        tree.format_lines(b'lat\xeen', tree.attributes('fifo', 0o10, 0, 5, b'root', b'') + ' time=1.000000000'),
        tree.format_lines(b'sub', 'type=dir mode=4755 uid=0 gid=0 time=2.000000000', f'tree:{KEY}'),
    ]
    assert tree.format(lines).decode() == (
        '#mtree\n# chkfs tree 1\n. type=dir\n'
        '# Grüße.txt\n'
        './Gr\\303\\274\\303\\237e.txt type=file mode=0644 uid=1000 gid=1000 uname=eve gname=eve size=12'
        f' time=1.000000000 sha256digest={KEY} tags=enc:utf-8,xattr:user.tag:YmFy\n'
        './lat\\356n type=fifo mode=0010 uid=0 gid=5 uname=root time=1.000000000 tags=enc:unknown\n'
        f'./sub type=dir mode=4755 uid=0 gid=0 time=2.000000000 tags=tree:{KEY}\n'
    )


def test_entries_are_sorted_by_raw_bytes():
    made = [entry(name) for name in (b'b', b'\xff', b'A', b'a.b', b'a', b'a/b'.replace(b'/', b'-'), b'\xc3\xa4')]
    order = [found.name for found in tree.parse(tree.build(made))]
    assert order == [b'A', b'a', b'a-b', b'a.b', b'b', b'\xc3\xa4', b'\xff']


def test_the_same_entries_in_any_keyword_order_give_the_same_bytes():
    words = FILE.split()
    one = tree.build([tree.parse_line(' '.join(['./a', *words]))])
    assert tree.build([tree.parse_line(' '.join(['./a', *reversed(words)]))]) == one


def test_build_sets_the_encoding_and_keeps_unknown_tags():
    data = tree.build([entry('ü'.encode(), FILE + ' tags=enc:wrong,new-thing:7,hl:a')])
    (found,) = tree.parse(data)
    assert found.tags() == ['enc:utf-8', 'hl:a', 'new-thing:7']


def test_a_property_decodes_its_field():
    found = entry(b'x', 'type=char mode=6755 uid=1 gid=2 time=3.000000004 device=linux,5,1')
    assert (found.mode, found.uid, found.gid, found.time_ns, found.device) == (0o6755, 1, 2, 3000000004, (5, 1))
    assert (found.size, found.key) == (None, None)
    directory = entry(b'd', f'type=dir mode=0755 tags=enc:utf-8,tree:{KEY},treehouse:1')
    assert (directory.key, directory.tag('treehouse'), directory.tag('tre')) == (KEY, '1', None)


def test_a_comment_does_not_end_in_a_backslash():
    for name in ('é\\', 'é\\\\', 'ü \\'):
        comment = tree.format_lines(name.encode(), FILE).split('\n')[0]
        assert comment.startswith('# ') and not comment.endswith('\\')


@pytest.mark.skipif(shutil.which('bsdtar') is None, reason='there is no bsdtar here')
def test_bsdtar_lists_names_of_any_bytes(tmp_path):
    odd = [bytes((byte,)) for byte in range(1, 256) if byte not in b'./']
    odd += ['é'.encode() + byte for byte in odd if byte != b'\\' and byte.isascii()]
    lines = [tree.format_lines(name, 'type=fifo mode=0644 uid=0 gid=0 time=1.000000000') for name in sorted(odd)]
    (tmp_path / 'tree').write_bytes(tree.format(lines))
    result = subprocess.run(['bsdtar', '-tf', tmp_path / 'tree'], capture_output=True)
    assert (result.returncode, result.stderr) == (0, b'')
    assert result.stdout.count(b'\n') == len(odd) + 1


# ---- what is refused ----


@pytest.mark.parametrize('name', [b'', b'.', b'..', b'/', b'a/b', b'a\0b', b'../x'])
def test_a_name_that_no_directory_can_hold_is_refused(name):
    with pytest.raises(errors.Damaged):
        tree.check_name(name)


@pytest.mark.parametrize(
    'rest',
    [
        'type=file mode=0644 size=3',
        f'type=file mode=0644 sha256digest={KEY}',
        f'type=file size=3 sha256digest={KEY}',
        'type=link mode=0777',
        'type=char mode=0600',
        'type=block mode=0600 device=linux,1',
        'type=char mode=0600 device=linux,a,b',
        'type=dir mode=0755',
        'type=dir mode=0755 tags=tree:123',
        'type=door mode=0755',
        'mode=0755',
        FILE.replace('0644', '0948'),
        FILE.replace('uid=0', 'uid=root'),
        FILE.replace('size=3', 'size=three'),
        FILE.replace('1.000000000', '1.5'),
        FILE.replace('1.000000000', 'now'),
        FILE.replace(KEY, KEY.upper()),
        FILE + ' colour=red',
        'type=link mode=0777 link=a\\9',
    ],
)
def test_an_incomplete_or_unreadable_entry_is_refused(rest):
    with pytest.raises(errors.Damaged):
        tree.check(entry(b'x', rest))


@pytest.mark.parametrize(
    'rest',
    [FILE, 'type=file mode=0000 size=3 tags=unread:EIO', 'type=dir mode=0755 tags=again:a', 'type=socket mode=0755',
     f'type=dir mode=0755 tags=tree:{KEY},unread:EACCES', 'type=link mode=0777 link=\\040'],
)  # fmt: skip
def test_a_complete_entry_is_taken(rest):
    tree.check(entry(b'x', rest))


def test_a_name_twice_is_refused():
    with pytest.raises(errors.Damaged, match='twice'):
        tree.build([entry(b'a'), entry(b'b'), entry(b'a')])


def test_a_line_longer_than_readers_take_is_refused():
    fits = entry(b'a', FILE + ' tags=xattr:user.a:' + 'x' * (tree.LONGEST_LINE - 200))
    tree.build([fits])
    with pytest.raises(errors.Damaged, match='longer'):
        tree.build([entry(b'a', FILE + ' tags=xattr:user.a:' + 'x' * tree.LONGEST_LINE)])


def test_a_tree_that_is_cut_short_is_noticed():
    data = tree.build([entry(b'a')])
    for length in set(range(len(data))) - {len(tree.HEADER)}:  # that is an empty directory: only its key can tell
        with pytest.raises(errors.Damaged):
            list(tree.lines(data[:length]))


@given(st.binary())
def test_lines_of_any_bytes_raise_only_damaged(data):
    for start in (b'', tree.HEADER.encode()):
        try:
            list(tree.lines(start + data))
        except errors.Damaged:
            pass


@given(hostile_text)
def test_a_hostile_line_raises_only_damaged(text):
    try:
        found = tree.parse_line(text)
    except errors.Damaged:
        return
    touch_everything(found)
    try:
        tree.check(found)
    except errors.Damaged:
        return
    # what passed the check can be read without any error
    _ = found.mode, found.uid, found.gid, found.size, found.time_ns, found.key
    assert found.type != 'link' or isinstance(found.link, bytes)


@pytest.mark.parametrize('char', ['\x1b', '\t', '\x7f', '\x80', '\udc80', '\ufffd', '\u202e'])
def test_a_line_that_a_terminal_would_obey_is_refused(char):
    for line in (f'./a {FILE} uname={char}', f'./{char} {FILE}', f'./a {FILE} {char}x=1'):
        with pytest.raises(errors.Damaged):
            tree.parse_line(line)


@given(st.lists(hostile_text, max_size=4))
def test_a_hostile_tree_raises_only_damaged(texts):
    data = (tree.HEADER + ''.join(f'{text}\n' for text in texts)).encode('utf-8', 'surrogatepass')
    try:
        found = list(tree.parse(data))
        tree.build(found)
    except errors.Damaged:
        pass


@given(hostile_text | st.from_regex(r'\./[!-~]+ type=file mode=0644 uid=\d+ gid=\d+ size=\d+ time=-?\d+\.\d{9} '
                                    f'sha256digest={KEY}', fullmatch=True))  # fmt: skip
def test_the_fast_parser_raises_only_damaged(text):
    try:
        tree.parse_plain_file(text)
    except errors.Damaged:
        pass


def test_a_number_that_python_will_not_read_is_damaged():
    line = './a ' + FILE.replace('size=3', 'size=' + '9' * 5000)
    assert tree.parse_plain_file(line) is None
    with pytest.raises(errors.Damaged):
        _ = tree.parse_line(line).size


def test_a_symlink_without_a_target_is_damaged():
    with pytest.raises(errors.Damaged):
        _ = entry(b'x', 'type=link mode=0777').link


@pytest.mark.parametrize(
    'old, new',
    [('size=3', 'size=-3'), ('size=3', 'size=1_0'), ('uid=0', 'uid=+1'), ('uid=0', 'uid=-1'), ('uid=0', 'uid=١'),
     ('mode=0644', 'mode=0o644'), ('mode=0644', 'mode=-644'), ('time=1.', 'time=1_0.'), ('time=1.', 'time=+1.')],
)  # fmt: skip
def test_a_number_is_written_in_one_way_only(old, new):
    with pytest.raises(errors.Damaged):
        tree.check(entry(b'x', FILE.replace(old, new)))


@given(st.text(max_size=30) | st.text('0123456789.-+_ e', max_size=15))
def test_parse_time_raises_only_damaged(text):
    try:
        assert isinstance(tree.parse_time(text), int)
    except errors.Damaged:
        pass
