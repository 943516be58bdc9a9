"""Whatever is written through whichever door, the next tick plans it or says what is wrong, and plans all others."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.engine.recurrence import recurrence
from tidemill.errors import InvalidInput
from tidemill.postgres.session import tenant_session
from tidemill.sync.jobs.schedule import next_fire

from .support import World

bounded = settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
NAMES_THE_FIELD = re.compile(r"(schedule|payload|company)(\..{1,60})?: .", re.DOTALL)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e300, 1e300) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
field = st.sampled_from(["*", "*/15", "0", "7", "5/10", "L", "15W", "99", "1-5", "mon", "-", ""])
crons = st.lists(field, min_size=4, max_size=6).map(" ".join)
options = st.fixed_dictionaries(
    {},
    optional={
        "timezone": st.sampled_from(["UTC", "Asia/Taipei", "Mars/Olympus", "", 8]),
        "jitter": st.sampled_from(["5m", "3d", "x"]),
        "misfire": st.sampled_from(["latest", "skip", {"all": 3}, {"all": 0}]),
        "overlap": st.sampled_from(["skip", "queue", "replace", "allow", "often"]),
        "until": st.sampled_from(["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "never"]),
    },
)
kinds = st.one_of(
    st.just({}),
    crons.map(lambda cron: {"cron": cron}),
    st.sampled_from(["15m", "1d", "0s", "99999d", "soon"]).map(lambda every: {"every": every}),
    st.sampled_from(["FREQ=DAILY", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYDAY=1MO", "DAILY"]).map(
        lambda rule: {"rrule": rule}
    ),
    st.sampled_from(["2026-05-04T13:00:00Z", "1999-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "now"]).map(
        lambda at: {"at": at}
    ),
)
written = anything.filter(lambda value: value is not None)  # as NULL neither column takes it
schedules = st.one_of(written, st.builds(lambda kind, more: {**kind, **more}, kinds, options))
payloads = st.one_of(st.just({}), st.just({"bad": 1}), written)
doors = st.sampled_from(["owner", "admin", "service_role"])
edits = st.lists(
    st.tuples(st.integers(0, 3), doors, st.sampled_from(["schedule", "payload"]), schedules, payloads), max_size=8
)


@bounded
@given(first=st.lists(schedules, min_size=4, max_size=4), steps=edits, ticks=st.integers(1, 3))
async def test_each_row_is_planned_or_told_why_not(w: World, first: list[Any], steps: list[Any], ticks: int) -> None:
    await w.db.execute("delete from public.companies")
    company = await w.company(zone="Asia/Taipei")
    connector = await w.connector(company)
    jobs = [await w.job(schedule, connector=connector) for schedule in first]
    wrote: list[dict[str, Any]] = [{"schedule": schedule, "payload": {}} for schedule in first]
    for n, (which, door, column, schedule, payload) in enumerate(steps):
        value = schedule if column == "schedule" else payload
        await edit(w, company, door, jobs[which], column, value)
        wrote[which][column] = value
        if n % ticks == 0:
            await w.tick()
    await w.tick()

    now = await w.db.fetchval("select tidemill.now()")
    for job, said in zip(jobs, wrote, strict=True):
        row = await w.row(job)
        assert row["planned_version"] == row["version"]
        if is_good(said):
            assert row["plan_error"] is None, said
            wanted = next_fire(recurrence(said["schedule"], "Asia/Taipei"), None, now)
            assert row["next_run_at"] == wanted, said
        else:
            assert row["status"] == "error", said
            assert NAMES_THE_FIELD.match(row["plan_error"]), (said, row["plan_error"])
            assert row["next_run_at"] is None


def is_good(said: dict[str, Any]) -> bool:
    """By the recurrence's own reader, and what the job type takes."""
    try:
        recurrence(said["schedule"], "Asia/Taipei")
    except InvalidInput:
        return False
    return isinstance(said["payload"], dict) and "bad" not in said["payload"]


async def edit(w: World, company: UUID, door: str, job: UUID, column: str, value: Any) -> None:
    update = f"update public.sync_jobs set {column} = $2 where id = $1 returning id"
    if door == "owner":
        assert await w.db.fetchval(update, job, value)
    elif door == "admin":
        claims = {"role": "authenticated", "company_id": str(company), "app_metadata": {"role_keys": ["Vibot.admin"]}}
        async with tenant_session(w.db, claims) as conn:
            assert await conn.fetchval(update, job, value)
    else:
        async with w.db.transaction() as conn:
            await conn.execute("set local role service_role")
            assert await conn.fetchval(update, job, value)
