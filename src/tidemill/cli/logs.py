"""``tidemill logs``: what ran, and what became of it."""

from __future__ import annotations

from uuid import UUID

import click

from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.postgres import Database, Record
from tidemill.settings import Settings


@click.command(epilog="Example: tidemill logs --failed -n 20")
@click.option("--run", "run_id", metavar="ID", type=click.UUID, help="The accounts' steps of one run.")
@click.option("--account", metavar="X", help="The steps of one account, by its username or id.")
@click.option("--failed", is_flag=True, help="Only what did not complete: failed, partial, skipped.")
@click.option("--system", is_flag=True, help="Runs as a whole, with --failed too.")
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Lines at most.")
@json_option
@pass_options
def logs(
    options: Options, run_id: UUID | None, account: str | None, failed: bool, system: bool, most: int, as_json: bool
) -> int:
    """Runs, newest first; with --run, --account or --failed the steps of their accounts.

    Times are UTC. "slot" is the logical time of what was written.
    """
    if system and account:
        raise click.UsageError("--system shows whole runs; --account asks for one account's steps.")
    of_steps = not system and (run_id is not None or account is not None or failed)
    return run_async(_logs(options.reading(), run_id, account, failed, of_steps, most, as_json))


async def _logs(
    settings: Settings,
    run_id: UUID | None,
    account: str | None,
    failed: bool,
    of_steps: bool,
    most: int,
    as_json: bool,
) -> int:
    async with open_database(settings) as db:
        if run_id is not None:
            await find_run(db, run_id)
        if of_steps:
            accounts = await _accounts(db, account) if account else None
            rows = await db.fetch(SQL.steps, run_id, accounts, failed, most)
        else:
            rows = await db.fetch(SQL.runs, run_id, failed, most)
    if as_json:
        print_json({"steps" if of_steps else "runs": [plain(row) for row in rows]})
    elif not rows:
        say("All is well: nothing failed." if failed else "No runs yet. Start one with: tidemill run scheduled-sync")
    elif of_steps:
        _print_steps(rows)
    else:
        print_runs(rows)
    if len(rows) == most and not as_json:
        click.echo(f"The newest {most} are shown; -n shows more.", err=True)
    return Exit.OK


async def find_run(db: Database, run_id: UUID) -> Record:
    """The run's row, a system run's or a user's.

    Raises:
        NotFound: there is no such run.
    """
    row = await db.fetchrow(SQL.runs, run_id, False, 1) or await db.fetchrow(SQL.manual_run, run_id)
    if row is None:
        raise NotFound(f"There is no run {run_id}. List runs with: tidemill logs")
    return row


async def _accounts(db: Database, account: str) -> list[UUID]:
    rows = await db.fetch(SQL.accounts_named, account)
    if not rows:
        raise NotFound(f"There is no account {account!r}. List accounts with: tidemill accounts")
    return [row["id"] for row in rows]


def print_runs(rows: list[Record]) -> None:
    """Whole runs, one a line."""
    print_rows(
        ("started", "status", "took", "accounts", "ok", "error", "skipped", "slot", "trigger", "run", "reason"),
        (
            (
                row["started_at"],
                row["status"],
                row["duration"],
                row["total_accounts"],
                row["success_count"],
                row["error_count"],
                row["skipped_count"],
                row["sync_batch_at"],
                row["trigger"],
                row["run_id"],
                row["error_message"] or row["reason"],
            )
            for row in rows
        ),
        right=("took", "accounts", "ok", "error", "skipped"),
        whole=True,
    )


def _print_steps(rows: list[Record]) -> None:
    print_rows(
        ("started", "account", "workspace", "step", "status", "took", "reason", "error"),
        (
            (
                row["started_at"],
                row["username"],
                row["workspace"],
                row["step"],
                row["status"],
                row["duration"],
                row["reason"],
                row["error_message"],
            )
            for row in rows
        ),
        right=("took",),
        whole=True,
    )
