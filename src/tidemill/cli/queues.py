"""``tidemill queues``: how much waits where, and pausing a queue or a kind of job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tidemill.cli.console import json_option, print_json, print_rows, say, seconds, utc
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, by_option, open_database, pass_options, who
from tidemill.cli.running import run_async
from tidemill.engine.queues import (
    PausedKind,
    QueueLine,
    list_queues,
    pause_kind,
    pause_queue,
    paused_kinds,
    resume_kind,
    resume_queue,
    scale_queue,
)
from tidemill.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


@click.group(epilog="Example: tidemill queues list")
def queues() -> None:
    """Queues: how much waits in them, and pausing them."""


@queues.command("list", epilog="Example: tidemill queues list --json")
@json_option
@pass_options
def list_(options: Options, as_json: bool) -> int:
    """All queues with their jobs by state, and the kinds that are paused.

    "oldest" counts from when a job might have started.
    """
    found, paused = run_async(_list(options.reading()))
    if as_json:
        print_json({"queues": found, "paused_kinds": paused})
        return Exit.OK
    if not found:
        say("There are no queues yet. The first worker makes them: tidemill up")
    else:
        _print_queues(found)
    for kind in paused:
        say(f"Kind {kind.name} is paused by {kind.paused_by} since {utc(kind.paused_at)}.")
    return Exit.OK


async def _list(settings: Settings) -> tuple[list[QueueLine], list[PausedKind]]:
    async with open_database(settings) as db:
        return await list_queues(db), await paused_kinds(db)


def _print_queues(found: list[QueueLine]) -> None:
    print_rows(
        ("queue", "ready", "oldest", "delayed", "running", "dead", "a process", "paused by", "since"),
        (
            (
                q.name,
                q.ready,
                None if q.oldest_ready_s is None else seconds(q.oldest_ready_s),
                q.delayed,
                q.running,
                q.dead,
                q.per_process,
                q.paused_by,
                q.paused_at,
            )
            for q in found
        ),
        right=("ready", "oldest", "delayed", "running", "dead", "a process"),
        whole=True,
    )


def _named(command: F) -> F:
    """What names a queue or, with --kind, a kind."""
    option = click.option("--kind", "of_kind", is_flag=True, help="NAME is a kind of job, in whatever queue.")
    return click.argument("name")(option(command))


@queues.command(epilog="Example: tidemill queues pause default")
@_named
@by_option
@json_option
@pass_options
def pause(options: Options, name: str, of_kind: bool, by: str | None, as_json: bool) -> int:
    """Give out no more jobs of a queue or a kind; what runs goes on, and no worker has to be restarted.

    Whoever paused first keeps their name to it.
    """
    paused_by = run_async(_pause(options.existing(), name, of_kind, who(by)))
    if as_json:
        print_json({"name": name, "paused_by": paused_by})
    else:
        say(f"{_what(name, of_kind)} is paused by {paused_by}. Resume it with: {_resume_command(name, of_kind)}")
    return Exit.OK


async def _pause(settings: Settings, name: str, of_kind: bool, by: str) -> str:
    async with open_database(settings) as db:
        return await (pause_kind if of_kind else pause_queue)(db, name, by=by)


@queues.command(epilog="Example: tidemill queues resume default")
@_named
@json_option
@pass_options
def resume(options: Options, name: str, of_kind: bool, as_json: bool) -> int:
    """Give out the jobs of a paused queue or kind again."""
    run_async(_resume(options.existing(), name, of_kind))
    if as_json:
        print_json({"name": name, "paused_by": None})
    else:
        say(f"{_what(name, of_kind)} is open.")
    return Exit.OK


async def _resume(settings: Settings, name: str, of_kind: bool) -> None:
    async with open_database(settings) as db:
        await (resume_kind if of_kind else resume_queue)(db, name)


@queues.command(epilog="Example: tidemill queues scale default 50")
@click.argument("name")
@click.argument("per_process", metavar="N|reset")
@json_option
@pass_options
def scale(options: Options, name: str, per_process: str, as_json: bool) -> int:
    """Have every worker process run N jobs of a queue side by side; reset goes back to what each was started with.

    Heeded within a second. A bound over all processes is a limit: tidemill limits set N --queue NAME
    """
    if per_process != "reset" and not per_process.isdecimal():
        raise click.BadParameter(f"{per_process!r} is neither a number nor reset", param_hint="N")
    wanted = None if per_process == "reset" else int(per_process)
    run_async(_scale(options.existing(), name, wanted))
    if as_json:
        print_json({"name": name, "per_process": wanted})
    elif wanted is None:
        say(f"Queue {name} runs as many jobs in each process as it was started with.")
    else:
        say(f"Queue {name} runs {wanted} jobs at a time in each process.")
    return Exit.OK


async def _scale(settings: Settings, name: str, per_process: int | None) -> None:
    async with open_database(settings) as db:
        await scale_queue(db, name, per_process)


def _what(name: str, of_kind: bool) -> str:
    return f"{'Kind' if of_kind else 'Queue'} {name}"


def _resume_command(name: str, of_kind: bool) -> str:
    return f"tidemill queues resume {name}{' --kind' if of_kind else ''}"
