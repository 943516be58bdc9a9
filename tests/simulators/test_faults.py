from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.simulators.conftest import METRICS, Client
from tidemill.simulators.threads import Fault, FaultError


def arm(client: Client, **rule: Any) -> None:
    client.sim.faults.add([msgspec.convert(rule, Fault)])


@pytest.mark.parametrize(
    ("knob", "statuses"),
    [
        ("documented", {190: 400, 100: 400, 10: 403, 200: 403, 4: 403, 17: 403, 32: 403, 613: 403, 80002: 403, 2: 500}),
        ("all_400", {190: 400, 4: 400, 1: 400}),
        ("all_403", {190: 403, 4: 403, 1: 403}),
        ("all_429", {190: 429, 4: 429, 1: 429}),
        ("all_500", {190: 500, 4: 500, 100: 500}),
    ],
)
async def test_the_status_of_errors_follows_the_knob(
    client: Client, token: str, knob: str, statuses: dict[int, int]
) -> None:
    client.sim.turn(status=knob)
    for code, status in statuses.items():
        client.sim.faults.clear()
        arm(client, endpoint="me", error={"code": code, "subcode": 99, "is_transient": True, "message": "as told"})
        reply = await client.get("/v1.0/me", token)
        assert (reply.status, reply.code) == (status, (code, 99))
        assert reply.error["is_transient"] is True
        assert reply.error["message"] == "as told"


async def test_a_single_codes_status_and_a_rules_own_status_win(client: Client, token: str) -> None:
    client.sim.turn(status="all_400", status_by_code={190: 401})
    arm(client, endpoint="me", call=1, error={"code": 190})
    arm(client, endpoint="me", call=2, error={"code": 190, "status": 503})
    assert [(await client.get("/v1.0/me", token)).status for _ in range(3)] == [401, 503, 200]


async def test_rules_choose_by_endpoint_user_post_and_call(client: Client, token: str) -> None:
    first, second = client.sim.accounts[:2]
    other = client.sim.issue_token(second).text
    poison = first.post(50).id
    arm(client, endpoint="post_insights", post=poison, error={"code": 100, "subcode": 33})
    arm(client, endpoint="posts", user=second.username, error={"code": 17})
    arm(client, endpoint="account_insights", user=first.id, call=[2, 3], error={"code": 2})
    arm(client, endpoint="me", times=1, error={"code": 1})

    async def insights(post: str) -> int:
        return (await client.get(f"/v1.0/{post}/insights", token, metric=METRICS)).status

    assert [await insights(poison), await insights(first.post(51).id), await insights(poison)] == [400, 200, 400]
    assert (await client.get(f"/v1.0/{poison}", token)).status == 200
    assert (await client.get("/v1.0/me/threads", token)).status == 200
    assert (await client.get("/v1.0/me/threads", other)).code == (17, None)
    window = [(await client.get("/v1.0/me/threads_insights", token, metric="views")).status for _ in range(4)]
    assert window == [200, 500, 500, 200]
    assert [(await client.get("/v1.0/me", t)).status for t in (token, token, other)] == [500, 200, 200]


async def test_the_first_rule_that_fits_decides_and_headers_are_added(client: Client, token: str) -> None:
    arm(client, endpoint="me", error={"code": 4}, headers={"Retry-After": "7", "X-App-Usage": "nonsense"})
    arm(client, endpoint="*", kind="empty")
    reply = await client.get("/v1.0/me", token)
    assert reply.code == (4, None)
    assert reply.headers["Retry-After"] == "7"
    assert reply.headers["X-App-Usage"] == "nonsense"


