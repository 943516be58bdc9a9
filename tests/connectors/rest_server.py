"""A REST API on this machine that pages in every usual way and can be told to misbehave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Script = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers in place of the server, or gives None to let it answer."""

TOKEN = "tok-3f9c2a7e51d84b60"


class RestServer:
    """``/v1/{style}/{collection}``, where style is ``page``, ``offset``, ``cursor``, ``link`` or ``all``.

    ``?since=`` gives records changed at that time or later, ``?from=&to=`` those of a window; sorted by change when
    ``sort`` is on, newest first otherwise.
    """

    def __init__(self) -> None:
        self.collections: dict[str, list[Any]] = {}
        self.calls: list[web.Request] = []
        self.script: Script | None = None
        self.token = TOKEN
        self.sort = True
        self.exclusive = False
        self.most_per_page = 1000
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request)
        if self.script is not None and (said := await self.script(request)) is not None:
            return said
        shown = (request.headers.get("Authorization"), request.query.get("api_key"))
        if shown[0] != f"Bearer {self.token}" and shown[1] != self.token:
            return web.json_response({"error": {"message": f"bad token {shown[0] or shown[1]}"}}, status=401)
        _, version, style, name = request.path.split("/")
        if version != "v1" or name not in self.collections:
            return web.json_response({"message": "no such path"}, status=404)
        return getattr(self, f"_{style}")(request, self._chosen(request, self.collections[name]))

    def _chosen(self, request: web.Request, records: list[Any]) -> list[Any]:
        query = request.query

        def wanted(record: Any) -> bool:
            changed = record.get("changed") if isinstance(record, dict) else None
            if changed is None:
                return True
            time = datetime.fromisoformat(changed)
            since, begin, end = (_time(query.get(name)) for name in ("since", "from", "to"))
            late = since is None or (time > since if self.exclusive else time >= since)
            return late and (begin is None or time >= begin) and (end is None or time < end)

        chosen = [record for record in records if wanted(record)]
        chosen.sort(key=lambda record: str(record.get("changed")) if isinstance(record, dict) else "")
        return chosen if self.sort else chosen[::-1]

    def _size(self, request: web.Request) -> int:
        return min(int(request.query.get("limit", 100)), self.most_per_page)

    def _all(self, request: web.Request, records: list[Any]) -> web.Response:
        return web.json_response(records)

    def _page(self, request: web.Request, records: list[Any]) -> web.Response:
        start = (int(request.query["page"]) - 1) * self._size(request)
        return web.json_response({"data": {"items": records[start : start + self._size(request)]}})

    def _offset(self, request: web.Request, records: list[Any]) -> web.Response:
        start = int(request.query["skip"])
        return web.json_response(records[start : start + self._size(request)])

    def _cursor(self, request: web.Request, records: list[Any]) -> web.Response:
        start = int(request.query.get("after", "c0")[1:])
        end = start + self._size(request)
        following = f"c{end}" if end < len(records) else None
        return web.json_response({"items": records[start:end] or None, "meta": {"next": following}})

    def _link(self, request: web.Request, records: list[Any]) -> web.Response:
        start = int(request.query.get("at", 0))
        end = start + self._size(request)
        headers = {}
        if end < len(records):
            following = request.rel_url.update_query(at=str(end))
            headers["Link"] = f'<{self.url}/v1>; title="a, b"; rel="up", <{following}>; rel="next"'
        return web.json_response(records[start:end], headers=headers)


def _time(text: str | None) -> datetime | None:
    time = datetime.fromisoformat(text) if text else None
    return time.replace(tzinfo=UTC) if time and not time.tzinfo else time
