"""Where a benchmark of the engine stands: a server, databases with jobs in them, a worker process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from benchmarks.engine_process import Contender
from benchmarks.peers import OURS
from tidemill.engine import Context, Engine, Kind, NewJob, Registry
from tidemill.postgres import Connection, Database, connect, embedded, migrate

KIND = "noop"
CHUNK = 5000
PATIENCE_S = 900.0
SLEEPING = """
insert into tidemill.job_delayed (id, queue, lane, rank, kind, max_attempts, enqueued_at, args, run_at)
select nextval('tidemill.job_id'), q.id, 0, 0, k.id, 20, now(), '{"number": 0}',
  now() + interval '1 year' + n * interval '1 s'
from tidemill.queue q, tidemill.kind k, generate_series(1, $1::int) n where q.name = 'default' and k.name = $2
"""
ENDED = """
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, node, started_at, finished_at)
select nextval('tidemill.job_id'), q.id, k.id, 1, 0, 'done', 0, now(), now() - n * interval '1 ms'
from tidemill.queue q, tidemill.kind k, generate_series(1, $1::int) n where q.name = 'default' and k.name = $2
"""


@contextmanager
def server(url: str | None) -> Generator[str]:
    """A superuser's URL: the one given, or of an embedded server with durable defaults in a temporary folder."""
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        # As root the server runs under another account, which must be able to pass through the folder.
        Path(folder).chmod(0o711)
        started = embedded.attach(Path(folder) / ".tidemill")
        try:
            yield started.url
        finally:
            started.release()
            started.wait_until_stopped()


@asynccontextmanager
async def database(server_url: str, name: str) -> AsyncGenerator[str]:
    """A migrated database that knows the kind ``noop``; dropped at the end."""
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    conn = await connect(server_url, name="benchmark")
    try:
        await conn.execute(f"drop database if exists {name} with (force)")
        await conn.execute(f"create database {name}")
        await migrate(url)
        async with engine(url) as made:
            await made.names.learn(made.db, [KIND], ["default"])
        yield url
    finally:
        await conn.execute(f"drop database if exists {name} with (force)", timeout=PATIENCE_S)
        conn.terminate()


@asynccontextmanager
async def engine(url: str, queue: str = "default", *, connections: int = 10) -> AsyncGenerator[Engine]:
    """An engine to enqueue with."""

    async def noop(ctx: Context, args: object) -> None: ...

    async with await Database.open(url, max_size=connections, name="benchmark") as db:
        yield Engine(db, Registry([Kind(KIND, noop, queue=queue)]))


async def enqueue(engine: Engine, tenants: Iterable[UUID | None], *, first: int = 0) -> int:
    """A job of each tenant, numbered from ``first`` on; the number after the last."""
    jobs = (NewJob(kind=KIND, args={"number": n}, tenant=tenant) for n, tenant in enumerate(tenants, first))
    while chunk := list(islice(jobs, CHUNK)):
        await engine.enqueue_many(chunk)
        first += len(chunk)
    return first


async def analyze(conn: Connection) -> None:
    """Fresh statistics and a vacuumed database."""
    await conn.execute("vacuum analyze", timeout=PATIENCE_S)


def tidemill() -> Contender:
    """A worker process as ``tidemill worker`` would run it."""
    peer = next(peer for peer in OURS if peer.name == "tidemill")
    return Contender(peer, *peer.prepare())


async def until(conn: Connection, condition: str, *args: object, timeout: float = 60.0) -> None:
    """Ask the database until ``condition`` is true.

    Raises:
        TimeoutError: it does not come true.
    """
    async with asyncio.timeout(timeout):
        while not await conn.fetchval(condition, *args):  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(0.005)
