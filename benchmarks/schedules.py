"""The tick of schedules against a bare statement that writes the same.

    python -m benchmarks.schedules [--due 10000] [--sizes 10000,100000,1000000] [--rounds 5] [--quick]

As many schedules are due in a small table, a larger and a huge one, all on one server (embedded, durable defaults). In
each round every table has its turns: the bare statement, a tick of one node, three nodes (processes) that tick at once.
After each turn it is looked whether every due schedule was fired once. A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.schedules_world import EXPRESSIONS, ZONES, World, bare, until_none_is_due
from tidemill.cli.running import run_async, spare_the_collector
from tidemill.postgres import Database, connect, embedded, migrate

NODES = 3
BARE, ONE, THREE = "bare statement", "one node", f"{NODES} nodes at once"
MOST = 4.0
"""Times the bare statement's time that a tick may take."""
SPREAD = 1.3
"""Times the time for the smallest table that the largest may take, for as many due schedules."""


class Node:
    """A process that ticks when it is told to."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "benchmarks.schedules_node", url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hear("ready")

    def go(self) -> None:
        """Tick until nothing is due."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)

    def hear(self, word: str) -> None:
        """Wait until it says so."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            raise RuntimeError(f"a node said {said!r} instead of {word!r}")

    def end(self) -> None:
        """No more lines."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@dataclass
class Table:
    """Schedules in a database of their own, nodes for it, and seconds by contender and round."""

    size: int
    world: World
    nodes: list[Node]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {BARE: [], ONE: [], THREE: []})

    async def round(self) -> None:
        """Everybody's turn."""
        for name in (BARE, ONE, THREE):
            seconds = await self._turn(name)
            await self.world.verify()
            await self.world.reset()
            self.seconds[name].append(seconds)
            print(f"  {self.size:>9,} schedules, {name}: {seconds:.3f} s", file=sys.stderr)

    async def _turn(self, name: str) -> float:
        if name == BARE:
            planned = self.world.planned(await self.world.db.fetchval("select tidemill.now()"))
            async with self.world.db.connection() as conn:
                started = time.monotonic()
                await bare(conn, planned)
                return time.monotonic() - started
        started = time.monotonic()
        if name == ONE:
            await until_none_is_due(self.world.schedules)
        else:
            for node in self.nodes:
                node.go()
            await asyncio.gather(*(asyncio.to_thread(node.hear, "done") for node in self.nodes))
        return time.monotonic() - started

    def of_bare(self, name: str) -> float:
        """Median of the rounds' ratios to the bare statement."""
        return _of(self.seconds[name], self.seconds[BARE])


@asynccontextmanager
async def table(server: str, size: int, due: int) -> AsyncGenerator[Table]:
    """Make it."""
    url = urlunsplit(urlsplit(server)._replace(path=f"/bench_{size}"))
    conn = await connect(server, name="benchmark")
    await conn.execute(f"create database bench_{size}")
    await conn.close(timeout=10)
    await migrate(url)
    async with await Database.open(url, max_size=2, name="benchmark") as db:
        world = World(db, due)
        await world.fill(size - due)
        nodes = [Node(url) for _ in range(NODES)]
        try:
            yield Table(size, world, nodes)
        finally:
            for node in nodes:
                node.end()


async def measure(options: argparse.Namespace, url: str) -> list[Table]:
    """All rounds; the first one, in which every process reads every spec for the first time, does not count."""
    async with AsyncExitStack() as stack:
        tables = [await stack.enter_async_context(table(url, size, options.due)) for size in options.sizes]
        spare_the_collector()
        for turn in range(options.rounds + 1):
            print(f"round {turn}" if turn else "first ticks, not counted", file=sys.stderr)
            for each in tables:
                await each.round()
        for each in tables:
            for name in (ONE, THREE):
                print(f"  {each.size:>9,}, first: {each.seconds[name][0] / each.seconds[BARE][0]:.2f}", file=sys.stderr)
            each.seconds = {name: seconds[1:] for name, seconds in each.seconds.items()}
    return tables


def lines(tables: list[Table]) -> Iterator[str]:
    """Markdown."""
    yield f"| schedules | {BARE}, s | {ONE}, s | of bare | {THREE}, s | of bare |"
    yield "|---" * 6 + "|"
    for each in tables:
        median = {name: statistics.median(seconds) for name, seconds in each.seconds.items()}
        yield (
            f"| {each.size:,} | {median[BARE]:.3f} | {median[ONE]:.3f} | {each.of_bare(ONE):.2f} "
            f"| {median[THREE]:.3f} | {each.of_bare(THREE):.2f} |"
        )


def judged(tables: list[Table]) -> Iterator[tuple[str, float, float]]:
    """What is measured, its ratio, and the most it may be."""
    first, last = tables[0], tables[-1]
    for each in tables:
        yield f"tick of one node, {each.size:,} schedules, of the bare statement's", each.of_bare(ONE), MOST
    for name in (ONE, THREE):
        grown = _of(last.seconds[name], first.seconds[name])
        yield f"{name}, {last.size:,} schedules, of {first.size:,} schedules'", grown, SPREAD


def _of(mine: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(mine, others, strict=True))


def main() -> int:
    """Print the table and the bars; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedules")
    parser.add_argument("--due", type=int, help="schedules that are due in each table")
    parser.add_argument("--sizes", help="schedules in each table, separated by commas")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="few schedules, two rounds: to see that it runs")
    options = parser.parse_args()
    options.due = options.due or (2_000 if options.quick else 10_000)
    sizes: str = options.sizes or ("2000,20000" if options.quick else "10000,100000,1000000")
    options.sizes = [int(size) for size in sizes.split(",")]
    options.rounds = options.rounds or (2 if options.quick else 5)
    if min(options.sizes) < options.due:
        parser.error("--sizes: a table needs at least as many schedules as are due")
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        # As root the server runs under another account, which must be able to pass through the folder.
        Path(folder).chmod(0o711)
        server = embedded.attach(Path(folder) / ".tidemill")
        try:
            tables = run_async(measure(options, server.url))
        finally:
            server.release()
            server.wait_until_stopped()
    print(
        f"{options.due} due schedules of {len(EXPRESSIONS)} expressions in {len(ZONES)} zones, medians of "
        f"{options.rounds} rounds; Python {platform.python_version()}, asyncpg {asyncpg.__version__}, "
        f"PostgreSQL {server.version}, {os.cpu_count()} cores\n"
    )
    print("\n".join(lines(tables)), end="\n\n")
    missed = 0
    for name, ratio, bar in judged(tables):
        missed += ratio > bar
        print(f"{ratio:8.2f}  at most {bar:<5} {'ok' if ratio <= bar else 'MISSED'}  {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
