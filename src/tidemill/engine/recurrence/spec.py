"""Reading a schedule as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence.cron import Cron
from tidemill.engine.recurrence.every import EPOCH, Every, Manual, Once, read_duration
from tidemill.engine.recurrence.plan import Overlap, Plan, Recurrence
from tidemill.engine.recurrence.rule_text import read_rule
from tidemill.engine.recurrence.wallclock import read_instant, read_local, read_zone
from tidemill.errors import InvalidInput

_KINDS = ("cron", "every", "rrule", "at")
_OPTIONS = ("timezone", "jitter", "misfire", "overlap", "from", "until")
_OF_ONE_KIND = {"anchor": "every", "start": "rrule"}
_MOST_MISFIRES = 100
_LONGEST_JITTER = timedelta(days=1)


def recurrence(spec: Mapping[str, Any], default_zone: str = "UTC") -> Plan:
    """Read a schedule.

    One of: nothing (manual) · ``cron`` · ``every`` (with ``anchor``) · ``rrule`` (with ``start``, its DTSTART) ·
    ``at`` (once). With any of: ``timezone`` (IANA, else ``default_zone``) · ``from``, ``until`` (both inclusive) ·
    ``jitter`` (a duration) · ``misfire``: latest, skip or {"all": n} · ``overlap``: skip, queue, replace or allow.
    Instants are ISO 8601; one without an offset is local time in the zone.

    Raises:
        InvalidInput: naming the key, or the field of a cron expression or part of a rule, that cannot be taken.
    """
    if not isinstance(cast(object, spec), Mapping):
        raise InvalidInput("schedule", 'must be an object such as {"cron": "*/15 * * * *"}')
    kinds = [key for key in _KINDS if key in spec]
    if len(kinds) > 1:
        raise InvalidInput(kinds[1], f"cannot stand beside {kinds[0]}; give one of them")
    for key in spec:
        if key in _OF_ONE_KIND and _OF_ONE_KIND[key] not in spec:
            raise InvalidInput(key, f"belongs to {_OF_ONE_KIND[key]}")
        if key not in (*_KINDS, *_OPTIONS, *_OF_ONE_KIND):
            raise InvalidInput(str(key)[:50], f"is not one of {', '.join((*_KINDS, *_OF_ONE_KIND, *_OPTIONS))}")
    zone = read_zone(spec.get("timezone", default_zone))
    begin, end = (read_instant(key, spec[key], zone) if key in spec else None for key in ("from", "until"))
    if begin and end and end < begin:
        raise InvalidInput("until", "comes before from")
    overlap = _overlap(spec.get("overlap", "skip"))
    return Plan(
        rhythm=_rhythm(spec, zone),
        zone=zone,
        local="cron" in spec or "rrule" in spec,
        begin=begin,
        end=end,
        jitter=_jitter(spec.get("jitter", "0s")),
        misfires=_misfires(spec.get("misfire", "latest"), overlap),
        overlap=overlap,
    )


def _rhythm(spec: Mapping[str, Any], zone: ZoneInfo) -> Recurrence:
    if "cron" in spec:
        if not isinstance(spec["cron"], str):
            raise InvalidInput("cron", "must be a text such as */15 * * * *")
        return Cron.parse(spec["cron"], zone.key)
    if "every" in spec:
        anchor = read_instant("anchor", spec["anchor"], zone) if "anchor" in spec else EPOCH
        return Every(read_duration("every", spec["every"]), anchor)
    if "rrule" in spec:
        start = read_local("start", spec["start"], zone) if "start" in spec else None
        return read_rule(spec["rrule"], zone, start)
    if "at" in spec:
        return Once(read_instant("at", spec["at"], zone))
    return Manual()


def _jitter(value: object) -> timedelta:
    jitter = read_duration("jitter", value)
    if jitter > _LONGEST_JITTER:
        raise InvalidInput("jitter", "is longer than a day")
    return jitter


def _overlap(value: object) -> Overlap:
    if value not in get_args(Overlap):
        raise InvalidInput("overlap", f"{str(value)[:50]!r} is not one of {', '.join(get_args(Overlap))}")
    return cast(Overlap, value)


def _misfires(value: object, overlap: Overlap) -> int:
    if value in ("latest", "skip"):
        return 1 if value == "latest" else 0
    most = cast("Mapping[str, object]", value).get("all") if isinstance(value, Mapping) and len(value) == 1 else None  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= _MOST_MISFIRES:
        raise InvalidInput("misfire", f'must be latest, skip or {{"all": n}} with n from 1 to {_MOST_MISFIRES}')
    if most > 1 and overlap not in ("queue", "allow"):
        raise InvalidInput("misfire", f"several fires at once need overlap queue or allow, not {overlap}")
    return most
