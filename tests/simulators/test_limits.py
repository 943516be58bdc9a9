from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.conftest import Client
from tidemill.simulators.threads.limits import Budget

HEADERS = {"X-App-Usage", "X-Business-Use-Case-Usage"}


async def test_a_spent_budget_throttles_that_user_until_calls_leave_the_day(client: Client, token: str) -> None:
    client.sim.turn(budget=4)
    other = client.sim.issue_token(client.sim.accounts[1]).text
    assert [(await client.get("/v1.0/me", token)).status for _ in range(5)] == [200] * 4 + [403]
    throttled = await client.get("/v1.0/me", token)
    assert throttled.code == (17, None)
    assert throttled.error["is_transient"] is True
    assert (await client.get("/v1.0/me", other)).status == 200
    usage = msgspec.json.decode(throttled.headers["X-Business-Use-Case-Usage"])
    [line] = usage[client.sim.accounts[0].id]
    assert line["call_count"] == 100
    wait = line["estimated_time_to_regain_access"]
    assert wait == 1440
    client.sim.clock.advance(wait * 60 - 301)
    assert (await client.get("/v1.0/me", token)).code == (17, None)
    client.sim.clock.advance(301)
    assert (await client.get("/v1.0/me", token)).status == 200


@pytest.mark.parametrize("code", [4, 32, 341, 613, 80002])
async def test_the_throttles_code_transience_and_retry_after_are_knobs(client: Client, token: str, code: int) -> None:
    client.sim.turn(budget=0, throttle_code=code, throttle_transient=False, retry_after=False)
    reply = await client.get("/v1.0/me", token)
    assert (reply.status, reply.code) == (403, (code, None))
    assert "is_transient" not in reply.error
    assert "Retry-After" not in reply.headers
    client.sim.turn(budget=1, retry_after=True)
    await client.get("/v1.0/me", token)
    assert int((await client.get("/v1.0/me", token)).headers["Retry-After"]) == 86_400


@pytest.mark.parametrize(
    ("knob", "sent"),
    [
        ("both", HEADERS),
        ("app", {"X-App-Usage"}),
        ("business", {"X-Business-Use-Case-Usage"}),
        ("none", set[str]()),
    ],
)
async def test_usage_headers_are_sent_once_enough_calls_were_made(
    client: Client, token: str, knob: str, sent: set[str]
) -> None:
    client.sim.turn(usage_header=knob, budget=10, usage_header_from=50)
    replies = [await client.get("/v1.0/me", token) for _ in range(8)]
    assert [bool(HEADERS & set(reply.headers)) for reply in replies] == [False] * 4 + [bool(sent)] * 4
    assert HEADERS & set(replies[-1].headers) == sent
    if "X-App-Usage" in sent:
        counts = [msgspec.json.decode(reply.headers["X-App-Usage"])["call_count"] for reply in replies[4:]]
        assert counts == [50, 60, 70, 80]


async def test_usage_can_be_set_and_oauth_calls_are_free(client: Client, token: str) -> None:
    account = client.sim.accounts[0]
    await client.control("POST", "usage", {"user": account.username, "used": 45_600})
    await client.get("/refresh_access_token", grant_type="th_refresh_token", access_token=token)
    reply = await client.get("/v1.0/me", token)
    assert msgspec.json.decode(reply.headers["X-App-Usage"])["call_count"] == 95
    [line] = msgspec.json.decode(reply.headers["X-Business-Use-Case-Usage"])[account.id]
    assert line["estimated_time_to_regain_access"] == 0


async def test_bad_tokens_are_told_so_and_cost_nothing(client: Client, token: str) -> None:
    client.sim.turn(budget=1)
    await client.control("POST", "revoke", {"token": token, "subcode": 460})
    assert [(await client.get("/v1.0/me", token)).code for _ in range(3)] == [(190, 460)] * 3


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 5)), max_size=30), st.integers(1, 20))
def test_a_budget_equals_the_calls_of_its_window(moves: list[tuple[int, int]], limit: int) -> None:
    budget, now = Budget(), 1_790_000_000
    spent: list[tuple[int, int]] = []
    for ahead, calls in moves:
        now += ahead
        budget.settle(now)
        budget.spend(now, calls)
        spent.append((now // 300, calls))
        assert budget.used == sum(n for step, n in spent if step > now // 300 - 288)
    wait = budget.seconds_to_regain(now, limit)
    if wait:
        budget.settle(now + wait - 1)
        assert budget.used >= limit
    budget.settle(now + wait)
    assert budget.used < limit


def test_a_clock_set_back_frees_what_lies_ahead() -> None:
    budget = Budget()
    budget.spend(1_790_000_000, 5)
    budget.settle(1_780_000_000)
    assert budget.used == 0
