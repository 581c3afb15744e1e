"""listing: which entries are listed, and what the lines say of them."""

import time

import pytest

from chkfs import errors
from chkfs.storage import listing
from chkfs.text import tree

AGAIN = './again type=dir mode=0755 tags=again:dir\\040one'


@pytest.fixture
def root(store, put):
    """A file, and a directory with a file in it and a directory that is it again."""

    def make(*lines):
        return put(store, 'tree', (tree.HEADER + '\n'.join(lines) + '\n').encode())

    inner = make(AGAIN, './y type=fifo mode=0600')
    outer = make(f'./dir type=dir mode=0755 tags=tree:{inner}', './x type=fifo mode=0600')
    return tree.parse_line(f'. type=dir mode=0755 tags=tree:{outer}')


@pytest.mark.parametrize(
    'paths, is_recursive, expected',
    [
        ([], False, [b'dir', b'x']),
        ([], True, [b'dir', b'dir/again', b'dir/y', b'x']),
        ([b'dir'], False, [b'dir']),
        ([b'dir'], True, [b'dir', b'dir/again', b'dir/y']),
        ([b'dir/'], False, [b'dir/again', b'dir/y']),
        ([b'/x/', b'dir/y'], True, [b'x', b'dir/y']),
        ([b'dir/again'], True, [b'dir/again']),
    ],
)
def test_entries_are_those_of_the_paths_or_what_is_below(store, root, paths, is_recursive, expected):
    found = listing.entries(store.objects, root, paths, is_recursive, print)
    assert [path for path, _ in found] == expected


def test_what_holds_nothing_says_why(store):
    with pytest.raises(errors.NotFound, match="'again' holds nothing here: it is 'dir one' again"):
        list(listing.entries(store.objects, tree.parse_line(AGAIN), [], False, print))
    with pytest.raises(errors.NotFound, match='a directory without a tree'):
        list(listing.entries(store.objects, tree.parse_line('./x type=dir mode=0755'), [], False, print))


def line(form, text, exact=False):
    return form(b'p/x', tree.parse_line(text), lambda path: b'<%s>' % path, exact)


FILE = './x type=file mode=4755 gid=7 uname=eve size=5 time=86400.500000000 sha256digest=' + 'ab' * 32


@pytest.mark.parametrize(
    'form, expected',
    [
        (listing.name, b'<p/x>'),
        (listing.short, b'4755 blob %s\t<p/x>' % (b'ab' * 32)),
        (listing.long, b'4755 blob %s eve 7 5 86400.500000000\t<p/x>' % (b'ab' * 32)),
        (listing.human, b'-rwsr-xr-x eve      7                   5 1970-01-02 00:00:00 <p/x>'),
        (listing.mtree, FILE.replace('./x', './p/x').encode()),
    ],
)
def test_a_file_in_each_form(form, expected, monkeypatch):
    monkeypatch.setattr(time, 'localtime', time.gmtime)
    assert line(form, FILE) == expected


@pytest.mark.parametrize('form', [listing.long, listing.human])
@pytest.mark.parametrize(
    'text, tail',
    [
        ('./x type=link mode=0777 link=a\\040b', b' -> <a b>'),
        (AGAIN, b' is <dir one> again'),
    ],
)
def test_where_it_leads_is_told_unless_names_are_exact(form, text, tail):
    assert line(form, text).endswith(b'<p/x>' + tail)
    assert line(form, text, exact=True).endswith(b'<p/x>')


@pytest.mark.parametrize(
    'tag, tail', [('unread:EIO', b' (could not be read: EIO)'), ('damaged:0-512', b' (damaged)'), ('data:0-1', b'')]
)
def test_people_are_told_what_is_not_whole(tag, tail):
    text = f'./x type=file mode=0644 size=5 tags={tag}'
    assert line(listing.human, text).endswith(b'<p/x>' + tail)
    assert line(listing.human, text, exact=True).endswith(b'<p/x>')


def test_a_time_that_no_calendar_has_is_a_number():
    text = './x type=fifo mode=0600 time=99999999999999999.000000000'
    assert line(listing.human, text).endswith(b' @99999999999999999 <p/x>')


def test_a_device_has_its_numbers_where_others_have_a_size():
    assert b' 8,1 ' in line(listing.long, './x type=block mode=0660 device=linux,8,1')
