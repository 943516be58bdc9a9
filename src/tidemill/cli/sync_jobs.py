"""``tidemill sync-jobs``: what companies' connectors do, and when, for operators."""

from __future__ import annotations

from typing import Any

import click

from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit, NotWell
from tidemill.cli.following import ask_and_follow, wait_option
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.cli.tenants import (
    company_of,
    company_option,
    find_connector,
    find_job,
    read_object,
    refusals,
)
from tidemill.engine.recurrence import Plan
from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.sync.jobs.schedule import fires_of, read_schedule

_STATES = ("idle", "queued", "running", "paused", "disabled", "error")
_SHOWN = 3


@click.group("sync-jobs", epilog="Example: tidemill sync-jobs list --company acme")
def sync_jobs() -> None:
    """Companies' sync jobs and their runs."""


@sync_jobs.command("list", epilog="Example: tidemill sync-jobs list --status disabled")
@company_option
@click.option("--connector", help="Only those of this connector, by name or id.")
@click.option("--status", type=click.Choice(_STATES), help="Only those of this status.")
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@json_option
@pass_options
def list_(
    options: Options, company: str | None, connector: str | None, status: str | None, most: int, as_json: bool
) -> int:
    """Sync jobs, by company and name. Times are UTC."""
    return run_async(_list(options.reading(), company, connector, status, most, as_json))


async def _list(
    settings: Settings, company: str | None, connector: str | None, status: str | None, most: int, as_json: bool
) -> int:
    async with open_database(settings) as db:
        of = (await find_connector(db, connector, company))["id"] if connector is not None else None
        rows = await db.fetch(SQL.sync_jobs, await company_of(db, company), of, status, most)
    if as_json:
        print_json({"sync_jobs": [plain(row) for row in rows]})
    elif not rows:
        make = "tidemill sync-jobs add --company CODE --connector NAME --type sync --every 15m"
        say(f"No sync jobs. Make one with: {make}")
    else:
        columns = (
            "company",
            "name",
            "connector",
            "job_type",
            "status",
            "next_run_at",
            "last_run_at",
            "last_run_status",
        )
        headings = ("company", "name", "connector", "type", "status", "next", "last", "ended", "id")
        print_rows(headings, ([row[column] for column in (*columns, "id")] for row in rows), whole=True)
    return Exit.OK


@sync_jobs.command(epilog="Example: tidemill sync-jobs show daily --company acme")
@click.argument("job")
@company_option
@json_option
@pass_options
def show(options: Options, job: str, company: str | None, as_json: bool) -> int:
    """A sync job, by name or id."""
    return run_async(_show(options.reading(), job, company, as_json))


async def _show(settings: Settings, job: str, company: str | None, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_job(db, job, company)
    if as_json:
        print_json(plain(row))
    else:
        print_rows(("field", "value"), row.items())
    return Exit.OK


@sync_jobs.command(
    epilog="Example: tidemill sync-jobs add --connector shop --type sync --name daily --cron '0 6 * * *'"
)
@company_option
@click.option("--connector", required=True, help="What it is for, by name or id.")
@click.option("--type", "job_type", required=True, help="sync, replay, repair, or one of your own.")
@click.option("--name", help="What people call it; unique in the company.")
@click.option("--cron", help="When: a cron expression.")
@click.option("--every", metavar="D", help="When: every so often, e.g. 15m.")
@click.option("--zone", help="IANA time zone of the schedule. [default: the company's, else UTC]")
@click.option("--schedule", metavar="JSON", help="When: the whole schedule, or @file. [default: by hand]")
@click.option("--payload", metavar="JSON", default="{}", help="What the type is told, or @file.")
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, show_default=True, help="Higher goes first.")
@json_option
@pass_options
def add(
    options: Options,
    company: str | None,
    connector: str,
    job_type: str,
    name: str | None,
    cron: str | None,
    every: str | None,
    zone: str | None,
    schedule: str | None,
    payload: str,
    priority: int,
    as_json: bool,
) -> int:
    """Make a sync job, and tell when it fires."""
    when = _when(cron, every, zone, schedule) or {}
    given = read_object("--payload", payload) or {}
    values = (job_type, name, given, when, priority)
    return run_async(_add(options.existing(), company, connector, values, as_json))


