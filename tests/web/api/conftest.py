from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import made_database
from tests.web.api.world import Client, Company, served
from tidemill.postgres import Database


@pytest.fixture(scope="module")
def database_url(server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """One database for all tests of a module: each has companies of its own, and sees no others, as tenants do."""
    with made_database(server_url, owner_url, template=_template) as url:
        yield url


@pytest.fixture
async def company(db: Database) -> Company:
    return await Company().create(db)


@pytest.fixture
async def neighbour(db: Database) -> Company:
    return await Company().create(db)


@pytest.fixture
async def admin(db: Database, company: Company) -> AsyncIterator[Client]:
    """The API, called by an admin of the company."""
    async with served(db) as nobody:
        yield nobody.as_(company.token())
