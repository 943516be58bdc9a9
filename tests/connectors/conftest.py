from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.connectors.support import LIMITS, START
from tidemill.connectors import HttpClient
from tidemill.simulators.threads import ThreadsSimulator


@pytest.fixture
async def sim() -> AsyncIterator[ThreadsSimulator]:
    """Three accounts of 240 posts on a clock that stands still."""
    async with ThreadsSimulator(seed=7, accounts=3, posts=240, start=datetime.fromtimestamp(START, UTC)) as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with await HttpClient.open(limits=LIMITS) as client:
        yield client
