"""refs: names that git would take, compare-and-swap, and a log that forgets nothing."""

import os
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chkfs import errors
from chkfs.storage import publish, refs

ONE, TWO, THREE = '1' * 64, '2' * 64, '3' * 64
NAME = 'refs/backups/photos'
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(refs.__file__)))

# git-check-ref-format(1), rule by rule
REFUSED = {
    'a component begins with a dot': ['refs/backups/.a', 'refs/.a/b', 'refs/backups/a/.b'],
    'a component ends with .lock': ['refs/backups/a.lock', 'refs/a.lock/b'],
    'there is no slash': ['refs', 'photos', ''],
    'two dots': ['refs/backups/a..b', 'refs/backups/..', 'refs/../config'],
    'a control character': [
        'refs/backups/a\x00',
        'refs/backups/a\nb',
        'refs/backups/\x7f',
        'refs/backups/a\tb',
        'refs/backups/\x1f',
    ],
    'a space, tilde, caret or colon': ['refs/backups/a b', 'refs/backups/a~1', 'refs/backups/a^', 'refs/backups/a:b'],
    'a pattern': ['refs/backups/a?', 'refs/backups/*', 'refs/backups/[a'],
    'a slash too many': ['/refs/backups/a', 'refs/backups/a/', 'refs//a', 'refs/backups//a', 'refs/'],
    'a dot at the end': ['refs/backups/a.'],
    'at and brace': ['refs/backups/a@{b', 'refs/backups/@{1}'],
    'a backslash': ['refs/backups/a\\b'],
    'it is not below refs': ['heads/a', 'refsx/a', 'logs/refs/backups/a', 'REFS/backups/a'],
}
TAKEN = [
    'refs/backups/a',
    'refs/a',
    'refs/backups/a.b',
    'refs/backups/a/b/c',
    'refs/backups/@',
    'refs/backups/a@b',
    'refs/backups/-a',
    'refs/backups/Grüße',
    'refs/backups/a.lock.b',
    'refs/backups/a{b}',
    'refs/tags/1.0',
    'refs/backups/%40',
    "refs/backups/'",
    'refs/backups/a]',
    'refs/backups/a;b&c|d',
    'refs/backups/lock',
    'refs/recovered/' + ONE,
]


@pytest.fixture
def root(store):
    return store.root


@pytest.fixture
def made(root):
    return refs.Refs(root)


def path_of(root, name):
    return os.path.join(root, os.fsencode(name))


def write(root, name, data):
    with open(path_of(root, name), 'wb') as file:
        file.write(data)


def read(root, name):
    with open(path_of(root, name), 'rb') as file:
        return file.read()


# ---- names ----


@pytest.mark.parametrize('name', [name for names in REFUSED.values() for name in names])
def test_a_name_that_git_refuses_is_refused(made, name):
    with pytest.raises(errors.Usage):
        refs.check_name(name)
    with pytest.raises(errors.Usage):
        made.update(name, ONE)


@pytest.mark.parametrize('name', TAKEN)
def test_a_name_that_git_takes_is_taken(made, name):
    refs.check_name(name)
    made.update(name, ONE)
    assert made.read(name) == ONE
    assert list(made.names()) == [name]


@pytest.mark.parametrize('name', sorted({*TAKEN, *[name for names in REFUSED.values() for name in names]}))
def test_git_itself_agrees(name):
    if '\0' in name or not name.startswith('refs/'):
        return
    answer = subprocess.run(['git', 'check-ref-format', name], capture_output=True).returncode
    assert answer == (0 if name in TAKEN else 1)


@given(st.text(max_size=12) | st.text('.lock/@{}~^: -a\udcff', max_size=12))
@example('.lock')
@example('...')
@example('a..lock')
def test_any_name_of_a_directory_can_be_made_fit(name):
    name = name.encode('utf-8', 'replace').decode() if not name.isascii() and '\udcff' not in name else name
    refs.check_name('refs/backups/' + refs.tidy(name))


@pytest.mark.parametrize(
    'name, expected',
    [
        ('photos', 'photos'),
        ('', 'root'),
        ('.', 'root'),
        ('..', '-'),
        ('my photos', 'my-photos'),
        ('.hidden', 'hidden'),
        ('a.lock', 'a-lock'),
        ('a:b', 'a-b'),
        ('Grüße', 'Grüße'),
        ('lat\udcee', 'lat-'),
        ('x@{1}', 'x-1}'),
        ('v1.0', 'v1.0'),
        ('end.', 'end'),
        ('a..b', 'a-b'),
    ],
)
def test_tidy_keeps_what_can_be_kept(name, expected):
    assert refs.tidy(name) == expected


