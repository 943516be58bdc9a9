"""``tidemill companies``: tenants whose users carry the company in their token."""

from __future__ import annotations

import asyncpg
import click

from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.engine.recurrence import read_zone
from tidemill.errors import InvalidInput
from tidemill.settings import Settings


@click.group(epilog="Example: tidemill companies add acme --name 'Acme Ltd' --zone Asia/Taipei")
def companies() -> None:
    """Companies, where your application does not write them itself."""


@companies.command("list", epilog="Example: tidemill companies list --json")
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@json_option
@pass_options
def list_(options: Options, most: int, as_json: bool) -> int:
    """Companies by code, with how many connectors and sync jobs they have."""
    return run_async(_list(options.reading(), most, as_json))


async def _list(settings: Settings, most: int, as_json: bool) -> int:
    async with open_database(settings) as db:
        rows = await db.fetch(SQL.companies, most)
    if as_json:
        print_json({"companies": [plain(row) for row in rows]})
    elif not rows:
        say("No companies yet. Make one with: tidemill companies add CODE --name NAME")
    else:
        columns = ("code", "name", "status", "timezone", "connectors", "sync_jobs", "id")
        headings = ("code", "name", "status", "zone", "connectors", "sync jobs", "id")
        print_rows(headings, ([row[column] for column in columns] for row in rows), whole=True)
    return Exit.OK


@companies.command(epilog="Example: tidemill companies add acme --name 'Acme Ltd' --zone Asia/Taipei")
@click.argument("code")
@click.option("--name", required=True, help="What people call it.")
@click.option("--zone", help="IANA time zone of schedules that name none. [default: UTC]")
@json_option
@pass_options
def add(options: Options, code: str, name: str, zone: str | None, as_json: bool) -> int:
    """Make a company. Its id is what its users' tokens carry as company_id."""
    if zone is not None:
        try:
            read_zone(zone)
        except InvalidInput as error:
            raise InvalidInput("--zone", str(error).removeprefix(f"{error.field}: ")) from None
    return run_async(_add(options.existing(), code, name, zone, as_json))


async def _add(settings: Settings, code: str, name: str, zone: str | None, as_json: bool) -> int:
    async with open_database(settings) as db:
        try:
            made = await db.fetchval(SQL.company_add, code, name, zone)
        except asyncpg.UniqueViolationError:
            raise InvalidInput("code", f"there is a company {code!r} already") from None
        except asyncpg.DataError as error:
            raise InvalidInput("code", f"a value cannot be stored: {error}") from None
    if as_json:
        print_json({"id": made, "code": code})
    else:
        say(f"Company {code} is made: {made}")
    return Exit.OK
