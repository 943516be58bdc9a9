"""The job type ``replay``: a window of the past once more, beside the live cursor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.connectors import Stream, Window
from tidemill.engine import Fail, Outcome, Snooze
from tidemill.errors import InvalidInput
from tidemill.sync.jobs.run import Run
from tidemill.sync.outcomes import Verdict
from tidemill.sync.records.cursor import OwnCursor, forget_cursors
from tidemill.sync.records.ledger import Ledger, Mode
from tidemill.sync.records.payload import known_fields, mode_in, run_in, streams_in, window_in
from tidemill.sync.records.reading import Ending, chosen, read_stream
from tidemill.sync.records.report import Report
from tidemill.sync.records.statements import SQL
from tidemill.sync.records.turns import over_streams, read_all

_MODES: dict[str, Mode] = {"fill": "fill", "overwrite": "upsert", "dry_run": "compare"}
_DONE = {"fill": ("filled", None), "overwrite": ("filled", "overwritten"), "dry_run": ("would_fill", "would_overwrite")}


class ReplayRecords:
    """Reads ``{"window": {"since", "until"}}``, or what a past ``{"run": id}`` covered, in a ``mode``.

    ``fill`` (which is what goes without saying) writes records that are not there, ``overwrite`` all, ``dry_run``
    none. ``streams`` names some, which must all know windows; otherwise those are read that do.
    """

    name = "replay"

    def check(self, payload: Mapping[str, Any]) -> None:
        """See :class:`~tidemill.sync.jobs.JobType`."""
        known_fields(payload, "window", "run", "mode", "streams")
        window, run = window_in(payload), run_in(payload)
        if (window is None) == (run is None):
            raise InvalidInput("window", "give either a window or the run whose window is meant")
        mode_in(payload)
        streams_in(payload)

    async def run(self, run: Run) -> Outcome:
        """One stream after the other, from a cursor of the run's own."""
        window, names = window_in(run.payload), streams_in(run.payload)
        explicit = names is not None
        if window is None:
            covered = await run.ctx.db.fetchrow(SQL.run_window, run_in(run.payload), run.company, run.connector_id)
            if covered is None:
                return Fail("no_such_run", {"error": "payload.run: this connector has no such run that has ended"})
            window, names = covered_by(dict(covered), names)
        mode = mode_in(run.payload)
        report = await Report.load(run)

        async def work(streams: Mapping[str, Stream]) -> Outcome:
            wanted, unknown = chosen(streams, names)
            fit = [stream for stream in wanted if stream.window]
            unfit = [stream.name for stream in wanted if not stream.window]
            if explicit and unknown:
                return _refusal("unknown_stream", unknown, "no stream of this connector")
            if unfit and (explicit or not fit):
                return _refusal("no_window", unfit, "not to be asked about the past")
            for name in unknown:
                report.of(name).end(Verdict("skipped", "unknown_stream"))
            for name in unfit:
                report.of(name).end(Verdict("skipped", "no_window"))
            outcome = await read_all(report, fit, lambda stream: _read(report, stream, window, _MODES[mode]))
            if not isinstance(outcome, Snooze):
                run.actions[:] = _actions(report, window, mode)
                await forget_cursors(run)
            return outcome

        return await over_streams(report, work)


async def _read(report: Report, stream: Stream, window: Window, mode: Mode) -> Ending:
    cursor = await OwnCursor.read(report.run, stream.name)
    return await read_stream(Ledger(run=report.run, stream=stream, cursor=cursor, report=report, mode=mode), window)


def _refusal(reason: str, streams: list[str], what: str) -> Fail:
    return Fail(reason, {"error": f"payload.streams: {', '.join(streams)}: {what}"[:500]})


def covered_by(row: Mapping[str, Any], names: list[str] | None) -> tuple[Window, list[str] | None]:
    """A past run's window and streams, the latter unless others are named."""
    payload: dict[str, Any] = row["payload"]
    if names is None and row["streams"]:
        names = list(row["streams"])
    try:
        window = window_in(payload)
    except InvalidInput:  # of a job type that means something else by it
        window = None
    return window or Window(since=row["since"], until=row["until"]), names


def _actions(report: Report, window: Window, mode: str) -> list[dict[str, Any]]:
    """What was done, or would be, by stream."""
    span = {name: at and at.isoformat() for name, at in (("since", window.since), ("until", window.until))}
    found: list[dict[str, Any]] = []
    for name, tally in report.streams.items():
        added, changed = _DONE[mode]
        counts = [(added, tally.added, tally.added_keys), (changed, tally.changed, tally.changed_keys)]
        counts.append(("deleted", tally.deleted, []))
        found += [
            {"action": action, "stream": name, "count": count, "keys": keys, "window": span}
            for action, count, keys in counts
            if action and count
        ]
    return found
