from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import made_database
from tests.sync.records.desk import Desk
from tidemill.postgres import Database


@pytest.fixture(scope="package")
def records_url(server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """One migrated database for all tests here that keep to a company of their own."""
    with made_database(server_url, owner_url, "records_", template=_template) as url:
        yield url


@pytest.fixture
async def desk(records_url: str) -> AsyncIterator[Desk]:
    """A company with a connector, and a claimed job in whose name its runs write."""
    async with await Database.open(records_url, name="tidemill tests") as db, Desk.open(db) as desk:
        yield desk
