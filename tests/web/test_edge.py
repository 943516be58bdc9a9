from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from tests.web.support import (
    BEARER,
    CRON_SECRET,
    JWT_SECRET,
    UntouchableDatabase,
    bearer,
    error_of,
    finished_door,
    functions,
    token_of,
)
from tidemill.errors import InvalidInput, SchemaOutOfDate, TidemillError
from tidemill.logging import configure
from tidemill.web import edge as edge_module
from tidemill.web.edge import edge, extend_deadline, note, seal_headers
from tidemill.web.serving import serving

SECRET = "postgresql://boss:hunter2@10.0.0.7/db"


@asynccontextmanager
async def serving_handler(handler: Any) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application(middlewares=[edge])
    app.on_response_prepare.append(seal_headers)
    app.router.add_get("/", handler)
    async with serving(app, host="127.0.0.1", port=0) as url, aiohttp.ClientSession(url) as client:
        yield client


@pytest.mark.parametrize("given", ["a", "tick-7", "A_b.c-9", "x" * 64])
async def test_a_fit_request_id_is_kept(given: str) -> None:
    async with (
        functions(UntouchableDatabase(), finished_door()) as client,
        client.get("/healthz", headers={"X-Request-Id": given}) as response,
    ):
        assert response.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a/b", "é", "<script>", "a;b", '"'])
async def test_any_other_request_id_is_replaced(given: str) -> None:
    async with (
        functions(UntouchableDatabase(), finished_door()) as client,
        client.get("/healthz", headers={"X-Request-Id": given}) as response,
    ):
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError(SECRET), 500, "INTERNAL"),
        (TidemillError(SECRET), 500, "INTERNAL"),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), 500, "INTERNAL"),
        (SchemaOutOfDate(SECRET), 503, "UNAVAILABLE"),
        (TimeoutError(SECRET), 504, "TIMEOUT"),
        (InvalidInput("when", "must be a time"), 400, "INVALID_INPUT"),
        (web.HTTPBadRequest(text=SECRET), 400, "BAD_REQUEST"),
        (web.HTTPInternalServerError(reason=SECRET), 500, "INTERNAL_SERVER_ERROR"),
    ],
)
async def test_clients_never_see_the_inside_of_an_error(error: Exception, status: int, code: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise error

    async with serving_handler(handler) as client, client.get("/") as response:
        assert response.status == status
        assert await error_of(response) == code
        assert "hunter2" not in await response.text()
        assert "hunter2" not in str(response.headers)


async def test_an_unexpected_error_is_logged_with_its_traceback_under_the_id_the_client_got() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise RuntimeError("inside")

    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with serving_handler(handler) as client, client.get("/") as response:
            identity = response.headers["X-Request-Id"]
    failure, request = lines
    assert (failure["event"], failure["log_level"]) == ("request failed", "error")
    assert repr(failure["exc_info"]) == "RuntimeError('inside')"
    assert failure["exc_info"].__traceback__ is not None
    assert failure["request_id"] == request["request_id"] == identity


async def test_the_request_line_holds_what_was_noted_and_neither_query_nor_headers() -> None:
    async def handler(request: web.Request) -> web.Response:
        note(request, run_id="r")
        return web.Response()

    with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        async with serving_handler(handler) as client, client.get("/?access_token=THQ-1", headers=BEARER) as response:
            assert response.status == 200
    (line,) = lines
    assert (line["event"], line["method"], line["path"], line["status"], line["run_id"]) == (
        "request",
        "GET",
        "/",
        200,
        "r",
    )
    assert "THQ-1" not in str(line)
    assert "Bearer" not in str(line)


async def test_a_path_cannot_forge_a_log_line() -> None:
    with capture_logs() as lines:
        async with functions(UntouchableDatabase(), finished_door()) as client:
            path = "/x%0A2026%20%5Binfo%5D%20all%20is%20well"
            async with client.get(path) as response:
                assert response.status == 404
                assert await error_of(response) == "NOT_FOUND"
    assert lines[-1]["path"] == path


async def test_a_handler_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_module, "HANDLER_SECONDS", 0.05)
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return web.Response()

    async with serving_handler(handler) as client, client.get("/") as response:
        assert response.status == 504
        assert await error_of(response) == "TIMEOUT"
        assert ended.is_set()


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_module, "HANDLER_SECONDS", 0.05)
    async with functions(UntouchableDatabase(), finished_door()) as client:
        base = client._base_url
        assert base is not None
        reader, writer = await asyncio.open_connection(base.host, base.port)
        lines = ["POST /functions/v1/scheduled-sync HTTP/1.1", "Host: x", *(f"{k}: {v}" for k, v in BEARER.items())]
        writer.write("\r\n".join([*lines, "Content-Length: 2", "", ""]).encode())
        assert (await asyncio.wait_for(reader.readline(), 30)).split()[1] == b"504"
        writer.close()


async def test_a_handler_may_ask_for_the_time_it_was_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_module, "HANDLER_SECONDS", 0.05)

    async def handler(request: web.Request) -> web.Response:
        extend_deadline(request, 60)
        await asyncio.sleep(0.2)
        return web.Response()

    async with serving_handler(handler) as client, client.get("/") as response:
        assert response.status == 200


async def test_no_credential_that_came_in_goes_out_into_the_log_or_an_answer() -> None:
    stream = io.StringIO()
    configure("json", level="debug", stream=stream)
    token = token_of(uuid4())
    door = finished_door(answer=RuntimeError(f"Bearer {CRON_SECRET} https://x/?access_token=THQVJ9"))
    answers: list[str] = []
    try:
        async with functions(UntouchableDatabase(), door) as client:
            for headers in (BEARER, bearer(token), bearer(token[:-2]), {"Authorization": CRON_SECRET}):
                for path in ("/functions/v1/scheduled-sync?token=THQVJ9", "/functions/v1/sync-posts", "/nowhere"):
                    async with client.post(path, headers=headers) as response:
                        answers.append(await response.text())
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers[:] = [
            h for h in logging.getLogger().handlers if "tidemill" not in type(h).__module__
        ]
    written = stream.getvalue()
    assert "request failed" in written
    for secret in (CRON_SECRET, JWT_SECRET, token, token.split(".")[1], "THQVJ9"):
        assert secret not in written
        assert secret not in "".join(answers)


async def test_every_response_is_sealed() -> None:
    async with functions(UntouchableDatabase(), finished_door()) as client:
        for path, status in (("/healthz", 200), ("/nowhere", 404), ("/functions/v1/scheduled-sync", 405)):
            async with client.get(path) as response:
                assert response.status == status
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Server"] == "tidemill"
                assert response.headers["X-Request-Id"]


async def test_stopping_lets_a_request_in_flight_end() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response(text="done")

    app = web.Application(middlewares=[edge])

    async def let_go(app: web.Application) -> None:
        go_on.set()

    app.on_shutdown.append(let_go)
    app.router.add_get("/", handler)
    async with aiohttp.ClientSession() as client:
        async with serving(app, host="127.0.0.1", port=0) as url:
            request = asyncio.create_task(client.get(url))
            await asyncio.wait_for(entered.wait(), 30)
        async with await asyncio.wait_for(request, 30) as response:
            assert await response.text() == "done"
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url)
