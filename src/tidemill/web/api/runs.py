"""``/runs`` and ``/records``: what became of the jobs, and what they brought. Read only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from tidemill.postgres import Connection, Statements
from tidemill.web.api.call import Answer, Call
from tidemill.web.api.models import Page, Run, SyncedRecord
from tidemill.web.api.paging import check_instant, paged, read_after
from tidemill.web.api.queries import RecordQuery, RunQuery
from tidemill.web.api.refusals import not_found
from tidemill.web.api.route import Route
from tidemill.web.api.rows import struct_of

__all__ = ["RecordRoutes", "RunRoutes"]

_SQL = Statements("tidemill.web.api.sql")
_BY_START = tuple[Literal["runs"], datetime, UUID]
_BY_CHANGE = tuple[Literal["records"], datetime, str]
_NOWHERE = (None, None, None)


class RunRoutes:
    """Runs of the caller's company's jobs."""

    async def list(self, conn: Connection, call: Call) -> Answer:
        """Newest first."""
        query: RunQuery = call.query
        _, *after = read_after(query.after, _BY_START) or _NOWHERE
        rows = await conn.fetch(_SQL.run_list, query.job_id, query.connector_id, query.status, *after, query.limit + 1)
        items = [struct_of(Run, row) for row in rows]
        return paged(items, query.limit, lambda item: ("runs", item.started_at, item.id))

    async def get(self, conn: Connection, call: Call) -> Answer:
        """One."""
        row = await conn.fetchrow(_SQL.run_get, call.id)
        if row is None:
            raise not_found()
        return Answer(struct_of(Run, row))

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="GET",
                path="/runs",
                name="listRuns",
                summary="Runs, newest first",
                handler=self.list,
                query=RunQuery,
                gives=Page[Run],
            ),
            Route(method="GET", path="/runs/{id}", name="getRun", summary="A run", handler=self.get, gives=Run),
        ]


class RecordRoutes:
    """Records of the caller's company's connectors."""

    async def list(self, conn: Connection, call: Call) -> Answer:
        """In the order in which they changed, so that what is new comes last."""
        query: RecordQuery = call.query
        since = check_instant("changed_since", query.changed_since) if query.changed_since else None
        _, *after = read_after(query.after, _BY_CHANGE) or _NOWHERE
        rows = await conn.fetch(_SQL.record_list, query.connector_id, query.stream, since, *after, query.limit + 1)
        if not rows and await conn.fetchrow(_SQL.connector_get, query.connector_id) is None:
            raise not_found()
        items = [struct_of(SyncedRecord, row) for row in rows]
        more = bool(rows) and min(len(rows), query.limit) < rows[0]["found"]
        return paged(items, query.limit, lambda item: ("records", item.changed_at, item.key), more=more)

    def routes(self) -> list[Route]:
        """Its part of the table."""
        return [
            Route(
                method="GET",
                path="/records",
                name="listRecords",
                summary="Records of a connector's stream, in the order in which they changed",
                handler=self.list,
                query=RecordQuery,
                gives=Page[SyncedRecord],
                codes=("NOT_FOUND",),
            )
        ]
