"""``POST /functions/v1/{sync-posts,sync-metrics,sync-account-insights}``: a step of an account, for its editors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler

from tidemill.postgres import Database, Statements, tenant_session
from tidemill.sync import Step, TokenExpired
from tidemill.web.bearer import bearer_of
from tidemill.web.edge import note, request_id
from tidemill.web.functions.door import SyncDoor
from tidemill.web.functions.inputs import only_id_of, read_object, wait_of
from tidemill.web.functions.runs import Runs
from tidemill.web.jwt import User, Verifier
from tidemill.web.problems import Problem
from tidemill.web.rate_limit import RateLimit, count_call

__all__ = ["ENDPOINTS", "ManualSync"]

ACCOUNT_FIELD = "workspace_threads_account_id"

_SQL = Statements("tidemill.web.functions.sql")


ENDPOINTS: Mapping[str, tuple[Step, RateLimit]] = MappingProxyType(
    {
        "sync-posts": ("sync_posts", RateLimit(10)),
        "sync-metrics": ("sync_metrics", RateLimit(5)),
        "sync-account-insights": ("sync_account_insights", RateLimit(10)),
    }
)
"""Endpoint → the step it runs and how often a user may ask for it."""


class ManualSync:
    """Starts one step of an account for a joined owner or editor of its workspace."""

    def __init__(self, db: Database, sync: SyncDoor, runs: Runs, verifier: Verifier | None) -> None:
        self._db = db
        self._sync = sync
        self._runs = runs
        self._verifier = verifier

    def endpoint(self, name: str) -> Handler:
        """The handler of one of :data:`ENDPOINTS`."""
        step, limit = ENDPOINTS[name]

        async def post(request: web.Request) -> web.Response:
            user = await self._user(request)
            seconds = wait_of(request)
            account_id = only_id_of(await read_object(request), ACCOUNT_FIELD)
            note(request, account_id=str(account_id))
            await count_call(self._db, f"functions:{name}:{user.id}", limit)
            await self._require_editor(user, account_id)
            # The key holds the user's id, so that nobody can hit another's run with a request id he has seen.
            key = f"user:{user.id}:{request_id(request)}"
            try:
                triggered = await self._sync.trigger_manual(account_id, step, user_id=user.id, request_key=key)
            except TokenExpired as error:
                raise Problem(400, "TOKEN_EXPIRED", "The account's access has expired; connect it again.") from error
            return await self._runs.answer(request, triggered, seconds)

        return post

    async def _user(self, request: web.Request) -> User:
        if self._verifier is None:
            raise Problem(501, "NOT_CONFIGURED", "This server does not accept user tokens.")
        user = await self._verifier.user(bearer_of(request))
        note(request, user_id=str(user.id))
        return user

    async def _require_editor(self, user: User, account_id: UUID) -> None:
        async with tenant_session(self._db, user.claims) as conn:
            access = await conn.fetchrow(_SQL.account_access, account_id)
        if access is None:
            raise Problem(404, "ACCOUNT_NOT_FOUND", "There is no such account.")
        if not access["may_sync"]:
            raise Problem(403, "FORBIDDEN", "Only owners and editors of the workspace may start a sync.")
