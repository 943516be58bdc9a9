"""Small worlds in which actors meet over the same jobs, and what each actor does there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from msgspec.structs import replace

from tests.engine.by_hand import claim, engine_of, idle_kind, let_die, new_node
from tidemill.engine import Context, Engine, Job, NewJob, seal_batch
from tidemill.engine.cancel import cancel_jobs, heed_cancels
from tidemill.engine.dead import discard_dead, retry_dead
from tidemill.engine.finish import End, Ending, finish_all, finish_done
from tidemill.engine.housekeeping import KEPT_DAYS
from tidemill.engine.node import MOST_PROMOTED, Node
from tidemill.engine.rescue import end_overdue_batch, rescue_orphans
from tidemill.engine.statements import SQL
from tidemill.postgres import Connection, Database

TABLES = (
    "tidemill.job_ready",
    "tidemill.job_delayed",
    "tidemill.job_lease",
    "tidemill.job_dead",
    "tidemill.job_run",
    "tidemill.job_cancel",
    "tidemill.unique_key",
    "tidemill.batch",
    "tidemill.node",
    "public.effect",
)

Act = Callable[["Scene", Database], Awaitable[object]]


@dataclass(slots=True)
class Scene:
    """Jobs in some state, kept as a copy to start each order from.

    Attributes:
        keyed, sibling: two jobs of one sealed batch, the first with a key; ``plain`` is in none.
        leases: what their holder knows of them.
    """

    name: str
    db: Database
    engine: Engine
    holder: Node
    other: Node
    keyed: int = 0
    sibling: int = 0
    plain: int = 0
    leases: dict[int, Job] = field(default_factory=dict[int, Job])

    def on(self, db: Database) -> Engine:
        """The engine, on an actor's database."""
        engine = Engine(db, self.engine.registry)
        engine.names = self.engine.names
        return engine

    async def keep(self) -> None:
        """Take the copy."""
        await self.db.execute(
            "create schema kept;" + "".join(f"create table kept.{_plain(t)} as select * from {t};" for t in TABLES)
        )

    async def restore(self) -> None:
        """Begin from the copy again. A lease's row may lie elsewhere now, as if it had just been claimed."""
        await self.db.execute(
            "".join(
                f"delete from {t}; insert into {t} overriding system value select * from kept.{_plain(t)};"
                for t in TABLES
            )
        )
        for row in await self.db.fetch(SQL.places, list(self.leases)):
            self.leases[row["id"]] = replace(self.leases[row["id"]], place=row["place"])


def _plain(table: str) -> str:
    return table.partition(".")[2]


async def scene(db: Database, name: str) -> Scene:
    """A scene by its name, a key of :data:`ACTS`."""
    engine = engine_of(db, idle_kind("mail", max_attempts=3), idle_kind("close"))
    await db.execute("create table if not exists public.effect (job bigint, token bigint)")
    await engine.names.learn(db, ["mail", "close"], ["default"])
    made = Scene(name, db, engine, await new_node(db), await new_node(db))
    async with db.transaction() as conn:
        batch: UUID = await engine.open_batch(conn, on_close="close", args={})
        delay = 100.0 if name == "delayed" else None
        jobs = [
            NewJob(kind="mail", key="k", batch=batch, delay=delay),
            NewJob(kind="mail", batch=batch, delay=delay),
            NewJob(kind="mail", delay=delay),
        ]
        made.keyed, made.sibling, made.plain = cast("list[int]", await engine.enqueue_many(jobs, conn=conn))
        await seal_batch(conn, batch)
    await db.execute("update tidemill.batch set deadline = tidemill.now() + interval '50 s'")
    await db.execute("select tidemill.advance_clock('200 s')")
    if name not in ("ready", "delayed"):
        made.leases = {job.id: job for job in await claim(engine, made.holder.id)}
    if name == "asked":
        await cancel_jobs(engine, list(made.leases), by="ops")
    if name == "orphaned":
        await let_die(db, made.holder.id)
    if name == "dead":
        await finish_all(db, engine.registry, [Ending(made.leases[i], "dead") for i in (made.keyed, made.plain)])
    await made.keep()
    return made


