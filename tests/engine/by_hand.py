"""The engine's steps taken one by one, without a worker: where tests send its hot statements themselves."""

from __future__ import annotations

from typing import Any

from tidemill.engine import Context, Engine, Job, Kind, Registry
from tidemill.engine.claims import MOST_LANES
from tidemill.engine.node import Node
from tidemill.engine.rescue import jobs_of
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database

LONG_S = 3600.0
"""A lease that outlives any test."""
MOST = 500


def engine_of(db: Database, *kinds: Kind) -> Engine:
    """An engine with these kinds and no worker."""
    return Engine(db, Registry(kinds))


def idle_kind(name: str, **rules: Any) -> Kind:
    """A kind whose jobs are only ever ended by hand."""

    async def handler(ctx: Context, args: dict[str, Any]) -> None:
        raise AssertionError("no worker runs here")

    return Kind(name, handler, **rules)


async def new_node(db: Database, *, ttl: float = LONG_S) -> Node:
    """A registered node that nobody keeps alive."""
    node = Node(db, ttl=ttl)
    await node.register()
    node.close()
    return node


async def claim(
    engine: Engine,
    node: int,
    queue: str = "default",
    *,
    most: int = MOST,
    after: int = -1,
    conn: Connection | None = None,
) -> list[Job]:
    """One claim; the jobs in the order in which they would be started."""
    await engine.names.learn(engine.db, (), (queue,))
    if conn is None:
        async with engine.db.connection() as conn:
            return await claim(engine, node, queue, most=most, conn=conn)
    rows = await conn.fetch(SQL.claim, engine.names.queue(queue), node, most, MOST_LANES, -1, 0, False)
    if rows[0]["limited"]:  # of a kind that was paused, or under a limit
        rows += await conn.fetch(SQL.claim_limited, engine.names.queue(queue), node, most)
    found = sorted((row for row in rows if row["id"] is not None), key=lambda row: (row["rank"], row["id"]))
    return await jobs_of(engine, conn, found)


async def let_die(db: Database, *nodes: int) -> None:
    """Let the time of these nodes run out, long ago."""
    await db.execute(
        "update tidemill.node set expires_at = clock_timestamp() - interval '2 hours' where id = any ($1::bigint[])",
        nodes,
    )
