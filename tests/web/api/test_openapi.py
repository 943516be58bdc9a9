"""The OpenAPI document says what the server does: read by itself, and by a program that tries to prove it wrong."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks

import tidemill.web.api
from tests.conftest import run_apart
from tests.web.api.world import Company, api_of, served
from tests.web.support import settings_of
from tidemill.postgres import Database
from tidemill.web.api.codes import CODES
from tidemill.web.api.openapi import describe
from tidemill.web.functions import build_functions

DOCUMENT = describe(api_of().routes)
OPERATIONS = [route.name for route in api_of().routes]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
EXAMPLES = 15


async def test_every_route_of_the_server_is_in_the_document_and_no_other(db: Database) -> None:
    app = build_functions(settings_of(), db, None, api_of())  # type: ignore[arg-type]
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/api/")
    }
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert routes == told | {("GET", "/api/v1/openapi.json")}


def test_every_code_is_in_the_document_with_its_status() -> None:
    codes: dict[str, set[str]] = {}
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                schema = response.get("content", {}).get("application/problem+json", {}).get("schema")
                for code in schema["allOf"][1]["properties"]["code"]["enum"] if schema else ():
                    codes.setdefault(code, set()).add(status)
    everywhere = {"METHOD_NOT_ALLOWED"}  # of paths, not of operations
    assert codes == {code: {str(what.status)} for code, what in CODES.items() if code not in everywhere}
    assert set(DOCUMENT["components"]["schemas"]["Details"]["properties"]["code"]["enum"]) == set(CODES)


def test_every_code_that_the_sources_name_is_known() -> None:
    named: set[str] = set()
    for file in Path(tidemill.web.api.__file__).parent.glob("*.py"):
        named |= set(re.findall(r'problem\(\s*"([A-Z_]+)"', file.read_text()))
    assert len(named) > 8
    assert named <= CODES.keys()


async def test_the_document_is_for_everybody(db: Database) -> None:
    async with served(db) as nobody:
        assert nobody.document == msgspec.json.decode(msgspec.json.encode(DOCUMENT))
        assert nobody.document["openapi"] == "3.1.0"


def test_the_reference_lists_every_operation_and_code_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text()
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in page.splitlines() if "| `" in line]
    operations = {(row[0], row[1]) for row in rows if "/" in row[1]}
    assert operations == {(route.name, f"{route.method} {route.path}") for route in api_of().routes}
    codes = {row[0]: (row[1], row[2]) for row in rows if "/" not in row[1]}
    assert codes == {code: (str(what.status), what.meaning) for code, what in CODES.items()}


@contextmanager
def in_a_thread(url: str) -> Iterator[str]:
    """The API on a loop of its own, for a client that blocks; gives its address."""
    listening: list[str] = []
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        async with await Database.open(url) as db, served(db) as nobody:
            listening.append(str(nobody.session._base_url))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield listening[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="module")
def tried(database_url: str) -> Iterator[tuple[str, Company]]:
    async def company() -> Company:
        async with await Database.open(database_url, max_size=1) as db:
            return await Company().create(db)

    made = run_apart(company())
    with in_a_thread(database_url) as url:
        yield url, made


def try_out(tried: tuple[str, Company], name: str, examples: int) -> None:
    """Send what the document allows and what it does not, at a row that is there or at any."""
    url, company = tried
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.config.update(base_url=url)
    operation = schema.find_operation_by_id(name)
    headers = {"Authorization": f"Bearer {company.token()}"}
    rows = {"connectors": company.connector, "sync-jobs": company.job, "runs": company.run}
    row = rows.get(operation.path.split("/")[3], company.notification)
    modes = [GenerationMode.POSITIVE]
    if operation.definition.raw.get("requestBody") or operation.query:
        modes.append(GenerationMode.NEGATIVE)
    ways: list[Any] = [operation.as_strategy(generation_mode=mode) for mode in modes]
    if "{id}" in operation.path:
        ways += [operation.as_strategy(generation_mode=mode, path_parameters={"id": str(row)}) for mode in modes]

    @hypothesis.settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=st.one_of(*ways))
    def tries(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    tries()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_request_breaks_it_and_no_answer_is_undocumented(tried: tuple[str, Company], name: str) -> None:
    try_out(tried, name, EXAMPLES)


@pytest.mark.chaos
@pytest.mark.parametrize("name", OPERATIONS)
def test_hundreds_of_requests_each_break_nothing(tried: tuple[str, Company], name: str) -> None:
    try_out(tried, name, 300)
