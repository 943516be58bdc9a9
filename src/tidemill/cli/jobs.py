"""``tidemill jobs``: the engine's jobs, live, dead and ended, and what an operator can do about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar, get_args

import click

from tidemill import logging
from tidemill.app import Rooms
from tidemill.cli.console import hint, json_option, print_json, print_rows, say, utc
from tidemill.cli.exits import Exit, NotFound
from tidemill.cli.options import Options, open_database, pass_options, who
from tidemill.cli.running import run_async
from tidemill.engine.cancel import CancelAnswer, cancel_jobs, cancel_matching
from tidemill.engine.dead import Retry, discard_dead, discard_dead_matching, retry_dead, retry_dead_matching
from tidemill.engine.look import MOST_LISTED, JobFilter, JobView, Page, State, Told, find_job, list_jobs
from tidemill.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

_AT: Mapping[State, str] = {
    "ready": "enqueued",
    "delayed": "due",
    "running": "claimed",
    "dead": "died",
    "ended": "ended",
}


def _instant(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no instant like 2026-11-22T06:00Z.") from None


def _filtered(*, reason: bool) -> Callable[[F], F]:
    """The options that make a JobFilter."""

    def decorate(command: F) -> F:
        options = [
            click.option("--kind", metavar="K", help="Only jobs of this kind."),
            click.option("--queue", metavar="Q", help="Only jobs of this queue."),
            click.option("--tenant", metavar="ID", type=click.UUID, help="Only this tenant's jobs."),
            click.option("--since", metavar="T", callback=_instant, help="Not before, e.g. 2026-11-22T06:00Z."),
        ]
        if reason:
            options.append(click.option("--reason", metavar="TEXT", help="Only with this text in the last error."))
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_ids = click.argument("ids", metavar="[ID]...", type=click.IntRange(1, 2**63 - 1), nargs=-1)
_all = click.option("--all", "everything", is_flag=True, help="All of them, where no other option narrows them.")


def _which(ids: Sequence[int], where: JobFilter, everything: bool) -> None:
    """Nothing is done to many jobs unless that was said."""
    filtered = where != JobFilter()
    if ids and (filtered or everything):
        raise click.UsageError("Give either ids or options that say which jobs, not both.")
    if not ids and not filtered and not everything:
        raise click.UsageError("Say which jobs: by their ids, by --kind, --queue and the like, or --all.")


@click.group(epilog="Example: tidemill jobs list --state dead")
def jobs() -> None:
    """Look at jobs, cancel them, retry or discard dead ones. Times are UTC."""


# Looking -------------------------------------------------------------------------------------------------------------


@jobs.command("list", epilog="Example: tidemill jobs list --state dead --reason timeout")
@click.option("--state", type=click.Choice(get_args(State)), default="ready", show_default=True, help="Which jobs.")
@_filtered(reason=True)
@click.option(
    "-n", "--limit", "most", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True, help="Lines at most."
)
@click.option("--after", metavar="PLACE", help="Go on where a list ended: its `next`.")
@json_option
@pass_options
def list_(options: Options, state: State, most: int, after: str | None, as_json: bool, **where: Any) -> int:
    """Jobs of one state: ready as they will be claimed, delayed as they come due, dead and ended the latest first."""
    which = JobFilter(**where)
    page = run_async(_list(options.reading(), state, which, most, after))
    if as_json:
        print_json({"jobs": page.jobs, "next": page.next})
    elif not page.jobs:
        say(f"There are no {state} jobs{'' if which == JobFilter() else ' that match'}.")
    else:
        _print_page(state, page)
    if page.next and not as_json:
        hint(f"There are more; go on with: --after {page.next}")
    return Exit.OK


async def _list(settings: Settings, state: State, where: JobFilter, most: int, after: str | None) -> Page:
    async with open_database(settings) as db:
        return await list_jobs(db, state, where, limit=most, after=after)


def _print_page(state: State, page: Page) -> None:
    over = state in ("dead", "ended")
    more = ("outcome", "reason") if over else ("progress",) if state == "running" else ()
    print_rows(
        ("job", "kind", "queue", "attempt", _AT[state], "tenant", *more),
        ((j.id, j.kind, j.queue, j.attempt, j.at, j.tenant, *(_cell(getattr(j, m)) for m in more)) for j in page.jobs),
        right=("job", "attempt"),
        whole=True,
    )


def _cell(value: object) -> object:
    if not isinstance(value, Told):
        return value
    share = f" ({100 * value.done // value.total} %)" if value.total else ""
    of = "" if value.total is None else f" of {value.total}"
    return f"{value.done}{of}{share}{f': {value.note}' if value.note else ''}"


@jobs.command(epilog="Example: tidemill jobs show 1234")
@click.argument("job", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@json_option
@pass_options
def show(options: Options, job: int, as_json: bool) -> int:
    """Where a job is now, its arguments, and what became of its attempts. Secrets are taken out."""
    view = run_async(_show(options.reading(), job))
    if as_json:
        print_json(view)
    else:
        _print_job(view)
    return Exit.OK


async def _show(settings: Settings, job: int) -> JobView:
    async with open_database(settings) as db:
        view = await find_job(db, job)
    if view is None:
        raise NotFound(f"There is no job {job}, or its history is gone. List jobs with: tidemill jobs list")
    return view


def _print_job(view: JobView) -> None:
    state = f"{view.state} ({view.outcome})" if view.state == "ended" else view.state
    say(f"Job {view.id}: {state}, {_AT[view.state]} {utc(view.at)}")
    for name in ("kind", "queue", "tenant", "batch", "key", "priority", "node", "reason"):
        if (value := getattr(view, name)) is not None:
            say(f"{name}: {value}")
    say(f"attempts begun: {view.attempt}{f' of {view.max_attempts}' if view.max_attempts else ''}")
    if view.crashes:
        say(f"processes lost: {view.crashes}")
    if view.progress:
        say(f"progress: {_cell(view.progress)}, said {utc(view.progress.said_at)}")
    if view.cancel_asked_by:
        say(f"asked to stop by: {view.cancel_asked_by}")
    if view.args is not None:
        say("arguments:")
        print_json(view.args)
    if view.attempts:
        say()
        print_rows(
            ("attempt", "started", "ended", "outcome", "reason"),
            [(a.attempt, a.started_at, a.finished_at, a.outcome, a.reason) for a in view.attempts],
            right=("attempt",),
            whole=True,
        )


# Acting --------------------------------------------------------------------------------------------------------------


def _acting(options: Options) -> Settings:
    settings = options.existing()
    logging.configure(settings.log_format, level="warning")
    return settings


@jobs.command(epilog="Example: tidemill jobs cancel 1234 1235")
@_ids
@_filtered(reason=False)
@_all
@click.option("--by", metavar="NAME", help="Who asks; stands in the history. [default: the user]")
@click.option("--no-syncs", is_flag=True, help="Leave the syncs out; no key and no provider needs to be set.")
@json_option
@pass_options
def cancel(
    options: Options,
    ids: tuple[int, ...],
    everything: bool,
    by: str | None,
    no_syncs: bool,
    as_json: bool,
    **where: Any,
) -> int:
    """End what waits, and ask what runs to stop. --since goes by the enqueue.

    Exit 3 when one of the ids is not found, 1 when one had ended already.
    """
    which = JobFilter(**where)
    _which(ids, which, everything)
    return run_async(_cancel(_acting(options), ids, which, who(by), not no_syncs, as_json))


async def _cancel(settings: Settings, ids: Sequence[int], where: JobFilter, by: str, syncs: bool, as_json: bool) -> int:
    # The syncs are opened to close their own records of what is cancelled.
    async with Rooms.open(settings, syncs=syncs, name="tidemill jobs") as rooms:
        if ids:
            answers = await cancel_jobs(rooms.engine, ids, by=by)
            told = {job: _cancel_text(answer) for job, answer in answers.items()}
            return _answer(told, {job: asdict(a) for job, a in answers.items()}, ("cancelled", "asked"), as_json)
        done = await cancel_matching(rooms.engine, where, by=by)
    if as_json:
        print_json(done)
    else:
        say(f"{done.cancelled} jobs that waited are cancelled; {done.asked} that run were asked to stop.")
    return Exit.OK


def _cancel_text(answer: CancelAnswer) -> str:
    return {
        "cancelled": "cancelled.",
        "asked": "runs, and was asked to stop.",
        "ended": f"had ended already: {answer.outcome}.",
        "moving": "is changing its state; ask once more.",
        "not found": "not found.",
    }[answer.answer]


@jobs.command(epilog="Example: tidemill jobs retry --kind sync_account --reason timeout")
@_ids
@_filtered(reason=True)
@_all
@json_option
@pass_options
def retry(options: Options, ids: tuple[int, ...], everything: bool, as_json: bool, **where: Any) -> int:
    """Make dead jobs ready again, with all their attempts before them. --since goes by the death.

    Exit 3 when one of the ids is no dead job, 1 when one stays dead since a live job holds its unique key.
    """
    which = JobFilter(**where)
    _which(ids, which, everything)
    return run_async(_retry(_acting(options), ids, which, as_json))


_RETRY_TEXT: Mapping[Retry, str] = {
    "retried": "ready again.",
    "key held": "stays dead: a live job holds its unique key.",
    "not dead": "not found among the dead.",
}


async def _retry(settings: Settings, ids: Sequence[int], where: JobFilter, as_json: bool) -> int:
    async with open_database(settings) as db:
        if ids:
            answers = await retry_dead(db, ids)
            told = {job: _RETRY_TEXT[answer] for job, answer in answers.items()}
            return _answer(told, {job: {"answer": a} for job, a in answers.items()}, ("retried",), as_json)
        done = await retry_dead_matching(db, where)
    if as_json:
        print_json(done)
    else:
        held = f"; {done.key_held} stay dead, since live jobs hold their unique keys" if done.key_held else ""
        say(f"{done.retried} dead jobs are ready again{held}.")
    return Exit.OK if not done.key_held else Exit.NOT_WELL


@jobs.command(epilog="Example: tidemill jobs discard --kind sync_account")
@_ids
@_filtered(reason=True)
@_all
@json_option
@pass_options
def discard(options: Options, ids: tuple[int, ...], everything: bool, as_json: bool, **where: Any) -> int:
    """Throw dead jobs away for good; their history stays. --since goes by the death.

    Exit 3 when one of the ids is no dead job.
    """
    which = JobFilter(**where)
    _which(ids, which, everything)
    return run_async(_discard(_acting(options), ids, which, as_json))


async def _discard(settings: Settings, ids: Sequence[int], where: JobFilter, as_json: bool) -> int:
    async with open_database(settings) as db:
        if ids:
            gone = await discard_dead(db, ids)
            told = {job: "discarded." if job in gone else "not found among the dead." for job in ids}
            found = {job: {"answer": "discarded" if job in gone else "not dead"} for job in ids}
            return _answer(told, found, ("discarded",), as_json)
        discarded = await discard_dead_matching(db, where)
    if as_json:
        print_json({"discarded": discarded})
    else:
        say(f"{discarded} dead jobs are discarded.")
    return Exit.OK


def _answer(told: Mapping[int, str], found: Mapping[int, Mapping[str, Any]], good: Sequence[str], as_json: bool) -> int:
    """Print one answer an id; the exit code that the worst of them asks for."""
    if as_json:
        print_json({"jobs": [{"id": job, **answer} for job, answer in found.items()]})
    else:
        for job, text in told.items():
            say(f"Job {job}: {text}")
    answers = {answer["answer"] for answer in found.values()}
    if answers & {"not found", "not dead"}:
        return Exit.NOT_FOUND
    return Exit.OK if answers <= set(good) else Exit.NOT_WELL
