"""The job type ``sync``: every stream from its cursor on, a commit a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.connectors import Stream, Window
from tidemill.engine import Outcome
from tidemill.sync.jobs.run import Run
from tidemill.sync.outcomes import Verdict
from tidemill.sync.records.cursor import LiveCursor
from tidemill.sync.records.ledger import Ledger
from tidemill.sync.records.payload import known_fields, streams_in
from tidemill.sync.records.reading import Ending, chosen, read_stream
from tidemill.sync.records.report import Report
from tidemill.sync.records.turns import over_streams, read_all


class SyncRecords:
    """Brings what is new. ``{"streams": […]}`` names some; otherwise all are read."""

    name = "sync"

    def check(self, payload: Mapping[str, Any]) -> None:
        """See :class:`~tidemill.sync.jobs.JobType`."""
        known_fields(payload, "streams")
        streams_in(payload)

    async def run(self, run: Run) -> Outcome:
        """One stream after the other. One that fails does not stop the others, unless they would meet the same."""
        report = await Report.load(run)

        async def work(streams: Mapping[str, Stream]) -> Outcome:
            wanted, unknown = chosen(streams, streams_in(run.payload))
            for name in unknown:
                why = Verdict("failed", "unknown_stream")
                report.of(name).end(why, f"{name}: the connector has no such stream")
            return await read_all(report, wanted, lambda stream: _read(report, stream))

        return await over_streams(report, work)


async def _read(report: Report, stream: Stream) -> Ending:
    cursor = await LiveCursor.read(report.run, stream.name)
    never_empty = stream.never_empty and cursor.rows_ever
    ledger = Ledger(run=report.run, stream=stream, cursor=cursor, report=report, live=True, never_empty=never_empty)
    return await read_stream(ledger, Window())
