"""``tidemill schedules``: when something fires, and the schedules declared in code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from tidemill.app import Tidemill
from tidemill.cli.application import app_option, load_app
from tidemill.cli.console import hint, json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.engine import Engine, Plan, Registry, Schedules
from tidemill.engine.recurrence import read_instant, read_zone, recurrence
from tidemill.errors import InvalidInput
from tidemill.postgres import Database, Record
from tidemill.settings import Settings

_START = "No schedules yet. A worker declares them when it starts: tidemill up"


@click.group(epilog="Example: tidemill schedules next '0 9 * * mon-fri' --zone Asia/Taipei")
def schedules() -> None:
    """When something fires, and the schedules declared in code."""


@schedules.command(
    "next", epilog="Example: tidemill schedules next --rrule 'FREQ=MONTHLY;BYDAY=-1FR' --start 2026-01-01T17:00:00"
)
@click.argument("expression", metavar="[EXPR]", required=False)
@click.option("--every", metavar="D", help="Every so often, e.g. 1h30m, instead of a cron expression.")
@click.option("--rrule", metavar="R", help="A rule of RFC 5545 instead of a cron expression.")
@click.option("--start", metavar="T", help="With --rrule: its DTSTART.")
@click.option("--zone", default="UTC", show_default=True, help="IANA time zone.")
@click.option("--after", metavar="T", help="ISO 8601; local time in the zone without an offset. [default: now]")
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many fires.")
@json_option
def next_fires(
    expression: str | None,
    every: str | None,
    rrule: str | None,
    start: str | None,
    zone: str,
    after: str | None,
    count: int,
    as_json: bool,
) -> int:
    """The next fires of a cron expression, with the offset of the zone at each. Needs no database."""
    given = {"cron": expression, "every": every, "rrule": rrule, "start": start}
    spec = {key: value for key, value in given.items() if value is not None}
    if not spec:
        raise click.UsageError("Give a cron expression, --every or --rrule.")
    plan = recurrence(spec, zone)
    at = datetime.now(UTC) if after is None else read_instant("after", after, read_zone(zone))
    fires = [fire.astimezone(plan.zone).isoformat() for fire in _following(plan, at, count)]
    if as_json:
        print_json({"words": plan.words(), "zone": plan.zone.key, "fires": fires})
        return Exit.OK
    say(plan.words())
    for fire in fires:
        say(fire)
    if len(fires) < count:
        hint("No more follow.")
    return Exit.OK


def _following(plan: Plan, at: datetime, count: int) -> list[datetime]:
    fires: list[datetime] = []
    while len(fires) < count and (fire := plan.next(at)) is not None:
        fires.append(fire)
        at = fire
    return fires


@schedules.command("list", epilog="Example: tidemill schedules list --json")
@json_option
@pass_options
def list_(options: Options, as_json: bool) -> int:
    """The schedules declared in code. Times are UTC."""
    return run_async(_list(options.reading(), as_json))


async def _list(settings: Settings, as_json: bool) -> int:
    async with open_database(settings) as db:
        rows = [{**plain(row), "words": _words(row)} for row in await _of(db).list()]
    if as_json:
        print_json({"schedules": rows})
    elif not rows:
        say(_START)
    else:
        columns = ("name", "words", "kind", "next_at", "last_at", "paused_by", "error")
        headings = ("name", "fires", "job", "next", "last", "paused by", "error")
        print_rows(headings, ([row[column] for column in columns] for row in rows), whole=True)
    return Exit.OK


def _words(row: Record) -> str | None:
    """What a schedule says; None for one that cannot be read, whose error says why once it is due."""
    try:
        return recurrence(row["spec"]).words()
    except InvalidInput:
        return None


@schedules.command(epilog="Example: tidemill schedules run scheduled-sync")
@click.argument("name")
@app_option
@json_option
@pass_options
def run(options: Options, name: str, app_name: str | None, as_json: bool) -> int:
    """Enqueue a schedule's job now; its planned fires stay. Exit 1 when its job before has not ended."""
    options.existing()
    app, _ = load_app(app_name, options)
    return run_async(_run(app, name, as_json))


async def _run(app: Tidemill, name: str, as_json: bool) -> int:
    async with app.open(syncs=True, name="tidemill schedules") as rooms:
        await _find(rooms.schedules, name)
        job = await rooms.schedules.run(name)
    if as_json:
        print_json({"schedule": name, "job": job})
    else:
        say(f"{name}: job {job} is enqueued." if job else f"{name}: skipped, its job before has not ended.")
    return Exit.OK if job else Exit.NOT_WELL


@schedules.command(epilog="Example: tidemill schedules pause scheduled-sync --by 'the night shift'")
@click.argument("name")
@click.option("--by", default="an operator", show_default=True, help="Who pauses it, for others to read.")
@json_option
@pass_options
def pause(options: Options, name: str, by: str, as_json: bool) -> int:
    """Stop a schedule from firing, until it is resumed."""
    return run_async(_pause(options.existing(), name, by, as_json))


async def _pause(settings: Settings, name: str, by: str, as_json: bool) -> int:
    async with open_database(settings) as db:
        schedules = _of(db)
        await _find(schedules, name)
        paused_by = await schedules.pause(name, by)
    if as_json:
        print_json({"schedule": name, "paused_by": paused_by})
    else:
        say(f"{name} is paused by {paused_by}. Let it fire again with: tidemill schedules resume {name}")
    return Exit.OK


@schedules.command(epilog="Example: tidemill schedules resume scheduled-sync")
@click.argument("name")
@json_option
@pass_options
def resume(options: Options, name: str, as_json: bool) -> int:
    """Let a paused schedule fire again, first for what it missed, as its misfire rule says."""
    return run_async(_resume(options.existing(), name, as_json))


async def _resume(settings: Settings, name: str, as_json: bool) -> int:
    async with open_database(settings) as db:
        schedules = _of(db)
        before = (await _find(schedules, name))["paused_by"]
        await schedules.resume(name)
    if as_json:
        print_json({"schedule": name, "was_paused_by": before})
    else:
        say(f"{name} fires again; it was paused by {before}." if before else f"{name} was not paused.")
    return Exit.OK


def _of(db: Database) -> Schedules:
    return Schedules(db, Engine(db, Registry()))


async def _find(schedules: Schedules, name: str) -> Any:
    """The row of a schedule.

    Raises:
        NotFound: there is no such schedule.
    """
    rows = await schedules.list()
    for row in rows:
        if row["name"] == name:
            return row
    known = ", ".join(row["name"] for row in rows)
    raise NotFound(f"There is no schedule {name!r}. " + (f"There are: {known}" if known else _START))
