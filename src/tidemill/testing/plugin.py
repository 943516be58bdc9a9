"""The pytest plugin. Every pytest run in the environment loads it, so it imports nothing until a fixture is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

_VARIABLE = "TIDEMILL_TEST_DATABASE_URL"
_INI = "tidemill_test_database_url"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the server be named in the ini file."""
    parser.addini(_INI, f"server on which tests' databases are made; {_VARIABLE} wins; an embedded one if unset")


@pytest.fixture(scope="session")
def tidemill_prepare() -> Callable[[str], object]:
    """Override it to make your own tables: ``prepare(url)``, plain or async, called once on a migrated database."""
    return lambda url: None


@pytest.fixture(scope="session")
def _tidemill_server(pytestconfig: pytest.Config) -> Iterator[str]:
    from tidemill.testing.databases import server

    given = os.environ.get(_VARIABLE) or pytestconfig.getini(_INI) or None
    with _told_plainly(), server(given, pytestconfig.rootpath) as url:
        yield url


@pytest.fixture(scope="session")
def _tidemill_template(_tidemill_server: str, tidemill_prepare: Callable[[str], object]) -> Iterator[str]:
    from tidemill.testing.databases import template

    with _told_plainly(), template(_tidemill_server, tidemill_prepare) as name:
        yield name


@pytest.fixture
def tidemill_url(_tidemill_server: str, _tidemill_template: str) -> Iterator[str]:
    """The URL of the test's own database, with Tidemill's tables and yours; it is dropped after the test."""
    from tidemill.testing.databases import made_database

    with _told_plainly(), made_database(_tidemill_server, template=_tidemill_template) as url:
        yield url


@contextmanager
def _told_plainly() -> Generator[None]:
    """Errors that are meant to be read, without the traceback of how they came about."""
    from tidemill.errors import TidemillError

    try:
        yield
    except TidemillError as e:
        pytest.fail(
            f"tidemill_url: no database for this test: {e}\n"
            f"{_VARIABLE} names the server; without it an embedded one is started.",
            pytrace=False,
        )
