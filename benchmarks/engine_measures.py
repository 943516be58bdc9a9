"""The measurements of the engine benchmark: one contender's turn at the drain, at being idle, and at picking up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.engine_process import Contender
from benchmarks.engine_server import Server
from benchmarks.peers import CannotRun

SETTLED_S = 3.0
"""After a worker's start, before it counts as idle."""
GAP_S = 0.02
"""Between two single jobs, on average."""
WARMING = 200
"""Single jobs before those whose pickup counts."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A backlog enqueued and worked off by one process."""

    jobs_s: float
    client_us: float
    server_us: float
    commits: float
    wal_bytes: float
    bulk_s: float
    single_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker with nothing to do but what comes in one by one.

    Attributes:
        statements_s: what it sends a second while nothing comes.
        beside_s: jobs a second that one connection enqueues one by one while the worker runs them.
        held_s: the same while another transaction stays open that has enqueued a job.
    """

    statements_s: float
    beside_s: float
    held_s: float | None


@dataclass(frozen=True, slots=True)
class Pickup:
    """Single jobs sent to an idle worker; of each, seconds from the call to its handler's start."""

    samples: list[float]


async def drain(server: Server, contender: Contender, jobs: int, single: int) -> Drain:
    """Enqueue ``single`` jobs one by one and the rest in bulk; run them all.

    Time is from the first handler's start until no job is left in the database. CPU is that of the worker's process and
    of all server processes from the worker's start until then, WAL likewise; commits are counted until the worker is
    gone. All but the rates are per job.

    Raises:
        CannotRun: the contender failed.
    """
    jobs = min(jobs, contender.peer.most)
    async with server.database() as url:
        await contender.call(url, "install")
        enqueued = await contender.call(url, "enqueue", single, jobs - single)
        await server.settle()
        commits = await server.commits()
        async with (
            server.watch(contender.peer.busy) as watch,
            contender.worker(url, jobs, recorded=False) as worker,
        ):
            if not await watch.is_busy():
                raise CannotRun("its jobs are not where they are looked for")
            before, cpu_s = await server.read(), worker.cpu_s()
            worker.go()
            await worker.hear("handled", 900)
            ended = await watch.until_idle(timeout=60)
            after, cpu_s = await server.read(), worker.cpu_s() - cpu_s
            first = (await worker.stop())["first"]
        commits = await server.commits() - commits
    return Drain(
        jobs_s=jobs / (ended - first),
        client_us=1e6 * cpu_s / jobs,
        server_us=1e6 * (after.cpu_s - before.cpu_s) / jobs,
        commits=commits / jobs,
        wal_bytes=(after.wal_bytes - before.wal_bytes) / jobs,
        bulk_s=(jobs - single) / enqueued["bulk_s"],
        single_s=(single - 1) / enqueued["single_s"],
    )


async def idle(server: Server, contender: Contender, single: int, window_s: float) -> Idle:
    """Count an idle worker's statements for ``window_s`` seconds, then enqueue jobs beside it as fast as that goes.

    ``single`` of them, where possible again beside an open transaction.

    Raises:
        CannotRun: the contender failed.
    """
    async with server.database() as url:
        await contender.call(url, "install")
        await server.settle()
        async with contender.worker(url, single * (2 if contender.peer.hold else 1), recorded=True) as worker:
            worker.go()
            await asyncio.sleep(SETTLED_S)
            statements_s = await server.statements(window_s)
            beside_s = await _single(contender, url, single)
            held_s = None
            if contender.peer.hold:
                async with server.holding(contender.peer.hold):
                    held_s = await _single(contender, url, single)
            await worker.hear("handled", 60)
            await worker.stop()
    return Idle(statements_s, beside_s, held_s)


async def pickup(server: Server, contender: Contender, jobs: int) -> Pickup:
    """Send jobs one by one, with gaps, from another process to a worker that has been warmed and is idle again.

    Raises:
        CannotRun: the contender failed, or did not pick every job up.
    """
    async with server.database() as url:
        await contender.call(url, "install")
        await server.settle()
        async with contender.worker(url, WARMING + jobs, recorded=True) as worker:
            worker.go()
            await asyncio.sleep(SETTLED_S)
            await _single(contender, url, WARMING)
            async with server.watch(contender.peer.busy) as watch:
                await watch.until_idle(timeout=60)
            sent = (await contender.call(url, "trickle", jobs, GAP_S))["sent"]
            await worker.hear("handled", 60)
            starts = dict((await worker.stop())["starts"])
    if len(starts) < jobs:
        raise CannotRun(f"ran {jobs - len(starts)} of {jobs} jobs never and others twice")
    return Pickup([starts[number] - at for number, at in sent])


async def _single(contender: Contender, url: str, jobs: int) -> float:
    return (jobs - 1) / (await contender.call(url, "enqueue", jobs, 0))["single_s"]
