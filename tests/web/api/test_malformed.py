"""Nonsense of every kind is the caller's problem, never ours: 4xx, in the form of a problem, and nothing is written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest

from tests.web.api.world import Client, Company, api_of
from tests.web.support import bearer
from tidemill.postgres import Database

ROUTES = [route for route in api_of().routes if route.path not in ("/providers",)]
VALID: dict[str, dict[str, Any]] = {
    "createConnector": {"provider": "shop", "config": {"shop": "x"}, "name": "n"},
    "changeConnector": {"name": "n", "config": {"shop": "x"}},
    "setCredentials": {"secrets": {"token": "x"}},
    "createSyncJob": {"connector_id": "", "job_type": "sync", "schedule": {"cron": "* * * * *"}, "payload": {}},
    "changeSyncJob": {"schedule": {"every": "1h"}, "priority": 3},
    "previewSchedule": {"schedule": {"cron": "* * * * *"}, "count": 3},
}
ODD: list[Any] = [
    None,
    True,
    -1,
    1.5,
    10**30,
    [],
    [[[]]],
    {"": {}},
    "",
    "\0",
    "\x7f\u2028\U0001f300",
    "x" * 5000,
    "'; drop table public.sync_jobs; --",
    {"$ref": "#"},
]
BOUNDED = 500
WHOLE = 10_000


def nonsense_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(200))


def torn(chance: random.Random, text: bytes) -> bytes:
    """A valid document with a piece cut out, doubled or overwritten, so that it is none any more or an odd one."""
    at, length = chance.randrange(len(text)), chance.randrange(1, 8)
    filler = chance.choice([b"", b"\0", b'"', b"{", b"1e999", b"\xff", b"\\ud800", text[at : at + length] * 2])
    return text[:at] + filler + text[at + length :]


def odd_field(chance: random.Random, body: dict[str, Any]) -> bytes:
    changed = dict(body)
    changed[chance.choice([*body, "unknown", "company_id"])] = chance.choice(ODD)
    return msgspec.json.encode(changed)


def bad_token(chance: random.Random, token: str) -> str:
    head, claims, signature = token.split(".")
    at = chance.randrange(len(claims))
    ways: list[Callable[[], str]] = [
        lambda: token[: chance.randrange(len(token))],
        lambda: f"{head}.{claims[:at]}{'A' if claims[at] != 'A' else 'B'}{claims[at + 1 :]}.{signature}",
        lambda: f"{head}.{claims}.",
        lambda: f"{claims}.{head}.{signature}",
        lambda: token + "." + token,
        lambda: "".join(chance.choice("abc.-_=~ \t") for _ in range(40)),
        lambda: "x" * 6000,
    ]
    return chance.choice(ways)()


def bad_id(chance: random.Random) -> str:
    some = [
        "0",
        "-1",
        "null",
        "%00",
        "..%2f..",
        "%ff",
        "a" * 300,
        "%27%20or%201=1",
        "{id}",
        f"{chance.getrandbits(128):x}",
    ]
    return chance.choice(some)


async def once(client: Client, company: Company, chance: random.Random) -> None:
    """One malformed request of any kind to any route."""
    route = chance.choice(ROUTES)
    body = VALID.get(route.name)
    kinds = ["token", "query"] + (["id"] if "{id}" in route.path else []) + (["body"] * 3 if body else [])
    kind = chance.choice(kinds)
    assert client.token
    headers = {**bearer(client.token), "If-Match": "*", "Content-Type": "application/json"}
    rows = {"connectors": company.connector, "sync-jobs": company.job, "runs": company.run}
    row = str(rows.get(route.path.split("/")[1], company.notification))
    data: bytes | None = None
    query = ""
    if body:
        whole = {**body, **({"connector_id": str(company.connector)} if "connector_id" in body else {})}
        data = msgspec.json.encode(whole)
    if kind == "token":
        headers |= bearer(bad_token(chance, client.token))
    elif kind == "query":
        name = chance.choice(["limit", "after", "nothing", "status", "stream", "changed_since", "\udcff", ""])
        query = f"?{quote(name, errors='surrogateescape')}={quote(str(chance.choice(ODD[1:]))[:2000] + chr(0))}"
    elif kind == "id":
        row = bad_id(chance)
    elif data:
        wrong = chance.choice(
            [lambda: nonsense_bytes(chance), lambda: torn(chance, data), lambda: odd_field(chance, whole)]
        )
        data = wrong()
    url = "/api/v1" + route.path.replace("{id}", row) + query
    try:
        async with client.session.request(route.method, url, headers=headers, data=data) as response:
            raw = await response.read()
    except (ValueError, aiohttp.ClientError):
        assert kind in ("token", "id", "query")  # aiohttp's client will not even send it
        return
    assert response.status < 500, (route.name, kind, url, data, raw)
    if kind == "body":
        # Torn by chance it may still be good, and an odd value in payload or config is the tenant's own.
        assert response.status in (200, 201, 400, 404, 409, 413, 422), (route.name, data, raw)
    else:
        assert 400 <= response.status < 500, (route.name, kind, url, raw)
    if response.status >= 400 and raw and response.content_type != "text/plain":
        assert response.content_type == "application/problem+json", raw


async def storm(client: Client, company: Company, count: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(count // 4):
        await asyncio.gather(*(once(client, company, chance) for _ in range(4)))


async def test_malformed_requests_are_the_callers_problem(admin: Client, company: Company) -> None:
    await storm(admin, company, BOUNDED, seed=1)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
async def test_ten_thousand_malformed_requests_are_the_callers_problem(
    admin: Client, company: Company, db: Database, seed: int
) -> None:
    await storm(admin, company, WHOLE // 4, seed=seed)
