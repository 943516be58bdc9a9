"""What jobs of these types are told, checked by its look alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from tidemill.connectors import Window
from tidemill.errors import InvalidInput

MOST_STREAMS = 1_000
REPLAY_MODES = ("fill", "overwrite", "dry_run")
ReplayMode = Literal["fill", "overwrite", "dry_run"]


def known_fields(payload: Mapping[str, Any], *fields: str) -> None:
    """Refuse what is none of ``fields``.

    Raises:
        InvalidInput: naming the first of the others.
    """
    for name in payload:
        if name not in fields:
            raise InvalidInput(name, f"there is no such field; there are: {', '.join(fields)}")


def streams_in(payload: Mapping[str, Any]) -> list[str] | None:
    """``streams``: names; None means all.

    Raises:
        InvalidInput: it is no list of names.
    """
    given = payload.get("streams")
    if given is None:
        return None
    if not isinstance(given, list) or not given:
        raise InvalidInput("streams", "give a list of names, or leave it out for all streams")
    names = cast(list[Any], given)
    if len(names) > MOST_STREAMS:
        raise InvalidInput("streams", f"names {len(names):,} streams; the most is {MOST_STREAMS:,}")
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"streams[{i}]", "give the name of a stream")
    return list(dict.fromkeys(cast(Sequence[str], names)))


def window_in(payload: Mapping[str, Any]) -> Window | None:
    """``window``: ``since`` and ``until``, ISO 8601 with an offset; None when it is not given.

    Raises:
        InvalidInput: it is no span of time.
    """
    given = payload.get("window")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidInput("window", 'give an object such as {"since": "2026-01-01T00:00:00Z", "until": …}')
    window = cast(Mapping[str, Any], given)
    for name in window:
        if name not in ("since", "until"):
            raise InvalidInput(f"window.{name}", "there is no such field; there are: since, until")
    since, until = (_instant(window, name) for name in ("since", "until"))
    if since >= until:
        raise InvalidInput("window.until", "lies not after window.since")
    return Window(since=since, until=until)


def run_in(payload: Mapping[str, Any]) -> UUID | None:
    """``run``: the id of a past run; None when it is not given.

    Raises:
        InvalidInput: it is no id.
    """
    given = payload.get("run")
    if given is None:
        return None
    try:
        return UUID(cast(str, given))
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("run", "give the id of a run, a UUID") from None


def mode_in(payload: Mapping[str, Any]) -> ReplayMode:
    """``mode``.

    Raises:
        InvalidInput: there is no such mode.
    """
    given = payload.get("mode", "fill")
    if given not in REPLAY_MODES:
        raise InvalidInput("mode", f"give one of {', '.join(REPLAY_MODES)}")
    return given


def flag_in(payload: Mapping[str, Any], name: str) -> bool:
    """A yes or no; False when it is not given.

    Raises:
        InvalidInput: it is neither.
    """
    given = payload.get(name, False)
    if not isinstance(given, bool):
        raise InvalidInput(name, "give true or false")
    return given


def _instant(window: Mapping[str, Any], name: str) -> datetime:
    field, given = f"window.{name}", window.get(name)
    if given is None:
        raise InvalidInput(field, "is required")
    try:
        at = datetime.fromisoformat(cast(str, given))
    except (ValueError, TypeError):
        raise InvalidInput(field, "give an instant such as 2026-01-01T00:00:00Z") from None
    if at.tzinfo is None:
        raise InvalidInput(field, "give it with its offset: 2026-01-01T00:00:00Z, or …+08:00")
    return at
