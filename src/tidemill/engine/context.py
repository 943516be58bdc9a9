"""What a handler gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from tidemill.engine.job import Job
from tidemill.engine.progress import Report, Said
from tidemill.engine.statements import SQL
from tidemill.errors import LeaseLost
from tidemill.postgres import Connection, Database

if TYPE_CHECKING:
    from tidemill.engine.engine import Engine

LEASE_LOST = "TM001"
"""SQLSTATE raised by ``tidemill.fence``."""


class Context:
    """One attempt of one job.

    Attributes:
        job: the claimed job.
        engine: to enqueue further jobs.
        db: for reads; writes belong into :meth:`transaction`.
        deadline: ``loop.time()`` at which the attempt is cancelled.
    """

    __slots__ = ("_log", "_report", "deadline", "engine", "job")

    def __init__(self, job: Job, engine: Engine, *, deadline: float) -> None:
        self.job = job
        self.engine = engine
        self.deadline = deadline
        self._log: Any = None
        self._report: Report | None = None

    @property
    def log(self) -> Any:
        """A structured logger bound to the job; made when first asked for, since most jobs say nothing."""
        if self._log is None:
            job = self.job
            self._log = structlog.get_logger("tidemill.engine").bind(job=job.id, kind=job.kind, attempt=job.attempt)
        return self._log

    @property
    def db(self) -> Database:
        """The engine's database."""
        return self.engine.db

    def remaining(self) -> float:
        """Seconds left until this attempt's timeout; never negative."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    @property
    def report(self) -> Report:
        """Where :meth:`progress` goes; made when first asked for, since most jobs say nothing."""
        if self._report is None:
            self._report = Report(self.engine.progress, self.job)
        return self._report

    def end(self) -> None:
        """The attempt has ended: what it said of its progress is forgotten."""
        if self._report is not None:
            self.engine.progress.end(self._report)

    async def progress(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Say how far this attempt has got, for people; say it as often as you like.

        The latest is written within a second, at most once a second, and gone with the attempt's end. Nothing is
        waited for.

        Args:
            done: how much is done, in units of your own.
            total: of how much, if that is known.
            note: up to 500 characters; secrets are taken out where it is shown.

        Raises:
            InvalidInput: naming what cannot be taken.
        """
        self.report.say(Said.checked(done, total, note))

    async def spend(self, scope: str, calls: int = 1) -> None:
        """Make room for calls to the outside, to be made right after this, in the budget of ``scope``.

        Mostly it takes no time; where the budget is spent it waits for up to two seconds. A job that lets
        ``BudgetSpent`` pass is put off until there is room again, which spends no attempt. Call it before
        :meth:`transaction`, not within: a transaction that waits holds up others.

        Raises:
            BudgetSpent: the calls cannot be made before long.
            InvalidInput: no budget is declared or set for the scope, or it never has room for so many calls.
        """
        await self.engine.budgets.spend(scope, calls, within=self.remaining())

    async def block(self, scope: str, pause: timedelta, reason: str) -> None:
        """Let nobody in the fleet call ``scope`` for a while, since it asked for that; all know two seconds later.

        A longer pause in force stays. To put off this job too, return :class:`Snooze`, or :meth:`spend` again.

        Raises:
            InvalidInput: naming what cannot be taken.
        """
        await self.engine.budgets.block(scope, pause, reason, known=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """A transaction that commits only while the lease is ours.

        Raises:
            LeaseLost: when the job passed to somebody else; nothing written inside is kept.
        """
        try:
            async with self.engine.db.transaction() as conn:
                await conn.execute(SQL.fence, self.job.id, self.job.token, self.job.node)
                yield conn
        except Exception as e:
            if getattr(e, "sqlstate", None) == LEASE_LOST:
                raise LeaseLost(str(e)) from None
            raise
