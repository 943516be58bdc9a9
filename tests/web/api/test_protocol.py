"""HTTP as it is spoken here: problems, types, keys that make a request safe to repeat, limits."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.web.api.world import MEMBER, Client, Company, api_of, served
from tests.web.support import bearer, token_of
from tidemill.postgres import Database
from tidemill.web.rate_limit import RateLimit

NEW = {"provider": "shop", "config": {"shop": "second"}}
KEY = {"Idempotency-Key": "k-1"}


async def connectors(db: Database, company: Company) -> int:
    return await db.fetchval("select count(*) from public.integration_connectors where company_id = $1", company.id)


async def test_the_same_key_and_body_get_the_same_answer_and_do_nothing_twice(
    admin: Client, company: Company, db: Database
) -> None:
    first = await admin("POST", "/connectors", NEW, headers=KEY)
    again = await admin("POST", "/connectors", NEW, headers=KEY)
    assert (again.status, again.body) == (first.status, first.body)
    assert [again.headers[name] for name in ("ETag", "Location")] == [
        first.headers[name] for name in ("ETag", "Location")
    ]
    assert await connectors(db, company) == 2


async def test_the_same_key_with_another_request_is_refused(admin: Client, company: Company) -> None:
    await admin("POST", "/connectors", NEW, headers=KEY)
    for path, body in (
        ("/connectors", {**NEW, "name": "other"}),
        ("/connectors", {"config": {"shop": "second"}, "provider": "shop"}),
        (f"/sync-jobs/{company.job}/pause", None),
    ):
        reply = await admin("POST", path, body, headers=KEY)
        assert (reply.status, reply.code, reply.fields) == (422, "IDEMPOTENCY_KEY_REUSED", ["Idempotency-Key"])


async def test_requests_of_one_key_at_a_time_are_carried_out_once(
    admin: Client, company: Company, db: Database
) -> None:
    replies = await asyncio.gather(*(admin("POST", "/connectors", NEW, headers=KEY) for _ in range(8)))
    assert {(reply.status, reply.body["id"]) for reply in replies} == {(201, replies[0].body["id"])}
    assert await connectors(db, company) == 2


async def test_a_refused_request_leaves_its_key_free(admin: Client, company: Company) -> None:
    taken = {**NEW, "name": "The shop"}
    assert (await admin("POST", "/connectors", taken, headers=KEY)).code == "CONFLICT"
    await admin("PATCH", f"/connectors/{company.connector}", {"name": "Else"}, headers={"If-Match": "*"})
    assert (await admin("POST", "/connectors", taken, headers=KEY)).status == 201


async def test_keys_are_each_users_and_each_companys_own(
    admin: Client, company: Company, neighbour: Company, db: Database
) -> None:
    await admin("POST", "/connectors", NEW, headers=KEY)
    colleague = token_of(company.member, company_id=str(company.id), app_metadata={"role_keys": ["Vibot.admin"]})
    moved = company.token(company_id=str(neighbour.id))
    for token in (colleague, neighbour.token(), moved):
        assert (await admin.as_(token)("POST", "/connectors", NEW, headers=KEY)).status == 201
    assert (await connectors(db, company), await connectors(db, neighbour)) == (3, 3)


async def test_a_key_counts_for_a_day_and_old_ones_go(admin: Client, company: Company, db: Database) -> None:
    first = await admin("POST", "/connectors", NEW, headers=KEY)
    for n in range(15):
        await admin("POST", f"/sync-jobs/{company.job}/pause", headers={"Idempotency-Key": f"p-{n}"})
    of_company = "select count(*) from tidemill.idempotency_key where company_id = $1"
    try:
        await db.execute("select tidemill.advance_clock('23 hours')")
        assert (await admin("POST", "/connectors", NEW, headers=KEY)).body == first.body
        assert await db.fetchval(of_company, company.id) == 16
        await db.execute("select tidemill.advance_clock('61 minutes')")
        again = await admin("POST", "/connectors", NEW, headers=KEY)
        assert (again.status, again.body["id"] == first.body["id"]) == (201, False)
        await admin("POST", f"/sync-jobs/{company.job}/pause", headers={"Idempotency-Key": "new"})
        await admin("POST", f"/sync-jobs/{company.job}/pause", headers={"Idempotency-Key": "newer"})
        assert await db.fetchval(of_company, company.id) == 3
    finally:
        await db.execute("select tidemill.reset_clock()")


async def test_who_waits_too_long_for_his_own_key_is_told_so(admin: Client, company: Company, db: Database) -> None:
    async with db.transaction() as conn:
        await conn.execute(
            "insert into tidemill.idempotency_key (company_id, user_id, key, request) values ($1, $2, 'k-1', 'r')",
            company.id,
            company.admin,
        )
        reply = await admin("POST", "/connectors", NEW, headers=KEY)
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (409, "IDEMPOTENCY_KEY_BUSY", "1")


@pytest.mark.parametrize("key", ["", "k" * 201, "a b", "ключ"])
async def test_a_key_is_visible_ascii(admin: Client, key: str) -> None:
    reply = await admin("POST", "/connectors", NEW, headers={"Idempotency-Key": key})
    assert (reply.code, reply.fields) == ("INVALID_FIELD", ["Idempotency-Key"])


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON;charset=UTF-8", 201),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_a_body_is_json(admin: Client, content_type: str, status: int) -> None:
    reply = await admin("POST", "/connectors", NEW, headers={"Content-Type": content_type})
    assert reply.status == status


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("text/html, application/xhtml+xml, */*;q=0.8", 200),
        ("application/*", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("application/problem+json", 406),
    ],
)
async def test_answers_are_json_or_none(admin: Client, accept: str, status: int) -> None:
    assert (await admin("GET", "/providers", headers={"Accept": accept})).status == status


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "INVALID_BODY"),
        (b"{", 400, "INVALID_BODY"),
        (b"\xff\xfe", 400, "INVALID_BODY"),
        (b'{"provider": "\xff"}', 400, "INVALID_BODY"),
        (b'{"config": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400, "INVALID_BODY"),
        (b'{"provider": "shop", "config": {"n": ' + b"9" * 5000 + b"}}", 400, "INVALID_BODY"),
        (b"[]", 422, "INVALID_FIELD"),
        (b"null", 422, "INVALID_FIELD"),
        (b'"' + b"x" * 65 * 1024 + b'"', 413, "TOO_LARGE"),
    ],
)
async def test_a_body_that_is_no_object_is_refused(admin: Client, body: bytes, status: int, code: str) -> None:
    reply = await admin("POST", "/connectors", body)
    assert (reply.status, reply.code) in ((status, code), (422, "INVALID_FIELD")), reply


async def test_a_body_where_none_is_taken_is_refused(admin: Client, company: Company) -> None:
    reply = await admin("POST", f"/sync-jobs/{company.job}/pause", {"action": "run"})
    assert (reply.status, reply.code) == (400, "INVALID_BODY")
    compressed = {"Content-Encoding": "gzip"}
    assert (await admin("POST", "/connectors", NEW, headers=compressed)).status in (400, 415)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"provider": "shop", "provider": "http", "config": {"shop": "x"}}', "provider"),
        (b'{"provider": "shop", "config": {"shop": "x", "shop": "y"}}', "shop"),
        (b'{"provider": "shop", "config": {"shop": "x", "\\u0073hop": "y"}}', "shop"),
    ],
    ids=["a field", "within one", "spelt otherwise"],
)
async def test_a_name_that_comes_twice_in_one_object_is_refused(admin: Client, body: bytes, field: str) -> None:
    reply = await admin("POST", "/connectors", body)
    assert (reply.code, reply.fields) == ("INVALID_FIELD", [field])


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_ten_megabytes_is_refused_however_it_comes(admin: Client, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b" " * 65536

    headers = {**bearer(admin.token or ""), "Content-Type": "application/json"}
    data: Any = pieces() if chunked else io.BytesIO(b" " * (10 << 20))
    try:
        async with admin.session.post("/api/v1/connectors", data=data, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (413, "TOO_LARGE")
    except aiohttp.ClientConnectionError:
        pass  # the server closed the connection before all was sent, which is as good
    assert (await admin("GET", "/connectors")).status == 200


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
async def test_other_methods_tell_nothing_but_what_is_allowed(admin: Client, company: Company, method: str) -> None:
    for path, allowed in (
        ("/connectors", {"GET", "POST"}),
        (f"/connectors/{company.connector}", {"GET", "PATCH", "DELETE"}),
        (f"/connectors/{company.connector}/check", {"POST"}),
    ):
        async with admin.session.request(method, "/api/v1" + path, headers=bearer(admin.token or "")) as response:
            assert (response.status, set(response.headers["Allow"].split(","))) == (405, allowed)
            assert str(company.connector) not in await response.text()


async def test_a_kept_answer_is_given_to_nobody_who_has_left_the_company(
    admin: Client, company: Company, neighbour: Company
) -> None:
    """Nor is it told apart that the key was ever used."""
    first = await admin("POST", "/connectors", NEW, headers=KEY)
    elsewhere = admin.as_(company.token(company_id=str(neighbour.id)))
    again = await elsewhere("POST", "/connectors", NEW, headers=KEY)
    assert (again.status, again.body["id"] == first.body["id"]) == (201, False)
    assert (await elsewhere("POST", f"/sync-jobs/{company.job}/run", headers={"Idempotency-Key": "k-2"})).code == (
        "NOT_FOUND"
    )


async def test_unknown_and_repeated_parameters_are_named(admin: Client) -> None:
    assert (await admin("GET", "/connectors?limt=5")).fields == ["limt"]
    assert (await admin("GET", "/connectors?limit=5&limit=6")).fields == ["limit"]
    for limit in ("0", "201", "-1", "x", "1.5", "", "1000000000", "9" * 5000):
        assert (await admin("GET", f"/connectors?limit={limit}")).fields == ["limit"]
    assert (await admin("GET", "/providers?x=1")).fields == ["x"]


@pytest.mark.parametrize("word", ["null", "NULL"])
@pytest.mark.parametrize("asked", ["sync-jobs?status", "sync-jobs?connector_id", "sync-jobs?after", "runs?job_id"])
async def test_the_word_null_is_not_taken_for_a_parameter_that_was_left_out(
    admin: Client, asked: str, word: str
) -> None:
    reply = await admin("GET", f"/{asked}={word}")
    assert (reply.status, reply.fields) == (422, [asked.partition("?")[2]])


async def test_what_is_not_there_is_a_problem_too(admin: Client) -> None:
    for path in ("", "/", "/nothing", "/connectors/", "/connectors/7", "/connectors/%00", "/runs/../runs/x"):
        reply = await admin("GET", path)
        assert (reply.status, reply.code) == (404, "NOT_FOUND")
    reply = await admin("PUT", "/connectors")
    assert (reply.status, reply.code) == (405, "METHOD_NOT_ALLOWED")
    assert set(reply.headers["Allow"].split(",")) == {"GET", "POST"}


@pytest.mark.parametrize(
    "claims",
    [
        {"company_id": "not-a-uuid"},
        {"company_id": ""},
        {"company_id": None},
        {"company_id": 7},
        {"company_id": {"id": 1}},
        {"company_id": str(uuid4())},
        {"app_metadata": {"company_id": "x", "role_keys": ["Vibot.admin"]}, "company_id": None},
    ],
    ids=range(7),
)
async def test_a_token_without_a_company_that_is_there_sees_and_makes_nothing(
    admin: Client, company: Company, claims: dict[str, Any]
) -> None:
    nobody = admin.as_(company.token(**claims))
    for path in ("/connectors", "/sync-jobs", "/runs", "/notifications"):
        assert (await nobody("GET", path)).body == {"items": [], "next": None}
    assert (await nobody("GET", f"/connectors/{company.connector}")).code == "NOT_FOUND"
    assert (await nobody("POST", "/connectors", NEW, headers=KEY)).code == "FORBIDDEN"


@pytest.mark.parametrize(
    "role_keys", ["Vibot.admin", {"Vibot.admin": True}, [["Vibot.admin"]], [], None, ["vibot.admin"], 1], ids=range(7)
)
async def test_odd_role_keys_make_no_admin(admin: Client, company: Company, role_keys: object) -> None:
    odd = admin.as_(company.token(app_metadata={"role_keys": role_keys}))
    assert (await odd("GET", f"/connectors/{company.connector}")).status == 200
    assert (await odd("POST", "/connectors", NEW)).code == "FORBIDDEN"


@pytest.mark.parametrize("claim", ["\0", "\ud800"], ids=["a NUL", "half a surrogate"])
async def test_a_claim_that_postgres_cannot_hold_is_no_token(admin: Client, company: Company, claim: str) -> None:
    reply = await admin.as_(company.token(note=claim))("GET", "/connectors")
    assert (reply.status, reply.code) == (401, "UNAUTHORIZED")


async def test_an_expired_token_says_so(admin: Client, company: Company) -> None:
    late = company.token(exp=int(time.time() - timedelta(minutes=5).total_seconds()))
    reply = await admin.as_(late)("GET", "/connectors")
    assert (reply.status, reply.code, reply.headers["WWW-Authenticate"]) == (401, "JWT_EXPIRED", "Bearer")


async def test_calls_of_a_user_are_counted_reads_apart_from_writes(db: Database, company: Company) -> None:
    async with served(db, api_of(reads=RateLimit(3), writes=RateLimit(1))) as nobody:
        client = nobody.as_(company.token())
        for _ in range(3):
            assert (await client("GET", "/connectors")).status == 200
        refused = await client("GET", "/runs")
        assert (refused.status, refused.code) == (429, "RATE_LIMITED")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await client("POST", "/connectors", NEW)).status == 201
        assert (await client("POST", "/connectors", NEW)).status == 429
        assert (await nobody.as_(company.token(MEMBER))("GET", "/connectors")).status == 200


async def test_browsers_may_send_and_read_what_an_edit_needs(db: Database, company: Company) -> None:
    origin = "https://app.example.com"
    async with served(db, cors_origins=(origin,)) as nobody:
        asked = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
        async with nobody.session.options(f"/api/v1/connectors/{company.connector}", headers=asked) as response:
            allowed = response.headers
        assert {"PATCH", "PUT", "DELETE"} <= set(allowed["Access-Control-Allow-Methods"].split(", "))
        assert {"If-Match", "Idempotency-Key"} <= set(allowed["Access-Control-Allow-Headers"].split(", "))
        headers = {**bearer(company.token()), "Origin": origin}
        async with nobody.session.get("/api/v1/connectors", headers=headers) as response:
            assert {"ETag", "Link", "Location"} <= set(response.headers["Access-Control-Expose-Headers"].split(", "))


async def test_functions_keep_their_own_form_of_errors(admin: Client) -> None:
    async with admin.session.post("/functions/v1/sync-posts", json={}) as response:
        body = await response.json()
    assert (response.status, body.keys()) == (401, {"error"})
