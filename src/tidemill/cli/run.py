"""``tidemill run``: start a run by hand, or see how one is doing."""

from __future__ import annotations

from uuid import UUID, uuid4

import click

from tidemill import logging
from tidemill.app import Rooms
from tidemill.cli.console import hint, json_option, plain, print_json, say, seconds
from tidemill.cli.exits import Exit
from tidemill.cli.logs import find_run
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.postgres import Database, Record
from tidemill.settings import Settings

_OPEN = ("pending", "running")


@click.group(epilog="Example: tidemill run scheduled-sync --wait 120")
def run() -> None:
    """Start a run by hand, or see how one is doing."""


@run.command("scheduled-sync", epilog="Example: tidemill run scheduled-sync --wait 120")
@click.option(
    "--wait",
    "wait_s",
    metavar="S",
    type=click.FloatRange(0, 86_400),
    default=300.0,
    show_default=True,
    help="Seconds to wait for its end; 0 starts it and returns.",
)
@json_option
@pass_options
def scheduled_sync(options: Options, wait_s: float, as_json: bool) -> int:
    """Sync all accounts now, in a slot of its own, and print what came of it.

    The work is done by workers (tidemill up, tidemill worker). Exit 0 when the run completed, 1 for any other outcome.
    """
    settings = options.settings()
    logging.configure(settings.log_format, level="warning")
    return run_async(_scheduled_sync(settings, wait_s, as_json))


async def _scheduled_sync(settings: Settings, wait_s: float, as_json: bool) -> int:
    async with Rooms.open(settings, name="tidemill run") as app:
        triggered = await app.sync.trigger_scheduled(trigger="cli", request_key=f"cli:{uuid4()}", own_slot=True)
        workers = await app.db.fetchval(SQL.live_workers)
        if not triggered.skipped and wait_s > 0:
            if workers:
                await app.sync.wait(triggered.run_id, wait_s)
            else:
                hint("No worker is running, so the run waits for one. Start it with: tidemill up")
        row = await find_run(app.db, triggered.run_id)
        await _tell(app.db, row, as_json)
    if wait_s == 0 and row["status"] in _OPEN:
        return Exit.OK
    return Exit.OK if row["status"] == "completed" else Exit.NOT_WELL


@run.command(epilog="Example: tidemill run status 0b7c9d2e-6f1a-4c55-9a3e-2d1f0e8b7a66")
@click.argument("run_id", type=click.UUID)
@json_option
@pass_options
def status(options: Options, run_id: UUID, as_json: bool) -> int:
    """How a run stands. Exit 0 when it completed or goes on, 1 for any other outcome."""
    return run_async(_status(options.reading(), run_id, as_json))


async def _status(settings: Settings, run_id: UUID, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_run(db, run_id)
        await _tell(db, row, as_json)
    return Exit.OK if row["status"] in ("completed", *_OPEN) else Exit.NOT_WELL


async def _tell(db: Database, row: Record, as_json: bool) -> None:
    if as_json:
        print_json(plain(row))
        return
    if row["status"] == "skipped" and not row["total_accounts"]:
        say(f"Run {row['run_id']} was skipped: {row['reason']}.")
        return
    took = seconds(row["duration"].total_seconds())
    say(
        f"Run {row['run_id']}: {row['status']} "
        f"({'for ' if row['status'] in _OPEN else ''}{took}). {row['total_accounts']} accounts: "
        f"{row['success_count']} completed, {row['error_count']} with errors, {row['skipped_count']} skipped."
    )
    if row["error_message"]:
        say(row["error_message"])
    if row["status"] in _OPEN:
        say(f"See how it goes on with: tidemill run status {row['run_id']}")
    elif row["error_count"] or row["skipped_count"]:
        say(f"See why with: tidemill logs --failed --run {row['run_id']}")
