"""The schedule of a row, as anybody wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import msgspec
import structlog

from tidemill.engine import Plan
from tidemill.engine.recurrence import recurrence
from tidemill.engine.recurrence.plan import ON_TIME
from tidemill.errors import InvalidInput

MOST_PLANS = 10_000
"""Different schedules that a process keeps as it has read them; 1.5 kB each."""
_LONGEST_KEPT = 500
"""Characters of a schedule that is kept: tenants may write long ones, and few do."""
_LONGEST_TOLD = 1000

_log = structlog.get_logger("tidemill.sync")


def read_schedule(text: str, zone: str | None) -> Plan:
    """A schedule in JSON; local times are in its own zone, else in ``zone``, the company's, else in UTC.

    Raises:
        InvalidInput: naming what cannot be taken, as ``schedule.cron`` or ``schedule.hour``; or ``company.timezone``.
    """
    return _kept(text, zone) if len(text) <= _LONGEST_KEPT else _read(text, zone)


def _read(text: str, zone: str | None) -> Plan:
    spec = _decoded("schedule", text)
    if not isinstance(spec, Mapping):
        raise InvalidInput("schedule", 'must be an object such as {"cron": "*/15 * * * *"}')
    try:
        return recurrence(cast("Mapping[str, Any]", spec), zone or "UTC")
    except InvalidInput as e:
        whose = "company" if e.field == "timezone" and "timezone" not in spec else "schedule"
        raise below(whose, e) from None


_kept = lru_cache(maxsize=MOST_PLANS)(_read)


def read_payload(text: str) -> dict[str, Any]:
    """A payload in JSON.

    Raises:
        InvalidInput: it is no object.
    """
    payload = _decoded("payload", text)
    if not isinstance(payload, dict):
        raise InvalidInput("payload", "must be an object such as {}")
    return cast("dict[str, Any]", payload)


def next_fire(plan: Plan, planned: datetime | None, now: datetime) -> datetime | None:
    """The fire that a row waits for; what was ``planned`` stands while it is still one and none comes before it.

    A single fire that came while its row waited to be planned is not lost.
    """
    following = plan.next(now)
    if planned is not None and (planned <= now or planned == following) and plan.slot(planned) == planned:
        return planned
    if following is None and (last := plan.slot(now)) is not None and now - last <= ON_TIME:
        return last
    return following


def told(e: Exception) -> str:
    """What to tell whoever wrote the row; what is no fault of theirs is logged too."""
    if not isinstance(e, InvalidInput):
        _log.error("sync_job_unreadable", exc_info=e)
        return f"it cannot be read ({type(e).__name__})"
    return str(e).replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:_LONGEST_TOLD]


def below(whole: str, e: InvalidInput) -> InvalidInput:
    """The same refusal of a part of ``whole``."""
    problem = str(e).removeprefix(f"{e.field}: ")
    if e.field == whole:
        return e
    return InvalidInput(f"{whole}.{e.field}", problem) if e.field.strip() else InvalidInput(whole, f"'' {problem}")


def _decoded(field: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidInput(field, "is nested too deeply") from None
    except msgspec.DecodeError as e:
        raise InvalidInput(field, f"cannot be read: {e}") from None
