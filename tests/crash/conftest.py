"""The world that all tests of this directory share, how thorough they are."""

import os

import cases
import interposer
import pytest

EVERY_STEP = os.environ.get('CHKFS_CRASH') == 'every'  # make test-crash


@pytest.fixture(scope='session')
def library(tmp_path_factory):
    return interposer.build(tmp_path_factory.mktemp('interposer'))


@pytest.fixture(scope='session')
def world(tmp_path_factory, library, look_at_tree):
    made = cases.World(str(tmp_path_factory.mktemp('world')), library, look_at_tree)
    yield made
    made.close()


@pytest.fixture(scope='session')
def sample():
    """sample(things, number) gives so many of them, evenly; all of them when every step is asked for."""

    def evenly(things, number):
        things = list(things)
        if EVERY_STEP or len(things) <= number:
            return things
        return [things[at * len(things) // number] for at in range(number)]

    return evenly
