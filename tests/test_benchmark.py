"""What is done once a file, timed by pytest-benchmark: make bench runs these, make test does not."""

import os

import pytest

from chkfs.backup import ingest
from chkfs.restore import checkout
from chkfs.storage import cache, chunker, objects, pack, writer
from chkfs.text import quote, tree

FILES = 2000
KEY = 'ab' * 32
LINE = (
    './name.txt type=file mode=0644 uid=1000 gid=1000 uname=eve gname=eve size=12 '
    f'time=1353624000.000000001 sha256digest={KEY}'
)


@pytest.fixture
def source(tmp_path):
    for number in range(FILES):
        path = tmp_path / 'source' / f'd{number // 50}' / f'f{number}'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'%d ' % number * 500)
    return os.fsencode(tmp_path / 'source')


def store_all(source, root, scan_cache=None):
    os.makedirs(root, exist_ok=True)
    found = objects.Objects(root, cache.ObjectCache(None))
    with writer.Writer(found, 'gzip', chunker.Parameters()) as output:
        result = ingest.Ingest(output, scan_cache or cache.ScanCache(None)).store(source)
    return found, result


def test_quote_a_plain_name(benchmark):
    assert benchmark(quote.quote, b'IMG_20190704_120000.jpg') == 'IMG_20190704_120000.jpg'


def test_decode_the_line_of_a_file(benchmark):
    assert benchmark(tree.parse_plain_file, LINE).key == KEY


def test_decode_any_line(benchmark):
    assert benchmark(tree.parse_line, LINE).key == KEY


def test_make_a_tar_header(benchmark):
    assert len(benchmark(pack.header, f'blob/{KEY}', 1234)) == pack.BLOCK


def test_store_small_files(benchmark, source, tmp_path):
    roots = (os.fsencode(tmp_path / f'store{number}') for number in range(1000))
    _, result = benchmark.pedantic(lambda: store_all(source, next(roots)), rounds=3)
    assert result.files == FILES


def test_store_unchanged_files(benchmark, source, tmp_path):
    os.utime(source, ns=(0, 0))
    known = cache.ScanCache(os.fsencode(tmp_path / 'cache' / 'scan.sqlite'))
    root = os.fsencode(tmp_path / 'store')
    store_all(source, root, known)
    _, result = benchmark.pedantic(lambda: store_all(source, root, known), rounds=3)
    assert result.files == FILES


def test_restore_small_files(benchmark, source, tmp_path):
    found, result = store_all(source, os.fsencode(tmp_path / 'store'))
    targets = (os.fsencode(tmp_path / f'out{number}') for number in range(1000))
    entry = tree.parse_line(result.root)
    benchmark.pedantic(lambda: checkout.Checkout(found).restore(entry, next(targets)), rounds=3)