# What actors do ------------------------------------------------------------------------------------------------------


def alone(work: Callable[[Scene, Connection], Awaitable[object]]) -> Act:
    """What is sent as a single statement, in a transaction of its own that the test can hold open."""

    async def act(s: Scene, db: Database) -> object:
        async with db.transaction() as conn:
            return await work(s, conn)

    return act


async def enqueue(s: Scene, conn: Connection) -> object:
    return await s.engine.enqueue("mail", key="k", conn=conn)


async def claim_all(s: Scene, conn: Connection) -> object:
    return sorted(job.id for job in await claim(s.engine, s.other.id, conn=conn))


async def promote(s: Scene, conn: Connection) -> object:
    return (await conn.fetchrow(SQL.upkeep, s.other.id, 60.0, MOST_PROMOTED) or {})["promoted"]


async def prune(s: Scene, conn: Connection) -> object:
    return dict(cast(Any, await conn.fetchrow(SQL.housekeeping, KEPT_DAYS, 90, 30, 1000)))


async def leave(s: Scene, conn: Connection) -> object:
    return await conn.execute(SQL.node_leave, s.holder.id)


async def finish_plain(s: Scene, conn: Connection) -> object:
    return await finish_done(cast(Database, conn), [Ending(s.leases[s.plain], "done")])


def finish(outcome: End, *jobs: str) -> Act:
    async def act(s: Scene, db: Database) -> object:
        endings = [Ending(s.leases[getattr(s, job)], outcome) for job in jobs]
        return await finish_all(db, s.engine.registry, endings)

    return act


async def write(s: Scene, db: Database) -> object:
    job = s.leases[s.keyed]
    async with Context(job, s.on(db), deadline=0).transaction() as conn:
        await conn.execute("insert into public.effect values ($1, $2)", job.id, job.token)
    return "written"


async def rescue(s: Scene, db: Database) -> object:
    return await rescue_orphans(s.on(db), db)


async def cancel(s: Scene, db: Database) -> object:
    jobs = [s.keyed, s.sibling, s.plain]
    answers = await cancel_jobs(s.on(db), jobs, by="ops")
    return [answers[job].answer for job in jobs]


async def heed(s: Scene, db: Database) -> object:
    return await heed_cancels(s.on(db), db, s.other.id)


async def overdue(s: Scene, db: Database) -> object:
    return await end_overdue_batch(s.on(db), db, s.other.id)


async def retry(s: Scene, db: Database) -> object:
    return (await retry_dead(db, [s.keyed, s.plain]))[s.keyed]


async def discard(s: Scene, db: Database) -> object:
    return await discard_dead(db, [s.keyed])


ACTS: dict[str, dict[str, Act]] = {
    "ready": {
        "enqueue": alone(enqueue),
        "claim": alone(claim_all),
        "cancel": cancel,
        "overdue": overdue,
    },
    "running": {
        "enqueue": alone(enqueue),
        "finish": finish("done", "keyed"),
        "finish sibling": finish("failed", "sibling"),
        "finish plain": alone(finish_plain),
        "back off": finish("retry", "keyed"),
        "bury": finish("dead", "keyed", "sibling", "plain"),
        "write": write,
        "cancel": cancel,
        "overdue": overdue,
        "leave": alone(leave),
    },
    "orphaned": {
        "rescue": rescue,
        "finish": finish("done", "keyed", "sibling"),
        "write": write,
        "cancel": cancel,
        "overdue": overdue,
        "prune": alone(prune),
    },
    "asked": {
        "give back": finish("release", "keyed"),
        "back off": finish("retry", "keyed", "sibling"),
        "heed": heed,
        "cancel": cancel,
        "claim": alone(claim_all),
    },
    "delayed": {
        "promote": alone(promote),
        "claim": alone(claim_all),
        "cancel": cancel,
        "overdue": overdue,
        "enqueue": alone(enqueue),
    },
    "dead": {
        "retry": retry,
        "discard": discard,
        "enqueue": alone(enqueue),
        "claim": alone(claim_all),
        "cancel": cancel,
    },
}
"""Scene → actor → what it does there."""
