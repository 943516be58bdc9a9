"""Which jobs wait, which of them are like one that was asked for, and how the others differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, cast
from uuid import UUID

from tidemill.engine import Kind
from tidemill.engine.arguments import ADDED, as_json
from tidemill.errors import InvalidInput

_SHOWN = 5
"""Jobs that a message tells of."""
_ABSENT = object()
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """A job that waits.

    Attributes:
        args: as they are stored, JSON.
        attempt: attempts made so far.
        enqueued_at: by ``tidemill.now()``.
        at: its earliest start, by ``tidemill.now()``; None when it is ready.
    """

    id: int
    kind: str
    args: dict[str, Any]
    queue: str
    key: str | None
    tenant: UUID | None
    priority: int
    attempt: int
    enqueued_at: datetime
    at: datetime | None

    def __str__(self) -> str:
        told = {"key": self.key, "tenant": self.tenant, "at": self.at, "attempt": self.attempt}
        more = "".join(f"  {name}={_text(value)}" for name, value in told.items() if value)
        return f"{self.kind}  args={self.args}  queue={self.queue!r}{more}"


class Like(TypedDict, total=False):
    """What a job may be asked to be like. What is left out may be anything.

    ``args``: a mapping is a part of the arguments, anything else the whole of them. ``at``: its earliest start.
    ``delay``: from its enqueue to its earliest start, a timedelta or seconds.
    """

    args: Any
    queue: str
    key: str
    tenant: UUID
    at: datetime
    delay: timedelta | float


class Wanted:
    """A job to look for.

    Raises:
        InvalidInput: naming an argument that such a job cannot have.
    """

    def __init__(self, kind: Kind, like: Like) -> None:
        if unknown := sorted(like.keys() - Like.__annotations__.keys()):
            raise InvalidInput(unknown[0], f"is not asked of a job; there are: {', '.join(Like.__annotations__)}")
        self.kind = kind.name
        self._like = dict(like)
        self._is_part = isinstance(like.get("args"), Mapping)
        if "args" in like:
            self._like["args"] = _stored(kind, like["args"])
        if isinstance(delay := like.get("delay"), (int, float)):
            self._like["delay"] = timedelta(seconds=delay)
        if (at := like.get("at")) is not None and at.tzinfo is None:
            raise InvalidInput("at", "needs a time zone, e.g. datetime.now(UTC)")

    def __str__(self) -> str:
        return self.kind + "".join(f"  {name}={_text(value)}" for name, value in self._like.items())

    def among(self, jobs: Sequence[Enqueued]) -> list[Enqueued]:
        """The jobs that are like it."""
        return [job for job in jobs if job.kind == self.kind and not self.differences(job)]

    def differences(self, job: Enqueued) -> list[str]:
        """A line for each difference of a job of the kind."""
        lines: list[str] = []
        for name, wanted in self._like.items():
            if name == "args":
                lines += _differences("args", wanted, job.args, self._is_part)
            elif name == "delay":
                delay = None if job.at is None else job.at - job.enqueued_at
                if delay is None or abs(delay - cast(timedelta, wanted)) > _MILLISECOND:
                    lines.append(f"delay: {_text(delay)} instead of {_text(wanted)}")
            elif (found := getattr(job, name)) != wanted:
                lines.append(f"{name}: {_text(found)} instead of {_text(wanted)}")
        return lines

    def near_misses(self, jobs: Sequence[Enqueued]) -> str:
        """What does wait, nearest first."""
        if not jobs:
            return "No job waits."
        missed = sorted(
            ((self.differences(job), job) for job in jobs if job.kind == self.kind), key=lambda pair: len(pair[0])
        )
        if missed:
            lines = ["Of the kind, nearest first:"]
            for differences, job in missed[:_SHOWN]:
                lines += [f"  {job.id}  {job}", *(f"     {line}" for line in differences)]
            return "\n".join([*lines, *_more(len(missed))])
        others = Counter(job.kind for job in jobs)
        return "None of the kind waits. Others do: " + ", ".join(f"{kind} ({n})" for kind, n in others.most_common())


def listed(jobs: Sequence[Enqueued]) -> str:
    """Jobs, one a line."""
    return "\n".join([*(f"  {job.id}  {job}" for job in jobs[:_SHOWN]), *_more(len(jobs))])


def _more(jobs: int) -> list[str]:
    return [f"  … and {jobs - _SHOWN} more"] if jobs > _SHOWN else []


def _stored(kind: Kind, args: Any) -> dict[str, Any]:
    """Arguments as they would be stored."""
    if not isinstance(args, Mapping):
        return kind.arguments.pack(args)
    part = as_json("args", dict(cast("Mapping[str, Any]", args)))
    known = kind.arguments.names
    if known is not None and (unknown := sorted(part.keys() - known - ADDED)):
        names = ", ".join(sorted(known)) or "none"
        raise InvalidInput(f"args.{unknown[0]}", f"is not an argument of {kind.name}; it takes: {names}")
    return part


def _differences(path: str, wanted: Any, found: Any, is_part: bool) -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        wanted, found = cast("dict[str, Any]", wanted), cast("dict[str, Any]", found)
        lines = [
            line
            for name, value in wanted.items()
            for line in _differences(f"{path}.{name}", value, found.get(name, _ABSENT), is_part)
        ]
        if not is_part:
            lines += [f"{path}.{name}: not wanted" for name in found.keys() - wanted.keys() - ADDED]
        return lines
    if found is _ABSENT:
        return [f"{path}: missing instead of {wanted!r}"]
    # To Python, True is 1.
    if wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        return [f"{path}: {found!r} instead of {wanted!r}"]
    return []


def _text(value: object) -> str:
    return str(value) if isinstance(value, (datetime, timedelta, UUID)) else repr(value)