async def _add(
    settings: Settings,
    company: str | None,
    connector: str,
    values: tuple[str, str | None, dict[str, Any], dict[str, Any], int],
    as_json: bool,
) -> int:
    schedule = values[3]
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
        plan = read_schedule(schedule, row["company_zone"])
        with refusals("sync job"):
            made = await db.fetchval(SQL.sync_job_add, row["company_id"], row["id"], *values)
        fires = await _fires(db, plan)
    if as_json:
        print_json({"id": made, "words": plan.words(), "fires": fires})
    else:
        say(f"Sync job {made} is made.")
        _say_fires(plan, fires)
    return Exit.OK


@sync_jobs.command("set", epilog="Example: tidemill sync-jobs set daily --company acme --every 30m")
@click.argument("job")
@company_option
@click.option("--name", help="What people call it.")
@click.option("--cron", help="When: a cron expression.")
@click.option("--every", metavar="D", help="When: every so often, e.g. 15m.")
@click.option("--zone", help="IANA time zone of the schedule. [default: the company's, else UTC]")
@click.option("--schedule", metavar="JSON", help="When: the whole schedule, or @file; {} is by hand.")
@click.option("--payload", metavar="JSON", help="What the type is told, or @file.")
@click.option("--priority", type=click.IntRange(-1000, 1000), help="Higher goes first.")
@json_option
@pass_options
def set_(
    options: Options,
    job: str,
    company: str | None,
    name: str | None,
    cron: str | None,
    every: str | None,
    zone: str | None,
    schedule: str | None,
    payload: str | None,
    priority: int | None,
    as_json: bool,
) -> int:
    """Change a sync job; what is not given stays. A schedule is replaced as a whole."""
    when = _when(cron, every, zone, schedule)
    given = read_object("--payload", payload)
    if name is None and when is None and given is None and priority is None:
        raise click.UsageError("Give --name, --cron, --every, --schedule, --payload or --priority.")
    return run_async(_set(options.existing(), job, company, (name, given, when, priority), as_json))


async def _set(
    settings: Settings,
    job: str,
    company: str | None,
    values: tuple[str | None, dict[str, Any] | None, dict[str, Any] | None, int | None],
    as_json: bool,
) -> int:
    schedule = values[2]
    async with open_database(settings) as db:
        row = await find_job(db, job, company)
        plan = None if schedule is None else read_schedule(schedule, row["company_zone"])
        with refusals("sync job"):
            version = await db.fetchval(SQL.sync_job_set, row["id"], *values)
        fires = [] if plan is None else await _fires(db, plan)
    if as_json:
        print_json({"id": row["id"], "version": version, "fires": fires})
        return Exit.OK
    say(f"Sync job {values[0] or job} is at version {version}.")
    if plan is not None:
        _say_fires(plan, fires)
    return Exit.OK


@sync_jobs.command(epilog="Example: tidemill sync-jobs run daily --company acme --wait 300")
@click.argument("job")
@company_option
@wait_option(0.0)
@json_option
@pass_options
def run(options: Options, job: str, company: str | None, wait_s: float, as_json: bool) -> int:
    """Ask for a run now; a run that is open already is followed instead.

    Workers do the work. With --wait exit 0 when it completed, 1 for any other outcome.
    """
    return run_async(_run(options.existing(), job, company, wait_s, as_json))


async def _run(settings: Settings, job: str, company: str | None, wait_s: float, as_json: bool) -> int:
    async with open_database(settings) as db:
        return await ask_and_follow(db, (await find_job(db, job, company))["id"], wait_s, as_json)


@sync_jobs.command(epilog="Example: tidemill sync-jobs pause daily --company acme")
@click.argument("job")
@company_option
@json_option
@pass_options
def pause(options: Options, job: str, company: str | None, as_json: bool) -> int:
    """Stop a job from firing; a run that is open goes on."""
    return run_async(_control(options.existing(), job, company, "pause", as_json))


