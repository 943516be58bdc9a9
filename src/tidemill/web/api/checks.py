"""``/connectors/{id}/check``: whether a connector works, asked of its provider now."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

from tidemill.postgres import Connection, Statements
from tidemill.sync.jobs.checks import CHECK_S, LATE_S, Checks, Subject
from tidemill.web.api.call import Answer, Call
from tidemill.web.api.codes import problem
from tidemill.web.api.models import Check
from tidemill.web.api.roles import as_engine
from tidemill.web.api.route import Route
from tidemill.web.api.rows import locked, stored_object

__all__ = ["AT_ONCE", "OF_A_COMPANY", "CheckRoutes"]

AT_ONCE = 16
"""Checks side by side in one process: some start a program."""
OF_A_COMPANY = 2
"""Of those, one company's."""

_SQL = Statements("tidemill.web.api.sql")


class CheckRoutes:
    """Checks of the caller's company's connectors. Without ``checks`` there are none."""

    def __init__(self, checks: Checks | None) -> None:
        self._checks = checks
        self._under_way: Counter[UUID] = Counter()

    async def check(self, conn: Connection, call: Call) -> Answer:
        """Ask the provider, after the transaction that read what to ask with."""
        checks = self._checks
        if checks is None:
            raise problem("NOT_CONFIGURED", "This server calls no providers.")
        # As with setting credentials: who may lock the connector for an update is an admin of its company.
        row = await locked(conn, call, lock=_SQL.connector_lock, look=_SQL.connector_get)
        if not await conn.fetchval(_SQL.company_active):
            raise problem("CONFLICT", "The company is suspended; nothing is called for it.")
        company, config = row["company_id"], stored_object("config", row["config"].encode())
        async with as_engine(conn):
            subject = await checks.subject(conn, company, call.id, row["provider"], config)

        async def outside() -> Check:
            async with self._slot(company):
                return await _carried_out(checks, subject)

        return Answer(None, outside=outside)

    @asynccontextmanager
    async def _slot(self, company: UUID) -> AsyncGenerator[None]:
        """One of the checks that may be under way.

        Raises:
            Problem: 429, when all are.
        """
        if self._under_way[company] >= OF_A_COMPANY or self._under_way.total() >= AT_ONCE:
            raise problem("RATE_LIMITED", "Other checks are under way; try again soon.", headers={"Retry-After": "5"})
        self._under_way[company] += 1
        try:
            yield
        finally:
            self._under_way[company] -= 1
            if not self._under_way[company]:
                del self._under_way[company]

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="POST",
                path="/connectors/{id}/check",
                name="checkConnector",
                summary="Ask a connector's provider whether it works (admins); the answer tells, and nothing is kept",
                handler=self.check,
                gives=Check,
                waits=CHECK_S + LATE_S,
                codes=("FORBIDDEN", "CONFLICT"),
            )
        ]


async def _carried_out(checks: Checks, subject: Subject) -> Check:
    found = await checks.check(subject)
    return Check(found.ok, found.reason, found.message, found.field, found.seconds)
