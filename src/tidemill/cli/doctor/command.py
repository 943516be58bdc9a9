"""The command: runs the checks in order and prints what they found."""

from __future__ import annotations

import asyncpg
import click

from tidemill.cli.console import json_option, print_json, print_rows, say
from tidemill.cli.doctor import database, keys, schema, storage, work
from tidemill.cli.doctor.finding import Finding, error
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, pass_options
from tidemill.cli.running import run_async
from tidemill.engine.overview import overview
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
        async with database_url(settings) as url:
            findings.append(await database.pooler(settings, url))
            if findings[-1].level == "error":
                return findings
            async with await Database.open(url, max_size=2, name="tidemill doctor", pooled=settings.pooled) as db:
                await _examine(db, settings, url, findings)
    except DatabaseUnavailable as e:
        findings.append(
            error("database", str(e), "start Postgres, or correct TIDEMILL_DATABASE_URL; then run doctor again")
        )
    except asyncpg.InsufficientPrivilegeError as e:
        findings.append(error("privileges", str(e), "log in as the role that ran the migrations"))
    return findings


async def _examine(db: Database, settings: Settings, url: str, findings: list[Finding]) -> None:
    findings.append(await database.version(db))
    row, finding = await database.server(db, settings)
    findings.append(finding)
    state = await schema.migrations(settings.listen_url or url)
    findings += [state, await database.listener(settings, url)]
    if not schema.is_usable(state):
        return
    findings.append(await schema.privileges(db))
    if findings[-1].level == "error":
        return
    seen = await overview(db)
    findings += await schema.examine(db, seen)
    findings += await database.examine(db, settings)
    findings += await storage.examine(db, row)
    findings += await keys.vault(db, settings)
    findings += await work.examine(db, seen)
