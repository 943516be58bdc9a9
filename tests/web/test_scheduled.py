from __future__ import annotations

import asyncio
import gzip
import socket
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
import pytest

from tests.web.support import (
    BEARER,
    CRON_SECRET,
    StandInDoor,
    UntouchableDatabase,
    error_of,
    finished_door,
    functions,
    settings_of,
    token_of,
)
from tidemill.errors import ConfigurationError, DatabaseUnavailable
from tidemill.postgres import Database
from tidemill.sync import Triggered
from tidemill.web.functions import build_functions, serve

URL = "/functions/v1/scheduled-sync"


ATTACKS = {
    "missing": None,
    "empty": "",
    "scheme only": "Bearer",
    "scheme and space": "Bearer ",
    "no scheme": CRON_SECRET,
    "lower-case scheme": f"bearer {CRON_SECRET}",
    "upper-case scheme": f"BEARER {CRON_SECRET}",
    "other scheme": f"Basic {CRON_SECRET}",
    "doubled scheme": f"Bearer Bearer {CRON_SECRET}",
    "two spaces": f"Bearer  {CRON_SECRET}",
    "tab": f"Bearer\t{CRON_SECRET}",
    "comma": f"Bearer,{CRON_SECRET}",
    "no space": f"Bearer{CRON_SECRET}",
    "upper-case secret": f"Bearer {CRON_SECRET.upper()}",
    "differently-cased letter": f"Bearer {CRON_SECRET[0].upper()}{CRON_SECRET[1:]}",
    "another secret": "Bearer another-secret-of-good-length",
    "prefix": f"Bearer {CRON_SECRET[:-1]}",
    "longer": f"Bearer {CRON_SECRET}x",
    "secret and more": f"Bearer {CRON_SECRET} x",
    "in a list": f"Bearer x, Bearer {CRON_SECRET}",
    "look-alike letter": f"Bearer {CRON_SECRET.replace('a', 'а')}",  # a Cyrillic one
    "a user's token": f"Bearer {token_of(uuid4())}",
    "very long": f"Bearer {'x' * 8000}",
}


@pytest.mark.parametrize("authorization", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_request_without_exactly_the_secret_gets_401_before_any_database_work(
    authorization: str | None,
) -> None:
    db, door = UntouchableDatabase(), StandInDoor()
    headers = {} if authorization is None else {"Authorization": authorization}
    # Even a body and a query that are wrong are not looked at before the secret.
    async with functions(db, door) as client, client.post(f"{URL}?wait=x", data=b"{", headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert await error_of(response) == "UNAUTHORIZED"
        assert CRON_SECRET not in await response.text()
    assert not db.touched
    assert not door.triggered


async def _raw(client_url: str, lines: list[bytes]) -> bytes:
    host, port = client_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port.rstrip("/")))
    writer.write(b"\r\n".join([f"POST {URL} HTTP/1.1".encode(), b"Host: x", b"Connection: close", *lines, b"", b""]))
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer.split(b"\r\n", 1)[0]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Authorization: Bearer \xff\xfe\xff"], b"401"),
        ([b"Authorization: Bearer " + CRON_SECRET.encode(), b"Authorization: Bearer x"], b"401"),
        ([b"Authorization: Bearer x", b"Authorization: Bearer " + CRON_SECRET.encode()], b"401"),
        ([b"Authorization: Bearer " + b"x" * 100_000], b"400"),
        ([b"Authorization: Bearer " + CRON_SECRET.encode() + b"\x00"], b"400"),
    ],
    ids=["not utf-8", "right one first", "right one last", "longer than any header", "NUL"],
)
async def test_raw_headers_no_client_library_would_send_are_refused(lines: list[bytes], status: bytes) -> None:
    db, door = UntouchableDatabase(), StandInDoor()
    async with functions(db, door) as client:
        assert (await _raw(str(client._base_url), lines)).split()[1] == status
    assert not db.touched
    assert not door.triggered


async def test_white_space_after_the_header_is_http_and_is_not_part_of_the_secret() -> None:
    door = finished_door()
    async with functions(UntouchableDatabase(), door) as client:
        line = b"Authorization: Bearer " + CRON_SECRET.encode() + b"  "
        assert (await _raw(str(client._base_url), [line, b"Content-Length: 0"])).split()[1] == b"200"


