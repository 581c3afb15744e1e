"""exclude: gitignore patterns, and CACHEDIR.TAG."""

import os

import pytest

from chkfs import errors
from chkfs.backup import exclude

SIGNATURE = b'Signature: 8a477f597d28d172789f06886806bc55'


@pytest.mark.parametrize('pattern', ['!', '\\', '[z-a]'])
def test_what_is_no_pattern_is_named(pattern):
    with pytest.raises(errors.Usage) as raised:
        exclude.Patterns(['*.o', pattern])
    assert f"'{pattern}'" in str(raised.value)


@pytest.mark.parametrize(
    'lines, path, is_directory, is_left_out',
    [
        (['*.o'], b'a.o', False, True),
        (['*.o'], b'deep/er/a.o', False, True),
        (['*.o'], b'a.oo', False, False),
        (['/a'], b'a', False, True),
        (['/a'], b'b/a', False, False),
        (['cache/'], b'x/cache', True, True),
        (['cache/'], b'x/cache', False, False),
        (['*', '!keep'], b'keep', False, False),
        (['*', '!keep'], b'other', False, True),
        (['# no pattern', ''], b'# no pattern', False, False),
        (['a/**/z'], b'a/b/c/z', False, True),
        (['a b'], b'a b', False, True),
        (['x[0-9]'], b'x5', False, True),
    ],
)
def test_patterns_are_those_of_gitignore(lines, path, is_directory, is_left_out):
    assert exclude.Patterns(lines).match(path, is_directory) is is_left_out


def test_names_of_any_bytes_are_matched():
    assert exclude.Patterns(['*.tmp']).match(b'\xff\xfe.tmp', False) is True
    assert exclude.Patterns(['Gr\udcfcn']).match(b'Gr\xfcn', False) is True
    assert exclude.Patterns(['Grün']).match('Grün'.encode(), False) is True
    assert exclude.Patterns(['*.tmp']).match(b'new\nline.tmp', False) is True


@pytest.mark.parametrize(
    'content, is_cache',
    [
        (SIGNATURE, True),
        (SIGNATURE + b'\n# made by a test\n', True),
        (b'x' + SIGNATURE, False),
        (SIGNATURE[:-1], False),
        (b'', False),
        (None, False),
    ],
)
def test_a_cache_says_so_by_the_beginning_of_its_tag(tmp_path, content, is_cache):
    if content is not None:
        (tmp_path / 'CACHEDIR.TAG').write_bytes(content)
    fd = os.open(tmp_path, os.O_RDONLY)
    assert exclude.is_cache(fd) is is_cache
    os.close(fd)


@pytest.mark.parametrize('kind', ['symlink', 'directory', 'fifo'])
def test_a_tag_that_is_no_file_is_none(tmp_path, kind):
    path = tmp_path / 'CACHEDIR.TAG'
    if kind == 'symlink':
        (tmp_path / 'real').write_bytes(SIGNATURE)
        path.symlink_to('real')
    elif kind == 'directory':
        path.mkdir()
    else:
        os.mkfifo(path)
    fd = os.open(tmp_path, os.O_RDONLY)
    assert exclude.is_cache(fd) is False
    os.close(fd)


def test_a_newline_at_the_end_is_a_part_of_the_name():
    assert exclude.Patterns(['keep']).match(b'keep\n', False) is False
    assert exclude.Patterns(['keep?']).match(b'keep\n', False) is True
    assert exclude.Patterns(['keep\n']).match(b'keep\n', False) is True
