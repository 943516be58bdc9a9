"""Time, size, number and retries of calls, against a server that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.connectors.support import LIMITS, context, everything_said, failing, insights, post_ids
from tidemill.connectors import ErrorKind, HttpClient, Limits, ProviderError, TimeBudgetSpent
from tidemill.connectors.http import base_url
from tidemill.connectors.threads import ThreadsConnector
from tidemill.errors import ConfigurationError
from tidemill.simulators.threads import Fault, ThreadsSimulator

SMALL = Limits(backoff_s=0.01, max_body_bytes=100_000)
HASTY = Limits(backoff_s=0.01, read_s=0.2, total_s=0.5)


@pytest.mark.parametrize(
    ("fault", "limits"),
    [
        (Fault(kind="html_502"), LIMITS),
        (Fault(kind="truncated_json"), LIMITS),
        (Fault(kind="not_json"), LIMITS),
        (Fault(kind="empty"), LIMITS),
        (Fault(kind="reset"), LIMITS),
        (Fault(kind="reset_after_commit"), LIMITS),
        (Fault(kind="redirect"), LIMITS),
        (Fault(kind="huge_body"), SMALL),
        (Fault(kind="hang"), HASTY),
        (Fault(kind="slow_body"), HASTY),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_no_usable_answer_is_transient_after_three_tries(
    sim: ThreadsSimulator, fault: Fault, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sim.faults.add([fault])
    [post] = post_ids(sim, 1)
    async with await HttpClient.open(limits=limits) as http:
        ctx = context(sim, http)
        batches, error = await insights(sim, ctx, [post])
        assert error is None
        miss = batches[0].misses[0].error
        assert miss.kind is ErrorKind.TRANSIENT
        assert ctx.tally.calls == 3
        assert ctx.token.reveal() not in everything_said(miss)
        assert ctx.token.reveal() not in caplog.text
        sim.faults.clear()
        assert (await insights(sim, ctx, [post]))[0][0].records  # no slot and no connection was lost


async def test_a_redirect_is_not_followed(sim: ThreadsSimulator, http: HttpClient) -> None:
    async with ThreadsSimulator(seed=1) as elsewhere:
        sim.faults.add([Fault(kind="redirect", location=f"{elsewhere.url}/v1.0/me")])
        with pytest.raises(ProviderError, match="redirect"):
            await ThreadsConnector(sim.url).check(context(sim, http))
        assert elsewhere.calls.of() == 0


async def test_nobody_at_home_is_transient(sim: ThreadsSimulator, http: HttpClient) -> None:
    ctx = context(sim, http)
    with pytest.raises(ProviderError) as caught:
        await ThreadsConnector("http://127.0.0.1:9").check(ctx)
    assert caught.value.kind is ErrorKind.TRANSIENT
    assert ctx.token.reveal() not in everything_said(caught.value)


async def test_a_retry_that_would_pass_the_deadline_is_not_waited_for(sim: ThreadsSimulator) -> None:
    sim.faults.add([Fault(kind="html_502")])
    async with await HttpClient.open(limits=Limits(backoff_s=3600)) as http:
        ctx = context(sim, http, seconds=60)
        with pytest.raises(TimeBudgetSpent) as caught:
            await ThreadsConnector(sim.url).check(ctx)
        assert ctx.tally.calls == 1
        assert ctx.remaining() > 0
        assert isinstance(caught.value.__cause__, ProviderError)


async def test_a_call_ends_at_the_deadline_whatever_its_own_limits(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.faults.add([Fault(kind="hang", seconds=600)])
    ctx = context(sim, http, seconds=0.5)
    with pytest.raises(TimeBudgetSpent):
        await asyncio.wait_for(ThreadsConnector(sim.url).check(ctx), 20)
    assert ctx.tally.calls == 1


async def test_no_call_is_made_after_the_deadline(sim: ThreadsSimulator, http: HttpClient) -> None:
    with pytest.raises(TimeBudgetSpent):
        await ThreadsConnector(sim.url).check(context(sim, http, seconds=0))
    assert sim.calls.of() == 0


async def test_calls_in_flight_stay_within_their_bound() -> None:
    slow = ThreadsSimulator(accounts=3, posts=80, latency_ms=5)
    async with slow as sim, await HttpClient.open(limits=Limits(calls_in_flight=7)) as http:
        reads = [
            insights(sim, context(sim, http, account=account), post_ids(sim, 60, account=account))
            for account in (0, 1, 2)
        ]
        for batches, error in await asyncio.gather(*reads):
            assert error is None
            assert len(batches[0].records) == 60
        assert sim.calls.most_in_flight == 7


async def called(sim: ThreadsSimulator, endpoint: str, times: int) -> None:
    async with asyncio.timeout(60):
        while sim.calls.of(endpoint) < times:
            await asyncio.sleep(0.001)


async def test_waiting_for_a_slot_ends_at_the_deadline(sim: ThreadsSimulator) -> None:
    sim.faults.add([Fault(kind="hang", seconds=600, user=sim.accounts[0].id)])
    async with await HttpClient.open(limits=Limits(calls_in_flight=1)) as http:
        connector = ThreadsConnector(sim.url)
        holder = asyncio.create_task(connector.check(context(sim, http)))
        await called(sim, "me", 1)
        with pytest.raises(TimeBudgetSpent):
            await asyncio.wait_for(connector.check(context(sim, http, account=1, seconds=0.3)), 20)
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        await connector.check(context(sim, http, account=1))  # the slot came back


async def test_a_cancelled_read_leaves_nothing_behind(sim: ThreadsSimulator) -> None:
    sim.faults.add([Fault(kind="hang", seconds=600)])
    async with await HttpClient.open(limits=Limits(calls_in_flight=5)) as http:
        before = asyncio.all_tasks()
        read = asyncio.create_task(insights(sim, context(sim, http), post_ids(sim, 50)))
        await called(sim, "post_insights", 5)
        read.cancel()
        await asyncio.gather(read, return_exceptions=True)
        assert read.cancelled()
        assert not [task for task in asyncio.all_tasks() - before if "_work" in repr(task)]
        sim.faults.clear()
        _, error = await insights(sim, context(sim, http), post_ids(sim, 20))
        assert error is None


async def test_retry_after_and_the_header_of_minutes_lengthen_a_pause(sim: ThreadsSimulator, http: HttpClient) -> None:
    busy = '{"1":[{"call_count":100,"estimated_time_to_regain_access":19}]}'
    for account, (headers, seconds) in enumerate(
        [
            ({"Retry-After": "7200"}, 7200),
            ({"Retry-After": "5", "X-Business-Use-Case-Usage": busy}, 19 * 60),
            ({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, 24 * 3600),
        ]
    ):
        sim.faults.clear()
        sim.faults.add([failing(17, headers=headers)])
        _, error = await insights(sim, context(sim, http, account=account), post_ids(sim, 1, account=account))
        assert isinstance(error, ProviderError)
        assert error.retry_after is not None
        assert error.retry_after.total_seconds() == pytest.approx(seconds, abs=1)


async def test_a_token_that_cannot_stand_in_a_header_is_never_sent(sim: ThreadsSimulator, http: HttpClient) -> None:
    for token in ("TH\r\nHost: x", "TH x", "TH\u00e9"):
        ctx = context(sim, http, token=token)
        with pytest.raises(ProviderError) as caught:
            await ThreadsConnector(sim.url).check(ctx)
        assert caught.value.kind is ErrorKind.TOKEN_INVALID
        assert token not in everything_said(caught.value)
    assert sim.calls.of() == 0


def test_a_base_url_is_plain_http() -> None:
    assert base_url("https://graph.threads.net/", "X") == "https://graph.threads.net"
    for text in (
        "ftp://host",
        "graph.threads.net",
        "",
        "https://u:p@host",
        "https://host/?a=1",
        "http://[",
        "https://",
    ):
        with pytest.raises(ConfigurationError, match="X: must be"):
            base_url(text, "X")


async def test_a_stopped_account_spends_no_call_per_post(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.faults.add([failing(190, 463)])
    _, error = await insights(sim, context(sim, http), post_ids(sim, 200), calls_per_account=10)
    assert isinstance(error, ProviderError)
    assert sim.calls.of("post_insights") <= 20


async def test_time_running_out_keeps_what_was_read(sim: ThreadsSimulator, http: HttpClient) -> None:
    ids = post_ids(sim, 20)
    sim.faults.add([Fault(kind="hang", seconds=600, post=ids[10])])
    started = time.monotonic()
    batches, error = await insights(sim, context(sim, http, seconds=3), ids, calls_per_account=1)
    assert isinstance(error, TimeBudgetSpent)
    assert [record.post_id for batch in batches for record in batch.records] == ids[:10]
    assert time.monotonic() - started < 30
