"""missing: what a restore could not set, as a text that says where and what; never over anything that is there."""

import os

import pytest

from chkfs import errors
from chkfs.restore import missing
from chkfs.text import tree

LINE = './b type=file mode=0644 size=1 sha256digest=' + 'ab' * 32


@pytest.fixture
def written(tmp_path):
    """written(line, ...) gives the File that holds them."""

    def write(*lines, name='there', **settings):
        file = missing.File(os.fsencode(tmp_path / name), **settings)
        for line in lines:
            file.add(line)
        file.close()
        return file

    return write


@pytest.mark.parametrize(
    'directory, line, expected',
    [
        (b'', './b type=fifo', './b type=fifo tags=missing:owner'),
        (b'a dir/\xff', './b type=fifo', './a\\040dir/\\377/b type=fifo tags=missing:owner'),
        (b'a', './b type=fifo tags=hl:x', './a/b type=fifo tags=hl:x,missing:owner'),
        (b'', '. type=dir', '. type=dir tags=missing:owner'),
    ],
)
def test_a_line_is_that_of_the_tree_with_its_path_and_what_is_missing(directory, line, expected):
    assert missing.format_line(directory, line, ['owner', 'owner']) == expected


def test_kinds_come_back(written):
    line = missing.format_line(b'', LINE, ['set-id bit', 'a,b:c'])
    entry = tree.parse_line(line)
    assert missing.kinds(entry) == ['set-id bit', 'a,b:c']
    assert missing.without_tags(entry, 'missing').line() == LINE


def test_what_was_written_is_read_again(written):
    lines = ['./a/b type=fifo tags=missing:owner', './c type=dir tags=missing:time', '. type=dir tags=missing:time']
    file = written(*lines)
    assert file.path.endswith(b'/there.chkfs-missing.mtree') and file.lines == 3
    found = list(missing.entries(file.path))
    assert [entry.name for entry in found] == [b'.', b'a/b', b'c', b'.']
    assert [missing.kinds(entry) for entry in found] == [[], ['owner'], ['time'], ['time']]


def test_without_anything_there_is_no_file(written, tmp_path):
    assert written().lines == 0
    assert os.listdir(tmp_path) == []


def test_it_is_private(written):
    assert os.stat(written(LINE).path).st_mode & 0o7777 == 0o600


def test_never_over_what_is_there(written, tmp_path):
    (tmp_path / 'there.chkfs-missing.mtree').write_bytes(b'precious')
    (tmp_path / 'there.chkfs-missing.mtree.2').symlink_to('nowhere')
    assert written(LINE).path.endswith(b'/there.chkfs-missing.mtree.3')
    assert (tmp_path / 'there.chkfs-missing.mtree').read_bytes() == b'precious'
    assert not (tmp_path / 'nowhere').exists()


def test_at_a_place_that_somebody_names_and_nowhere_else(written, tmp_path):
    (tmp_path / 'taken').write_bytes(b'precious')
    assert written(LINE, path=os.fsencode(tmp_path / 'free')).problem == ''
    assert 'File exists' in written(LINE, path=os.fsencode(tmp_path / 'taken')).problem
    assert sorted(os.listdir(tmp_path)) == ['free', 'taken']


def test_where_it_cannot_be_written_the_reason_is_kept(written):
    file = written(LINE, LINE, name='no/such')
    assert 'No such file' in file.problem and file.lines == 0


@pytest.mark.parametrize('path', ['..', '../x', 'a/../b', '/etc/passwd', 'a//b', 'a/', 'a\\000b', ''])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path, path):
    file = tmp_path / 'list'
    file.write_text(f'{missing.HEADER}./{path} type=fifo tags=missing:owner\n')
    with pytest.raises(errors.Damaged):
        list(missing.entries(os.fsencode(file)))


@pytest.mark.parametrize(
    'text', ['', '#mtree\n', '#mtree\n# chkfs tree 1\n', missing.HEADER + LINE, missing.HEADER + 'x y\n']
)
def test_what_is_no_such_list_is_refused(tmp_path, text):
    file = tmp_path / 'list'
    file.write_text(text)
    with pytest.raises(errors.Error):
        list(missing.entries(os.fsencode(file)))


def test_a_line_that_is_not_ascii_does_not_stop_it(written):
    file = written('./b type=fifo tags=odd:\ufffd')
    assert file.problem == '' and next(iter(list(missing.entries(file.path))[1:])).name == b'b'