def test_short_names_are_looked_for_in_the_order_of_git(made):
    for name in ('refs/recovered/x', 'refs/backups/x', 'refs/tags/x', 'refs/x'):
        made.update(name, ONE)
        assert made.full_name('x') == name
    assert made.full_name('refs/tags/x') == 'refs/tags/x'
    assert made.full_name('tags/x') == 'refs/tags/x'
    assert made.full_name('backups/x') == 'refs/backups/x'
    assert made.full_name('y') is None
    assert made.full_name('') is None and made.full_name('../config') is None and made.full_name('backups') is None


# ---- reading and writing ----


def test_a_ref_is_one_key_and_one_line(made, root):
    made.update(NAME, ONE)
    assert read(root, NAME) == ONE.encode() + b'\n'
    made.update(NAME, TWO)
    assert made.read(NAME) == TWO
    assert os.listdir(path_of(root, 'refs/backups')) == [b'photos']


def test_what_is_not_there_is_none(made):
    assert made.read(NAME) is None
    assert made.read('refs/backups') is None
    assert made.read(NAME + '/below') is None
    assert made.log(NAME) == [] and list(made.names()) == []


def test_names_are_sorted_and_stray_files_passed_over(made, root):
    for name in ('refs/tags/b', 'refs/backups/z', 'refs/backups/a/b', 'refs/backups/a-c'):
        made.update(name, ONE)
    write(root, 'refs/backups/.z.0123abcd', b'half')
    assert list(made.names()) == ['refs/backups/a-c', 'refs/backups/a/b', 'refs/backups/z', 'refs/tags/b']
    assert list(made.names('refs/backups/a')) == ['refs/backups/a-c', 'refs/backups/a/b']


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\n',
        ONE[1:].encode(),
        ONE.encode() + b'0',
        b'x' * 64,
        ONE.upper().encode()[:-1] + b'A',
        ONE.encode() + b'\nx',
        b'\xff' * 64,
        bytes(65),
    ],
)
def test_a_ref_that_holds_no_key_is_damaged(made, root, data):
    made.update(NAME, ONE)
    write(root, NAME, data)
    with pytest.raises(errors.Damaged, match='photos'):
        made.read(NAME)
    assert list(made.names()) == [NAME]


def test_a_key_without_its_newline_is_a_key(made, root):
    write(root, NAME, ONE.encode())
    assert made.read(NAME) == ONE


# ---- compare and swap ----


@pytest.mark.parametrize('none', ['', refs.NONE])
def test_a_new_ref_is_made_only_once(made, none):
    made.update(NAME, ONE, none)
    with pytest.raises(errors.Conflict) as caught:
        made.update(NAME, TWO, none)
    assert caught.value.status == errors.NO
    assert ONE in str(caught.value)
    assert made.read(NAME) == ONE and len(made.log(NAME)) == 1


def test_an_update_with_the_right_old_value_is_made_and_with_a_wrong_one_not(made):
    made.update(NAME, ONE)
    made.update(NAME, TWO, ONE)
    for wrong in (ONE, THREE, refs.NONE):
        with pytest.raises(errors.Conflict):
            made.update(NAME, THREE, wrong)
    assert made.read(NAME) == TWO
    with pytest.raises(errors.Conflict):
        made.update('refs/backups/other', ONE, ONE)
    assert made.read('refs/backups/other') is None


def test_an_update_to_the_same_value_is_no_change(made, root):
    made.update(NAME, ONE)
    made.update(NAME, ONE, ONE)
    made.update(NAME, ONE)
    assert len(made.log(NAME)) == 1
    with pytest.raises(errors.Conflict):
        made.update(NAME, ONE, TWO)


@pytest.mark.parametrize('is_there', [False, True])
def test_all_that_is_visible_is_synced_before_a_ref_says_so(made, monkeypatch, is_there):
    """Found by power cuts after a killed run: its snapshot, its directories and its ref may not be on disk yet."""
    if is_there:
        made.update(NAME, ONE)
    done = []
    monkeypatch.setattr(publish, 'sync_store', lambda root: done.append(made.read(NAME)))
    made.update(NAME, ONE)
    assert done == [ONE if is_there else None]


