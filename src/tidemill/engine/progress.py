"""How far running jobs have got, as their handlers say it: kept in memory, written once a second for all of a process.

What is said belongs to an attempt. A row names the attempt's token, its readers compare that with the lease, and a lost
lease writes nothing; so a row that is left behind, by a process that died, is seen by nobody and swept up later.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from tidemill.engine.arguments import as_json
from tidemill.engine.job import Job
from tidemill.engine.statements import SQL
from tidemill.errors import DatabaseUnavailable, InvalidInput
from tidemill.postgres import Database

EVERY_S = 1.0
"""Between two writes."""
LONGEST_NOTE = 500
_MOST = 2**63 - 1

_log = structlog.get_logger("tidemill.engine")


@dataclass(frozen=True, slots=True)
class Said:
    """How far a job has got: ``done`` of ``total`` (None = unknown), and a note for people."""

    done: int
    total: int | None = None
    note: str | None = None

    @classmethod
    def checked(cls, done: Any, total: Any, note: Any) -> Said:
        """What a handler said, known to be something that can be stored.

        Raises:
            InvalidInput: naming what cannot be taken.
        """
        for field, count in (("done", done), ("total", total)):
            if count is None and field == "total":
                continue
            if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST:
                raise InvalidInput(field, f"{count!r} is not a whole number from 0 on")
        if note is not None and (not isinstance(note, str) or len(note) > LONGEST_NOTE):
            raise InvalidInput("note", f"needs to be text of at most {LONGEST_NOTE} characters")
        return cls(done, total, as_json("note", note))


_UNKNOWN = Said(-1)
"""Stands for what may have been written."""


class Report:
    """What one attempt says; its handler may say it in any thread."""

    __slots__ = ("_progress", "job", "loop", "over", "said", "written")

    def __init__(self, progress: Progress, job: Job) -> None:
        self._progress = progress
        self.loop = asyncio.get_running_loop()
        self.job = job
        self.said: Said | None = None
        self.written: Said | None = None
        self.over = False

    def say(self, said: Said) -> None:
        """Take note; what is said after the attempt's end is not heard."""
        first = self.said is None
        self.said = said
        if first:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self.loop.call_soon_threadsafe(self._progress.hear, self)


class Progress:
    """What the running attempts of one process have said."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._open: set[Report] = set()
        self._over: list[Job] = []
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def hear(self, report: Report) -> None:
        """Write what a report says, now and whenever that changes, until its end."""
        if report.over:
            return
        self._open.add(report)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._keep_writing(), name="progress")

    def end(self, report: Report) -> None:
        """The attempt has ended: forget what it said."""
        report.over = True
        self._open.discard(report)
        if report.written is not None:
            self._over.append(report.job)

    async def settle(self) -> None:
        """Write, and remove what is written of attempts that have ended, without waiting for the second."""
        async with self._writing:
            await self._write()

    async def _keep_writing(self) -> None:
        while self._open or self._over:
            try:
                await self.settle()
            except DatabaseUnavailable as e:
                _log.warning("progress_waits_for_database", error=str(e))
            await asyncio.sleep(EVERY_S)

    async def _write(self) -> None:
        news = {report: report.said for report in self._open if report.said != report.written}
        told = [(report.job, said) for report, said in news.items() if said is not None]
        over = list(self._over)
        if not told and not over:
            return
        for report in news:  # before the answer: a row may be there although the answer was lost
            report.written = _UNKNOWN
        rows = await self._db.fetch(
            SQL.progress_write,
            [job.id for job, _ in told],
            [job.token for job, _ in told],
            [job.node for job, _ in told],
            [said.done for _, said in told],
            [said.total for _, said in told],
            [said.note for _, said in told],
            [job.id for job in over],
            [job.token for job in over],
        )
        del self._over[: len(over)]
        held = {row["job"]: row["token"] for row in rows}
        for report, said in news.items():
            if held.get(report.job.id) == report.job.token:
                report.written = said
            else:  # the lease is lost: a thread may go on telling, to nobody
                report.over, report.written = True, None
                self._open.discard(report)
