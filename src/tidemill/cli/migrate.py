"""``tidemill migrate``: bring the schema up to date, or say what that would take."""

from __future__ import annotations

from pathlib import Path

import click

from tidemill import postgres
from tidemill.cli.console import json_option, print_json, say
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async
from tidemill.postgres import MigrationState, database_url
from tidemill.settings import Settings


@click.command(epilog="Example: tidemill migrate --check || tidemill migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit 5 when the schema is out of date.")
@click.option("--dry-run", is_flag=True, help="Change nothing; list what would be applied.")
@click.option(
    "--export",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Copy the migrations' files there, for another tool to apply.",
)
@json_option
@pass_options
def migrate(options: Options, check: bool, dry_run: bool, export: Path | None, as_json: bool) -> int:
    """Apply the migrations that the database lacks, each in a transaction of its own."""
    if check + dry_run + (export is not None) > 1:
        raise click.UsageError("--check, --dry-run and --export exclude each other.")
    if export is not None:
        return _export(export, as_json)
    if check:
        return _told(run_async(_state(options.existing())), as_json)
    settings = options.existing() if dry_run else options.settings()
    return run_async(_migrate(settings, as_json, dry_run=dry_run))


def _export(directory: Path, as_json: bool) -> int:
    written = postgres.export(directory)
    if as_json:
        print_json({"written": [str(path) for path in written]})
    else:
        say("\n".join(f"wrote {path}" for path in written) or f"{directory} has them all already.")
    return Exit.OK


async def _state(settings: Settings) -> MigrationState:
    async with database_url(settings) as url:
        return await postgres.check(settings.listen_url or url)


def _told(state: MigrationState, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "current": state.is_current,
                "applied": state.applied,
                "pending": [m.filename for m in state.pending],
                "drifted": state.drifted,
                "unknown": state.unknown,
            }
        )
    else:
        for migration in state.pending:
            say(f"pending  {migration.filename}")
        for version in state.drifted:
            say(f"changed  {version} is not the file that was applied")
        for version in state.unknown:
            say(f"unknown  {version} was applied by a newer version")
        say("The schema is up to date." if state.is_current else "The schema is out of date; run: tidemill migrate")
    return Exit.OK if state.is_current else Exit.SCHEMA_OUT_OF_DATE


async def _migrate(settings: Settings, as_json: bool, *, dry_run: bool) -> int:
    async with database_url(settings) as url:
        direct = settings.listen_url or url
        done = await (postgres.plan if dry_run else postgres.migrate)(direct)
    names = [m.filename for m in done]
    if as_json:
        print_json({"pending" if dry_run else "applied": names})
    elif not names:
        say("Nothing to do: the schema is up to date.")
    else:
        for name in names:
            say(f"{'would apply' if dry_run else 'applied'}  {name}")
    return Exit.OK
