"""Budgets of calls to the outside, as they stand in the database: declared in code, or set by an operator at any time.

A budget is for a scope, a name such as ``stripe`` or ``threads:app:42``. One for ``stripe:*`` is for each scope that
begins with ``stripe:`` and has none of its own: each has a bucket to itself. Processes spend them by
:class:`tidemill.engine.spend.Budgets`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from tidemill.engine.limits import read_rate
from tidemill.engine.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

MOST_CALLS = 1_000_000
MOST_LISTED = 1000
LONGEST_PAUSE = timedelta(days=366)
LONGEST_REASON = 500
_SCOPE = re.compile(r"[^*\0\ud800-\udfff]{1,300}")
_PATTERN = re.compile(r"[^*\0\ud800-\udfff]{0,298}:\*")


class Rate(NamedTuple):
    """Calls that may be made within so many seconds. The window slides: no span of that length sees more."""

    most: int
    per_s: float

    @classmethod
    def read(cls, text: object) -> Rate:
        """A rate such as ``"100/s"``; s, m, h and d are a second, a minute, an hour and a day.

        Raises:
            InvalidInput: it cannot be read, or is more than a million.
        """
        rate = cls(*read_rate(text))
        if rate.most > MOST_CALLS:
            raise InvalidInput("rate", f"{text!r} is more than {MOST_CALLS} calls")
        return rate


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget, or a pause, as it stands.

    Attributes:
        most, per_s: its rate; None where calls are not counted.
        declared: whether it stands in an application's code.
        set_by: None for a scope that is only paused or slowed.
        used: calls given out within the window, or a tenth longer.
        blocked_until, reason: of a pause in force.
        share: the part that may be used, since the provider said that its budget runs out.
    """

    scope: str
    most: int | None
    per_s: float | None
    declared: bool
    set_by: str | None
    used: int
    blocked_until: datetime | None
    reason: str | None
    share: float | None


def check_scope(scope: object, *, or_pattern: bool = False) -> str:
    """A scope's name, or with ``or_pattern`` one that ends in ``:*``.

    Raises:
        InvalidInput: it is neither.
    """
    if isinstance(scope, str) and (_SCOPE.fullmatch(scope) or (or_pattern and _PATTERN.fullmatch(scope))):
        return scope
    allowed = "1 to 300 characters without *" + (", but for :* at its end" if or_pattern else "")
    raise InvalidInput("scope", f"{str(scope)[:100]!r} is no scope: {allowed}")


def patterns_of(scope: str) -> list[str]:
    """The patterns that hold for a scope: ``a:*`` and ``a:b:*`` for ``a:b:c``."""
    return [scope[: at + 1] + "*" for at, letter in enumerate(scope) if letter == ":"]


async def declare_budgets(db: Database, wanted: Mapping[str, Rate | None]) -> None:
    """Make the budgets declared in code those of the database; what an operator set stands.

    One that no code declares any more stays until it is dropped: another application may be the one that does.
    """
    if wanted:
        rates = [rate or (None, None) for rate in wanted.values()]
        await db.execute(SQL.budget_declare, list(wanted), [most for most, _ in rates], [per_s for _, per_s in rates])


async def list_budgets(db: Database) -> list[BudgetLine]:
    """The budgets that are set, and the scopes that are paused or slowed; at most a thousand, by name."""
    return [BudgetLine(**row) for row in await db.fetch(SQL.budget_list, MOST_LISTED)]


async def set_budget(db: Database, scope: str, rate: Rate | None, *, by: str) -> None:
    """Set the budget of a scope, or of each with a prefix (``stripe:*``); without a rate only pauses hold there.

    What was given out is counted under the new rate. It holds for what is given out from then on.

    Raises:
        InvalidInput: the scope's name cannot be taken, or ``by`` is empty.
    """
    check_scope(scope, or_pattern=True)
    if not by:
        raise InvalidInput("by", "is empty; say who sets it")
    most, per_s = rate or (None, None)
    await db.execute(SQL.budget_set, scope, most, per_s, by)


async def drop_budget(db: Database, scope: str) -> None:
    """Take a budget away; a pause of the scope stays. One that stands in code comes back with a worker's start.

    Raises:
        InvalidInput: there is no such budget.
    """
    if await db.fetchval(SQL.budget_drop, check_scope(scope, or_pattern=True)) is None:
        raise InvalidInput("scope", f"there is no budget {scope!r}; see: tidemill budgets list")


async def resume_budget(db: Database, scope: str) -> None:
    """Let calls of a paused or slowed scope pass again.

    Raises:
        InvalidInput: it is neither.
    """
    if await db.fetchval(SQL.budget_resume, check_scope(scope, or_pattern=True)) is None:
        raise InvalidInput("scope", f"{scope!r} is neither paused nor slowed; see: tidemill budgets list")
