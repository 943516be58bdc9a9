"""A world of sync jobs at noon."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tidemill.postgres import Database

from .support import NOON, World, world


@pytest.fixture
async def w(db: Database) -> AsyncIterator[World]:
    async with world(db) as made:
        await made.clock(NOON)
        yield made
