"""The HTTP connector passes the suite that other connectors are held to, over every kind of paging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from aiohttp import web

from tests.connectors.rest_server import TOKEN, RestServer
from tidemill.connectors import Connector, Egress, Window
from tidemill.connectors.http_json import HttpJsonConnector
from tidemill.testing.connector_suite import ConnectorSuite, Trouble, World

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 45
SIZE = 8

_CHANGED = {"field": "changed", "parameter": "since"}
_WINDOW = {"since": "from", "until": "to"}
_SIZE = {"size": SIZE, "size_parameter": "limit"}
_NOTES: dict[str, Any] = {"key": ["id"], "deleted": "gone"}
STREAMS: dict[str, dict[str, Any]] = {
    "all": {"path": "all/notes", **_NOTES},
    "page": {
        "path": "page/notes",
        "records": "data.items",
        "paging": {"kind": "page", **_SIZE, "end": "short"},
        **_NOTES,
    },
    "offset": {
        "path": "offset/notes",
        "paging": {
            "kind": "page",
            "counts": "records",
            "first": 0,
            "parameter": "skip",
            "size_parameter": "limit",
            "size": SIZE,
        },
        "cursor": _CHANGED,
        **_NOTES,
    },
    "cursor": {
        "path": "cursor/notes",
        "records": "items",
        "paging": {
            "kind": "cursor",
            "path": "meta.next",
            "parameter": "after",
            "size_parameter": "limit",
            "size": SIZE,
        },
        "cursor": {**_CHANGED, "order": "ascending"},
        "window": _WINDOW,
        **_NOTES,
    },
    "link": {
        "path": "/link/notes",
        "paging": {"kind": "link", **_SIZE},
        "cursor": _CHANGED,
        "window": _WINDOW,
        **_NOTES,
    },
    "log": {
        "path": "link/events",
        "paging": {"kind": "link", **_SIZE},
        "cursor": {**_CHANGED, "initial": "2025-01-01"},
    },
}
_LATER_PAGE = {"page": "1", "skip": "0", "after": "", "at": ""}


class RestWorld(World):
    """Notes with an id, and events without one."""

    def __init__(self, server: RestServer, auth: Mapping[str, Any], streams: Sequence[str], exclusive: bool) -> None:
        self._server = server
        self._auth = auth
        self._streams = streams
        self._exclusive = exclusive
        self._clock = START
        server.exclusive = exclusive
        server.collections = {
            "notes": [{"id": n, "text": f"note {n}", "changed": self._now(n % 3)} for n in range(COUNT)],
            "events": [{"what": f"event {n // 2}", "changed": self._now(n % 2)} for n in range(COUNT)],
        }

    def _now(self, step: int = 1) -> str:
        self._clock += timedelta(seconds=step)
        return self._clock.isoformat()

    @property
    def config(self) -> Mapping[str, Any]:
        streams: list[dict[str, Any]] = [{"name": name, **STREAMS[name]} for name in self._streams]
        if self._exclusive:
            streams = [
                {**stream, "cursor": {**stream["cursor"], "inclusive": False}} if "cursor" in stream else stream
                for stream in streams
            ]
        return {"base_url": f"{self._server.url}/v1", "auth": dict(self._auth), "streams": streams, "max_pages": 50}

    @property
    def secrets(self) -> Mapping[str, str]:
        return {"token": TOKEN}

    def _collection(self, stream: str) -> list[Any]:
        return self._server.collections["events" if stream == "log" else "notes"]

    def truth(self, stream: str, window: Window | None = None) -> Sequence[Mapping[str, Any]]:
        since = (window and window.since) or datetime.min.replace(tzinfo=UTC)
        until = (window and window.until) or datetime.max.replace(tzinfo=UTC)
        good = [record for record in self._collection(stream) if isinstance(record, dict) and "no" not in record]
        return [
            record
            for record in good
            if not record.get("gone") and since <= datetime.fromisoformat(record["changed"]) < until
        ]

    def windows(self, stream: str) -> Sequence[Window]:
        if "window" not in STREAMS[stream]:
            return ()
        middle = START + timedelta(seconds=25)
        return [Window(since=START, until=middle), Window(since=middle), Window(until=middle)]

    async def change(self, stream: str) -> bool:
        records = self._collection(stream)
        if stream != "log":
            records[3] = {**records[3], "text": f"changed at {self._now()}", "changed": self._now()}
            records.append({"id": max(record["id"] for record in records) + 1, "text": "new", "changed": self._now()})
        else:
            records.append({"what": "a new one", "changed": self._now()})
        return True

    async def delete(self, stream: str) -> bool:
        if stream == "log":
            return False
        records = self._collection(stream)
        at = next(n for n, record in enumerate(records) if not record.get("gone"))
        records[at] = {**records[at], "gone": True, "changed": self._now()}
        return True

    async def trouble(self, kind: Trouble | None) -> bool:
        self._server.token = "another-token" if kind is Trouble.BAD_TOKEN else TOKEN
        self._server.script = getattr(self, f"_{kind.value}", None) if kind else None
        if kind is Trouble.BAD_ROWS:
            self._server.collections["notes"] += [
                7,
                None,
                {"no": "id", "changed": self._now()},
                "x",
                [],
                {"no": "time"},
            ]
            self._server.collections["events"] += [7, None]
        return True

    async def _down(self, request: web.Request) -> web.Response | None:
        return web.json_response({"error": f"down, {TOKEN}"}, status=503) if _is_later(request) else None

    async def _slow(self, request: web.Request) -> web.Response | None:
        if _is_later(request):
            await asyncio.sleep(600)
        return None

    async def _wrong_types(self, request: web.Request) -> web.Response | None:
        wrong = {"data": {"items": "none"}, "items": {"id": TOKEN}, "meta": {"next": {"a": 1}}}
        return web.json_response(wrong) if _is_later(request) else None

    async def _endless(self, request: web.Request) -> web.Response | None:
        query = request.query
        if "/cursor/" in request.path and "after" in query:
            return web.json_response({"items": [], "meta": {"next": f"c{int(query['after'][1:]) + 1}"}})
        if "/link/" in request.path and "at" in query:
            return web.json_response([], headers={"Link": f"<{request.rel_url}>; rel=next"})
        if query.get("page", "1") != "1" or query.get("skip", "0") != "0":
            items = [{"id": n, "text": f"note {n}", "changed": START.isoformat()} for n in range(SIZE)]
            return web.json_response({"data": {"items": items}} if "page" in query else items)
        return None

    async def _duplicates(self, request: web.Request) -> web.Response | None:
        """Each page begins with the end of the one before."""
        if "at" in request.query and "again" not in request.query:
            back = str(int(request.query["at"]) - 4)
            clone = request.clone(rel_url=request.rel_url.update_query(at=back, limit=str(SIZE + 4), again="1"))
            answer = await self._server._answer(clone)
            if link := answer.headers.get("Link"):
                answer.headers["Link"] = link.replace("again=1", "").replace(f"limit={SIZE + 4}", f"limit={SIZE}")
            assert isinstance(answer, web.Response)
            return answer
        return None


def _is_later(request: web.Request) -> bool:
    return "/all/" in request.path or any(
        request.query.get(name, first) != first for name, first in _LATER_PAGE.items()
    )


class _Case(ConnectorSuite):
    auth: Mapping[str, Any] = MappingProxyType({"in": "header"})
    streams: Sequence[str] = tuple(STREAMS)
    sort = True
    exclusive = False

    @asynccontextmanager
    async def case(self) -> AsyncGenerator[tuple[Connector, World]]:
        async with RestServer() as server:
            server.sort = self.sort
            world = RestWorld(server, self.auth, self.streams, self.exclusive)
            yield HttpJsonConnector(Egress.of(["127.0.0.1"])), world


class TestEveryPaging(_Case):
    """All streams, the token in a header."""


class TestTokenInTheQuery(_Case):
    """The token stands in URLs, and the provider repeats it in the links to the next page."""

    auth: Mapping[str, Any] = MappingProxyType({"in": "query", "name": "api_key"})
    streams = ("cursor", "link")


class TestExclusiveCursor(_Case):
    """The provider gives only records later than the cursor, several of which have one time."""

    exclusive = True
    streams = ("offset", "cursor")


class TestNewestFirst(_Case):
    """The provider gives the newest records first."""

    sort = False
    streams = ("offset", "link", "log")
