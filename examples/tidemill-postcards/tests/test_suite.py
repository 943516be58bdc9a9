"""Tidemill's suite for connectors, run on this one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tidemill_postcards import PostcardsConnector

from tidemill.connectors import Connector
from tidemill.connectors.registry import Connectors
from tidemill.settings import Settings
from tidemill.testing.connector_suite import ConnectorSuite, World
from world import PostcardsWorld


class TestPostcards(ConnectorSuite):
    """Every test of the suite, each with a world of its own."""

    @asynccontextmanager
    async def case(self) -> AsyncGenerator[tuple[Connector, World]]:
        """The connector and its provider."""
        async with PostcardsWorld.open() as world:
            yield PostcardsConnector(world.url), world


def test_tidemill_finds_it() -> None:
    assert "postcards" in Connectors.load(Settings())
