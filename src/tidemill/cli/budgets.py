"""``tidemill budgets``: how many calls jobs may make to the outside, over all workers; pausing them."""

from __future__ import annotations

from datetime import timedelta

import click

from tidemill.cli.console import json_option, print_json, print_rows, say
from tidemill.cli.exits import Exit
from tidemill.cli.options import Options, by_option, open_database, pass_options, who
from tidemill.cli.running import run_async
from tidemill.engine import Budgets, Rate
from tidemill.engine.budgets import MOST_LISTED, BudgetLine, drop_budget, list_budgets, resume_budget, set_budget
from tidemill.engine.limits import in_words
from tidemill.engine.recurrence.every import read_duration
from tidemill.settings import Settings


@click.group(epilog="Example: tidemill budgets set stripe 100/s")
def budgets() -> None:
    """Budgets of calls to the outside, which hold over all workers."""


@budgets.command("list", epilog="Example: tidemill budgets list --json")
@json_option
@pass_options
def list_(options: Options, as_json: bool) -> int:
    """All budgets, and whatever is paused or slowed.

    "used" are the calls given out within the budget's window. "slowed to" is what the provider's headers left of it.
    """
    found = run_async(_list(options.reading()))
    if as_json:
        print_json({"budgets": found})
        return Exit.OK
    if not found:
        say("There are no budgets. Set one with: tidemill budgets set stripe 100/s")
        return Exit.OK
    print_rows(
        ("scope", "calls", "used", "slowed to", "paused until", "reason", "set by"),
        (
            (
                line.scope,
                in_words(line.most, line.per_s) if line.most is not None and line.per_s is not None else None,
                line.used if line.most is not None else None,
                f"{line.share:.0%}" if line.share is not None else None,
                line.blocked_until,
                line.reason,
                line.set_by,
            )
            for line in found
        ),
        right=("used", "slowed to"),
        whole=True,
    )
    if len(found) == MOST_LISTED:
        say(f"The first {MOST_LISTED} by name; there may be more.")
    return Exit.OK


async def _list(settings: Settings) -> list[BudgetLine]:
    async with open_database(settings) as db:
        return await list_budgets(db)


@budgets.command("set", epilog="Example: tidemill budgets set 'threads:account:*' 200/h")
@click.argument("scope")
@click.argument("rate", metavar="[N/s|m|h|d]", required=False)
@by_option
@json_option
@pass_options
def set_(options: Options, scope: str, rate: str | None, by: str | None, as_json: bool) -> int:
    """Allow N calls of SCOPE a second, minute, hour or day; without a rate they are not counted, and only pauses hold.

    SCOPE may end in ":*": then each scope with that prefix has a budget of its own. What was given out is counted.
    """
    wanted = None if rate is None else Rate.read(rate)
    run_async(_set(options.existing(), scope, wanted, who(by)))
    if as_json:
        print_json({"scope": scope, "most": wanted and wanted.most, "per_s": wanted and wanted.per_s})
    else:
        allowed = "calls that are not counted" if wanted is None else in_words(*wanted)
        say(f"{scope}: {allowed}. Take it away with: tidemill budgets drop '{scope}'")
    return Exit.OK


async def _set(settings: Settings, scope: str, rate: Rate | None, by: str) -> None:
    async with open_database(settings) as db:
        await set_budget(db, scope, rate, by=by)


@budgets.command(epilog="Example: tidemill budgets drop stripe")
@click.argument("scope")
@json_option
@pass_options
def drop(options: Options, scope: str, as_json: bool) -> int:
    """Take a budget away; a pause stays. One that stands in code comes back when a worker starts."""
    run_async(_drop(options.existing(), scope))
    if as_json:
        print_json({"scope": scope, "dropped": True})
    else:
        say(f"The budget of {scope} is gone.")
    return Exit.OK


async def _drop(settings: Settings, scope: str) -> None:
    async with open_database(settings) as db:
        await drop_budget(db, scope)


@budgets.command(epilog="Example: tidemill budgets pause stripe --for 10m")
@click.argument("scope")
@click.option("--for", "lasting", metavar="DURATION", default="1h", show_default=True, help="E.g. 90s, 15m, 1h30m, 1d.")
@click.option("--reason", help="Why; shown in lists and in the history of jobs. [default: paused by whom]")
@by_option
@json_option
@pass_options
def pause(options: Options, scope: str, lasting: str, reason: str | None, by: str | None, as_json: bool) -> int:
    """Let no call of SCOPE pass for a while; a longer pause in force stays. All processes know two seconds later.

    Jobs that want to call are put off, which spends no attempt.
    """
    span = read_duration("--for", lasting)
    run_async(_pause(options.existing(), scope, span, reason or f"paused by {who(by)}"))
    if as_json:
        print_json({"scope": scope, "paused_s": span.total_seconds()})
    else:
        say(f"{scope} is paused. Resume it with: tidemill budgets resume '{scope}'")
    return Exit.OK


async def _pause(settings: Settings, scope: str, lasting: timedelta, reason: str) -> None:
    async with open_database(settings) as db:
        await Budgets(db).block(scope, lasting, reason, known=True)


@budgets.command(epilog="Example: tidemill budgets resume stripe")
@click.argument("scope")
@json_option
@pass_options
def resume(options: Options, scope: str, as_json: bool) -> int:
    """Let calls of a scope pass again that was paused or slowed."""
    run_async(_resume(options.existing(), scope))
    if as_json:
        print_json({"scope": scope, "paused_s": 0})
    else:
        say(f"{scope} is open.")
    return Exit.OK


async def _resume(settings: Settings, scope: str) -> None:
    async with open_database(settings) as db:
        await resume_budget(db, scope)
