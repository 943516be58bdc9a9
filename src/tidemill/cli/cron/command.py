"""The commands."""

from __future__ import annotations

import sys
from typing import Any

import click

from tidemill import logging
from tidemill.cli.console import json_option, plain, print_json, print_rows, say
from tidemill.cli.cron import handover, report
from tidemill.cli.cron.handover import JOB
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, open_database, pass_options
from tidemill.cli.running import run_async
from tidemill.settings import Settings


@click.group(epilog="Example: tidemill cron install --url https://sync.example.com")
def cron() -> None:
    """Let pg_cron trigger the scheduled sync, instead of Tidemill's own schedule."""


@cron.command(epilog="Example: tidemill cron install --url https://sync.example.com")
@click.option("--url", metavar="URL", help="Where Postgres reaches the functions server.")
@click.option("--remove", is_flag=True, help="Undo it: Tidemill's own schedule fires again.")
@json_option
@pass_options
def install(options: Options, url: str | None, remove: bool, as_json: bool) -> int:
    """Register the job with pg_cron and let the built-in schedule stand aside.

    The address and CRON_SECRET are stored in the table tidemill.setting, which only its owner reads, unless Supabase
    Vault has them. The job calls trigger_edge_function, which posts to the functions server through pg_net.
    """
    settings = options.settings()
    logging.configure(settings.log_format, level="warning")
    if remove:
        return _tell(run_async(handover.remove(settings)), as_json)
    return _tell(run_async(handover.install(settings, _Answers(settings, url))), as_json)


class _Answers(handover.Values):
    """What the options and settings say; a person at a terminal is asked for the rest."""

    def __init__(self, settings: Settings, url: str | None) -> None:
        self._settings = settings
        self._url = url

    @property
    def url_given(self) -> str | None:
        return self._url

    @property
    def secret_given(self) -> str | None:
        return self._settings.cron_secret

    def url(self) -> str:
        return self._url or _ask("--url", "Address at which Postgres reaches the functions server", hide=False)

    def secret(self) -> str:
        return self._settings.cron_secret or _ask("CRON_SECRET", "CRON_SECRET of the functions server", hide=True)


def _ask(name: str, question: str, *, hide: bool) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"{name} is not given.")
    answer: str = click.prompt(question, hide_input=hide, err=True)
    return answer.strip()


def _tell(done: handover.Done, as_json: bool) -> int:
    if as_json:
        print_json(done)
    elif done.installed:
        say(f"pg_cron runs {JOB} at {done.schedule} (UTC); the built-in schedule stands aside.")
        for name, place in done.values.items():
            say(f"{name} is read from {place}.")
        if done.warning:
            click.echo(done.warning, err=True)
        say("See how it goes with: tidemill cron status")
    else:
        say(f"{JOB} is no longer in pg_cron; the built-in schedule fires again.")
    return Exit.OK


@cron.command(epilog="Example: tidemill cron status --json")
@json_option
@pass_options
def status(options: Options, as_json: bool) -> int:
    """The job in pg_cron, its latest runs, and how the latest calls of the functions ended.

    Exit 1 when the job is not registered or its latest run or call failed, 3 when the extensions are missing.
    """
    settings = options.reading()
    return run_async(_status(settings, as_json))


async def _status(settings: Settings, as_json: bool) -> int:
    async with open_database(settings) as db:
        found = await report.read(db)
    if as_json:
        print_json(
            {
                "job": found.job and plain(found.job),
                "runs": [plain(row) for row in found.runs],
                "calls": [plain(row) for row in found.calls],
                "built_in_schedule_paused_by": found.paused_by,
                "well": found.well,
            }
        )
        return Exit.OK if found.well else Exit.NOT_WELL
    if found.job is None:
        say("The job is not registered. Register it with: tidemill cron install")
        return Exit.NOT_WELL
    job: dict[str, Any] = dict(found.job)
    say(f"{job['jobname']}: {job['schedule']} (UTC){'' if job['active'] else ', not active'}")
    say(f"built-in schedule: {'stands aside for ' + found.paused_by if found.paused_by else 'fires as well'}")
    say("\nLatest runs of the job:" if found.runs else "\nThe job has not run yet.")
    if found.runs:
        print_rows(("started", "status", "message"), [(r["started_at"], r["status"], r["message"]) for r in found.runs])
    say("\nLatest calls of the functions:" if found.calls else "\nNo function has been called yet.")
    if found.calls:
        print_rows(
            ("called", "function", "answer", "error"),
            [(r["called_at"], r["name"], r["status_code"], r["error"]) for r in found.calls],
        )
    return Exit.OK if found.well else Exit.NOT_WELL
