"""Whatever arrives, in whatever order and however often, the layers say what the set of observations says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sync.layers import oracle
from tests.sync.layers.home import Home
from tidemill.sync.layers import AccountObservation, DayViews, PostObservation, Written, write_account_insights

# Two months that have partitions, the seam between them, and two that have none.
SLOTS = [
    datetime(2026, 1, 31, 23, 45, tzinfo=UTC),
    datetime(2026, 11, 30, 23, 30, tzinfo=UTC),
    datetime(2026, 11, 30, 23, 45, tzinfo=UTC),
    datetime(2026, 12, 1, 0, 0, tzinfo=UTC),
    datetime(2026, 12, 1, 0, 15, tzinfo=UTC),
    datetime(2036, 1, 1, tzinfo=UTC),
]
bounded = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

slots = st.sampled_from(SLOTS)
value = st.one_of(st.none(), st.integers(-3, 9), st.just(2**61))
metrics = st.tuples(*[value] * 6)
births = st.builds(lambda at, minutes: at + timedelta(minutes=minutes), slots, st.sampled_from([-40, -30, -29, 0, 5]))
post_calls = st.lists(
    st.tuples(slots, st.dictionaries(st.integers(0, 1), metrics, min_size=1), st.booleans()), min_size=1, max_size=12
)


@bounded
@given(published=st.tuples(births, births), calls=post_calls)
async def test_posts(
    home: Home,
    published: tuple[datetime, datetime],
    calls: list[tuple[datetime, dict[int, oracle.Values], bool]],
) -> None:
    posts = [await home.post(at) for at in published]
    observed: list[dict[datetime, oracle.Values]] = [{}, {}]
    for at, values, correct in calls:
        fresh = 0
        for i, counts in values.items():
            if at not in observed[i] or (correct and observed[i][at] != counts):
                observed[i][at] = counts
                fresh += 1
        written = await home.write(at, *[PostObservation(posts[i], *v) for i, v in values.items()], correct=correct)
        assert written.inserted == fresh

    in_order = all(a[0] < b[0] for a, b in pairwise(calls))
    for post, born, observations in zip(posts, published, observed, strict=True):
        assert await home.snapshots(post) == observations
        assert await home.deltas(post) == oracle.post_deltas(born, observations)
        assert await home.current(post) == oracle.current(observations, 6)
        if in_order:
            assert await home.recalculated(post) == set()
    for at, values, _ in calls:
        again = await home.write(at, *[PostObservation(posts[i], *v) for i, v in values.items()])
        assert again == Written(0, 0)


gauges = st.tuples(*[value] * 4)
days = st.dictionaries(st.sampled_from(SLOTS), st.integers(0, 9), max_size=3)


@bounded
@given(calls=st.lists(st.tuples(slots, gauges, days, st.booleans()), min_size=1, max_size=10))
async def test_accounts(home: Home, calls: list[tuple[datetime, oracle.Values, dict[datetime, int], bool]]) -> None:
    at_home = await Home.make(home.conn)  # an account of this example's own
    observed: dict[datetime, oracle.Values] = {}
    views: dict[datetime, tuple[datetime, int]] = {}
    for at, values, by_day, correct in calls:
        fresh = at not in observed or (correct and observed[at] != values)
        if fresh:
            observed[at] = values
        for end, count in by_day.items():
            if end not in views or views[end][0] < at or (correct and views[end][0] == at):
                views[end] = (at, count)
        async with home.conn.transaction():
            insights = AccountObservation(*values, views_by_day=[DayViews(*d) for d in by_day.items()])
            written = await write_account_insights(home.conn, [at_home.snapshot_at(at, insights)], correct=correct)
        assert written.inserted == fresh

    assert await at_home.gauges() == observed
    assert await at_home.gauge_deltas() == oracle.account_deltas(observed)
    assert await at_home.current_gauges() == oracle.current(observed, 4)
    assert await at_home.days() == views
