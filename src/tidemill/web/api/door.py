"""The way in and out of every route: who calls, how often, with what; then a tenant's session and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from tidemill.errors import InvalidInput
from tidemill.postgres import Connection, Database, tenant_session
from tidemill.web.api import answers_kept
from tidemill.web.api.answers_kept import Kept
from tidemill.web.api.call import (
    Answer,
    Call,
    accepts_json,
    idempotency_key,
    read_body,
    read_id,
    read_if_match,
    read_query,
    told,
)
from tidemill.web.api.codes import problem
from tidemill.web.api.refusals import refusal
from tidemill.web.api.route import Route
from tidemill.web.bearer import bearer_of
from tidemill.web.edge import extend_deadline, note
from tidemill.web.jwt import User, Verifier
from tidemill.web.rate_limit import RateLimit, count_call

__all__ = ["READING", "READS", "WRITES", "Door"]

READS = RateLimit(600)
"""GETs of one user in a minute."""
WRITES = RateLimit(120)
"""Everything else of one user in a minute."""
READING = MappingProxyType(
    {"enable_sort": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_custom_plan"},
)
"""Settings of GETs. Policies name the company by a function's result, so the planner takes every company for an average
one, and would gather and sort all rows of a large one for the sake of a page: without sorts and bitmaps it reads the
index that has the order. A plan for all parameters would know even less: not which filters are given. Not for writes,
whose triggers and functions sort what is little and has no index in that order."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """Makes handlers of routes. Without a verifier it lets nobody in."""

    db: Database
    verifier: Verifier | None
    reads: RateLimit = READS
    writes: RateLimit = WRITES

    def handler(self, route: Route) -> Handler:
        """The aiohttp handler of a route."""

        async def handle(request: web.Request) -> web.Response:
            user = await self._user(request)
            await self._count(route, user)
            accepts_json(request)
            path = read_id(request)
            raw, body = b"", None
            if route.method != "GET":
                raw, body = await read_body(request, route.takes)
            call = Call(
                user=user,
                url=request.rel_url,
                path=path,
                query=read_query(request, route.query),
                body=body,
                if_match=read_if_match(request, needed=route.if_match == "must") if route.if_match else None,
            )
            key = idempotency_key(request) if route.keeps else None
            if route.waits:
                extend_deadline(request, route.waits)
            try:
                settings: Mapping[str, str] = READING if route.method == "GET" else {}
                async with tenant_session(self.db, user.claims, settings=settings) as conn:
                    if key is None:
                        answer = await route.handler(conn, call)
                    else:
                        asked = answers_kept.digest(request.method, request.rel_url.raw_path_qs, raw)
                        answer = await _once(conn, route, call, key, asked)
                if isinstance(answer, Answer):
                    answer = await _carried_out(route, call, answer)
            except InvalidInput as error:
                raise told(error) from error
            except Exception as error:
                refused = refusal(error)
                if refused is None:
                    raise
                raise refused from error
            return _response(answer)

        return handle

    async def _user(self, request: web.Request) -> User:
        if self.verifier is None:
            raise problem("NOT_CONFIGURED", "This server does not accept user tokens.")
        user = await self.verifier.user(bearer_of(request))
        note(request, user_id=str(user.id))
        return user

    async def _count(self, route: Route, user: User) -> None:
        kind, limit = ("read", self.reads) if route.method == "GET" else ("write", self.writes)
        await count_call(self.db, f"api:{kind}:{user.id}", limit)


async def _carried_out(route: Route, call: Call, answer: Answer) -> Kept:
    body = answer.body if answer.outside is None else await answer.outside()
    headers = dict(answer.headers)
    if answer.after is not None:
        following = call.url.update_query(after=answer.after)
        headers["Link"] = f'<{following.raw_path_qs}>; rel="next"'
    return Kept(route.status, headers, b"" if route.gives is None else msgspec.json.encode(body))


async def _once(conn: Connection, route: Route, call: Call, key: str, asked: bytes) -> Kept:
    """Carry it out and keep the answer, or give the one that was kept. What is refused leaves nothing behind."""
    kept = await answers_kept.begin(conn, call.user.id, key, asked)
    if kept is None:
        kept = await _carried_out(route, call, await route.handler(conn, call))
        await answers_kept.keep(conn, call.user.id, key, kept)
    return kept


def _response(answer: Kept) -> web.Response:
    if not answer.body:
        return web.Response(status=answer.status, headers=answer.headers)
    return web.Response(
        status=answer.status,
        headers=answer.headers,
        body=answer.body,
        content_type="application/json",
        charset="utf-8",
    )
