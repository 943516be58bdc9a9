"""The job type ``repair``: find what does not fit together, plan, mend what can be mended, name what cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.connectors import Stream, Window
from tidemill.engine import Done, Outcome, Partial, Snooze
from tidemill.sync.jobs.run import Run
from tidemill.sync.records.cursor import LiveCursor, OwnCursor, forget_cursors
from tidemill.sync.records.findings import UNRECOVERABLE, Findings
from tidemill.sync.records.ledger import Ledger
from tidemill.sync.records.payload import flag_in, known_fields, streams_in, window_in
from tidemill.sync.records.reading import Ending, read_stream
from tidemill.sync.records.report import FIRST_FEW, Report
from tidemill.sync.records.statements import SQL
from tidemill.sync.records.turns import over_streams, read_all


class RepairRecords:
    """Mends a connector's records and runs. ``dry_run`` only tells what it would do; ``streams`` names some.

    With a ``window`` that part of the past is read once more, where a stream can be asked about it, and compared.
    """

    name = "repair"

    def check(self, payload: Mapping[str, Any]) -> None:
        """See :class:`~tidemill.sync.jobs.JobType`."""
        known_fields(payload, "dry_run", "streams", "window")
        flag_in(payload, "dry_run")
        streams_in(payload)
        window_in(payload)

    async def run(self, run: Run) -> Outcome:
        """What needs no provider comes first, so that a dead token does not stand in its way."""
        report = await Report.load(run)
        found = Findings(run, report, dry=flag_in(run.payload, "dry_run"))
        names, window = streams_in(run.payload), window_in(run.payload)
        await _staged(run, found)
        await _stuck_runs(run, found)
        await _run_states(run, found)
        rows = await run.ctx.db.fetch(SQL.repair_streams, run.company, run.connector_id)
        kept = [row for row in rows if names is None or row["stream"] in names]
        for row in kept:
            if row["has_records"]:
                await _digests(run, found, row["stream"])

        async def work(streams: Mapping[str, Stream]) -> Outcome:
            for row in kept:
                if (stream := streams.get(row["stream"])) is None:
                    await found.told("stream_gone", "reported", row["stream"])
                elif row["has_records"] and (not row["rows_ever"] or (stream.cursor and not row["has_cursor"])):
                    await _cursor(run, found, stream, row["rows_ever"])
            return await _gaps(found, [s for s in streams.values() if names is None or s.name in names], window)

        return await over_streams(report, work)


async def _staged(run: Run, found: Findings) -> None:
    async with found.mending() as conn:
        for row in await conn.fetch(SQL.repair_staged, run.company, run.connector_id, not found.dry, FIRST_FEW):
            found.add("orphaned_staged_rows", "removed", row["stream"], row["count"], row["keys"])


async def _stuck_runs(run: Run, found: Findings) -> None:
    async with found.mending() as conn:
        row = await conn.fetchrow(
            SQL.repair_stuck_runs, run.company, run.connector_id, run.id, not found.dry, FIRST_FEW
        )
        if row is not None and row["count"]:
            found.add("stuck_run", "closed", None, row["count"], row["keys"])
            if not found.dry:
                await conn.execute(SQL.repair_settle, row["jobs"])


async def _run_states(run: Run, found: Findings) -> None:
    async with found.mending() as conn:
        rows = await conn.fetch(SQL.repair_run_state, run.company, run.connector_id)
        if rows:
            found.add("run_state_drifted", "settled", None, len(rows), [str(row["id"]) for row in rows[:FIRST_FEW]])
            if not found.dry:
                await conn.execute(SQL.repair_settle, [row["id"] for row in rows])


async def _digests(run: Run, found: Findings, stream: str) -> None:
    after: str | None = ""
    while after is not None:
        async with found.mending() as conn:
            page = await conn.fetchrow(
                SQL.repair_hashes, run.company, run.connector_id, stream, after, not found.dry, FIRST_FEW
            )
            assert page is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
            if page["count"]:
                found.add("hash_mismatch", "rehashed", stream, page["count"], page["keys"])
            after = page["last_key"]


async def _cursor(run: Run, found: Findings, stream: Stream, rows_ever: bool) -> None:
    """A cursor cannot be made up: the next sync reads from the beginning, which writes nothing twice."""
    async with found.mending() as conn:
        found.add("cursor_missing", "next_sync_reads_all", stream.name, 1)
        if not found.dry and not rows_ever:
            cursor = await LiveCursor.read(run, stream.name)
            await cursor.move(conn, None, rows=True)


async def _gaps(found: Findings, streams: list[Stream], window: Window | None) -> Outcome:
    report = found.report
    if window is None:
        return _outcome(found, Done(report.metrics()))
    for stream in streams:
        if not stream.window:
            await found.told("window_not_supported", UNRECOVERABLE, stream.name)
    fit = [stream for stream in streams if stream.window]
    if not fit:
        return _outcome(found, Done(report.metrics()))

    async def read(stream: Stream) -> Ending:
        cursor = await OwnCursor.read(found.run, stream.name)
        mode = "compare" if found.dry else "upsert"
        ledger = Ledger(run=found.run, stream=stream, cursor=cursor, report=report, mode=mode)
        ending = await read_stream(ledger, window)
        tally = ledger.tally
        if tally.ended:
            if tally.added:
                found.add("missing_record", "filled", stream.name, tally.added, tally.added_keys)
            if tally.changed:
                found.add("differing_record", "overwritten", stream.name, tally.changed, tally.changed_keys)
            if tally.deleted:
                found.add("record_gone", "deleted", stream.name, tally.deleted)
            await report.save_apart()
        return ending

    outcome = await read_all(report, fit, read)
    if not isinstance(outcome, Snooze):
        await forget_cursors(found.run)
    return _outcome(found, outcome)


def _outcome(found: Findings, outcome: Outcome) -> Outcome:
    """What could not be mended makes a run partial that was otherwise well."""
    if not isinstance(outcome, Done):
        return outcome
    metrics = {**found.report.metrics(), **found.counts()}
    return Partial(UNRECOVERABLE, metrics) if metrics[UNRECOVERABLE] else Done(metrics)
