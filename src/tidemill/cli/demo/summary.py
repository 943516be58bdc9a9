"""What came of it, read from the database: nothing here is counted along the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rich.table import Table

from tidemill.cli.demo.cast import Cast
from tidemill.cli.demo.connect import NAME
from tidemill.cli.demo.harvest import Harvest
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.stage import Plan
from tidemill.cli.demo.statements import SQL
from tidemill.cli.options import DEMO
from tidemill.postgres import Database

SYNC_ENDPOINTS = ("posts", "post_insights", "account_insights")


@dataclass(frozen=True, slots=True)
class Tick:
    """One run, as its own log row has it."""

    run_id: UUID
    slot: datetime
    status: str
    total_accounts: int
    success_count: int
    error_count: int
    skipped_count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """The figures of the summary.

    Attributes:
        ticks: the runs in order.
        outcomes: (status, reason) → how many accounts came to it in each tick.
        figures: rows of posts and of each layer.
        api_calls: calls that the simulator received for the syncs, by endpoint.
        oauth_calls: those for connecting.
        seconds: of the whole.
    """

    ticks: Sequence[Tick]
    outcomes: Mapping[tuple[str, str | None], Sequence[int]]
    figures: Mapping[str, int]
    api_calls: Mapping[str, int]
    oauth_calls: int
    seconds: float


async def read(
    db: Database, runs: Sequence[UUID], calls: Mapping[str, int], before: Mapping[str, int], seconds: float
) -> Told:
    """Read the figures."""
    ticks = [Tick(**dict(row)) for row in await db.fetch(SQL.ticks, list(runs))]
    outcomes: dict[tuple[str, str | None], list[int]] = {}
    for row in await db.fetch(SQL.outcomes, list(runs)):
        outcomes.setdefault((row["status"], row["reason"]), [0] * len(runs))[row["tick"] - 1] = row["accounts"]
    figures = await db.fetchrow(SQL.figures)
    assert figures is not None  # noqa: S101 - a SELECT without FROM always has a row
    return Told(
        ticks,
        outcomes,
        dict(figures),
        {name: calls.get(name, 0) - before.get(name, 0) for name in SYNC_ENDPOINTS},
        sum(before.values()),
        seconds,
    )


def as_json(told: Told) -> dict[str, Any]:
    """The same for a program."""
    return {
        "ticks": told.ticks,
        "outcomes": [
            {"status": status, "reason": reason, "accounts": accounts}
            for (status, reason), accounts in told.outcomes.items()
        ],
        "figures": told.figures,
        "api_calls": {"total": sum(told.api_calls.values()), **told.api_calls},
        "oauth_calls": told.oauth_calls,
        "seconds": round(told.seconds, 1),
    }


def show(narrator: Narrator, told: Told, cast: Cast, harvest: Harvest | None) -> None:
    """The same for a person, company by company."""
    narrator.say(f"\n{NAME}: what became of its {told.ticks[0].total_accounts} accounts, sync by sync:\n")
    table = Table(box=None, pad_edge=True, header_style="bold")
    table.add_column("outcome")
    table.add_column("reason")
    for tick in told.ticks:
        table.add_column(f"{tick.slot:%H:%M}Z", justify="right")
    for (status, reason), accounts in told.outcomes.items():
        table.add_row(status, reason or "", *map(str, accounts))
    table.add_section()
    table.add_row("the whole run", "", *(tick.status for tick in told.ticks))
    table.add_row("seconds", "", *(f"{tick.seconds:.1f}" for tick in told.ticks))
    narrator.console.print(table)
    narrator.say("\nBroken on purpose, and logged as it was:\n")
    for username, part in cast.parts.items():
        narrator.say(f"  {username:<22} {part.story}", indent=25)
    figures, calls = told.figures, told.api_calls
    narrator.say("\nWhat is in the database of it now:\n")
    rows = (
        ("posts", figures["posts"], ""),
        ("snapshots, layer 1", figures["snapshots"], f"{figures['account_snapshots']} of accounts"),
        ("differences, layer 2", figures["deltas"], f"{figures['account_deltas']} of accounts"),
        ("newest values, layer 3", figures["current"], f"{figures['accounts_current']} of accounts"),
        ("calls of the provider", sum(calls.values()), f"and {told.oauth_calls} to connect the accounts"),
    )
    for name, count, more in rows:
        narrator.fact(name, f"{count:>7,}{'   ' + more if more else ''}")
    if harvest is not None:
        harvest.show(narrator)
    narrator.say("")
    narrator.fact("seconds in all", f"{told.seconds:>7.1f}")


def show_where(narrator: Narrator, plan: Plan) -> None:
    """Commands to go on with."""
    narrator.say("\nWhere to look next:\n")
    command = "tidemill" if plan.database_url else f"tidemill --data-dir {plan.folder}"
    if plan.database_url is None and plan.folder.name == DEMO and str(plan.folder.parent) == ".tidemill":
        narrator.say("  (without --data-dir too, as long as you have no database of your own here)", indent=3)
    for arguments, what in (
        ("logs", "the runs of the accounts"),
        ("logs --failed", "what did not complete, and why"),
        ("accounts", "tokens, last sync, followers"),
        ("sync-jobs list", "what companies have set up"),
        ("sync-jobs runs weather", "the tap's runs"),
        ("doctor", "is all well?"),
    ):
        narrator.say(f"  {command} {arguments:<22} {what}", indent=6)
