import os

from hypothesis import given
from hypothesis import strategies as st

from chkfs.storage import claims
from chkfs.text import key


@given(st.lists(st.binary(max_size=2)))
def test_a_key_is_new_once(datas):
    found, seen = claims.Claims(), set()
    for data in datas:
        assert (key.of(data) in found) == (data in seen)
        assert found.add(key.of(data)) == (data not in seen)
        seen.add(data)


def test_where_there_is_no_room_a_key_takes_the_place_of_another():
    found = claims.Claims()
    names = [f'{4711:04x}{number:060x}' for number in range(9)]
    for name in names:
        assert found.add(name)
        assert name in found
    assert 1 <= sum(name in found for name in names) < len(names)
    assert f'{4712:04x}{0:060x}' not in found


def test_what_a_forked_process_claims_is_seen():
    found = claims.Claims()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if found.add(key.of(b'there')) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert key.of(b'there') in found and not found.add(key.of(b'there'))
