from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.sync.layers.counting import counting
from tests.sync.layers.home import NOON, Home, slot
from tidemill.errors import InvalidInput
from tidemill.postgres import Database
from tidemill.sync.layers import PostObservation, Written, write_post_metrics


async def test_the_first_snapshot_of_a_young_post_counts_from_its_birth(home: Home) -> None:
    born = NOON - timedelta(minutes=29)
    post = await home.post(born)

    assert await home.write(NOON, PostObservation(post, 10, 2, None, 0, 0, 1)) == Written(1, 0)

    assert await home.deltas(post) == {NOON: (born, NOON, 10, 2, None, 0, 0, 1, False)}
    assert await home.current(post) == (10, 2, None, 0, 0, 1, NOON, NOON, None, NOON, NOON, NOON, NOON)


async def test_the_first_snapshot_of_an_old_post_is_a_baseline(home: Home) -> None:
    born = NOON - timedelta(minutes=30)
    post = await home.post(born)
    await home.write(NOON, PostObservation(post, 10))
    assert (await home.deltas(post))[NOON] == (born, NOON, 10, None, None, None, None, None, True)


async def test_a_post_published_within_its_first_slot_has_an_empty_first_period(home: Home) -> None:
    post = await home.post(NOON + timedelta(minutes=5))
    await home.write(NOON, PostObservation(post, 1))
    assert (await home.deltas(post))[NOON][:3] == (NOON, NOON, 1)


async def test_deltas_skip_gaps_fall_below_zero_and_never_guess(home: Home) -> None:
    post = await home.post()
    await home.write(slot(0), PostObservation(post, 10, 5, None))
    await home.write(slot(1), PostObservation(post, None, 3, 7))
    await home.write(slot(2), PostObservation(post, 25, 3, 9))

    deltas = await home.deltas(post)
    assert deltas[slot(1)][:5] == (slot(0), slot(1), None, -2, None)  # replies were never known before: no delta
    assert deltas[slot(2)][:5] == (slot(1), slot(2), 15, 0, 2)  # views since slot 0
    assert await home.current(post) == (25, 3, 9, None, None, None, *[slot(2)] * 3, *[None] * 3, slot(2))


async def test_a_snapshot_without_any_value_is_kept_as_such(home: Home) -> None:
    post = await home.post()
    assert await home.write(slot(0), PostObservation(post)) == Written(1, 0)
    assert await home.write(slot(1), PostObservation(post, 4)) == Written(1, 0)
    assert await home.snapshots(post) == {slot(0): (None,) * 6, slot(1): (4, *[None] * 5)}
    assert (await home.deltas(post))[slot(1)][2] is None


async def everything(home: Home) -> list[object]:
    """Every row of this workspace, to the last column."""
    return [
        await home.conn.fetch(f"select * from {table} where workspace_id = $1 order by 1, 2, 3, 4", home.workspace)
        for table in (
            "workspace_threads_posts",
            "workspace_threads_post_metrics",
            "workspace_threads_post_metrics_deltas",
        )
    ]


async def test_a_repeated_run_changes_nothing(home: Home) -> None:
    post = await home.post()
    await home.write(slot(0), PostObservation(post, 10))
    await home.write(slot(1), PostObservation(post, 15))
    before = await everything(home)

    assert await home.write(slot(0), PostObservation(post, 99)) == Written(0, 0)
    assert await home.write(slot(1), PostObservation(post, 99)) == Written(0, 0)

    assert await everything(home) == before


async def test_a_late_snapshot_changes_the_row_after_it_and_says_so(home: Home) -> None:
    post = await home.post()
    for n, views in ((0, 10), (2, 30), (3, 35)):
        await home.write(slot(n), PostObservation(post, views))

    assert await home.write(slot(1), PostObservation(post, 18, 4)) == Written(1, 1)

    deltas = await home.deltas(post)
    assert deltas[slot(1)][:4] == (slot(0), slot(1), 8, None)
    assert deltas[slot(2)][:3] == (slot(1), slot(2), 12)
    assert deltas[slot(3)][:3] == (slot(2), slot(3), 5)
    assert await home.recalculated(post) == {slot(2)}
    assert (await home.current(post))[:2] == (35, 4)  # nobody has known likes since


