from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from tests.connectors.support import context, drain, failing, insights, post_ids
from tidemill.connectors import ErrorKind, HttpClient, ProviderError, TimeBudgetSpent, Window
from tidemill.connectors.threads import POST_METRICS, AccountInsights, ThreadsConnector, answers
from tidemill.connectors.threads.connector import _Reading
from tidemill.errors import InvalidInput
from tidemill.simulators.threads import Fault, ThreadsSimulator

NOW = datetime(2026, 11, 20, tzinfo=UTC)


async def test_many_posts_come_in_batches_of_at_most_500(sim: ThreadsSimulator, http: HttpClient) -> None:
    ids = (post_ids(sim, 200) * 6)[:1100]
    batches, error = await insights(sim, context(sim, http), ids)
    assert error is None
    assert [len(batch.records) for batch in batches] == [500, 500, 100]
    assert all(batch.observed_at.tzinfo for batch in batches)


async def test_a_repost_has_no_figures_and_that_is_no_miss(sim: ThreadsSimulator, http: HttpClient) -> None:
    who = sim.accounts[0]
    posts = [who.post(number) for number in range(who.count(sim.clock.now()))]
    repost = next(post for post in posts if post.media_type == "REPOST_FACADE")
    [batch], error = await insights(sim, context(sim, http), [repost.id])
    assert error is None
    assert not batch.misses
    assert [getattr(batch.records[0], name) for name in POST_METRICS] == [None] * 6


