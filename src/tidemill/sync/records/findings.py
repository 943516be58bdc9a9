"""What a repair has found and done, as it stands in ``applied_actions``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tidemill.postgres import Connection
from tidemill.sync.jobs.run import Run
from tidemill.sync.records.report import FIRST_FEW, MOST_KEY, Report

UNRECOVERABLE = "unrecoverable"
MOST_ACTIONS = 500


@dataclass(slots=True)
class Findings:
    """A repair's findings, one entry per kind and stream, kept over attempts.

    Attributes:
        dry: whether nothing is mended.
    """

    run: Run
    report: Report
    dry: bool

    @asynccontextmanager
    async def mending(self) -> AsyncGenerator[Connection]:
        """A transaction in which something is found and mended; what was found is committed with it."""
        known = [dict(action) for action in self.run.actions]
        try:
            async with self.run.transaction(progress=False) as conn:
                yield conn
                if self.run.actions != known:
                    await self.report.save(conn)
        except BaseException:
            self.run.actions[:] = known
            raise

    async def told(self, finding: str, action: str, stream: str) -> None:
        """Something that is only reported."""
        async with self.mending():
            self.add(finding, action, stream, 1)

    def add(self, finding: str, action: str, stream: str | None, count: int, keys: Sequence[str] | None = None) -> None:
        """Found ``count`` of these, and did ``action`` about them, unless nothing is to be done."""
        if self.dry and action not in ("reported", UNRECOVERABLE):
            action = f"would_be_{action}"
        few = [key[:MOST_KEY] for key in keys or ()][:FIRST_FEW]
        for entry in self.run.actions:
            if (entry["finding"], entry["action"], entry["stream"]) == (finding, action, stream):
                if action not in ("reported", UNRECOVERABLE, "next_sync_reads_all"):
                    entry["count"] += count
                entry["keys"] += [key for key in few if key not in entry["keys"]][: FIRST_FEW - len(entry["keys"])]
                return
        if len(self.run.actions) < MOST_ACTIONS:
            self.run.actions.append(
                {"finding": finding, "action": action, "stream": stream, "count": count, "keys": few}
            )

    def counts(self) -> dict[str, Any]:
        """How many kinds of trouble were found, and how many of them cannot be mended."""
        lost = sum(entry["action"] == UNRECOVERABLE for entry in self.run.actions)
        return {"findings": len(self.run.actions), UNRECOVERABLE: lost}