async def test_a_late_snapshot_reaches_over_rows_that_did_not_know(home: Home) -> None:
    post = await home.post()
    await home.write(slot(0), PostObservation(post, 10, 1))
    await home.write(slot(2), PostObservation(post, None, 2))
    await home.write(slot(3), PostObservation(post, None, 3))
    await home.write(slot(4), PostObservation(post, 50, 4))

    assert await home.write(slot(1), PostObservation(post, 20, None)) == Written(1, 2)

    deltas = await home.deltas(post)
    assert deltas[slot(2)][:4] == (slot(1), slot(2), None, 1)
    assert deltas[slot(4)][:4] == (slot(3), slot(4), 30, 1)
    assert await home.recalculated(post) == {slot(2), slot(4)}


async def test_a_late_first_snapshot_takes_the_baseline_over(home: Home) -> None:
    born = NOON - timedelta(hours=1)
    post = await home.post(born)
    await home.write(slot(1), PostObservation(post, 30, 3))

    assert await home.write(slot(0), PostObservation(post, 10)) == Written(1, 1)

    assert await home.deltas(post) == {
        slot(0): (born, slot(0), 10, None, None, None, None, None, True),
        slot(1): (slot(0), slot(1), 20, None, None, None, None, None, False),
    }


async def test_a_correction_is_a_new_revision_and_both_neighbours_follow(home: Home) -> None:
    post = await home.post()
    for n in range(3):
        await home.write(slot(n), PostObservation(post, 10 * (n + 1)))

    assert await home.write(slot(1), PostObservation(post, 25), correct=True) == Written(1, 2)
    assert await home.write(slot(1), PostObservation(post, 25), correct=True) == Written(0, 0)
    assert await home.write(slot(1), PostObservation(post, 20)) == Written(0, 0)

    assert [d[2] for _, d in sorted((await home.deltas(post)).items())] == [10, 15, 5]
    assert await home.conn.fetch(
        "select revision, views from workspace_threads_post_metrics "
        "where workspace_threads_post_id = $1 and sync_batch_at = $2 order by 1",
        post,
        slot(1),
    ) == [(1, 20), (2, 25)]
    assert (await home.current(post))[0] == 30


async def test_a_current_value_that_is_corrected_away_gives_way_to_the_one_before(home: Home) -> None:
    post = await home.post()
    await home.write(slot(0), PostObservation(post, 10, 1))
    await home.write(slot(1), PostObservation(post, None, 2))
    await home.write(slot(2), PostObservation(post, 99, 3))

    assert await home.write(slot(2), PostObservation(post, None, 4), correct=True) == Written(1, 1)

    assert await home.current(post) == (10, 4, *[None] * 4, slot(0), slot(2), *[None] * 4, slot(2))


async def test_a_correcting_write_also_takes_what_is_new(home: Home) -> None:
    old, new = await home.posts(2)
    await home.write(slot(0), PostObservation(old, 10))
    await home.write(slot(1), PostObservation(old, 20))
    written = await home.write(slot(0), PostObservation(old, 12), PostObservation(new, 5), correct=True)
    assert written == Written(2, 2)
    assert (await home.current(new))[0] == 5


async def test_values_may_be_negative_or_huge_and_rates_do_not_overflow(home: Home) -> None:
    post, huge = await home.post(), 2**62 - 1
    await home.write(slot(0), PostObservation(post, -5, -huge, huge, huge, huge, huge))
    await home.write(slot(1), PostObservation(post, 1, huge, -huge, huge, huge, huge))
    assert (await home.deltas(post))[slot(1)][2:5] == (6, 2 * huge, -2 * huge)


