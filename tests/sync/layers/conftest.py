from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import made_database
from tests.sync.layers.home import Home
from tidemill.postgres import Database


@pytest.fixture(scope="package")
def shared_url(server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """One migrated database for all tests here that keep to a workspace of their own."""
    with made_database(server_url, owner_url, "layers_", template=_template) as url:
        yield url


@pytest.fixture
async def shared(shared_url: str) -> AsyncIterator[Database]:
    async with await Database.open(shared_url, name="tidemill tests") as database:
        yield database


@pytest.fixture
async def home(shared: Database) -> AsyncIterator[Home]:
    """A workspace of this test's own, with the connection its writes go over."""
    async with shared.connection() as conn:
        yield await Home.make(conn)
