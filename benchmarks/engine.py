"""The job engine against its limit and its peers.

    python -m benchmarks.engine [--jobs 60000] [--rounds 5] [--quick] [--only tidemill,thin,graphile-worker]

Contenders take turns in each round, each time after others, on one server (embedded, durable defaults), each as
a process of its own. A rate is the median of the rounds; a ratio is the median of the rounds' ratios. A round of drains
counts only where the thin engine is as much ahead of graphile-worker as it is on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import asyncpg

from benchmarks.engine_measures import Drain, Idle, Pickup, drain, idle, pickup
from benchmarks.engine_process import Contender
from benchmarks.engine_results import TENANTS, Results
from benchmarks.engine_server import Server
from benchmarks.peers import OURS, PEERS, CannotRun, Peer
from tidemill.postgres import embedded

T = TypeVar("T")

PICKUP_ROUNDS, SAMPLES = 15, 200
"""Of pickups: many short rounds, since how long a disk takes to commit changes from minute to minute."""
QUICK_JOBS, QUICK_ROUNDS, QUICK_SAMPLES = 5000, 2, 100
IDLE_WINDOW_S, QUICK_IDLE_WINDOW_S = 20.0, 5.0
SINGLE = 1000


async def prepare(peers: list[Peer], results: Results) -> list[Contender]:
    """Those that can be installed; why the others cannot goes to the results."""
    ready: list[Contender] = []
    for peer in peers:
        try:
            ready.append(await Contender.prepare(peer))
        except CannotRun as e:
            results.not_run[peer.name] = str(e)
    return ready


def order(turn: int, many: int) -> list[int]:
    """The order of a round, by Williams' design: who came before leaves a disk busy and caches cold, so that over
    ``many`` rounds (twice as many, if it is odd) everybody comes after everybody else equally often.
    """
    zigzag = [(place + 1) // 2 if place % 2 else many - place // 2 for place in range(many)]
    if many and turn // many % 2:
        zigzag.reverse()
    return [(place + turn) % many for place in zigzag]


async def take_turns(
    turn: int, contenders: list[Contender], results: Results, measure: Callable[[Contender], Awaitable[T]]
) -> dict[str, T]:
    """One round: everybody's turn. Who fails is out of the run."""
    figures: dict[str, T] = {}
    for contender in [contenders[place] for place in order(turn, len(contenders))]:
        name = contender.peer.name
        try:
            figures[name] = await measure(contender)
        except (CannotRun, TimeoutError) as e:
            results.not_run[name] = str(e) or "jobs were left after the last one had been handled"
            contenders.remove(contender)
        else:
            print(f"  {name}: {_short(figures[name])}", file=sys.stderr)
    return figures


def _short(figures: object) -> str:
    assert isinstance(figures, Drain | Idle | Pickup)
    if isinstance(figures, Pickup):
        return f"median {1000 * statistics.median(figures.samples):.2f} ms"
    return json.dumps({k: round(v, 4) for k, v in asdict(figures).items() if isinstance(v, float)})


async def measure(options: argparse.Namespace, server: Server, results: Results, peers: list[Peer]) -> None:
    """All rounds: of drains as many as are wanted or twice that with those that do not count; then the others."""
    contenders = await prepare(peers, results)
    single = min(SINGLE, options.jobs // 10)
    tries = 0
    while len(results.drains) < options.rounds and tries < 2 * options.rounds:
        tries += 1
        print(f"drains, round {tries}", file=sys.stderr)
        results.add(await take_turns(tries, contenders, results, lambda c: drain(server, c, options.jobs, single)))
    window = QUICK_IDLE_WINDOW_S if options.quick else IDLE_WINDOW_S
    contenders = [contender for contender in contenders if contender.peer.name != TENANTS]
    for turn in range(options.rounds):
        print(f"idle, round {turn + 1}", file=sys.stderr)
        results.idles.append(await take_turns(turn, contenders, results, lambda c: idle(server, c, single, window)))
    samples, rounds = (QUICK_SAMPLES, QUICK_ROUNDS) if options.quick else (SAMPLES, PICKUP_ROUNDS)
    for turn in range(rounds):
        print(f"pickups, round {turn + 1}", file=sys.stderr)
        results.pickups.append(await take_turns(turn, contenders, results, lambda c: pickup(server, c, samples)))


async def run(options: argparse.Namespace, embedded_server: embedded.EmbeddedServer, peers: list[Peer]) -> Results:
    """Measure on this server."""
    results = Results(peers)
    async with Server.open(embedded_server) as server:
        await measure(options, server, results, peers)
    return results


def node_version() -> str:
    """What the peers of Node's world run on."""
    try:
        return subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def main() -> int:
    """Print the table and the bars; exit 1 if a bar is missed."""
    everybody = {peer.name: peer for peer in (*OURS, *PEERS)}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("--jobs", type=int, help="in a drain")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="few jobs, two rounds: to see that it runs")
    parser.add_argument("--only", default=",".join(everybody), help="names, separated by commas")
    options = parser.parse_args()
    options.jobs = options.jobs or (QUICK_JOBS if options.quick else 60_000)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else 5)
    if unknown := set(options.only.split(",")) - set(everybody):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(everybody)}")
    peers = [everybody[name] for name in everybody if name in options.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        # As root the server runs under another account, which must be able to pass through the folder.
        Path(folder).chmod(0o711)
        server = embedded.attach(Path(folder) / ".tidemill")
        try:
            results = asyncio.run(run(options, server, peers))
        finally:
            server.release()
            server.wait_until_stopped()
    print(
        f"{options.jobs} no-op jobs, one worker process, {options.rounds} rounds; Python {platform.python_version()}, "
        f"Node {node_version()}, asyncpg {asyncpg.__version__}, PostgreSQL {server.version}, {os.cpu_count()} cores\n"
    )
    print("\n".join(results.table()), end="\n\n")
    print("\n".join(results.judged()))
    return 1 if results.missed else 0


if __name__ == "__main__":
    sys.exit(main())
