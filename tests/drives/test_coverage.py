"""The tables of chkfs-metadata(7) say what is so."""

import coverage_table
import drives
import pytest


@pytest.mark.parametrize('drive', drives.DRIVES, ids=lambda drive: drive.name)
def test_table_is_what_was_found(drive, journeys):
    found = journeys(drive).outcomes()
    if coverage_table.FOUND:
        coverage_table.add(drive.name, found)
    else:
        assert coverage_table.known().get(drive.name) == found, 'make coverage-table brings it up to date'


def test_page_is_up_to_date():
    with open(coverage_table.PAGE) as file:
        text = file.read()
    assert text == coverage_table.page(text, coverage_table.known()), 'make coverage-table brings it up to date'


def test_nothing_is_lost():
    lost = [(name, kind) for name, row in coverage_table.known().items() for kind in row if row[kind] == 'lost']
    assert lost == []


def test_drivers_of_every_table_are_known_ones():
    in_tables = {name for _, names in coverage_table.TABLES for name in names}
    assert set(coverage_table.known()) <= in_tables
    assert {drive.name for drive in drives.DRIVES} <= in_tables
