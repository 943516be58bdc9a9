"""The scheduled sync against a bare HTTP loop and against the one-by-one algorithm it replaces.

    python -m benchmarks.sync [--accounts 1000] [--posts 25] [--rounds 3]

Every contender is a process of its own; the simulator and Postgres (embedded, durable defaults) are shared.
Contenders take turns in each round; a figure is the median of the rounds, a ratio is between medians of one run.
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
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from benchmarks.world import World
from tidemill.postgres import embedded

BARS = {
    "bare loop, answers at once": 0.5,
    "bare loop, answers after 50 ms": 0.8,
    "one-by-one algorithm, answers after 50 ms": 12.0,
    "memory at most accounts / at a tenth": 1.2,
}


def contender(name: str, world: World, *, accounts: int, ticks: int = 1, counted: bool = False) -> dict[str, Any]:
    """Run one contender in a process of its own and take its figures."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            world.to_json(),
            str(accounts),
            str(ticks),
            *(["counted"] if counted else []),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=1800,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


async def measure(options: argparse.Namespace, url: str) -> dict[str, Any]:
    """All contenders at both latencies."""
    figures: dict[str, Any] = {}
    for latency in (0, 50):
        async with World.open(url, accounts=options.accounts, posts=options.posts, latency_ms=latency) as world:
            # The first tick inserts posts; what runs every 15 minutes is what is measured.
            first = contender("sync_tidemill", world, accounts=options.accounts)
            rounds: list[dict[str, float]] = []
            for _ in range(options.rounds):
                ours = contender("sync_tidemill", world, accounts=options.accounts)
                bare = contender("sync_bare", world, accounts=options.accounts)
                rounds.append({"ours": ours["seconds"], "bare": bare["seconds"], **_detail(ours, bare)})
                print(f"  {latency} ms: {json.dumps(rounds[-1])}", file=sys.stderr)
            figures[f"{latency}ms"] = {
                "first_tick_s": first["seconds"],
                "statements_per_account": contender("sync_tidemill", world, accounts=options.accounts, counted=True)[
                    "statements_per_account"
                ],
                **{key: round(statistics.median(r[key] for r in rounds), 3) for key in rounds[0]},
            }
            if latency == 50:
                few = min(100, options.accounts)
                seed = contender("sync_one_by_one", world, accounts=few)
                figures["one_by_one_50ms"] = {
                    "accounts": few,
                    "seconds": seed["seconds"],
                    "seconds_scaled": seed["seconds"] * options.accounts / few,
                }
    async with World.open(url, accounts=max(1, options.accounts // 10), posts=options.posts, latency_ms=0) as world:
        contender("sync_tidemill", world, accounts=options.accounts)
        tenth = contender("sync_tidemill", world, accounts=options.accounts)
        figures["memory_mb_at_a_tenth"] = tenth["memory_mb"]
    return figures


def _detail(ours: dict[str, Any], bare: dict[str, Any]) -> dict[str, float]:
    return {
        "calls": ours["calls"],
        "bare_calls": bare["calls"],
        "memory_mb": ours["memory_mb"],
        "bare_memory_mb": bare["memory_mb"],
    }


def ratios(figures: dict[str, Any]) -> dict[str, float]:
    """The results, by the names of :data:`BARS`."""
    return {
        "bare loop, answers at once": _of_bare(figures["0ms"]),
        "bare loop, answers after 50 ms": _of_bare(figures["50ms"]),
        "one-by-one algorithm, answers after 50 ms": (
            figures["one_by_one_50ms"]["seconds_scaled"] / figures["50ms"]["ours"]
        ),
        "memory at most accounts / at a tenth": figures["0ms"]["memory_mb"] / figures["memory_mb_at_a_tenth"],
    }


def _of_bare(figures: dict[str, float]) -> float:
    """Calls a second against the bare loop's: some posts outgrow their 72 hours meanwhile, and are due no more."""
    return (figures["calls"] / figures["ours"]) / (figures["bare_calls"] / figures["bare"])


def main() -> int:
    """Print the table; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--posts", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        # As root the server runs under another account, which must be able to pass through the folder.
        Path(folder).chmod(0o711)
        server = embedded.attach(Path(folder) / ".tidemill")
        try:
            figures = asyncio.run(measure(options, server.url))
        finally:
            server.release()
            server.wait_until_stopped()
    print(json.dumps(figures, indent=2))
    print(
        f"{options.accounts} accounts x {options.posts} due posts, 100 calls in flight, medians of {options.rounds}; "
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, asyncpg {asyncpg.__version__}, "
        f"PostgreSQL {server.version}, {os.cpu_count()} cores"
    )
    missed = 0
    for name, ratio in ratios(figures).items():
        bar, low_is_good = BARS[name], name.startswith("memory")
        ok = ratio <= bar if low_is_good else ratio >= bar
        missed += not ok
        print(f"{ratio:8.2f}  {'at most' if low_is_good else 'at least'} {bar:<5} {'ok' if ok else 'MISSED'}  {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
