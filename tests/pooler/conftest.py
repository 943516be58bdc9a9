"""Debian's pgbouncer in transaction mode before the test's own database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.pooler.pgbouncer import PROGRAM, pgbouncer

Door = Callable[[str, int], str]
Pool = Callable[[int], str]


@pytest.fixture
def door() -> Iterator[Door]:
    """Starts a pgbouncer before a URL's server with so many connections to it; returns the same URL through it."""
    if PROGRAM is None and os.environ.get("CI") != "true":
        pytest.skip("pgbouncer is not installed")
    with ExitStack() as stack:
        yield lambda url, size: stack.enter_context(pgbouncer(url, size))


@pytest.fixture
def pool(door: Door, database_url: str) -> Pool:
    """Likewise, before this test's migrated database."""
    return lambda size: door(database_url, size)
