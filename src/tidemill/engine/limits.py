"""Limits that hold over the whole fleet, and tenants' weights: declared with a kind, or set by an operator at any time.

They are held where jobs are given out (``tidemill.claim_limited``), exactly: never more than a limit says run at a
time, or begin within its window, whatever processes come, go or die. A job under several is bounded by all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from tidemill.engine.look import unknown
from tidemill.engine.statements import SQL
from tidemill.errors import DatabaseUnavailable, InvalidInput
from tidemill.postgres import Database

What = Literal["concurrency", "rate"]

MOST = 1_000_000
HEAVIEST = 100
_ARGUMENT = re.compile(r"args\.[^\0]{1,200}")
_RATE = re.compile(r"([1-9]\d{0,6})/([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound over the fleet.

    Attributes:
        what: ``concurrency``, jobs that run at a time, or ``rate``, jobs that begin within ``per_s``.
        most: how many; 0 = none.
        per: what is counted together: everything (``all``), each ``tenant``'s, or each value of an argument
            (``args.NAME``).
        per_s: seconds of a rate's window. It slides: no span of that length sees more beginnings.
    """

    what: What
    most: int
    per: str = "all"
    per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLine:
    """A limit as it stands; ``queue``, ``kind`` and ``tenant`` are None where it holds for any.

    Attributes:
        declared: whether it stands in an application's code.
    """

    id: int
    queue: str | None
    kind: str | None
    tenant: UUID | None
    per: str
    what: What
    most: int
    per_s: float | None
    declared: bool
    set_by: str
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Weight:
    """How many shares of each round of claims a tenant gets, where others get one; and who said so."""

    tenant: UUID
    weight: int
    set_by: str


def read_limits(concurrency: object = None, rate: object = None) -> tuple[Limit, ...]:
    """Limits from ``10`` and ``"100/m"``, or from mappings such as ``{"all": 10, "tenant": 2, "args.account": 1}``.

    Raises:
        InvalidInput: naming what cannot be taken.
    """
    return (
        *(Limit("concurrency", _count(most), _per("concurrency", per)) for per, most in _each(concurrency)),
        *(_rated(text, _per("rate", per)) for per, text in _each(rate)),
    )


def _each(given: object) -> Iterable[tuple[object, object]]:
    if given is None:
        return ()
    return given.items() if isinstance(given, Mapping) else (("all", given),)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def _per(field: str, per: object) -> str:
    if isinstance(per, str) and (per in ("all", "tenant") or _ARGUMENT.fullmatch(per)):
        return per
    raise InvalidInput(field, f"counts by {per!r}, which is not all, tenant or args.NAME")


def _count(most: object) -> int:
    if isinstance(most, int) and not isinstance(most, bool) and 0 <= most <= MOST:
        return most
    raise InvalidInput("concurrency", f"{most!r} is no number of jobs from 0 to {MOST}")


def _rated(text: object, per: str) -> Limit:
    most, per_s = read_rate(text)
    return Limit("rate", most, per, per_s)


def read_rate(text: object) -> tuple[int, float]:
    """How many within how many seconds: ``"100/m"`` is 100 in 60.

    Raises:
        InvalidInput: it cannot be read.
    """
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidInput("rate", f"{text!r} is not like '100/s', '100/m', '100/h' or '100/d'")
    return int(found[1]), _SECONDS[found[2]]


def in_words(most: int, per_s: float) -> str:
    """A rate for people: ``100 a minute``."""
    units = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}
    return f"{most} a {units.get(int(per_s), f'{per_s:g} s')}"


async def declare_limits(db: Database, wanted: Mapping[int, Iterable[Limit]]) -> None:
    """Make the limits declared in code those of the database, by interned kind; what an operator set stands.

    Raises:
        DatabaseUnavailable: a change found no moment between the transactions of running jobs.
    """
    rows = await db.fetch(SQL.limit_of_kinds, list(wanted))
    there = {(row["kind"], row["per"], row["what"]): row for row in rows}
    for kind, limits in wanted.items():
        for limit in limits:
            row = there.pop((kind, _stored(limit.per), limit.what), None)
            if row is None or (row["declared"] and (row["most"], row["per_s"]) != (limit.most, limit.per_s)):
                await _set(db, None, kind, None, limit, declared=True, by="code")
    for row in there.values():
        if row["declared"]:
            await _changed(db, SQL.limit_drop, row["id"])


