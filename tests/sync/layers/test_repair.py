"""Whatever happens to layers 2 and 3, layer 1 brings them back; where nothing happened, nothing is found."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sync.layers import oracle
from tests.sync.layers.home import NOON, Home, slot
from tests.sync.layers.test_any_order import bounded
from tidemill.sync.layers import (
    AccountObservation,
    Difference,
    PostObservation,
    repair_account_insights,
    repair_post_metrics,
    write_account_insights,
)

SLOTS = [slot(n) for n in range(6)]
value = st.one_of(st.none(), st.integers(-3, 9))
POST_DAMAGE = (
    "update workspace_threads_post_metrics_deltas set views_delta = coalesce(views_delta, 0) + 1"
    " where workspace_threads_post_id = $1 and sync_batch_at = $2 returning 'difference_wrong'",
    "update workspace_threads_post_metrics_deltas set period_start = period_start - interval '1 minute'"
    " where workspace_threads_post_id = $1 and sync_batch_at = $2 returning 'difference_wrong'",
    "update workspace_threads_post_metrics_deltas set is_baseline = not is_baseline"
    " where workspace_threads_post_id = $1 and sync_batch_at = $2 returning 'difference_wrong'",
    "insert into workspace_threads_post_metrics_deltas"
    " (workspace_id, workspace_threads_post_id, period_start, period_end, sync_batch_at)"
    " select workspace_id, id, o.at, o.at, o.at from workspace_threads_posts p,"
    " (select $2::timestamptz + interval '7 minutes') as o (at)"
    " where id = $1 and exists (select from workspace_threads_post_metrics m"
    " where m.workspace_threads_post_id = p.id and m.sync_batch_at <= $2) returning 'difference_orphaned'",
    "update workspace_threads_posts set current_likes = coalesce(current_likes, 0) + 1"
    " where id = $1 and $2::timestamptz is not null and exists (select from workspace_threads_post_metrics m"
    " where m.workspace_threads_post_id = $1) returning 'newest_wrong'",
    "update workspace_threads_posts set current_shares_at = $2::timestamptz + interval '1 day'"
    " where id = $1 and exists (select from workspace_threads_post_metrics m"
    " where m.workspace_threads_post_id = $1) returning 'newest_wrong'",
)
LOST = (
    "delete from workspace_threads_post_metrics_deltas where workspace_threads_post_id = $1 and sync_batch_at = $2"
    " and sync_batch_at > (select min(sync_batch_at) from workspace_threads_post_metrics"
    " where workspace_threads_post_id = $1)"
    " returning 'difference_missing'"
)


async def repair_posts(home: Home, *posts: UUID, mend: bool) -> list[Difference]:
    async with home.conn.transaction():
        return await repair_post_metrics(home.conn, posts, mend=mend)


@bounded
@given(
    born=st.builds(lambda n: NOON + timedelta(minutes=n), st.sampled_from([-40, -30, 0, 5])),
    observed=st.dictionaries(st.sampled_from(SLOTS), st.tuples(*[value] * 6), min_size=1),
    damage=st.lists(st.tuples(st.sampled_from((*POST_DAMAGE, LOST)), st.sampled_from(SLOTS)), max_size=4),
)
async def test_posts(home: Home, born: datetime, observed: dict[datetime, oracle.Values], damage: list[Any]) -> None:
    post = await home.post(born)
    for at, values in observed.items():
        await home.write(at, PostObservation(post, *values))
    assert await repair_posts(home, post, mend=True) == []
    done = {what async for what in _harm(home, post, damage)}
    found = await repair_posts(home, post, mend=False)
    # Two harms may cancel each other out, so what is found is asked for once there was one harm alone.
    assert bool(found) == bool(done) or len(damage) > 1
    if len(damage) == 1:
        assert {f.finding for f in found} == done
    assert await repair_posts(home, post, mend=True) == found
    assert await repair_posts(home, post, mend=False) == []
    assert await home.deltas(post) == oracle.post_deltas(born, observed)
    assert await home.current(post) == oracle.current(observed, 6)
    assert await home.snapshots(post) == observed


async def _harm(home: Home, post: UUID, damage: list[tuple[str, datetime]]) -> Any:
    for statement, at in damage:
        try:
            async with home.conn.transaction():
                what = await home.conn.fetchval(statement, post, at)
        except asyncpg.UniqueViolationError:  # the same orphan twice
            continue
        if what:
            yield what


ACCOUNT_DAMAGE = {
    "difference_wrong": "update workspace_threads_account_insights_deltas set followers_delta = 77"
    " where workspace_threads_account_id = $1 and sync_batch_at = $2",
    "difference_missing": "delete from workspace_threads_account_insights_deltas"
    " where workspace_threads_account_id = $1 and sync_batch_at = $2",
    "difference_orphaned": "insert into workspace_threads_account_insights_deltas"
    " (workspace_id, workspace_threads_account_id, period_end, sync_batch_at)"
    " select workspace_id, id, $2::timestamptz + interval '7 minutes', $2::timestamptz + interval '7 minutes'"
    " from workspace_threads_accounts where id = $1",
    "newest_wrong": "update workspace_threads_accounts set current_views_count_7d = 1, current_views_count_7d_at = $2"
    " where id = $1",
}


@pytest.mark.parametrize("finding", ACCOUNT_DAMAGE)
async def test_accounts(home: Home, finding: str) -> None:
    observed: dict[datetime, oracle.Values] = {
        slot(0): (5, 2, None, 9),
        slot(1): (None, 3, 4, 9),
        slot(2): (8, 1, 6, 7),
    }
    for at, gauges in observed.items():
        async with home.conn.transaction():
            await write_account_insights(home.conn, [home.snapshot_at(at, AccountObservation(*gauges))])
    await home.conn.execute(ACCOUNT_DAMAGE[finding], home.account, slot(1))
    for mend, left in ((False, [finding]), (True, [finding]), (True, [])):
        async with home.conn.transaction():
            found = await repair_account_insights(home.conn, [home.account], mend=mend)
        assert [f.finding for f in found] == left
    assert await home.gauge_deltas() == oracle.account_deltas(observed)
    assert await home.current_gauges() == oracle.current(observed, 4)


async def test_differences_whose_snapshots_were_dropped_are_left_as_they_are(home: Home) -> None:
    post = await home.post()
    for n in range(4):
        await home.write(slot(n), PostObservation(post, 10 * n, n))
    before = await home.deltas(post)
    async with home.conn.transaction():
        await home.conn.execute("alter table workspace_threads_post_metrics disable trigger append_only")
        await home.conn.execute(
            "delete from workspace_threads_post_metrics where workspace_threads_post_id = $1 and sync_batch_at < $2",
            post,
            slot(2),
        )
        await home.conn.execute("alter table workspace_threads_post_metrics enable trigger append_only")
    assert await repair_posts(home, post, mend=True) == []
    assert await home.deltas(post) == before
