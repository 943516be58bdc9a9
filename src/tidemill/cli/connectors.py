"""``tidemill connectors``: companies' ways to their providers, for operators."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import click
import msgspec

from tidemill import logging
from tidemill.app import Rooms
from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.exits import Exit, NotWell
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.cli.statements import SQL
from tidemill.cli.tenants import (
    company_of,
    company_option,
    find_connector,
    read_file,
    read_object,
    refusals,
    the_company,
)
from tidemill.connectors.registry import Connectors
from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.settings import Settings
from tidemill.sync.jobs import Checks
from tidemill.sync.jobs import credentials as sealed
from tidemill.sync.jobs.checks import CHECK_S
from tidemill.vault import Keyring, Vault

_CONFIG = "JSON object, or @file: its settings without secrets."


@click.group(epilog="Example: tidemill connectors list --company acme")
def connectors() -> None:
    """Companies' connectors and their credentials."""


@connectors.command("list", epilog="Example: tidemill connectors list --company acme --json")
@company_option
@click.option("-n", "most", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Lines at most.")
@json_option
@pass_options
def list_(options: Options, company: str | None, most: int, as_json: bool) -> int:
    """Connectors, by company and name."""
    return run_async(_list(options.reading(), company, most, as_json))


async def _list(settings: Settings, company: str | None, most: int, as_json: bool) -> int:
    async with open_database(settings) as db:
        rows = await db.fetch(SQL.connectors, await company_of(db, company), most)
    if as_json:
        print_json({"connectors": [plain(row) for row in rows]})
    elif not rows:
        say("No connectors yet. Make one with: tidemill connectors add --company CODE --provider NAME --name NAME")
    else:
        columns = ("company", "name", "provider", "status", "credentials", "last_synced_at", "id")
        headings = ("company", "name", "provider", "status", "credentials", "last synced", "id")
        print_rows(headings, ([row[column] for column in columns] for row in rows), whole=True)
    return Exit.OK


@connectors.command(epilog="Example: tidemill connectors show shop --company acme")
@click.argument("connector")
@company_option
@json_option
@pass_options
def show(options: Options, connector: str, company: str | None, as_json: bool) -> int:
    """A connector, by name or id; of its secrets only which version they are."""
    return run_async(_show(options.reading(), connector, company, as_json))


async def _show(settings: Settings, connector: str, company: str | None, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
    if as_json:
        print_json(plain(row))
    else:
        print_rows(("field", "value"), row.items())
    return Exit.OK


@connectors.command(
    epilog="""Example: tidemill connectors add --company acme --provider http --name shop --config @shop.json"""
)
@company_option
@click.option("--provider", required=True, help="Its kind: threads, http, …")
@click.option("--name", help="What people call it; unique in the company.")
@click.option("--config", metavar="JSON", default="{}", help=_CONFIG)
@click.option("--type", "connector_type", default="api", show_default=True, help="api, webhook, database, file.")
@json_option
@pass_options
def add(
    options: Options,
    company: str | None,
    provider: str,
    name: str | None,
    config: str,
    connector_type: str,
    as_json: bool,
) -> int:
    """Make a connector. Its secrets are set afterwards, with: tidemill connectors credentials."""
    given = read_object("--config", config) or {}
    return run_async(_add(options.existing(), company, provider, name, given, connector_type, as_json))


async def _add(
    settings: Settings,
    company: str | None,
    provider: str,
    name: str | None,
    config: dict[str, Any],
    connector_type: str,
    as_json: bool,
) -> int:
    known = Connectors.load(settings)
    known.check_config(provider, config)
    async with open_database(settings) as db:
        whose = await the_company(db, company)
        with refusals("connector"):
            made = await db.fetchval(SQL.connector_add, whose, provider, connector_type, name, config)
    if as_json:
        print_json({"id": made})
        return Exit.OK
    say(f"Connector {made} is made.")
    if taken := known[provider].spec.secrets:
        say(f"It takes {', '.join(taken)}; set them with: tidemill connectors credentials {made}")
    return Exit.OK


@connectors.command("set", epilog="Example: tidemill connectors set shop --company acme --status inactive")
@click.argument("connector")
@company_option
@click.option("--name", help="What people call it.")
@click.option("--status", type=click.Choice(["active", "inactive"]), help="Jobs of an inactive one are skipped.")
@click.option("--config", metavar="JSON", help=_CONFIG)
@json_option
@pass_options
def set_(
    options: Options,
    connector: str,
    company: str | None,
    name: str | None,
    status: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Change a connector; what is not given stays."""
    if name is None and status is None and config is None:
        raise click.UsageError("Give --name, --status or --config.")
    given = read_object("--config", config)
    return run_async(_set(options.existing(), connector, company, name, status, given, as_json))


async def _set(
    settings: Settings,
    connector: str,
    company: str | None,
    name: str | None,
    status: str | None,
    config: dict[str, Any] | None,
    as_json: bool,
) -> int:
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
        if config is not None:
            Connectors.load(settings).check_config(row["provider"], config)
        with refusals("connector"):
            version = await db.fetchval(SQL.connector_set, row["id"], name, status, config)
    if as_json:
        print_json({"id": row["id"], "version": version})
    else:
        say(f"Connector {name or connector} is at version {version}.")
    return Exit.OK


@connectors.command(epilog="Example: tidemill connectors credentials shop --company acme < secrets.json")
@click.argument("connector")
@company_option
@click.option(
    "--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Read from here. [default: standard input]"
)
@click.option("--rotate", is_flag=True, help="Seal what is there anew, with the first of TIDEMILL_VAULT_KEYS.")
@json_option
@pass_options
def credentials(
    options: Options, connector: str, company: str | None, file: Path | None, rotate: bool, as_json: bool
) -> int:
    """Set all secrets of a connector: a JSON object of texts, from standard input or a file, never an argument."""
    settings = options.existing()
    if rotate:
        if file is not None:
            raise click.UsageError("--rotate takes no secrets; leave --file out.")
        return run_async(_rotate(settings, connector, company, as_json))
    if file is None and sys.stdin.isatty():
        raise click.UsageError("Pipe a JSON object into it, or give --file: an argument would be seen by everybody.")
    text = sys.stdin.buffer.read() if file is None else read_file("--file", file)
    return run_async(_credentials(settings, connector, company, _secrets(text), as_json))


def _secrets(text: bytes) -> Mapping[str, object]:
    # Judged outside the handler: the original error may hold the text.
    secrets: dict[str, object] | None
    try:
        secrets = msgspec.json.decode(text, type=dict[str, object])
    except (ValueError, RecursionError):
        secrets = None
    if secrets is None:
        raise InvalidInput("secrets", 'must be a JSON object of texts, such as {"token": "…"}')
    return secrets


async def _credentials(
    settings: Settings, connector: str, company: str | None, given: Mapping[str, object], as_json: bool
) -> int:
    vault = Vault(Keyring.load(settings))
    secrets = sealed.check_secrets(given)
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
        Connectors.load(settings).check_secrets(row["provider"], secrets)

        async def work(conn: Connection) -> tuple[int, str]:
            await conn.fetchval(SQL.connector_held, row["id"])
            return await sealed.store(conn, vault, row["company_id"], row["id"], secrets, None)

        version, checksum = await db.retrying(work)
    if as_json:
        print_json({"id": row["id"], "version": version, "checksum": checksum})
    else:
        say(f"Connector {connector} has version {version} of its secrets: {', '.join(sorted(secrets))}.")
    return Exit.OK


async def _rotate(settings: Settings, connector: str, company: str | None, as_json: bool) -> int:
    vault = Vault(Keyring.load(settings))
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
        async with db.transaction() as conn:
            done = await sealed.rotate(conn, vault, row["company_id"], row["id"])
    if as_json:
        print_json({"id": row["id"], "rotated": done})
    else:
        say(f"Sealed anew with key {vault.sealing_key}." if done else "There is nothing to be sealed anew.")
    return Exit.OK


@connectors.command(epilog="Example: tidemill connectors check shop --company acme")
@click.argument("connector")
@company_option
@click.option(
    "--within",
    "seconds",
    metavar="SECONDS",
    type=click.FloatRange(1, 600),
    default=CHECK_S,
    show_default=True,
    help="What it may take.",
)
@json_option
@pass_options
def check(options: Options, connector: str, company: str | None, seconds: float, as_json: bool) -> int:
    """Ask a connector's provider whether it works; nothing is kept. Exit code 1 says that it does not."""
    settings = options.existing()
    logging.configure(settings.log_format, level="warning")
    return run_async(_check(settings, connector, company, seconds, as_json))


async def _check(settings: Settings, connector: str, company: str | None, seconds: float, as_json: bool) -> int:
    async with Rooms.open(settings, name="tidemill connectors") as rooms:
        row = await find_connector(rooms.db, connector, company)
        checks = Checks(rooms.connectors, rooms.http, rooms.vault, rooms.db)
        async with rooms.db.connection() as conn:
            subject = await checks.subject(conn, row["company_id"], row["id"], row["provider"], row["config"])
        found = await checks.check(subject, seconds=seconds)
    if as_json:
        told = {name: getattr(found, name) for name in ("ok", "reason", "message", "field", "seconds")}
        print_json({"id": row["id"], **told})
    elif found.ok:
        say(f"Connector {connector} works; it answered within {found.seconds:.1f} s.")
    else:
        at = f" ({found.field})" if found.field else ""
        say(f"Connector {connector} does not work: {found.reason}{at}: {found.message}")
    return Exit.OK if found.ok else Exit.NOT_WELL


@connectors.command(epilog="Example: tidemill connectors rm shop --company acme --with-jobs")
@click.argument("connector")
@company_option
@click.option("--with-jobs", is_flag=True, help="Delete its sync jobs and their runs too.")
@json_option
@pass_options
def rm(options: Options, connector: str, company: str | None, with_jobs: bool, as_json: bool) -> int:
    """Delete a connector with its secrets and its records; refused while it has sync jobs."""
    return run_async(_rm(options.existing(), connector, company, with_jobs, as_json))


async def _rm(settings: Settings, connector: str, company: str | None, with_jobs: bool, as_json: bool) -> int:
    async with open_database(settings) as db:
        row = await find_connector(db, connector, company)
        try:
            async with db.transaction() as conn:
                if with_jobs:
                    await conn.execute(SQL.connector_jobs_remove, row["company_id"], row["id"])
                await conn.execute(SQL.connector_remove, row["id"])
        except asyncpg.ForeignKeyViolationError:
            raise NotWell("it has sync jobs; delete them first, give --with-jobs, or make it inactive") from None
    if as_json:
        print_json({"id": row["id"], "removed": True})
    else:
        say(f"Connector {connector} is gone.")
    return Exit.OK
