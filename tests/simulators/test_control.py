"""The virtual clock and the control door."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.simulators.conftest import START, Client
from tidemill.simulators.threads import ThreadsSimulator, VirtualClock
from tidemill.simulators.threads.knobs import Knobs


async def test_the_clock_is_set_advanced_frozen_and_let_go(client: Client) -> None:
    assert (await client.control("GET", "clock")).json == {"now": "2026-11-20T12:00:00+0000", "frozen": True}
    assert (await client.control("POST", "clock", {"advance_s": 900})).json["now"] == "2026-11-20T12:15:00+0000"
    reply = await client.control("POST", "clock", {"set": "2027-01-01T01:00:00+01:00", "freeze": False})
    assert reply.json == {"now": "2027-01-01T00:00:00+0000", "frozen": False}
    assert (await client.control("POST", "clock", {"freeze": True})).json["frozen"] is True
    for wrong in ({"set": "soon"}, {"advance": 5}, {"set": 5}):
        assert (await client.control("POST", "clock", wrong)).status == 400


def test_a_clock_without_an_instant_is_the_machines_and_runs() -> None:
    clock = VirtualClock()
    assert not clock.frozen
    assert abs(clock.now() - datetime.now(UTC).timestamp()) < 60
    assert VirtualClock(START).frozen
    assert not VirtualClock(START, running=True).frozen


async def test_tokens_are_issued_without_the_dialog(client: Client) -> None:
    account = client.sim.accounts[2]
    order = {"user": account.username, "expires_in": 100, "scopes": ["threads_basic"], "issued_ago": 90_000}
    issued = (await client.control("POST", "token", order)).json
    assert issued["user_id"] == account.id
    assert issued["expires_in"] == 100
    token = issued["access_token"]
    refreshed = await client.get("/refresh_access_token", grant_type="th_refresh_token", access_token=token)
    assert refreshed.status == 200
    client.sim.clock.advance(100)
    assert (await client.get("/v1.0/me", token)).code == (190, 463)
    assert (await client.control("POST", "token", {"user": "nobody"})).status == 400


async def test_accounts_and_posts_are_listed(client: Client, token: str) -> None:
    accounts = (await client.control("GET", "accounts")).json
    assert [account["username"] for account in accounts] == [account.username for account in client.sim.accounts]
    assert accounts[0]["posts"] == 60
    posts = (await client.control("GET", f"posts?user={accounts[0]['id']}")).json
    listed = (await client.get("/v1.0/me/threads", token, limit=100)).json["data"]
    assert [post["id"] for post in posts] == [post["id"] for post in listed]


async def test_calls_are_counted_by_endpoint_and_user(client: Client, token: str) -> None:
    await client.get("/v1.0/me", token)
    await client.get("/v1.0/me", token)
    await client.get("/v1.0/me", "nobody's")
    await client.get("/v1.0/me/threads", token)
    await client.get("/nowhere")
    me = client.sim.accounts[0].id
    report = (await client.control("GET", "calls")).json
    assert report["total"] == 5
    assert report["by_endpoint"] == {"me": 3, "posts": 1, "unknown": 1}
    assert report["by_user"] == {"-": {"me": 1, "unknown": 1}, me: {"me": 2, "posts": 1}}
    assert report["most_in_flight"] == 1
    assert client.sim.calls.of("me", me) == 2


async def test_knobs_are_turned_from_outside(client: Client) -> None:
    assert set((await client.control("GET", "knobs")).json) == set(Knobs.__dataclass_fields__)
    assert (
        await client.control("POST", "knobs", {"budget": 9, "paging_next": "never", "status_by_code": {"190": 401}})
    ).status == 200
    assert (client.sim.knobs.budget, client.sim.knobs.paging_next) == (9, "never")
    assert client.sim.knobs.status_by_code == {190: 401}
    for wrong in ({"paging_next": "perhaps"}, {"colour": "red"}, {"budget": "many"}):
        assert (await client.control("POST", "knobs", wrong)).status == 400


def test_every_knob_is_in_the_table() -> None:
    table = Knobs.__doc__ or ""
    for name, knob in Knobs.__dataclass_fields__.items():
        [row] = [line.split() for line in table.splitlines() if line.split()[:1] == [name]]
        assert row[1] == str(knob.default) or name == "status_by_code"


async def test_reset_restores_the_start(session: aiohttp.ClientSession) -> None:
    async with ThreadsSimulator(start=START, faults=[{"endpoint": "me", "kind": "empty", "times": 1}]) as sim:
        client = Client(sim, session)
        token = sim.issue_token(sim.accounts[0]).text
        sim.turn(budget=1)
        sim.clock.advance(5)
        assert (await client.get("/v1.0/me", token)).body == b""
        assert (await client.control("POST", "reset")).status == 200
        assert sim.clock.now() == START.timestamp()
        assert sim.knobs == Knobs()
        assert sim.calls.of() == 0
        assert (await client.get("/v1.0/me", token)).body == b""
        assert (await client.get("/v1.0/me", token)).code == (190, None)


@pytest.mark.parametrize(("method", "path"), [("GET", "nothing"), ("DELETE", "clock"), ("GET", "reset")])
async def test_the_control_door_knows_its_paths(client: Client, method: str, path: str) -> None:
    assert (await client.control(method, path)).status == 404


async def test_control_bodies_that_are_not_json_are_refused(client: Client) -> None:
    async with client.session.post(client.sim.url + "/_sim/faults", data=b"{") as response:
        assert response.status == 400


@pytest.mark.parametrize("shape", [{"accounts": 0}, {"young_share": 0}, {"posts": -1}, {"faults": [{"kind": "boom"}]}])
def test_worlds_that_cannot_be_are_refused(shape: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ThreadsSimulator(**shape)  # type: ignore[arg-type]


async def test_latency_delays_the_providers_answers_side_by_side(session: aiohttp.ClientSession) -> None:
    async with ThreadsSimulator(start=START, latency_ms=50) as sim:
        client = Client(sim, session)
        token = sim.issue_token(sim.accounts[0]).text
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.gather(*(client.get("/v1.0/me", token) for _ in range(20)))
        assert loop.time() - started >= 0.049
        assert sim.calls.most_in_flight > 1
