"""What the company's tap has brought, read from the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from rich.table import Table

from tidemill.cli.demo.company import NAME, STREAM, Company, Run
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.statements import SQL


@dataclass(frozen=True, slots=True)
class Harvest:
    """The figures.

    Attributes:
        runs: the job's, in order.
        records: rows that the company has now; ``rows``: those of the file that its tap reads.
        cursor: where the next run goes on, in the tap's words; None where nothing was committed.
    """

    runs: Sequence[Run]
    records: int
    rows: int
    cursor: str | None

    @classmethod
    async def read(cls, company: Company) -> Harvest:
        """Read the figures."""
        row = await company.stage.app.db.fetchrow(SQL.company_figures, company.id, company.connector)
        assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
        return cls(await company.runs(), row["records"], len(company.weather.rows), row["cursor"])

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        return {"company": NAME, "runs": self.runs, "records": self.records, "rows": self.rows, "cursor": self.cursor}

    def show(self, narrator: Narrator) -> None:
        """The same for a person."""
        narrator.say(f"\n{NAME}: hourly weather of January 2013 in New York, by a Singer tap, every minute:\n")
        table = Table(box=None, pad_edge=True, header_style="bold")
        why = ["why"] * any(run.reason for run in self.runs)
        for heading in ("run", "outcome", *why):
            table.add_column(heading)
        for heading in ("read", "new", "changed", "seconds"):
            table.add_column(heading, justify="right")
        for run in self.runs:
            counts = (f"{count:,}" for count in (run.records, run.added, run.changed))
            table.add_row(run.trigger, run.status, *([run.reason or ""] * len(why)), *counts, f"{run.seconds:.1f}")
        narrator.console.print(table)
        narrator.say("")
        narrator.fact("records", f"{self.records:>7,}   of {self.rows:,} rows of the file")
        narrator.fact("cursor", f"   {self._place() or 'none'}, the time of the file")

    def _place(self) -> str | None:
        """The bookmark alone."""
        if self.cursor is None:
            return None
        state = msgspec.json.decode(self.cursor, type=dict[str, Any])
        mark = cast("dict[str, Any]", state.get("bookmarks", {})).get(STREAM, {})
        return str(mark.get("replication_key_value") or self.cursor)
