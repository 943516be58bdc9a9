"""The command: runs the checks in order and prints what they found."""

from __future__ import annotations

import click

from tidemill.cli.console import json_option, print_json, print_rows, say
from tidemill.cli.doctor import database, keys, schema, work
from tidemill.cli.doctor.finding import Finding, error
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, database_url
from tidemill.settings import Settings


@click.command(epilog="Example: tidemill doctor --json")
@click.option("--strict", is_flag=True, help="Warnings make it exit 1 too.")
@json_option
@pass_options
def doctor(options: Options, strict: bool, as_json: bool) -> int:
    """Look at the database, the schema, the workers and the keys; name the fix beside each finding.

    Exit 1 when something is not well. Nothing is changed.
    """
    try:
        settings = options.reading()
    except NotFound as e:
        findings = [error("database", str(e), "tidemill demo, tidemill up, or TIDEMILL_DATABASE_URL")]
    else:
        findings = run_async(examine(settings))
    bad = ("warn", "error") if strict else ("error",)
    well = not any(finding.level in bad for finding in findings)
    if as_json:
        print_json({"well": well, "findings": findings})
    else:
        print_rows(("", "check", "found", "fix"), [(f.level, f.check, f.text, f.fix) for f in findings])
        count = sum(f.level != "ok" for f in findings)
        say("" if not count else f"\n{count} {'finding' if count == 1 else 'findings'}.")
    return Exit.OK if well else Exit.NOT_WELL


async def examine(settings: Settings) -> list[Finding]:
    """Every check in order; those that need what an earlier one found missing are left out."""
    findings = [*database.embedded_state(settings), *keys.cron_secret(settings)]
    try:
        async with (
            database_url(settings) as url,
            await Database.open(url, max_size=2, name="tidemill doctor", pooled=settings.pooled) as db,
        ):
            findings.append(await database.version(db))
            state = await schema.migrations(settings.listen_url or url)
            findings.append(state)
            findings.append(await database.listener(settings, url))
            if not schema.is_usable(state):
                return findings
            findings += await schema.examine(db)
            findings += await database.examine(db, settings)
            findings += await keys.vault(db, settings)
            findings += await work.examine(db)
    except DatabaseUnavailable as e:
        findings.append(
            error("database", str(e), "start Postgres, or correct TIDEMILL_DATABASE_URL; then run doctor again")
        )
    return findings
