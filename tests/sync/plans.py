"""A full database, and what the plans of a room's statements may cost there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import made_database, run_apart
from tests.engine.test_plans import nodes
from tidemill.postgres import Connection, connect

ROWS, MANY_ROWS = 100_000, 1_000_000
SIZES = [pytest.param(ROWS, id="100000"), pytest.param(MANY_ROWS, id="million", marks=pytest.mark.chaos)]
FILL_S = 1800.0
PER_ROW = 4
"""Rows of a table that are read for each one that is asked for; indexes are read in vain never."""
COMPARED_PER_ROW = 100
"""As the planner may do with a small table; more grows with the square."""
BUFFERS = 400
"""For catalogs and the upper pages of indexes."""
BUFFERS_PER_ROW = 80


_READ = "select coalesce(sum(seq_tup_read), 0)::int from pg_stat_xact_user_tables where relid = any ($1::regclass[])"


@contextmanager
def filled(
    rows: int, tables: Collection[str], fill: str, server_url: str, owner_url: str, template: str
) -> Iterator[str]:
    """A database filled by statements with ``{rows}`` in them, whose statistics are of when it was empty."""

    async def work(url: str) -> None:
        conn = await connect(url, command_timeout=FILL_S)
        for table in tables:
            await conn.execute(f"alter table {table} set (autovacuum_enabled = off)")
        await conn.execute("analyze")
        await conn.execute(fill.format(rows=rows))
        await conn.close()

    with made_database(server_url, owner_url, "plans_", template=template) as url:
        run_apart(work(url))
        yield url


Questions = Mapping[str, tuple[Sequence[Any], int]]
"""Statement → its parameters, and how many rows it is about."""


async def wrong_plans(url: str, asked: Sequence[tuple[Any, Questions]], tables: Collection[str]) -> list[str]:
    """What is wrong with these statements' plans, of each sort, before new statistics are taken and after."""
    conn = await connect(url, command_timeout=FILL_S)
    wrong: list[str] = []
    try:
        for known in ("stale", "fresh"):
            for mode in ("force_custom_plan", "force_generic_plan"):
                await conn.execute("select set_config('plan_cache_mode', $1, false)", mode)
                for statements, questions in asked:
                    found = _wrong(conn, statements, questions, tables)
                    wrong += [f"{known} {mode}: {what}" async for what in found]
            await conn.execute("analyze")
    finally:
        conn.terminate()
    return wrong


async def _wrong(
    conn: Connection, statements: Any, questions: Questions, tables: Collection[str]
) -> AsyncIterator[str]:
    for name, (args, rows) in questions.items():
        transaction: Any = conn.transaction()
        await transaction.start()
        before = await conn.fetchval(_READ, tables)
        explain = f"explain (analyze, buffers, timing off, format json) {getattr(statements, name)}"
        [found] = await conn.fetchval(explain, *args)
        read = await conn.fetchval(_READ, tables) - before
        await transaction.rollback()
        for why in faults(found["Plan"], rows, tables):
            yield f"{name}: {why}"
        if read > PER_ROW * rows + 20:
            yield f"{name}: with its triggers reads {read} rows without an index for {rows}"


def faults(plan: dict[str, Any], rows: int, tables: Collection[str]) -> Iterator[str]:
    """What a plan does that it should not."""
    for node in nodes(plan):
        if node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"] > COMPARED_PER_ROW * rows:
            yield f"compares {node['Rows Removed by Join Filter'] * node['Actual Loops']} rows in vain"
        if not any(table.endswith(f".{node.get('Relation Name')}") for table in tables):
            continue
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        read = (node["Actual Rows"] + removed) * node["Actual Loops"]
        if read > PER_ROW * rows + 20:
            yield f"reads {read} rows of {node['Relation Name']} for {rows}"
    used = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    if used > BUFFERS + BUFFERS_PER_ROW * rows:
        yield f"uses {used} buffers for {rows} rows"
