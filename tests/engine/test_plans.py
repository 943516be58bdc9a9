"""Every statement of the engine costs what it touches, not what there is, whatever the planner knows of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import made_database, run_apart
from tests.engine.crowded import BIG, EXEMPT, Asked, crowd_in, fill, freeze, literal, questions
from tidemill.engine.control import SETTINGS
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, connect

SOME_ROWS, ROWS, MANY_ROWS = 20_000, 100_000, 1_000_000
OF_WORKERS = (
    *(
        "claim",
        "claim_few",
        "claim_limited",
        "claimed",
        "finish",
        "finish_done",
        "finish_written",
        "hold_limits",
        "open_lanes",
    ),
    *("upkeep", "orphans", "leases_gone", "batch_overdue", "batch_seize", "batch_force_close", "batch_abandon"),
)
"""What goes over a worker's own connections."""
EXPLAIN = "explain (analyze, buffers, timing off, format json)"
SMALL_CHANGE = 250
"""Buffers that any statement may use, for catalogs and the upper pages of indexes."""
IN_PROPORTION = 100
"""Rows of a table for each row asked for, up to which reading it whole is rightly the cheaper plan."""
PER_ROW = 60
"""Buffers for each row it is about: some tables, and a few pages of each index of theirs."""
BEFORE_GENERIC = 6
"""Executions after which Postgres may take a generic plan."""
IN_VAIN = 4
"""Rows looked at and left out, for each row it is about."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((ROWS, False), id="stale"),
        pytest.param((ROWS, True), id="fresh"),
        pytest.param((MANY_ROWS, False), id="stale-million", marks=pytest.mark.chaos),
        pytest.param((MANY_ROWS, True), id="fresh-million", marks=pytest.mark.chaos),
    ],
)
def crowd(request: pytest.FixtureRequest, server_url: str, owner_url: str, _template: str) -> Iterator[tuple[str, int]]:
    """A full database whose statistics were taken when it was empty, or now."""
    rows, fresh = request.param

    async def work(url: str) -> None:
        conn = await connect(url, command_timeout=600)
        await fill(conn, rows, fresh=fresh)
        await conn.close()

    with made_database(server_url, owner_url, template=_template) as url:
        run_apart(work(url))
        yield url, rows


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_no_statement_reads_what_it_does_not_need(crowd: tuple[str, int], mode: str) -> None:
    url, rows = crowd
    conn = await connect(url)
    wrong: list[str] = []
    try:
        await conn.execute("select set_config('plan_cache_mode', $1, false)", mode)
        for name, asked in (await questions(conn, rows)).items():
            plan = await explained(conn, name, asked)
            wrong += [f"{name}: {why}" for why in faults(plan, asked)]
    finally:
        conn.terminate()
    assert not wrong, "\n".join(wrong)


async def test_plans_that_a_worker_made_while_nothing_was_there_hold_for_a_crowd(database_url: str) -> None:
    conn, other = await open_planned(database_url), await connect(database_url, command_timeout=600)
    await freeze(other)
    try:
        for name in OF_WORKERS:
            await conn.execute(f"prepare {name} as {getattr(SQL, name)}")
            parameters = await conn.fetchval(
                "select cardinality(parameter_types) from pg_prepared_statements where name = $1", name
            )
            await conn.execute(_execute(name, ["null"] * parameters, "explain"))
        await crowd_in(other, SOME_ROWS)
        wrong: list[str] = []
        for name, asked in (await questions(other, SOME_ROWS)).items():
            if name in OF_WORKERS:
                transaction: Any = conn.transaction()
                await transaction.start()
                [found] = await conn.fetchval(_execute(name, list(map(literal, asked.args)), EXPLAIN))
                await transaction.rollback()
                wrong += [f"{name}: {why}" for why in faults(found["Plan"], asked)]
    finally:
        conn.terminate()
        other.terminate()
    assert not wrong, "\n".join(wrong)


async def open_planned(url: str) -> Connection:
    """A worker's connection, on which the first plan of each statement is kept."""
    return await connect(url, settings={**SETTINGS, "plan_cache_mode": "force_generic_plan"})


async def test_every_statement_is_guarded_or_says_why_not(crowd: tuple[str, int]) -> None:
    url, rows = crowd
    conn = await connect(url)
    guarded = (await questions(conn, rows)).keys()
    conn.terminate()
    assert set(dir(SQL)) == guarded | EXEMPT.keys()
    assert not guarded & EXEMPT.keys()


async def test_a_plan_that_reads_too_much_is_found(crowd: tuple[str, int]) -> None:
    url, _ = crowd
    conn = await connect(url)
    query = "select count(*) from tidemill.job_delayed where max_attempts = 0"
    [found] = await conn.fetchval(f"explain (analyze, buffers, format json) {query}")
    conn.terminate()
    assert [why.split(" ")[0] for why in faults(found["Plan"], Asked((), 1))] == ["reads", "looks", "uses"]


async def explained(conn: Connection, name: str, asked: Asked) -> dict[str, Any]:
    """What a statement really did; rolled back."""
    args = list(map(literal, asked.args))
    transaction: Any = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(f"prepare asked as {getattr(SQL, name)}")
        execute = _execute("asked", args)
        if asked.either:  # Postgres is left to choose, after it has seen how both sorts of plan do
            await conn.execute("set local plan_cache_mode = auto")
            for _ in range(BEFORE_GENERIC):
                await conn.execute("savepoint before")
                await conn.execute(execute)
                await conn.execute("rollback to before")
        [found] = await conn.fetchval(f"{EXPLAIN} {execute}")
    finally:
        await transaction.rollback()
        await conn.execute("deallocate asked")
    return found["Plan"]


def _execute(name: str, args: list[str], how: str = "") -> str:
    return f"{how} execute {name}" + (f"({', '.join(args)})" if args else "")


def faults(plan: dict[str, Any], asked: Asked) -> list[str]:
    """What a plan does that it should not."""
    found: list[str] = []
    for node in nodes(plan):
        compared = node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"]
        if compared > asked.rows * max(asked.rows, IN_PROPORTION):
            found.append(f"compares {compared} rows in vain")
        table = node.get("Relation Name", "")
        big = next((name for name in BIG if table == name or (name == "job_run" and table.startswith(name))), None)
        if big is None or (asked.whole and big == "job_ready"):
            continue
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if read > IN_PROPORTION * asked.rows:
            found.append(f"reads {read} rows of {table}")
        in_vain = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        if in_vain * node["Actual Loops"] > IN_VAIN * asked.rows:
            found.append(f"looks at {in_vain * node['Actual Loops']} rows of {table} in vain")
    used = _buffers(plan)
    if used > SMALL_CHANGE + PER_ROW * asked.rows and not asked.whole:
        found.append(f"uses {used} buffers for {asked.rows} rows")
    return found


def _buffers(node: dict[str, Any]) -> int:
    return node["Shared Hit Blocks"] + node["Shared Read Blocks"]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)
