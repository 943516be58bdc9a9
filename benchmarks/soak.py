"""A steady load beside a transaction that holds back every vacuum for two minutes out of five.

    python -m benchmarks.soak [--minutes 60] [--picture soak.svg] [--quick] [--server URL]

The transaction is REPEATABLE READ and idle: a report that somebody forgot. While it is open nothing that ends can be
cleaned away. A run shorter than a quarter of an hour has three shorter cycles.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ground
from benchmarks.bars import Bars, note
from benchmarks.chart import Panel, draw
from benchmarks.steady import RATE, Window, growth, steady
from tidemill.postgres import connect

CYCLE_S, CYCLES, QUICK_MINUTES = 300.0, 3, 0.2
QUIET, HELD = 0.3, 0.4
"""Of a cycle: before the transaction is opened, and while it is open."""
WINDOW_S = 5.0
RECOVERY_S = 30.0
HOT = ["job_ready", "job_lease", "job_delayed", "node"]
"""Tables that hold what is alive; history grows by design and is dropped by partition."""
TABLES = """
select relname, n_dead_tup as dead, pg_total_relation_size(relid) as bytes from pg_stat_user_tables
where schemaname = 'tidemill' and relname = any ($1)
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: how long a cycle takes, and how many there are."""

    cycle_s: float
    cycles: int

    @classmethod
    def of(cls, minutes: float) -> Plan:
        """For a run of so many minutes."""
        cycle_s = min(CYCLE_S, 60 * minutes / CYCLES)
        return cls(cycle_s, max(CYCLES, round(60 * minutes / cycle_s)))

    @property
    def window_s(self) -> float:
        """Over which percentiles are taken."""
        return min(WINDOW_S, self.cycle_s / 20)

    @property
    def holds(self) -> list[tuple[float, float]]:
        """When the transaction is open: seconds from the start of the run."""
        return [((n + QUIET) * self.cycle_s, (n + QUIET + HELD) * self.cycle_s) for n in range(self.cycles)]


@dataclass(frozen=True, slots=True)
class Tables:
    """The hot tables at one moment; ``at`` is seconds from the start of the run."""

    at: float
    dead: dict[str, int]
    bytes: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all of them, indexes included."""
        return sum(self.bytes.values())


async def run(url: str, plan: Plan) -> tuple[float, list[Window], list[Tables]]:
    """Run all cycles; when it began, and what was seen."""
    looker = await connect(url, name="benchmark")
    seen: list[Tables] = []

    async def look(began: float) -> None:
        while True:
            rows = await looker.fetch(TABLES, HOT)
            dead, size = ({row["relname"]: row[what] for row in rows} for what in ("dead", "bytes"))
            seen.append(Tables(time.monotonic() - began, dead, size))
            await asyncio.sleep(plan.window_s)

    async with steady(url, plan.window_s) as load:
        began = time.monotonic()
        looking = asyncio.create_task(look(began))
        for number, (opens, closes) in enumerate(plan.holds, start=1):
            await asyncio.sleep(began + opens - time.monotonic())
            await hold(url, began + closes)
            note(f"cycle {number} of {plan.cycles}: {load.sent} jobs sent, {seen[-1].total / 1e6:.1f} MB of hot tables")
            await asyncio.sleep(began + number * plan.cycle_s - time.monotonic())
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    looker.terminate()
    return began, load.windows, seen


async def hold(url: str, until: float) -> None:
    """Keep a snapshot until then."""
    conn = await connect(url, name="report")
    await conn.execute("set idle_in_transaction_session_timeout = 0")
    async with conn.transaction(isolation="repeatable_read"):
        await conn.fetchval("select count(*) from tidemill.job_ready")
        await asyncio.sleep(until - time.monotonic())
    await conn.close()


