"""A user's project in a folder of its own, and the application that the other tests here put to the test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidemill.testing import Harness

from .shop import app

INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


_LEAN = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


class Project:
    """A folder with a user's own files, in which pytest runs in a process of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def write(self, name: str, text: str) -> None:
        (self._pytester.path / name).write_text(text)

    def run(self, *options: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess(*_LEAN, *options, timeout=240)


@pytest.fixture
def project(pytester: pytest.Pytester, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project whose tests' databases are on this run's server."""
    for name in os.environ:
        if name.startswith(("TIDEMILL_", "PYTEST_")) and name != "PYTEST_VERSION":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEMILL_TEST_DATABASE_URL", server_url)
    (pytester.path / "pytest.ini").write_text(INI)
    (pytester.path / "shop.py").write_text((Path(__file__).parent / "shop.py").read_text())
    return Project(pytester)


@pytest.fixture
async def tm(database_url: str) -> AsyncIterator[Harness]:
    async with Harness(app, database_url) as tm:
        yield tm