def test_a_metric_is_known_by_its_name_and_a_missing_one_stays_unknown() -> None:
    body = (
        b'{"data":[{"name":"replies","period":"lifetime","values":[{"value":"3"}],"id":"1/insights/thread_replies/lifetime"},'
        b'{"name":"likes","values":[]},{"name":"new_one","values":[{"value":9}]},{"name":"views","total_value":{"value":0}}]}'
    )
    read = answers.post_insights("1", answers.read_insights(body))
    assert (read.replies, read.likes, read.views, read.shares) == (3, None, 0, None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"code":190}}',
        b"{}",
        b"[]",
        b'{"data":[{"values":[]}]}',
        b'{"data":[{"name":"views","values":[{"value":99999999999999999999}]}]}',
    ],
)
def test_what_is_no_list_of_metrics_is_never_taken_for_an_empty_one(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        answers.read_insights(body)


def test_a_truncated_page_with_an_emoji_is_still_no_page() -> None:
    with pytest.raises(msgspec.DecodeError):
        answers.read_page(b'{"data":[{"id":"1","text":"\\ud83d\\ude00')


def test_a_bad_post_spoils_no_other_and_text_fits_into_postgres() -> None:
    page = answers.read_page(
        b'{"data":[{"id":18050000000000001,"timestamp":"2026-11-20T05:42:03+0000","text":"a\\u0000b"},'
        b'{"id":"2","timestamp":"2026-11-20T05:42:03+0000","text":"\\ud800"},{"id":"3"}]}'
    )
    first, cut, third = page.data
    assert answers.read_post(first).text == "ab"
    assert answers.read_post(first).id == "18050000000000001"
    assert answers.read_post(cut).text == "?"
    with pytest.raises(msgspec.DecodeError):
        answers.read_post(third)
    assert answers.read_post_id(third) == "3"


@pytest.mark.parametrize("post_id", ["../me", "1?x=", "", "1/2", "é", "1" * 65, "%2e"])
async def test_an_id_that_could_change_the_path_is_refused(
    sim: ThreadsSimulator, http: HttpClient, post_id: str
) -> None:
    with pytest.raises(InvalidInput, match="entities"):
        await insights(sim, context(sim, http), [post_id])
    assert sim.calls.of() == 0


async def test_totals_cannot_be_asked_about_the_past(sim: ThreadsSimulator, http: HttpClient) -> None:
    connector = ThreadsConnector(sim.url)
    with pytest.raises(InvalidInput, match="window"):
        await drain(connector.read(context(sim, http), "post_insights", None, Window(since=NOW)))
    with pytest.raises(InvalidInput, match="stream"):
        await drain(connector.read(context(sim, http), "likes", None, Window()))


async def read_account(
    sim: ThreadsSimulator, http: HttpClient, window: Window | None = None
) -> tuple[AccountInsights | None, list[str], ProviderError | TimeBudgetSpent | None]:
    read = ThreadsConnector(sim.url).read(context(sim, http), "account_insights", None, window or Window())
    batches, error = await drain(read)
    records = [record for batch in batches for record in batch.records]
    return records[0] if records else None, [miss.entity for batch in batches for miss in batch.misses], error


async def test_account_insights_cover_a_week_and_the_followers_now(sim: ThreadsSimulator, http: HttpClient) -> None:
    record, misses, error = await read_account(sim, http)
    assert error is None
    assert not misses
    assert record is not None
    assert record.until - record.since == timedelta(days=7)
    assert None not in (
        record.followers_count,
        record.likes,
        record.replies,
        record.reposts,
        record.quotes,
        record.clicks,
    )
    assert record.views
    assert record.views_total == sum(day.value for day in record.views)
    assert all(day.end_time.tzinfo for day in record.views)
    assert sim.calls.of("account_insights") == 2


def test_clicks_are_summed_over_links_and_nothing_known_is_not_zero() -> None:
    def read(body: bytes) -> AccountInsights:
        return answers.account_insights(NOW, NOW, [answers.read_insights(body)])

    clicks = read(
        b'{"data":[{"name":"clicks","link_total_values":[{"value":3,"link_url":"a"},{"value":4,"link_url":"b"}]}]}'
    )
    assert clicks.clicks == 7
    assert read(b'{"data":[{"name":"clicks","link_total_values":[]}]}').clicks == 0
    nothing = read(b'{"data":[]}')
    assert (nothing.clicks, nothing.views_total, nothing.followers_count) == (None, None, None)


async def test_half_of_the_account_insights_is_better_than_none(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.faults.add([failing(100, endpoint="account_insights", call=1)])
    record, misses, error = await read_account(sim, http)
    assert error is None
    assert misses == ["followers_count"]
    assert record is not None
    assert record.followers_count is None
    assert record.likes is not None


async def test_a_throttle_between_the_two_calls_keeps_the_first(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.faults.add([failing(17, endpoint="account_insights", call=2)])
    record, _, error = await read_account(sim, http)
    assert isinstance(error, ProviderError)
    assert error.kind is ErrorKind.RATE_LIMITED
    assert record is not None
    assert record.followers_count is not None
    assert record.views_total is None


async def test_a_dead_token_costs_one_call(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.faults.add([failing(190, 463, endpoint="account_insights")])
    record, _, error = await read_account(sim, http)
    assert record is None
    assert isinstance(error, ProviderError)
    assert sim.calls.of("account_insights") == 1


async def test_account_insights_that_never_come_are_missed_with_a_reason(
    sim: ThreadsSimulator, http: HttpClient
) -> None:
    sim.faults.add([Fault(endpoint="account_insights", kind="html_502")])
    record, misses, error = await read_account(sim, http)
    assert (record, misses, error) == (None, ["followers_count", "window"], None)


async def test_a_window_before_the_data_begins_is_refused(sim: ThreadsSimulator, http: HttpClient) -> None:
    with pytest.raises(InvalidInput, match="2024"):
        await read_account(sim, http, Window(until=datetime(2024, 1, 1, tzinfo=UTC)))


async def test_without_the_permission_the_stream_says_so(sim: ThreadsSimulator, http: HttpClient) -> None:
    token = sim.issue_token(sim.accounts[0], scopes=["threads_basic"]).text
    read = ThreadsConnector(sim.url).read(context(sim, http, token=token), "account_insights", None, Window())
    _, error = await drain(read)
    assert isinstance(error, ProviderError)
    assert error.kind is ErrorKind.PERMISSION


async def test_of_calls_that_fail_together_the_one_that_was_answered_is_told() -> None:
    answered = asyncio.Event()

    class Client:
        async def post_insights(self, post_id: str) -> None:
            if post_id == "refused":
                answered.set()
                raise ProviderError(
                    ErrorKind.RATE_LIMITED, "too many calls", status=400, response={"error": {"code": 4}}
                )
            await answered.wait()
            raise ProviderError(ErrorKind.RATE_LIMITED, "not called: the provider asked for a pause")

    failure = await _Reading(cast("Any", Client()), ["not called", "refused"]).run(2)
    assert isinstance(failure, ProviderError)
    assert failure.response == {"error": {"code": 4}}


@pytest.mark.parametrize("ids", [("not called", "refused", "never"), ("fine", "not called", "refused")], ids=repr)
async def test_a_call_that_was_held_back_waits_for_the_answer_that_held_it(ids: tuple[str, ...]) -> None:
    """The pause is known to all before the one who was asked for it has written it down and tells."""
    held = asyncio.Event()
    asked: list[str] = []

    class Client:
        async def post_insights(self, post_id: str) -> None:
            asked.append(post_id)
            if post_id == "fine":
                return
            if post_id == "refused":
                await held.wait()
                for _ in range(10):  # turns of the loop that its database takes
                    await asyncio.sleep(0)
                raise ProviderError(
                    ErrorKind.RATE_LIMITED, "too many calls", status=429, response={"error": {"code": 4}}
                )
            held.set()
            raise ProviderError(ErrorKind.RATE_LIMITED, "not called: the provider asked for a pause")

    failure = await _Reading(cast("Any", Client()), ids).run(3 if "fine" in ids else 2)
    assert isinstance(failure, ProviderError)
    assert failure.response == {"error": {"code": 4}}
    assert asked == [post_id for post_id in ids if post_id != "never"]