async def list_limits(db: Database) -> list[LimitLine]:
    """All limits, in the order in which they were set first."""
    return [LimitLine(**row) for row in await db.fetch(SQL.limit_list)]


async def set_limit(
    db: Database,
    limit: Limit,
    *,
    by: str,
    queue: str | None = None,
    kind: str | None = None,
    tenant: UUID | None = None,
) -> int:
    """Set a limit on the jobs of a queue, a kind and a tenant, as far as each is given; its id.

    It takes the place of one that counts the same. What runs already is counted, and is not stopped.

    Raises:
        InvalidInput: there is no such queue or kind; nothing says what it is for; it counts by an argument of any kind.
        DatabaseUnavailable: the change found no moment between the transactions of running jobs; nothing is changed.
    """
    if not by:
        raise InvalidInput("by", "is empty; say who sets it")
    if queue is None and kind is None and tenant is None:
        raise InvalidInput("queue", "say at least one of queue, kind and tenant, or the limit holds for all there is")
    if limit.per not in ("all", "tenant") and kind is None:
        raise InvalidInput("kind", f"is needed to count by {limit.per}: other kinds have other arguments")
    queue_id = None if queue is None else await _id(db, "queue", queue)
    kind_id = None if kind is None else await _id(db, "kind", kind)
    return await _set(db, queue_id, kind_id, tenant, limit, declared=False, by=by)


async def drop_limit(db: Database, limit_id: int) -> None:
    """Take a limit away. One that stands in code comes back with the next start of a worker.

    Raises:
        InvalidInput: there is no such limit.
        DatabaseUnavailable: the change found no moment between the transactions of running jobs; nothing is changed.
    """
    if not await _changed(db, SQL.limit_drop, limit_id):
        raise InvalidInput("limit", f"there is no limit {limit_id}; see: tidemill limits list")


async def set_weight(db: Database, tenant: UUID, weight: int, *, by: str) -> None:
    """Give a tenant so many shares of each round of claims; 1 is everybody's.

    Raises:
        InvalidInput: the weight is out of range, or ``by`` is empty.
    """
    if not 1 <= weight <= HEAVIEST:
        raise InvalidInput("weight", f"{weight!r} is not a whole number from 1 to {HEAVIEST}")
    if not by:
        raise InvalidInput("by", "is empty; say who sets it")
    await db.execute(SQL.weight_set, tenant, weight, by)


async def list_weights(db: Database) -> list[Weight]:
    """The tenants whose weight is not 1."""
    return [Weight(**row) for row in await db.fetch(SQL.weight_list)]


def _stored(per: str) -> str:
    return "" if per == "all" else per


async def _id(db: Database, field: str, name: str) -> int:
    found = await db.fetchval(SQL.limit_name, field == "kind", name)
    if found is None:
        raise await unknown(db, field, name)
    return found


async def _set(
    db: Database, queue: int | None, kind: int | None, tenant: UUID | None, limit: Limit, *, declared: bool, by: str
) -> int:
    per = _stored(limit.per)
    return await _changed(
        db, SQL.limit_set, queue, kind, tenant, per, limit.what, limit.most, limit.per_s, declared, by
    )


async def _changed(db: Database, statement: str, *args: Any) -> Any:
    """Run a change of limits. It needs a moment in which no transaction of a running job holds its lease."""
    for tries in range(_TRIES):
        try:
            return await db.fetchval(statement, *args)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as e:
            if tries == _TRIES - 1:
                raise DatabaseUnavailable(
                    f"limits could not be changed beside long transactions of jobs: {e}"
                ) from None
    raise AssertionError
