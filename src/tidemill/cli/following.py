"""Asking for a run of a sync job, and following it to its end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
import click

from tidemill.cli.console import hint, plain, print_json, say, seconds
from tidemill.cli.exits import Exit, NotWell
from tidemill.cli.options import open_database
from tidemill.cli.statements import SQL
from tidemill.cli.tenants import find_connector
from tidemill.postgres import Connection, Database, Record
from tidemill.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_OPEN = ("pending", "running")
_LOOK_S = 0.5
_REFUSED = "TM003"


def wait_option(default: float) -> Callable[[F], F]:
    """``--wait``."""
    return click.option(
        "--wait",
        "wait_s",
        metavar="S",
        type=click.FloatRange(0, 86_400),
        default=default,
        show_default=True,
        help="Seconds to follow the run to its end; 0 asks for it and returns.",
    )


async def ask_and_follow(db: Database, job: UUID, wait_s: float, as_json: bool) -> int:
    """Ask for a run of ``job``, follow it for ``wait_s`` seconds at most, and tell what came of it; the exit code.

    Raises:
        NotWell: the job is disabled, or is gone.
    """
    try:
        asked = await db.fetchrow(SQL.sync_job_control, job, "run")
    except asyncpg.PostgresError as error:
        if getattr(error, "sqlstate", None) != _REFUSED:
            raise
        raise NotWell(str(error).removeprefix("action: ")) from None
    if asked is None:
        raise NotWell("the sync job went away meanwhile")
    run: UUID = asked["run_id"]
    if asked["already"] and not as_json:
        hint("A run of it is open already.")
    row = await _followed(db, run, wait_s)
    if as_json:
        print_json(plain(row))
    else:
        _tell(row)
    if wait_s == 0 and row["status"] in _OPEN:
        return Exit.OK
    return Exit.OK if row["status"] == "completed" else Exit.NOT_WELL


async def run_by_hand(
    settings: Settings,
    connector: str,
    company: str | None,
    job_type: str,
    payload: Mapping[str, Any],
    wait_s: float,
    as_json: bool,
) -> int:
    """Run a type of job on a connector, named or by id, and tell what came of it; the exit code.

    Raises:
        NotWell: the job is disabled, or is gone.
    """
    async with open_database(settings) as db:
        job = await _job_by_hand(db, await find_connector(db, connector, company), job_type, payload)
        return await ask_and_follow(db, job, wait_s, as_json)


async def _job_by_hand(db: Database, connector: Record, job_type: str, payload: Mapping[str, Any]) -> UUID:
    """A job of this type and payload without a schedule: one that is there already, else a new one."""
    whose = (connector["company_id"], connector["id"])

    async def work(conn: Connection) -> UUID:
        await conn.fetchval(SQL.connector_held, connector["id"])  # so that two who ask at once get one
        alike: UUID | None = await conn.fetchval(SQL.sync_job_alike, *whose, job_type, payload)
        return alike or await conn.fetchval(SQL.sync_job_add, *whose, job_type, None, payload, {}, 0)

    return await db.retrying(work)


async def _followed(db: Database, run: UUID, wait_s: float) -> Record:
    """The run's row once it has ended, or after ``wait_s``; on a terminal a line tells how it goes meanwhile."""
    give_up = time.monotonic() + wait_s
    shown = sys.stderr.isatty()
    before = ""
    while True:
        row = await db.fetchrow(SQL.sync_job_run, run)
        if row is None:
            raise NotWell(f"run {run} went away: its job was deleted")
        left = give_up - time.monotonic()
        if row["status"] not in _OPEN or left <= 0:
            break
        if not before and not await db.fetchval(SQL.live_workers):
            hint("No worker is running, so the run waits for one. Start it with: tidemill up")
        if shown:
            took = seconds(row["duration"].total_seconds())
            click.echo(f"\r{row['status']} for {took}, attempt {row['attempt']} \x1b[K", nl=False, err=True)
        elif row["status"] != before:
            hint(f"{row['status']} …")
        before = row["status"]
        await asyncio.sleep(min(_LOOK_S, left))
    if shown and before:
        click.echo("\r\x1b[K", nl=False, err=True)
    return row


def _tell(row: Record) -> None:
    took = seconds(row["duration"].total_seconds())
    state = row["status"] + (f" ({row['reason']})" if row["reason"] else "")
    say(f"Run {row['id']}: {state}, {'for ' if row['status'] in _OPEN else ''}{took}.")
    counts = {name: count for name, count in row["metrics"].items() if type(count) is int}  # no bool
    if any(counts.values()):
        say(", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
    elif counts and row["status"] == "completed":
        say("Nothing was found.")
    if row["error_detail"]:
        say(row["error_detail"])
    for action in cast("list[dict[str, object]]", row["applied_actions"]):
        say(", ".join(f"{key}: {value}" for key, value in action.items()))
    if row["status"] in _OPEN:
        say(f"See how it goes on with: tidemill sync-jobs runs {row['job_id']}")