@sync_jobs.command(epilog="Example: tidemill sync-jobs resume daily --company acme")
@click.argument("job")
@company_option
@json_option
@pass_options
def resume(options: Options, job: str, company: str | None, as_json: bool) -> int:
    """Let a job fire again that was paused, or disabled after failing again and again."""
    return run_async(_control(options.existing(), job, company, "resume", as_json))


@sync_jobs.command(epilog="Example: tidemill sync-jobs cancel daily --company acme")
@click.argument("job")
@company_option
@json_option
@pass_options
def cancel(options: Options, job: str, company: str | None, as_json: bool) -> int:
    """Cancel a job's open runs; one that is running is asked to stop."""
    return run_async(_control(options.existing(), job, company, "cancel", as_json))


async def _control(settings: Settings, job: str, company: str | None, action: str, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_job(db, job, company)
        done = await db.fetchrow(SQL.sync_job_control, row["id"], action)
    if done is None:
        raise NotWell(f"the sync job {job!r} went away meanwhile")
    if as_json:
        print_json({"id": row["id"], "status": done["status"], "already": done["already"]})
    else:
        say(f"Sync job {job} is {done['status']}{', as it was' if done['already'] else ''}.")
    return Exit.OK


@sync_jobs.command(epilog="Example: tidemill sync-jobs rm daily --company acme")
@click.argument("job")
@company_option
@json_option
@pass_options
def rm(options: Options, job: str, company: str | None, as_json: bool) -> int:
    """Delete a sync job and its runs. Records and cursors are the connector's; they stay."""
    return run_async(_rm(options.existing(), job, company, as_json))


async def _rm(settings: Settings, job: str, company: str | None, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_job(db, job, company)
        await db.execute(SQL.sync_job_remove, row["id"])
    if as_json:
        print_json({"id": row["id"], "removed": True})
    else:
        say(f"Sync job {job} is gone.")
    return Exit.OK


@sync_jobs.command(epilog="Example: tidemill sync-jobs runs daily --company acme -n 5")
@click.argument("job")
@company_option
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Lines at most.")
@json_option
@pass_options
def runs(options: Options, job: str, company: str | None, most: int, as_json: bool) -> int:
    """A job's runs, newest first. Times are UTC."""
    return run_async(_runs(options.reading(), job, company, most, as_json))


async def _runs(settings: Settings, job: str, company: str | None, most: int, as_json: bool) -> int:
    async with open_database(settings) as db:
        of = await find_job(db, job, company)
        rows = await db.fetch(SQL.sync_job_runs, of["company_id"], of["id"], most)
    if as_json:
        print_json({"runs": [plain(row) for row in rows]})
    elif not rows:
        say(f"It has not run yet. Ask for a run with: tidemill sync-jobs run {job}")
    else:
        columns = ("started_at", "status", "duration", "trigger", "attempt", "reason", "error_detail", "id")
        headings = ("started", "status", "took", "trigger", "attempt", "reason", "error", "run")
        print_rows(headings, ([row[column] for column in columns] for row in rows), right=("took",), whole=True)
    return Exit.OK


def _when(cron: str | None, every: str | None, zone: str | None, schedule: str | None) -> dict[str, Any] | None:
    """The schedule that the options make; None where they say nothing."""
    if schedule is not None:
        if cron or every or zone:
            raise click.UsageError("--schedule is the whole schedule; leave --cron, --every and --zone out.")
        return read_object("--schedule", schedule)
    given = {"cron": cron, "every": every, "timezone": zone}
    return {key: value for key, value in given.items() if value is not None} or None


async def _fires(db: Database, plan: Plan) -> list[str]:
    now = await db.fetchval(SQL.clock)
    return [fire.isoformat() for fire in fires_of(plan, now, _SHOWN)]


def _say_fires(plan: Plan, fires: list[str]) -> None:
    say(f"It fires {plan.words()}." if fires else f"It fires {plan.words()}; nothing is due any more.")
    for fire in fires:
        say(fire)
