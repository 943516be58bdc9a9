"""What a run has come to so far, stream by stream: counted over all its attempts, kept in the run's metrics."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidemill.engine import Done, Fail, Outcome, Partial, Skip
from tidemill.postgres import Connection
from tidemill.sync.jobs.run import Run
from tidemill.sync.outcomes import Verdict
from tidemill.sync.records.statements import SQL

MOST_LISTED = 50
"""Streams that are listed one by one; all are in the sums."""
FIRST_FEW = 5
"""Keys and bad rows that are named."""
MOST_KEY = 200
"""Characters of a key that are shown."""
_SUMS = ("records", "added", "changed", "deleted", "bad", "missing", "batches")
_GRAVEST = (
    "token_invalid",
    "user_action",
    "rate_limited",
    "cursor_moved",
    "time_budget",
    "permission",
    "provider",
    "invalid",
    "connector_error",
    "unknown_stream",
    "no_rows",
    "no_window",
    "missing",
    "bad_rows",
)
"""Which reason stands for a run whose streams ended for several."""


class Tally(msgspec.Struct):
    """One stream's counts.

    Attributes:
        status: running, then completed, partial, failed or skipped; ``reason`` and ``error`` say why.
        ended: whether the read came to its end, so that a later attempt need not begin it again.
        records: taken, as often as they came; added, changed: of these, new ones, and known ones with other data.
        deleted, bad, missing, batches: what the provider has no more, what could not be stored, what it did not give
            although it was asked for, commits.
        stored: of the records, those that have come to where they belong, changed or not; staged ones have not yet.
        bad_rows, added_keys, changed_keys: the first few.
    """

    status: str = "running"
    reason: str | None = None
    error: str | None = None
    ended: bool = False
    records: int = 0
    added: int = 0
    changed: int = 0
    deleted: int = 0
    bad: int = 0
    missing: int = 0
    batches: int = 0
    stored: int = 0
    cursor_moved: bool = False
    bad_rows: list[str] = []
    added_keys: list[str] = []
    changed_keys: list[str] = []

    @property
    def wrote(self) -> bool:
        """Whether anything came of it."""
        return bool(self.stored or self.deleted or self.cursor_moved)

    def copied(self) -> Tally:
        """One that can be counted on while this one stands."""
        new = copy(self)
        for name in ("bad_rows", "added_keys", "changed_keys"):
            setattr(new, name, list(getattr(self, name)))
        return new

    def spoiled(self, why: str) -> None:
        """Count a record that cannot be stored; the first few are told, by their place among all of the stream."""
        self.bad += 1
        if len(self.bad_rows) < FIRST_FEW:
            self.bad_rows.append(f"record {self.records + self.bad}: {why}")

    def put(self, judged: Any) -> None:
        """Count what a statement told of the records it was given."""
        self.stored += judged["records"]
        self.added += judged["added"]
        self.changed += judged["changed"]
        for mine, more in ((self.added_keys, judged["added_keys"]), (self.changed_keys, judged["changed_keys"])):
            mine += [str(key)[:MOST_KEY] for key in (more or ())][: FIRST_FEW - len(mine)]

    def end(self, verdict: Verdict, error: str | None = None) -> None:
        """It has come to this."""
        self.status, self.reason, self.error = verdict.status, verdict.reason, error and readable(error)

    def begin(self) -> None:
        """It is read, perhaps once more: what an earlier attempt came to no longer stands."""
        self.status, self.reason, self.error = "running", None, None


@dataclass(slots=True)
class Report:
    """All streams of a run.

    Attributes:
        streams: by name, in the order in which they are read.
        waits: how often it was put off at a provider's wish since it last got on.
    """

    run: Run
    streams: dict[str, Tally] = field(default_factory=dict[str, Tally])
    waits: int = 0

    @classmethod
    async def load(cls, run: Run) -> Report:
        """Where earlier attempts left it; what they changed stands in the run's actions again."""
        row = await run.ctx.db.fetchrow(SQL.run_read, run.id)
        metrics: dict[str, Any] = row["metrics"] if row else {}
        run.actions[:] = row["applied_actions"] if row else []
        streams = msgspec.convert(metrics.get("streams", {}), dict[str, Tally])
        return cls(run, streams, metrics.get("waits", 0))

    def of(self, stream: str) -> Tally:
        """The stream's counts."""
        return self.streams.setdefault(stream, Tally())

    async def save(self, conn: Connection) -> None:
        """Write them, in the transaction of what they count."""
        await conn.execute(SQL.run_progress, self.run.id, self.metrics(), self.run.actions)

    async def save_apart(self) -> None:
        """Write them in a transaction of their own, which is no progress."""
        async with self.run.transaction(progress=False) as conn:
            await self.save(conn)

    def metrics(self) -> dict[str, Any]:
        """``sync_run_logs.metrics``."""
        tallies = self.streams.values()
        sums: dict[str, Any] = {name: sum(getattr(tally, name) for tally in tallies) for name in _SUMS}
        listed = list(self.streams.items())[:MOST_LISTED]
        sums["streams"] = {name: _told(tally) for name, tally in listed}
        if len(self.streams) > len(listed):
            sums["streams_not_listed"] = len(self.streams) - len(listed)
        if self.waits:
            sums["waits"] = self.waits
        return sums

    def outcome(self) -> Outcome:
        """What the run comes to: the worst of its streams, ``failed`` only where nothing good came of any."""
        tallies = list(self.streams.values())
        metrics = self.metrics()
        reasons = {tally.reason for tally in tallies if tally.status != "completed"}
        if not reasons:
            return Done(metrics) if tallies else Skip("no_streams", metrics)
        reason = next((r for r in _GRAVEST if r in reasons), None) or sorted(str(r) for r in reasons)[0]
        error = next((t.error for t in tallies if t.reason == reason and t.error), None)
        if error is not None:
            metrics["error"] = error
        statuses = {tally.status for tally in tallies}
        if reason == "token_invalid" or (statuses <= {"failed", "skipped"} and "failed" in statuses):
            return Fail(reason, {"error": error or reason, **metrics})
        return Skip(reason, metrics) if statuses == {"skipped"} else Partial(reason, metrics)

    def skip_rest(self, streams: Iterable[str], reason: str) -> None:
        """What was not begun, since it would have met the same."""
        for name in streams:
            tally = self.of(name)
            if not tally.ended:
                tally.end(Verdict("partial" if tally.wrote else "skipped", reason))


def readable(text: str) -> str:
    """What jsonb can keep of a message, bounded."""
    return text[:500].encode(errors="replace").decode().replace("\0", "\ufffd")


def _told(tally: Tally) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(tally)
    return {name: value for name, value in facts.items() if value is not None and value != []}
