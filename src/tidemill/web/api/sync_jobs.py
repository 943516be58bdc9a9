"""``/sync-jobs``: what a company's connectors are to do, and when; and the door for run, pause, resume and cancel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

import asyncpg
from msgspec import UNSET

from tidemill.postgres import Connection, Statements
from tidemill.sync.jobs import JobType
from tidemill.sync.jobs.schedule import read_schedule
from tidemill.web.api.call import Answer, Call, etag
from tidemill.web.api.codes import problem
from tidemill.web.api.models import Control, Page, SyncJob, SyncJobChange, SyncJobNew
from tidemill.web.api.paging import paged, read_after
from tidemill.web.api.providers import check_payload
from tidemill.web.api.queries import SyncJobQuery
from tidemill.web.api.refusals import forbidden, not_found
from tidemill.web.api.route import PREFIX, Handler, Route
from tidemill.web.api.rows import given, locked, stored_object, struct_of
from tidemill.web.api.schedules import company_zone

__all__ = ["SyncJobRoutes"]

_SQL = Statements("tidemill.web.api.sql")
_BY_ID = tuple[Literal["sync-jobs"], UUID]
_OPEN = ("queued", "running")
_DISABLED = "It is disabled; resume it first."
_ACTIONS = {
    "run": "Ask for a run now (admins); a run that is open already is answered as it is",
    "pause": "Stop it from firing (admins)",
    "resume": "Let it fire again, also after it was disabled (admins)",
    "cancel": "Cancel its open runs (admins)",
}


class SyncJobRoutes:
    """Sync jobs of the caller's company."""

    def __init__(self, job_types: Mapping[str, JobType]) -> None:
        self._job_types = job_types

    async def list(self, conn: Connection, call: Call) -> Answer:
        """By id."""
        query: SyncJobQuery = call.query
        after = read_after(query.after, _BY_ID)
        statement = _SQL.job_list_open if query.status in _OPEN else _SQL.job_list
        rows = await conn.fetch(statement, query.connector_id, query.status, after and after[1], query.limit + 1)
        return paged([struct_of(SyncJob, row) for row in rows], query.limit, lambda item: ("sync-jobs", item.id))

    async def get(self, conn: Connection, call: Call) -> Answer:
        """One."""
        row = await conn.fetchrow(_SQL.job_get, call.id)
        if row is None:
            raise not_found()
        return _told(struct_of(SyncJob, row))

    async def create(self, conn: Connection, call: Call) -> Answer:
        """A new one, planned by the next tick."""
        new: SyncJobNew = call.body
        check_payload(self._job_types, new.job_type, new.payload)
        read_schedule(new.schedule, await company_zone(conn))
        row = await conn.fetchrow(
            _SQL.job_insert, new.connector_id, new.job_type, new.name, new.payload, new.schedule, new.priority
        )
        if row is None:
            raise forbidden()
        made = struct_of(SyncJob, row)
        return Answer(made, {"Location": f"{PREFIX}/sync-jobs/{made.id}", **etag(made.version)})

    async def change(self, conn: Connection, call: Call) -> Answer:
        """Replace what is given; the rest stays."""
        change: SyncJobChange = call.body
        before = struct_of(SyncJob, await locked(conn, call, lock=_SQL.job_lock, look=_SQL.job_get))
        call.must_match(before.version)
        job_type, payload, schedule = given(change.job_type), given(change.payload), given(change.schedule)
        if job_type is not None or payload is not None:
            held = payload if payload is not None else stored_object("payload", before.payload)
            check_payload(self._job_types, job_type or before.job_type, held)
        if schedule is not None:
            read_schedule(schedule, await company_zone(conn))
        row = await conn.fetchrow(
            _SQL.job_update,
            call.id,
            given(change.connector_id),
            job_type,
            change.name is not UNSET,
            given(change.name),
            payload,
            schedule,
            given(change.priority),
        )
        if row is None:
            raise forbidden()
        return _told(struct_of(SyncJob, row))

    async def delete(self, conn: Connection, call: Call) -> Answer:
        """With its runs."""
        before = await locked(conn, call, lock=_SQL.job_lock, look=_SQL.job_get)
        call.must_match(before["version"])
        if not await conn.fetchval(_SQL.job_delete, call.id):
            raise forbidden()
        return Answer(None)

    def control(self, action: str) -> Handler:
        """The handler of one of run, pause, resume and cancel."""

        async def handle(conn: Connection, call: Call) -> Answer:
            try:
                row = await conn.fetchrow(_SQL.job_control, call.id, action)
            except asyncpg.PostgresError as error:
                if (
                    getattr(error, "sqlstate", None) == "TM003"
                ):  # the action is one that it knows, so what it refuses is the job's state
                    raise problem("CONFLICT", _DISABLED, field="status", message=_DISABLED) from None
                raise
            if row is None:
                raise not_found()
            done = struct_of(Control, row)
            return Answer(done, {"Location": f"{PREFIX}/runs/{done.run_id}"} if done.run_id else {})

        return handle

    def routes(self) -> list[Route]:
        """Its part of the table."""
        one = "/sync-jobs/{id}"
        controls = [
            Route(
                method="POST",
                path=f"{one}/{action}",
                name=f"{action}SyncJob",
                summary=summary,
                handler=self.control(action),
                gives=Control,
                status=202 if action in ("run", "cancel") else 200,
                keeps=True,
                codes=("FORBIDDEN", "CONFLICT"),
            )
            for action, summary in _ACTIONS.items()
        ]
        return [
            Route(
                method="GET",
                path="/sync-jobs",
                name="listSyncJobs",
                summary="The company's sync jobs",
                handler=self.list,
                query=SyncJobQuery,
                gives=Page[SyncJob],
            ),
            Route(
                method="POST",
                path="/sync-jobs",
                name="createSyncJob",
                summary="Make a sync job (admins)",
                handler=self.create,
                takes=SyncJobNew,
                gives=SyncJob,
                status=201,
                keeps=True,
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            Route(method="GET", path=one, name="getSyncJob", summary="A sync job", handler=self.get, gives=SyncJob),
            Route(
                method="PATCH",
                path=one,
                name="changeSyncJob",
                summary="Replace fields of a sync job (admins); it is planned anew",
                handler=self.change,
                takes=SyncJobChange,
                gives=SyncJob,
                if_match="must",
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            Route(
                method="DELETE",
                path=one,
                name="deleteSyncJob",
                summary="Delete a sync job and its runs (admins)",
                handler=self.delete,
                status=204,
                if_match="may",
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            *controls,
        ]


def _told(job: SyncJob) -> Answer:
    return Answer(job, etag(job.version))