def judge(plan: Plan, began: float, windows: Sequence[Window], seen: Sequence[Tables], bars: Bars) -> None:
    """Hold what was seen to the bars."""
    waits = [(window.at - began, _or_all(window.p99, plan)) for window in windows]
    # The first windows see the worker and the server warm up.
    quiet = [p99 for at, p99 in waits[2:] if at < plan.holds[0][0]]
    start = statistics.median(quiet)
    recoveries: list[float] = []
    for _, closes in plan.holds:
        good = [at - closes for at, p99 in waits if at - plan.window_s >= closes and p99 <= 2 * start]
        recoveries.append(good[0] if good else plan.cycle_s)
    held = [p99 for at, p99 in waits if any(opens < at <= closes for opens, closes in plan.holds)]
    note(f"p99 of the pickup: {start * 1000:.1f} ms at the start, {max(held) * 1000:.1f} ms at most while held")
    allowed = min(RECOVERY_S, (1 - HELD) * plan.cycle_s)
    bars.at_most("seconds from a release until p99 is within 2 x of the start, worst", max(recoveries), allowed)
    ends = [max((t for t in seen if t.at <= (n + 1) * plan.cycle_s), key=lambda t: t.at) for n in range(plan.cycles)]
    bars.at_most(
        "bytes of the hot tables, of those after the first cycle", max(t.total for t in ends) / ends[0].total, 2
    )
    bars.at_most("memory of the worker at the end, of a sixth in", growth([w.memory_mb for w in windows]), 1.1)
    started = sum(window.jobs for window in windows)
    bars.at_least("jobs started, of those due", started / (RATE * plan.cycles * plan.cycle_s), 0.95)


def picture(plan: Plan, began: float, windows: Sequence[Window], seen: Sequence[Tables]) -> str:
    """The run, drawn."""

    def ms(value: float | None) -> float:
        return 1000 * _or_all(value, plan)

    at = [(window.at - began) / 60 for window in windows]
    panels = [
        Panel(
            "Pickup, ms",
            {name: [(t, ms(getattr(w, name))) for t, w in zip(at, windows, strict=True)] for name in ("p50", "p99")},
            log=True,
        ),
        Panel("Dead rows", {name: [(t.at / 60, t.dead[name]) for t in seen] for name in HOT}),
        Panel(
            "Tables with their indexes, MB", {name: [(t.at / 60, t.bytes[name] / 1e6) for t in seen] for name in HOT}
        ),
        Panel("Memory of the worker, MB", {"resident": [(t, w.memory_mb) for t, w in zip(at, windows, strict=True)]}),
    ]
    return draw(
        f"{RATE} jobs a second beside a transaction that holds back every vacuum",
        "Pickup, dead rows, table sizes and memory over time. Shaded: the transaction is open.",
        panels,
        minutes=plan.cycles * plan.cycle_s / 60,
        held=[(opens / 60, closes / 60) for opens, closes in plan.holds],
    )


def _or_all(value: float | None, plan: Plan) -> float:
    """A window without a start is a wait of its whole length at least."""
    return plan.window_s if value is None else value


def main() -> int:
    """Write the picture and print the bars; exit 1 if one is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="twelve seconds: to see that it runs")
    parser.add_argument("--picture", type=Path, default=Path("soak.svg"), help="where to write it")
    parser.add_argument("--server", metavar="URL", help="a superuser's; otherwise one is started")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes: {options.minutes:g} is no number above 0")
    plan, bars = Plan.of(QUICK_MINUTES if options.quick else options.minutes), Bars()

    async def measure(server_url: str) -> str:
        async with ground.database(server_url, "bench_soak") as url:
            began, windows, seen = await run(url, plan)
        judge(plan, began, windows, seen, bars)
        return picture(plan, began, windows, seen)

    with ground.server(options.server) as server_url:
        options.picture.write_text(asyncio.run(measure(server_url)))
    print(
        f"{RATE} jobs/s, {plan.cycles} cycles of {plan.cycle_s:g} s, the transaction open for {HELD:.0%} of each; "
        f"picture: {options.picture}"
    )
    return bars.close()


if __name__ == "__main__":
    sys.exit(main())