async def test_a_401_needs_no_connection_of_a_real_pool(database_url: str) -> None:
    async with (
        await Database.open(database_url, max_size=1) as db,
        db.connection(),  # the pool's only one
        functions(db, StandInDoor()) as client,
        client.post(URL, headers={"Authorization": "Bearer wrong"}) as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_only_post_is_served(method: str) -> None:
    async with (
        functions(UntouchableDatabase(), StandInDoor()) as client,
        client.request(method, URL, headers=BEARER) as response,
    ):
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("body", [b"", b"{}", b" {} \n"])
async def test_a_run_that_ends_in_time_answers_with_the_seeds_body(body: bytes) -> None:
    door = finished_door()
    async with (
        functions(UntouchableDatabase(), door) as client,
        client.post(URL, data=body, headers=BEARER) as response,
    ):
        assert response.status == 200
        answer = await response.json()
    (run_id,) = door.runs
    assert answer == {
        "success": True,
        "run_id": str(run_id),
        "status": "completed",
        "started_at": "2026-01-02T03:15:00Z",
        "completed_at": "2026-01-02T03:15:00Z",
        "total_accounts": 3,
        "success_count": 2,
        "error_count": 0,
        "skipped_count": 1,
        "results": [{"account_id": "a", "status": "completed"}],
    }
    assert door.waits == [2.0]


@pytest.mark.parametrize(("status", "success"), [("completed", True), ("partial", False), ("failed", False)])
async def test_success_is_claimed_only_for_a_completed_run(status: str, success: bool) -> None:
    door = finished_door(ends_as=status)
    async with functions(UntouchableDatabase(), door) as client, client.post(URL, headers=BEARER) as response:
        assert response.status == 200
        answer = await response.json()
    assert (answer["success"], answer["status"]) == (success, status)


async def test_an_overlapping_tick_is_told_that_it_was_skipped() -> None:
    locked_until = datetime(2026, 1, 2, 3, 20, tzinfo=UTC)
    door = StandInDoor(answer=Triggered(uuid4(), skipped=True, reason="already_running", locked_until=locked_until))
    async with functions(UntouchableDatabase(), door) as client, client.post(URL, headers=BEARER) as response:
        assert response.status == 200
        assert await response.json() == {
            "success": True,
            "skipped": True,
            "reason": "already_running",
            "locked_until": "2026-01-02T03:20:00Z",
        }
    assert not door.waits


async def test_a_run_that_goes_on_answers_202_with_where_to_ask() -> None:
    door = StandInDoor()
    async with functions(UntouchableDatabase(), door) as client:
        async with client.post(f"{URL}?wait=0", headers=BEARER) as response:
            assert response.status == 202
            answer = await response.json()
            (run_id,) = door.runs
            status_url = f"/functions/v1/runs/{run_id}"
            assert answer == {"run_id": str(run_id), "status": "running", "status_url": status_url}
            assert response.headers["Location"] == status_url
        async with client.get(status_url, headers=BEARER) as response:
            assert response.status == 200
            state = await response.json()
            assert (state["status"], state["success"], state["completed_at"]) == ("running", None, None)
        door.finished.set()
        async with client.get(status_url, headers=BEARER) as response:
            state = await response.json()
            assert (state["status"], state["success"]) == ("completed", True)


async def test_the_wait_ends_as_soon_as_the_run_does() -> None:
    door = StandInDoor()
    async with functions(UntouchableDatabase(), door) as client:
        request = asyncio.create_task(client.post(f"{URL}?wait=55", headers=BEARER))
        await asyncio.wait_for(door.waiting.wait(), 30)
        door.finished.set()
        async with await asyncio.wait_for(request, 30) as response:
            assert response.status == 200
    assert door.waits == [55.0]


@pytest.mark.parametrize(
    "wait", ["-1", "56", "55.1", "abc", "", "nan", "inf", "1e1", "0x1", "٣", " 1", "1&wait=2", "1_0"]
)
async def test_a_wait_that_is_not_0_to_55_seconds_is_refused(wait: str) -> None:
    door = StandInDoor()
    async with (
        functions(UntouchableDatabase(), door) as client,
        client.post(f"{URL}?wait={wait}", headers=BEARER) as response,
    ):
        assert response.status == 400
        assert await error_of(response) == "INVALID_WAIT"
    assert not door.triggered


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"batch_size": 5}', "batch_size"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"x"', "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 60_000, "body"),
        (b'{"a":' * 10_000, "body"),
    ],
)
async def test_a_body_with_anything_in_it_is_refused_by_name(body: bytes, field: str) -> None:
    door = StandInDoor()
    async with (
        functions(UntouchableDatabase(), door) as client,
        client.post(URL, data=body, headers=BEARER) as response,
    ):
        assert response.status == 400
        assert await error_of(response) == "INVALID_BODY"
        assert (await response.json())["error"]["message"].startswith(f"{field}: ")
    assert not door.triggered