def test_a_damaged_ref_is_compared_by_its_log(made, root):
    made.update(NAME, ONE)
    made.update(NAME, TWO)
    write(root, NAME, b'damage')
    with pytest.raises(errors.Conflict):
        made.update(NAME, THREE, ONE)
    made.update(NAME, THREE, TWO)
    assert made.read(NAME) == THREE
    assert [change.old for change in made.log(NAME)] == [refs.NONE, ONE, TWO]


def test_a_damaged_ref_without_a_log_can_be_set(made, root):
    write(root, NAME, b'damage')
    made.update(NAME, ONE)
    assert made.read(NAME) == ONE


def test_a_damaged_ref_can_be_set_to_what_it_was(made, root):
    made.update(NAME, ONE)
    write(root, NAME, b'damage')
    made.update(NAME, ONE)
    assert made.read(NAME) == ONE


# ---- the log ----


def test_the_log_has_every_value(made, monkeypatch):
    import time

    monkeypatch.setattr(time, 'time', lambda: 1_700_000_000.9)
    made.update(NAME, ONE, reason='backup: first')
    made.update(NAME, TWO, reason='two\nlines\tand  tabs \x1c')
    changes = made.log(NAME)
    assert [(change.old, change.new, change.time, change.reason) for change in changes] == [
        (refs.NONE, ONE, 1_700_000_000, 'backup: first'), (ONE, TWO, 1_700_000_000, 'two lines and tabs')
    ]  # fmt: skip
    assert all(change.who.endswith('@' + os.uname().nodename) for change in changes)


def test_the_log_text_is_the_one_in_the_manual(made, root, monkeypatch):
    import pwd
    import time

    monkeypatch.setattr(time, 'time', lambda: 1_700_000_000)
    made.update(NAME, ONE, reason='why')
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert read(root, 'logs/' + NAME).decode() == f'{refs.NONE} {ONE} 1700000000 {user}@{os.uname().nodename}\twhy\n'


def test_a_user_without_a_name_is_logged_by_number(made, monkeypatch):
    import pwd

    def nobody(uid):
        raise KeyError

    monkeypatch.setattr(pwd, 'getpwuid', nobody)
    made.update(NAME, ONE)
    assert made.log(NAME)[0].who == f'{os.geteuid()}@{os.uname().nodename}'


def test_a_reason_of_any_text_survives_as_one_line(made):
    made.update(NAME, ONE, reason='Grüße \udcff')
    assert made.log(NAME)[0].reason == 'Grüße \udcff'


def test_a_line_that_was_cut_short_is_passed_over_and_costs_no_other(made, root):
    made.update(NAME, ONE)
    whole = read(root, 'logs/' + NAME)
    for length in range(1, 140):
        write(root, 'logs/' + NAME, whole + whole[:length])
        write(root, NAME, ONE.encode() + b'\n')
        made.update(NAME, TWO)
        assert [change.new for change in made.log(NAME)] == [ONE, TWO]


@given(st.binary(max_size=300))
def test_a_log_of_any_bytes_raises_nothing(tmp_path_factory, data):
    root = os.fsencode(tmp_path_factory.getbasetemp() / 'log')
    os.makedirs(os.path.join(root, b'logs/refs/backups'), exist_ok=True)
    for line in (data, ONE.encode() + b' ' + TWO.encode() + b' ' + data + b'\n'):
        write(root, 'logs/' + NAME, line)
        assert isinstance(refs.Refs(root).log(NAME), list)


def test_a_time_that_python_will_not_read_is_passed_over(made, root):
    made.update(NAME, ONE)
    write(root, 'logs/' + NAME, f'{ONE} {TWO} {"9" * 5000} x@y\twhy\n'.encode())
    assert made.log(NAME) == []


def test_the_log_is_written_before_the_ref(made, root, monkeypatch):
    """So whatever a ref ever said can be found, and a death between the two leaves the old value."""

    def die(path, data):
        raise KeyboardInterrupt

    made.update(NAME, ONE)
    monkeypatch.setattr(publish, 'replace', die)
    with pytest.raises(KeyboardInterrupt):
        made.update(NAME, TWO)
    monkeypatch.undo()
    assert made.read(NAME) == ONE
    assert [change.new for change in made.log(NAME)] == [ONE, TWO]
    made.update(NAME, THREE, ONE)
    assert made.read(NAME) == THREE
    assert made.log(NAME)[-1].old == ONE


