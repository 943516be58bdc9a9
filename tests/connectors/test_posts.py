from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.connectors.support import context, drain, failing
from tidemill.connectors import Batch, ErrorKind, HttpClient, ProviderError, Window
from tidemill.connectors.threads import Post, ThreadsConnector
from tidemill.errors import InvalidInput
from tidemill.simulators.threads import ThreadsSimulator


def all_ids(sim: ThreadsSimulator, account: int = 0) -> set[str]:
    who = sim.accounts[account]
    return {who.post(number).id for number in range(who.count(sim.clock.now()))}


def ids(batches: list[Batch]) -> list[str]:
    return [post.id for batch in batches for post in batch.records]


@pytest.mark.parametrize(
    ("paging_next", "last_page_cursor", "order"),
    list(itertools.product(["all_but_last", "never", "always"], [True, False], ["newest", "oldest"])),
)
async def test_every_post_is_found_once_however_the_pages_end(
    sim: ThreadsSimulator, http: HttpClient, paging_next: str, last_page_cursor: bool, order: str
) -> None:
    sim.turn(paging_next=paging_next, last_page_cursor=last_page_cursor, order=order)
    batches, error = await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", None, Window()))
    assert error is None
    assert sorted(ids(batches)) == sorted(all_ids(sim))
    assert sim.calls.of("posts") <= 4  # three pages and at most one too many
    *firsts, last = batches
    assert not [batch for batch in firsts if batch.cursor_after]
    assert last.cursor_after == max(post.published_at for batch in batches for post in batch.records).isoformat()


async def test_an_empty_page_is_not_the_end(sim: ThreadsSimulator, http: HttpClient) -> None:
    sim.turn(empty_page=True)
    batches, _ = await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", None, Window()))
    assert sorted(ids(batches)) == sorted(all_ids(sim))


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_from_a_cursor_on_only_what_may_be_new_is_read(
    sim: ThreadsSimulator, http: HttpClient, order: str
) -> None:
    connector, ctx = ThreadsConnector(sim.url), context(sim, http)
    batches, _ = await drain(connector.read(ctx, "posts", None, Window()))
    cursor = batches[-1].cursor_after
    assert cursor is not None
    before, calls = all_ids(sim), sim.calls.of("posts")
    sim.clock.advance(3 * 24 * 3600)
    new = all_ids(sim) - before
    assert new
    sim.turn(order=order)
    batches, _ = await drain(connector.read(replace(ctx), "posts", cursor, Window()))
    assert new <= set(ids(batches))
    assert batches[-1].cursor_after is not None
    assert datetime.fromisoformat(batches[-1].cursor_after) > datetime.fromisoformat(cursor)
    if order == "newest":
        assert sim.calls.of("posts") == calls + 1


async def test_a_read_may_be_told_how_far_to_go_back(sim: ThreadsSimulator, http: HttpClient) -> None:
    ctx = context(sim, http)
    since = await ctx.now() - timedelta(days=1)
    batches, _ = await drain(ThreadsConnector(sim.url).read(ctx, "posts", None, Window(since=since)))
    assert len(batches) == 1


async def test_an_account_without_posts_gives_an_empty_batch_and_no_cursor(http: HttpClient) -> None:
    async with ThreadsSimulator(posts=0, new_post_every=0) as sim:
        [batch], error = await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", None, Window()))
    assert error is None
    assert not batch.records
    assert batch.cursor_after is None


async def test_giving_up_after_too_many_pages_is_said_and_moves_no_cursor(
    sim: ThreadsSimulator, http: HttpClient
) -> None:
    connector = ThreadsConnector(sim.url, max_pages=2)
    batches, error = await drain(connector.read(context(sim, http), "posts", None, Window()))
    assert error is None
    assert len(ids(batches)) == 200
    assert not [batch for batch in batches if batch.cursor_after]
    assert [miss.error.kind for batch in batches for miss in batch.misses] == [ErrorKind.PERMANENT]


async def test_an_error_on_a_later_page_keeps_the_first_and_moves_no_cursor(
    sim: ThreadsSimulator, http: HttpClient
) -> None:
    sim.faults.add([failing(190, 467, endpoint="posts", call=2)])
    batches, error = await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", None, Window()))
    assert isinstance(error, ProviderError)
    assert len(ids(batches)) == 100
    assert not batches[0].cursor_after


async def test_posts_come_with_their_ids_as_text_and_times_with_a_zone(sim: ThreadsSimulator, http: HttpClient) -> None:
    batches, _ = await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", None, Window()))
    posts: list[Post] = [post for batch in batches for post in batch.records]
    assert all(isinstance(post.id, str) and int(post.id) > 2**53 for post in posts)
    assert all(post.published_at.utcoffset() == timedelta(0) for post in posts)
    assert {post.media_type for post in posts} >= {"TEXT_POST", "IMAGE", "REPOST_FACADE"}


@pytest.mark.parametrize("cursor", ["", "yesterday", "2026-11-20T00:00:00", "18050000000000001"])
async def test_a_cursor_that_is_no_time_is_refused(sim: ThreadsSimulator, http: HttpClient, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        await drain(ThreadsConnector(sim.url).read(context(sim, http), "posts", cursor, Window()))