async def test_a_body_over_64_kb_is_refused_also_when_it_comes_compressed() -> None:
    door = StandInDoor()
    bomb = gzip.compress(b" " * 50_000_000)  # 49 KB on the wire
    async with functions(UntouchableDatabase(), door) as client:
        async with client.post(URL, data=b" " * 70_000, headers=BEARER) as response:
            assert response.status == 413
            assert await error_of(response) == "REQUEST_ENTITY_TOO_LARGE"
        async with client.post(URL, data=bomb, headers={**BEARER, "Content-Encoding": "gzip"}) as response:
            assert response.status in (400, 413)
    assert not door.triggered


async def test_the_request_id_becomes_the_runs_key() -> None:
    door = finished_door()
    async with (
        functions(UntouchableDatabase(), door) as client,
        client.post(URL, headers={**BEARER, "X-Request-Id": "tick-7"}) as response,
    ):
        assert response.headers["X-Request-Id"] == "tick-7"
    assert door.triggered == [{"trigger": "http", "request_key": "cron:tick-7"}]


async def test_a_lost_database_is_a_503_without_details() -> None:
    door = StandInDoor(answer=DatabaseUnavailable("postgresql://boss:hunter2@db/x"))
    async with functions(UntouchableDatabase(), door) as client, client.post(URL, headers=BEARER) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert await error_of(response) == "UNAVAILABLE"
        assert "hunter2" not in await response.text()


async def test_the_state_of_a_run_needs_the_secret() -> None:
    db, door = UntouchableDatabase(), StandInDoor()
    async with functions(db, door) as client:
        for authorization in ("", "Bearer x", f"bearer {CRON_SECRET}"):
            async with client.get(
                f"/functions/v1/runs/{uuid4()}", headers={"Authorization": authorization}
            ) as response:
                assert response.status == 401
        async with client.get(f"/functions/v1/runs/{uuid4()}", headers=BEARER) as response:
            assert response.status == 404
            assert await error_of(response) == "RUN_NOT_FOUND"
        async with client.get("/functions/v1/runs/1", headers=BEARER) as response:
            assert response.status == 400
            assert await error_of(response) == "INVALID_ID"
    assert not db.touched


async def test_a_run_skipped_as_a_whole_says_so_and_why() -> None:
    door = finished_door(ends_as="skipped")
    async with functions(UntouchableDatabase(), door) as client, client.post(URL, headers=BEARER) as response:
        answer = await response.json()
    assert (answer["success"], answer["status"], answer["skipped"]) == (True, "skipped", True)


@pytest.mark.parametrize("secret", [None, ""])
def test_the_server_refuses_to_start_without_a_secret(secret: str | None) -> None:
    with pytest.raises(ConfigurationError, match="CRON_SECRET"):
        build_functions(settings_of(cron_secret=secret), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]


def test_a_short_secret_will_do_but_in_production() -> None:
    build_functions(settings_of(cron_secret="x" * 15), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="CRON_SECRET"):
        build_functions(settings_of(cron_secret="x" * 15, env="production"), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]
    build_functions(settings_of(cron_secret="x" * 16, env="production"), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]


def test_a_secret_no_header_can_carry_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="white space"):
        build_functions(settings_of(cron_secret=f"{CRON_SECRET}\n"), UntouchableDatabase(), StandInDoor())  # type: ignore[arg-type]


async def test_a_taken_port_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            await serve(settings_of(), UntouchableDatabase(), StandInDoor(), stop=asyncio.Event(), port=port)  # type: ignore[arg-type]


async def test_stopping_answers_those_who_wait_with_the_state_as_it_is() -> None:
    door, stop, urls = StandInDoor(), asyncio.Event(), asyncio.Queue[str]()
    serving = asyncio.create_task(
        serve(settings_of(), UntouchableDatabase(), door, stop=stop, port=0, ready=urls.put_nowait)  # type: ignore[arg-type]
    )
    async with aiohttp.ClientSession(await asyncio.wait_for(urls.get(), 30)) as client:
        request = asyncio.create_task(client.post(f"{URL}?wait=55", headers=BEARER))
        await asyncio.wait_for(door.waiting.wait(), 30)
        stop.set()
        async with await asyncio.wait_for(request, 30) as response:
            assert response.status == 202
    await asyncio.wait_for(serving, 30)
    assert door.waits == [55.0, 0]
