"""SQL files as attributes."""

from __future__ import annotations

import pytest

from tidemill.postgres import Statements


def test_a_file_is_an_attribute_without_its_header():
    sql = Statements("tidemill.postgres.sql")
    assert sql.lock_runners == "select pg_advisory_lock($1)"
    assert "read_ledger" in dir(sql)


def test_a_name_without_a_file_says_which_package_lacks_it():
    with pytest.raises(AttributeError, match=r"tidemill\.postgres\.sql has no nothing\.sql"):
        _ = Statements("tidemill.postgres.sql").nothing