async def test_rates_are_unknown_when_a_part_is_and_zero_without_views(home: Home) -> None:
    posts = await home.posts(3)
    await home.write(
        slot(0),
        PostObservation(posts[0], 200, 3, 2, 1, 1, 9),
        PostObservation(posts[1], 200, 3, None, 1, 1, 9),
        PostObservation(posts[2], 0, 3, 2, 1, 1, 9),
    )
    columns = "engagement_rate, reply_rate, repost_rate, quote_rate, virality_score"
    rows = {
        r["id"]: [None if v is None else float(v) for v in tuple(r)[1:]]
        for r in await home.conn.fetch(
            f"select workspace_threads_post_id as id, {columns} from workspace_threads_post_metrics_live "
            "where workspace_id = $1",
            home.workspace,
        )
    }
    assert rows[posts[0]] == [3.5, 1.0, 0.5, 0.5, 6.75]
    assert rows[posts[1]] == [None, None, 0.5, 0.5, None]
    assert rows[posts[2]] == [0, 0, 0, 0, 0]
    same = await home.conn.fetch(
        f"select id, {columns} from workspace_threads_posts where workspace_id = $1", home.workspace
    )
    assert {r["id"]: [None if v is None else float(v) for v in tuple(r)[1:]] for r in same} == rows


async def test_posts_of_others_are_left_out_and_counted(home: Home) -> None:
    mine = await home.post()
    stranger = await (await Home.make(home.conn)).post()
    observed = [PostObservation(p, 1) for p in (mine, stranger, uuid4())]
    assert await home.write(slot(0), *observed) == Written(1, 0, 2)
    assert await home.snapshots(stranger) == {}


async def test_nothing_observed_asks_nothing_of_the_database(home: Home) -> None:
    with counting(home.conn) as queries:
        assert await home.write(slot(0)) == Written()
    assert queries == []


@pytest.mark.parametrize(
    ("at", "views", "twice"),
    [(NOON, 1, True), (datetime(2026, 11, 10, 12), 1, False), (NOON, 2**62, False), (NOON, -(2**62), False)],
)
async def test_input_that_cannot_be_meant_is_refused(home: Home, at: datetime, views: int, twice: bool) -> None:
    post = await home.post()
    with pytest.raises(InvalidInput):
        await home.write(at, *[PostObservation(post, views)] * (2 if twice else 1))
    assert await home.snapshots(post) == {}


async def test_two_writers_of_the_same_posts_agree_whoever_is_first(shared: Database, home: Home) -> None:
    posts = await home.posts(40)
    other = Home(home.conn, home.workspace, home.account)
    async with shared.connection() as conn:
        other.conn = conn
        await home.write(slot(0), *[PostObservation(p, 1) for p in posts])
        async with home.conn.transaction():
            await write_post_metrics(home.conn, [home.snapshots_at(slot(2), *[PostObservation(p, 30) for p in posts])])
            pid = await conn.fetchval("select pg_backend_pid()")
            waiting = asyncio.create_task(other.write(slot(1), *[PostObservation(p, 20) for p in reversed(posts)]))
            async with asyncio.timeout(30), shared.connection() as watcher:
                while not await watcher.fetchval(
                    "select wait_event_type = 'Lock' from pg_stat_activity where pid = $1", pid
                ):
                    await asyncio.sleep(0.01)
        assert await waiting == Written(40, 40)
    for post in posts:
        assert [d[2] for _, d in sorted((await home.deltas(post)).items())] == [1, 19, 10]
        assert (await home.current(post))[0] == 30


@pytest.mark.parametrize("count", [1, 500])
async def test_the_number_of_statements_does_not_grow_with_the_posts(home: Home, count: int) -> None:
    posts = await home.posts(count)
    await home.write(slot(0), PostObservation(await home.post()))  # asyncpg looks array types up once per connection
    told: dict[str, int] = {}
    for name, at, views, correct in (
        ("first", 0, 10, False),
        ("next", 4, 20, False),
        ("late", 2, 15, False),
        ("repeated", 2, 15, False),
        ("corrected", 2, 16, True),
    ):
        with counting(home.conn) as queries:
            await home.write(slot(at), *[PostObservation(p, views) for p in posts], correct=correct)
        told[name] = len(queries)
    assert told == {"first": 1, "next": 1, "late": 2, "repeated": 1, "corrected": 3}