@pytest.mark.parametrize('failing', ['append', 'replace'])
def test_a_disk_that_refuses_leaves_the_old_value(made, monkeypatch, failing):
    def refuse(*_):
        raise errors.Error('cannot write into the store: No space left on device')

    made.update(NAME, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(publish, failing, refuse)
        with pytest.raises(errors.Error):
            made.update(NAME, TWO)
    assert made.read(NAME) == ONE


# ---- one name below another ----


@pytest.mark.parametrize(
    'first, second', [('refs/backups/a', 'refs/backups/a/b'), ('refs/backups/a/b', 'refs/backups/a')]
)
def test_a_ref_cannot_lie_below_another(made, first, second):
    made.update(first, ONE)
    with pytest.raises(errors.Error):
        made.update(second, TWO)
    assert list(made.names()) == [first] and made.read(first) == ONE


@pytest.mark.parametrize(
    'first, second', [('refs/backups/a', 'refs/backups/a/b'), ('refs/backups/a/b', 'refs/backups/a')]
)
def test_a_refused_update_takes_no_name(made, first, second):
    with pytest.raises(errors.Conflict):
        made.update(first, ONE, THREE)
    made.update(second, TWO)
    assert made.read(second) == TWO


@pytest.mark.parametrize(
    'name', ['refs/backups/' + 'n' * 255, 'refs/backups/' + 'n' * 256, 'refs/backups/' + '/'.join(['n'] * 100)]
)
def test_a_long_name_works_or_is_an_error(made, name):
    try:
        made.update(name, ONE)
    except errors.Error:
        assert list(made.names()) == []
    else:
        assert made.read(name) == ONE


# ---- several at once ----

WORKER = """
import sys
from chkfs import errors
from chkfs.storage import refs
from chkfs.text import key
made, name, number = refs.Refs(sys.argv[1].encode()), sys.argv[2], int(sys.argv[3])
for step in range(25):
    new = key.of(b'%d %d' % (number, step))
    while True:
        try:
            made.update(name, new, made.read(name) or '' if number % 2 else None, str(number))
            break
        except errors.Conflict:
            pass
"""


def test_updates_from_several_processes_lose_no_line_of_the_log(made, root):
    environment = {**os.environ, 'PYTHONPATH': ROOT}
    workers = [
        subprocess.Popen([sys.executable, '-c', WORKER, root, NAME, str(number)], env=environment)
        for number in range(4)
    ]
    assert [worker.wait() for worker in workers] == [0] * 4
    changes = made.log(NAME)
    assert len(changes) == 100 and len({change.new for change in changes}) == 100
    assert [change.old for change in changes] == [refs.NONE, *[change.new for change in changes[:-1]]]
    assert made.read(NAME) == changes[-1].new
    assert os.listdir(path_of(root, 'refs/backups')) == [b'photos']


def test_of_several_that_expect_the_same_old_value_one_wins(made, root):
    script = (
        'import sys\nfrom chkfs import errors\nfrom chkfs.storage import refs\nfrom chkfs.text import key\n'
        'try:\n refs.Refs(sys.argv[1].encode()).update(sys.argv[2], key.of(sys.argv[3].encode()), "")\n'
        'except errors.Conflict:\n sys.exit(1)\n'
    )
    environment = {**os.environ, 'PYTHONPATH': ROOT}
    workers = [
        subprocess.Popen([sys.executable, '-c', script, root, NAME, str(number)], env=environment)
        for number in range(4)
    ]
    assert sorted(worker.wait() for worker in workers) == [0, 1, 1, 1]
    assert len(made.log(NAME)) == 1


def test_the_short_name_of_a_ref_means_it_and_no_other(store):
    for name in ('backups/photos', 'backups/tags/x', 'tags/photos', 'checkpoints/photos', 'recovered/' + ONE):
        store.refs.update(f'refs/{name}', ONE)
    short = {name: store.refs.short_name(name) for name in store.refs.names()}
    assert short == {
        'refs/backups/photos': 'backups/photos',  # photos is the tag: it comes first
        'refs/backups/tags/x': 'tags/x',
        'refs/tags/photos': 'photos',
        'refs/checkpoints/photos': 'checkpoints/photos',
        'refs/recovered/' + ONE: 'recovered/' + ONE,
    }
    assert all(store.refs.full_name(found) == name for name, found in short.items())
