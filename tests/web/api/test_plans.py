"""A page costs a page and a row a row, however large the company is and whatever the planner knows of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
import pytest

from tests.conftest import made_database, run_apart, with_database
from tests.engine.test_plans import nodes
from tests.web.api.crowd import BIG, EXEMPT, LARGE, PAGE, SMALL, Asked, fill, questions
from tidemill.postgres import Connection, Database, Statements, connect, tenant_session
from tidemill.web.api.door import READING

SQL = Statements("tidemill.web.api.sql")
BECOME_TENANT = Statements("tidemill.postgres.sql").become_tenant
ROWS, MORE_ROWS, MOST_ROWS = 50_000, 200_000, 1_000_000
SMALL_CHANGE = 150
"""Buffers for catalogs, and for the upper pages of indexes."""
PER_ROW = 12
"""Buffers for each row: its page, and those of what is checked or written for it."""
ONCE = 4
"""Calls of a policy's function by one statement: reading, changing and checking what was changed have a policy each."""
POLICY_FUNCTIONS = "select funcname::text, calls from pg_stat_xact_user_functions where schemaname = 'public'"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(ROWS, id="some"),
        pytest.param(MORE_ROWS, id="more", marks=pytest.mark.chaos),
        pytest.param(MOST_ROWS, id="a million", marks=pytest.mark.chaos),
    ],
)
def filled(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """A full database whose statistics were taken when it was empty; as a superuser, who may count calls."""

    async def work(url: str) -> None:
        conn = await connect(url, command_timeout=900)
        await fill(conn, request.param)
        await conn.close()

    with made_database(server_url, owner_url, template=_template) as url:
        url = with_database(server_url, urlsplit(url).path.removeprefix("/"))
        run_apart(work(url))
        yield url


@pytest.fixture(scope="module", params=["stale", "fresh"])
def crowd(request: pytest.FixtureRequest, filled: str) -> str:
    """Likewise; in this order, for statistics that were taken stay."""

    async def work() -> None:
        conn = await connect(filled, command_timeout=900)
        await conn.execute("analyze")
        await conn.close()

    if request.param == "fresh":
        run_apart(work())
    return filled


@pytest.fixture
async def conn(crowd: str) -> AsyncIterator[Connection]:
    connection = await connect(crowd)
    yield connection
    connection.terminate()


def claims_of(company: UUID) -> dict[str, object]:
    return {"sub": str(company), "company_id": str(company), "app_metadata": {"role_keys": ["Vibot.admin"]}}


async def asked_as_tenant(conn: Connection, company: UUID, name: str, asked: Asked) -> tuple[dict[str, Any], set[str]]:
    """What a statement really did, and which functions of policies were called for each row; rolled back."""
    transaction: Any = conn.transaction()
    await transaction.start()
    try:
        await conn.execute("set local track_functions = 'all'")
        settings = dict(READING) if asked.reads else {}
        await conn.execute(BECOME_TENANT, msgspec.json.encode(claims_of(company)).decode(), settings)
        if asked.engine:
            await conn.execute(SQL.become_engine)
        before = {row[0]: row[1] for row in await conn.fetch(POLICY_FUNCTIONS)}
        [found] = await conn.fetchval(
            f"explain (analyze, buffers, timing off, format json) {getattr(SQL, name)}", *asked.args
        )
        after = {row[0]: row[1] - before.get(row[0], 0) for row in await conn.fetch(POLICY_FUNCTIONS)}
    finally:
        await transaction.rollback()
    return found["Plan"], {function for function, calls in after.items() if calls > ONCE}


def faults(plan: dict[str, Any], asked: Asked) -> Iterator[str]:
    """What a plan does that it should not."""
    for node in nodes(plan):
        if node["Node Type"].endswith("Sort") and node["Plans"][0]["Actual Rows"] > asked.rows:
            yield f"sorts {node['Plans'][0]['Actual Rows']} rows"
        table = node.get("Relation Name")
        if table not in BIG:
            continue
        if node["Node Type"] == "Seq Scan":
            yield f"reads {table} whole"
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        read = (node["Actual Rows"] + removed) * node["Actual Loops"]
        if read > 2 * asked.rows + asked.own:
            yield f"reads {read} rows of {table}"
    used = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    if used > SMALL_CHANGE + PER_ROW * (asked.rows + asked.own):
        yield f"uses {used} buffers"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("company", [LARGE, SMALL], ids=["large", "small"])
async def test_no_statement_reads_what_it_does_not_show_nor_sorts(conn: Connection, company: UUID) -> None:
    wrong: list[str] = []
    for name, ways in (await questions(conn, company)).items():
        for asked in ways:
            plan, again = await asked_as_tenant(conn, company, name, asked)
            said = list(faults(plan, asked))
            if again and name != "job_control":  # which asks once for itself, and again by each statement in it
                said.append(f"evaluates {', '.join(sorted(again))} again and again")
            wrong += [f"{name}{asked.args}: {why}" for why in said]
    assert not wrong, "\n".join(wrong)


async def test_every_statement_is_guarded_or_says_why_not(conn: Connection) -> None:
    guarded = (await questions(conn, LARGE)).keys()
    assert set(dir(SQL)) == guarded | EXEMPT.keys()
    assert not guarded & EXEMPT.keys()


async def test_a_plan_that_reads_and_sorts_too_much_is_found(conn: Connection) -> None:
    query = "explain (analyze, buffers, format json) select payload from public.sync_jobs order by md5(id::text)"
    [found] = await conn.fetchval(query)
    assert {why.split()[0] for why in faults(found["Plan"], Asked((), PAGE))} == {"sorts", "reads", "uses"}


async def test_a_list_that_was_read_often_is_still_planned_for_what_it_is_asked(crowd: str) -> None:
    """A plan kept for all parameters would have to take each filter for given and for not given."""
    async with await Database.open(crowd, max_size=1) as db:
        for turn in range(12):
            async with tenant_session(db, claims_of((LARGE, SMALL)[turn % 2]), settings=READING) as conn:
                await conn.fetch(SQL.run_list, None, None, None, None, None, PAGE)
        kept = await db.fetchrow(
            "select custom_plans, generic_plans from pg_prepared_statements where statement = $1", SQL.run_list
        )
        assert kept is not None
        assert tuple(kept) == (12, 0)
