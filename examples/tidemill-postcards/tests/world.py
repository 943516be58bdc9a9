"""The Postcards API on this machine: known, changeable, and able to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tidemill.connectors import Window
from tidemill.testing.connector_suite import Trouble, World

TOKEN = "pc-5d1f0c77aa"
MOST = 7


class PostcardsWorld(World):
    """An album of thirty postcards. The server gives at most seven at a time, whatever it is asked for."""

    def __init__(self) -> None:
        self.url = ""
        self._rows: list[Any] = [{"id": n, "sequence": n, "text": f"Greetings {n}"} for n in range(1, 31)]
        self._kind: Trouble | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[PostcardsWorld]:
        """With its server."""
        world = cls()
        app = web.Application()
        app.router.add_get("/albums/{album}/postcards", world._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        world.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield world
        finally:
            await runner.cleanup()

    @property
    def config(self) -> Mapping[str, Any]:
        return {"album": "summer"}

    @property
    def secrets(self) -> Mapping[str, str]:
        return {"token": TOKEN}

    def truth(self, stream: str, window: Window | None = None) -> Sequence[Mapping[str, Any]]:
        return [row for row in self._rows if "text" in row and not row.get("deleted")]

    async def change(self, stream: str) -> bool:
        last = len(self._rows)
        self._rows[2] = {**self._rows[2], "text": "Greetings from elsewhere", "sequence": last + 1}
        self._rows.append({"id": last + 1, "sequence": last + 2, "text": "A new one"})
        return True

    async def delete(self, stream: str) -> bool:
        self._rows[4] = {**self._rows[4], "deleted": True, "sequence": len(self._rows) + 1}
        return True

    async def trouble(self, kind: Trouble | None) -> bool:
        self._kind = kind
        if kind is Trouble.BAD_ROWS:
            self._rows += [{"sequence": 31}, {"id": "x", "sequence": 32}]
        return True

    async def _answer(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        if self._kind is Trouble.BAD_TOKEN or shown != f"Bearer {TOKEN}":
            return web.json_response({"message": f"{shown} is not known"}, status=401)
        after = int(request.query["after"])
        limit = min(int(request.query["limit"]), MOST)
        if after and self._kind is Trouble.DOWN:
            return web.json_response({"message": "out of stamps"}, status=503)
        if after and self._kind is Trouble.SLOW:
            await asyncio.sleep(600)
        if after and self._kind is Trouble.WRONG_TYPES:
            return web.json_response({"postcards": {"1": TOKEN}, "more": "perhaps"})
        if self._kind is Trouble.ENDLESS:
            return web.json_response({"postcards": self._rows[:1], "more": True})
        rows = sorted((row for row in self._rows if row["sequence"] > after), key=lambda row: row["sequence"])
        page = rows[:limit]
        if self._kind is Trouble.DUPLICATES:
            page = page[:1] + page + [row for row in self._rows if row["sequence"] == after]
        return web.json_response({"postcards": page, "more": len(rows) > limit})