async def test_answers_that_are_none(client: Client, token: str) -> None:
    whole = (await client.get("/v1.0/me", token)).body
    kinds = ["html_502", "not_json", "empty", "truncated_json", "redirect"]
    for kind in kinds:
        arm(client, endpoint="me", kind=kind, times=1, headers={"X-Kind": kind})
    replies = [await client.get("/v1.0/me", token) for _ in range(5)]
    html, words, empty, half, elsewhere = replies
    assert [reply.headers["X-Kind"] for reply in replies] == [
        "html_502",
        "not_json",
        "empty",
        "truncated_json",
        "redirect",
    ]
    assert html.status == 502
    assert b"<html>" in html.body
    assert words.status == 200
    with pytest.raises(msgspec.DecodeError):
        words.json  # noqa: B018
    assert (empty.status, empty.body) == (200, b"")
    assert half.body == whole[: len(whole) // 2]
    assert elsewhere.status == 302
    assert elsewhere.headers["Location"].startswith("http://127.0.0.1:9/")
    assert (await client.get("/v1.0/me", token)).body == whole


async def test_a_huge_body_is_as_long_as_told(client: Client, token: str) -> None:
    arm(client, endpoint="me", kind="huge_body", bytes=3_000_001)
    reply = await client.get("/v1.0/me", token)
    assert len(reply.body) == 3_000_001
    assert "Content-Length" not in reply.headers
    assert len(reply.json["data"]) == 1


async def test_a_reset_breaks_the_connection_and_undoes_nothing(client: Client, token: str) -> None:
    arm(client, endpoint="token.refresh", kind="reset", times=1)
    arm(client, endpoint="token", kind="reset_after_commit", times=1)
    client.sim.turn(old_token_survives_refresh=False)
    query = {"grant_type": "th_refresh_token", "access_token": token}
    with pytest.raises(aiohttp.ClientError):
        await client.get("/refresh_access_token", **query)
    assert (await client.get("/v1.0/me", token)).status == 200
    with pytest.raises(aiohttp.ClientError):
        await client.get("/refresh_access_token", **query)
    assert (await client.get("/v1.0/me", token)).code == (190, 467)


async def test_hanging_calls_end_with_a_reset_or_with_their_client(client: Client, token: str) -> None:
    arm(client, endpoint="me", kind="hang", seconds=0.05, times=1)
    arm(client, endpoint="me", kind="hang", times=1)
    with pytest.raises(aiohttp.ClientError):
        await client.get("/v1.0/me", token)
    with pytest.raises(TimeoutError):
        async with client.session.get(
            client.sim.url + "/v1.0/me", params={"access_token": token}, timeout=aiohttp.ClientTimeout(total=0.2)
        ):
            pass
    assert (await client.get("/v1.0/me", token)).status == 200


async def test_a_slow_body_arrives_in_the_end(client: Client, token: str) -> None:
    whole = (await client.get("/v1.0/me", token)).body
    arm(client, endpoint="me", kind="slow_body", seconds=0.2)
    async with client.session.get(client.sim.url + "/v1.0/me", params={"access_token": token}) as response:
        first = await response.content.readany()
        assert 0 < len(first) < len(whole)
        assert first + await response.read() == whole


async def test_stopping_does_not_wait_for_hanging_calls(client: Client, token: str) -> None:
    arm(client, endpoint="me", kind="slow_body", seconds=3600)
    arm(client, endpoint="*", kind="hang", seconds=3600)
    query = {"access_token": token}
    async with client.session.get(client.sim.url + "/v1.0/me", params=query) as response:
        await response.content.readany()
        hanging = asyncio.ensure_future(client.get("/v1.0/me/threads", token))
        while not client.sim.calls.of("posts"):
            await asyncio.sleep(0.005)
        await client.sim.stop()
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    with pytest.raises(aiohttp.ClientError):
        await hanging


async def test_errors_of_the_code_exchange_are_flat(client: Client) -> None:
    arm(client, endpoint="token.code", error={"code": 1, "status": 500, "message": "later"})
    reply = await client.post("/oauth/access_token", code="x")
    assert reply.status == 500
    assert reply.json["error_message"] == "later"


@pytest.mark.parametrize(
    "rule",
    [
        {"endpoint": "me"},
        {"kind": "reset", "error": {"code": 1}},
        {"kind": "explode"},
        {"endpoint": "nowhere", "kind": "reset"},
        {"endpoint": "me", "kind": "reset", "when": "now"},
    ],
)
async def test_wrong_rules_are_refused(client: Client, rule: dict[str, Any]) -> None:
    reply = await client.control("POST", "faults", rule)
    assert reply.status == 400
    assert reply.json["error"]
    assert not client.sim.faults


async def test_rules_by_the_control_door(client: Client, token: str) -> None:
    rules = [{"endpoint": "me", "call": [1, 2], "error": {"code": 190, "subcode": 463}}, {"kind": "empty", "times": 0}]
    assert (await client.control("POST", "faults", rules)).json == {"rules": 2}
    assert [(await client.get("/v1.0/me", token)).status for _ in range(3)] == [400, 400, 200]
    first, second = (await client.control("GET", "faults")).json
    assert (first["met"], first["fired"]) == (3, 2)
    assert (second["met"], second["fired"]) == (3, 0)
    await client.control("DELETE", "faults")
    assert (await client.control("GET", "faults")).json == []


def test_rules_are_plain_values() -> None:
    fault = Fault(endpoint="posts", error=FaultError(code=4))
    assert msgspec.convert(msgspec.to_builtins(fault), Fault) == fault
