"""When something fires, and what becomes of fires that are missed or meet the one before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from tidemill.engine.recurrence.wallclock import TICK, instant

ON_TIME = timedelta(minutes=1)
"""A fire found no later than this was not missed."""
_STEPS = 32
"""Missed fires that are walked over one by one: to find the last fire before an instant costs as much as that many."""

Overlap = Literal["skip", "queue", "replace", "allow"]


class Recurrence(Protocol):
    """A sequence of instants. All are aware and in UTC."""

    def next(self, after: datetime) -> datetime | None:
        """The first fire strictly after an aware instant; None when none follows.

        Raises:
            InvalidInput: when ``after`` has no time zone.
        """
        ...

    def slot(self, at: datetime) -> datetime | None:
        """The last fire at or before an aware instant; None when there was none.

        Raises:
            InvalidInput: when ``at`` has no time zone.
        """
        ...

    def words(self) -> str:
        """In plain English."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recurrence with its options, as :func:`~tidemill.engine.recurrence.recurrence` reads them; one itself.

    Attributes:
        rhythm: the recurrence without options.
        zone: the zone that local times are read in.
        local: whether the rhythm depends on the zone.
        begin, end: the first and the last instant at which it may fire.
        jitter: how much later than its fire time a job may start.
        misfires: how many missed fires are made up for, the latest ones: 0 = skip, 1 = latest.
        overlap: what becomes of a fire when the job of the one before has not ended.
    """

    rhythm: Recurrence
    zone: ZoneInfo
    local: bool
    begin: datetime | None = None
    end: datetime | None = None
    jitter: timedelta = timedelta(0)
    misfires: int = 1
    overlap: Overlap = "skip"

    def next(self, after: datetime) -> datetime | None:
        """The first fire strictly after an aware instant and within the bounds, in UTC.

        Raises:
            InvalidInput: when ``after`` has no time zone.
        """
        after = instant("after", after)
        fire = self.rhythm.next(after if self.begin is None else max(after, self.begin - TICK))
        return fire if fire and (self.end is None or fire <= self.end) else None

    def slot(self, at: datetime) -> datetime | None:
        """The last fire at or before an aware instant and within the bounds, in UTC.

        Raises:
            InvalidInput: when ``at`` has no time zone.
        """
        at = instant("at", at)
        fire = self.rhythm.slot(at if self.end is None else min(at, self.end))
        return fire if fire and (self.begin is None or self.begin <= fire) else None

    def words(self) -> str:
        """In plain English, with the zone and the bounds."""
        bounds = (("from", self.begin), ("until", self.end))
        return "".join(
            (
                self.rhythm.words(),
                f", {self.zone.key} time" if self.local else "",
                *(f", {word} {at:%Y-%m-%d %H:%M:%S} UTC" for word, at in bounds if at),
            )
        )

    def due(self, planned: datetime, now: datetime) -> tuple[list[datetime], datetime | None]:
        """The fires from ``planned`` to ``now`` that are carried out, in order, and the first fire after ``now``.

        ``planned`` is due by then. A zone whose rules changed since it was planned may have no fire at that instant: it
        is due all the same.
        """
        fires, following = [planned], self.next(planned)
        while following is not None and following <= now and len(fires) < _STEPS:
            fires.append(following)
            following = self.next(following)
        if following is not None and following <= now:
            fires, following = self._latest(planned, now), self.next(now)
        if self.misfires == 0:
            return [fires[-1]] if now - fires[-1] <= ON_TIME else [], following
        return fires[-self.misfires :], following

    def _latest(self, planned: datetime, now: datetime) -> list[datetime]:
        """As many of the fires from ``planned`` to ``now`` as are made up for, found from the end."""
        fires = [max(self.slot(now) or planned, planned)]
        while len(fires) < self.misfires:
            earlier = self.slot(fires[-1] - TICK)
            if earlier is None or earlier < planned:
                break
            fires.append(earlier)
        return fires[::-1]

    def start(self, name: str, fire: datetime) -> datetime:
        """When the job of a fire may start: the same instant for the same name and fire, whoever asks."""
        digest = blake2b(f"{name}\0{fire.isoformat()}".encode(), digest_size=8).digest()
        return fire + self.jitter * (int.from_bytes(digest) / 2**64)
