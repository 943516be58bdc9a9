"""Budgets of calls to the outside: no window sees more calls than they say, whoever makes them, dies or waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.engine import Budgets, BudgetSpent, Rate, spend
from tidemill.engine.budgets import (
    check_scope,
    drop_budget,
    list_budgets,
    patterns_of,
    resume_budget,
    set_budget,
)
from tidemill.errors import InvalidInput
from tidemill.postgres import Database

from .support import until

LEASE = "select * from tidemill.lease_budget($1, '{}', $2, $3, $4)"
EPOCH = datetime(2026, 11, 22, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Clock:
    """This process's clock, which stands still; with Postgres's it is moved on by hand."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        await self._db.fetchval("select tidemill.advance_clock($1)", timedelta(seconds=seconds))


class Counted(Budgets):
    """Budgets of a process of their own, and how often they asked Postgres."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.asked = 0

    async def _lease(self, chunk: Any, calls: int) -> Any:
        self.asked += 1
        return await super()._lease(chunk, calls)


@pytest.fixture
def clock(db: Database, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(db)
    monkeypatch.setattr(spend, "time", clock)
    return clock


# What is given out ----------------------------------------------------------------------------------------------------

MOMENTS = st.tuples(
    st.one_of(st.floats(0, 0.2), st.floats(0, 3)),  # of a window, since the lease before
    st.integers(1, 5),  # calls needed
    st.integers(1, 20),  # and wanted
    st.lists(st.floats(0, 1), min_size=20, max_size=20),  # when in the time they are good for they are made
)


def test_no_window_sees_more_calls_than_allowed_however_they_are_leased_and_made(database_url: str) -> None:
    numbers, gone = count(), 0
    with asyncio.Runner() as runner:
        db = runner.run(Database.open(database_url, max_size=1, name="tidemill tests"))

        @settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(
            most=st.integers(5, 40), per_s=st.sampled_from([1.0, 60.0, 86_400.0]), leases=st.lists(MOMENTS, max_size=40)
        )
        def hold(most: int, per_s: float, leases: list[Any]) -> None:
            nonlocal gone
            gone += runner.run(holds(db, f"api {next(numbers)}", most, per_s, leases))

        try:
            hold()
        finally:
            runner.run(db.close())
    assert gone > 1000, "next to nothing was given out"


async def holds(db: Database, scope: str, most: int, per_s: float, leases: list[Any]) -> int:
    await set_budget(db, scope, Rate(most, per_s), by="test")
    at, made = EPOCH, list[float]()
    for gap, need, want, moments in leases:
        at += timedelta(seconds=gap * per_s)
        row: Any = await db.fetchrow(LEASE, scope, need, want, at)
        if row["granted"]:
            assert need <= row["granted"] <= max(need, want)
            since = (at - EPOCH).total_seconds()
            made += [since + moment * row["good_s"] for moment in moments[: row["granted"]]]
        else:
            # Whoever waits as long as told, and is not forestalled, may go; a moment earlier there was no room.
            assert row["wait_s"] <= per_s * 1.1 + 0.001
            at += timedelta(seconds=row["wait_s"] + 0.001)
            again: Any = await db.fetchrow(LEASE, scope, need, need, at)
            assert again["granted"] == need
            made += [(at - EPOCH).total_seconds()] * need
    made.sort()
    for first, beyond in zip(made, made[most:], strict=False):
        assert beyond - first > per_s * 0.999_999
    return len(made)


async def test_a_budget_that_is_always_wanted_is_used_to_nine_tenths(db: Database) -> None:
    await set_budget(db, "api", Rate(100, 1.0), by="test")
    got = sum([(await _leased(db, "api", at=EPOCH + n * timedelta(milliseconds=5))) for n in range(2000)])
    assert 900 <= got <= 1000


async def _leased(db: Database, scope: str, *, at: datetime, want: int = 1) -> int:
    row: Any = await db.fetchrow(LEASE, scope, 1, want, at)
    return row["granted"]


async def test_what_was_given_out_counts_under_a_new_rate_as_if_it_were_now(db: Database) -> None:
    await set_budget(db, "api", Rate(10, 60.0), by="test")
    assert await _leased(db, "api", at=EPOCH, want=4) == 4
    assert await _leased(db, "api", at=EPOCH + MINUTE / 2, want=5) == 5
    await set_budget(db, "api", Rate(12, 3600.0), by="test")
    assert await _leased(db, "api", at=EPOCH + MINUTE, want=20) == 3
    await set_budget(db, "api", Rate(20, 1.0), by="test")
    assert await _leased(db, "api", at=EPOCH + MINUTE, want=20) == 8
    await set_budget(db, "api", Rate(5, 60.0), by="test")
    assert await _leased(db, "api", at=EPOCH + 2 * MINUTE, want=20) == 5, "of long ago nothing counts"


async def test_a_clock_that_is_set_back_lets_no_more_pass(db: Database) -> None:
    await set_budget(db, "api", Rate(10, 60.0), by="test")
    assert await _leased(db, "api", at=EPOCH, want=20) == 10
    row: Any = await db.fetchrow(LEASE, "api", 1, 1, EPOCH - timedelta(days=1))
    assert (row["granted"], row["wait_s"]) == (0, pytest.approx(66))
    assert await _leased(db, "api", at=EPOCH - timedelta(days=1) + timedelta(seconds=66.1), want=20) == 10


# A process ------------------------------------------------------------------------------------------------------------


async def test_calls_cost_no_round_trip_while_a_lease_lasts(db: Database, clock: Clock) -> None:
    await set_budget(db, "api", Rate(6000, 60.0), by="test")
    budgets = Counted(db)
    for _ in range(100):
        await budgets.spend("api")
    assert budgets.asked <= 10  # 1, 2, 4, 8, 16 and then 20 at a time
    before = budgets.asked
    await clock.advance(10)
    await budgets.spend("api")
    assert budgets.asked == before + 1, "what was leased ten seconds ago is worth nothing"


async def test_who_waits_is_served_with_the_answers_of_others(db: Database, clock: Clock) -> None:
    await set_budget(db, "api", Rate(6000, 60.0), by="test")
    budgets = Counted(db)
    await asyncio.gather(*(budgets.spend("api") for _ in range(200)))
    assert budgets.asked <= 12, budgets.asked
    assert 200 <= (await list_budgets(db))[0].used <= 220


async def test_a_short_wait_is_waited_for_and_a_long_one_is_told(db: Database) -> None:
    await set_budget(db, "soon", Rate(1, 1.0), by="test")
    await set_budget(db, "late", Rate(1, 3600.0), by="test")
    budgets = Counted(db)
    for scope in ("soon", "soon", "late"):
        await budgets.spend(scope)
    with pytest.raises(BudgetSpent) as caught:
        await budgets.spend("late")
    assert (caught.value.scope, caught.value.reason) == ("late", "its budget is spent")
    assert timedelta(minutes=59) < caught.value.retry_after < timedelta(minutes=67)
    await budgets.spend("soon")
    with pytest.raises(BudgetSpent):
        await budgets.spend("soon", within=0.05)  # nobody has the time to wait


async def test_those_who_must_wait_are_told_to_come_one_after_the_other(db: Database, clock: Clock) -> None:
    await set_budget(db, "api", Rate(60, 60.0), by="test")
    budgets = Counted(db)
    answers = await asyncio.gather(*(budgets.spend("api") for _ in range(160)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BudgetSpent)]
    assert len(refused) == 100
    assert budgets.asked <= 5
    spread = sorted(answer.retry_after.total_seconds() for answer in refused)
    assert 55 < spread[0] < 75
    assert 150 < spread[-1] < 180


async def test_each_scope_with_a_prefix_has_a_bucket_of_its_own_and_one_of_its_own_set_goes_by_that(
    db: Database, clock: Clock
) -> None:
    await set_budget(db, "shop:*", Rate(2, 60.0), by="test")
    await set_budget(db, "shop:eu:*", Rate(3, 60.0), by="test")
    await set_budget(db, "shop:large", Rate(4, 60.0), by="test")
    await set_budget(db, "shop:free", None, by="test")
    budgets = Counted(db)
    room: dict[str, int] = {}
    for scope in ("shop:a", "shop:b", "shop:eu:a", "shop:large", "shop:free"):
        for room[scope] in range(6):
            try:
                await budgets.spend(scope)
            except BudgetSpent:
                break
    assert room == {"shop:a": 2, "shop:b": 2, "shop:eu:a": 3, "shop:large": 4, "shop:free": 5}
    assert patterns_of("shop:eu:a") == ["shop:*", "shop:eu:*"]
    listed = {line.scope: (line.most, line.used) for line in await list_budgets(db)}
    assert listed == {"shop:*": (2, 0), "shop:eu:*": (3, 0), "shop:large": (4, 4), "shop:free": (None, 0)}


async def test_a_pause_is_learnt_by_every_process_within_two_seconds_and_ends(db: Database, clock: Clock) -> None:
    await set_budget(db, "metered", Rate(1000, 60.0), by="test")
    await set_budget(db, "counted:not", None, by="test")
    one, other = Counted(db), Counted(db)
    for scope in ("metered", "counted:not"):
        for _ in range(3):
            await other.spend(scope)
        await one.block(scope, timedelta(minutes=10), "429")
        with pytest.raises(BudgetSpent, match="paused: 429"):
            await one.spend(scope)
        await clock.advance(2)
        with pytest.raises(BudgetSpent, match="paused: 429") as caught:
            await other.spend(scope)
        assert timedelta(minutes=9) < caught.value.retry_after < timedelta(minutes=11)
        await one.block(scope, timedelta(seconds=1), "a shorter one")
        with pytest.raises(BudgetSpent, match="paused: 429"):
            await other.spend(scope)
    await resume_budget(db, "metered")
    await other.spend("metered")
    await clock.advance(601)
    await other.spend("counted:not")


async def test_a_pause_of_a_prefix_holds_for_each_scope_that_begins_so(db: Database, clock: Clock) -> None:
    await set_budget(db, "shop:*", Rate(10, 60.0), by="test")
    budgets = Counted(db)
    await budgets.spend("shop:a")
    await budgets.block("shop:*", MINUTE, "closed")
    for scope in ("shop:a", "shop:b"):
        with pytest.raises(BudgetSpent, match="closed"):
            await budgets.spend(scope)


async def test_a_provider_lowers_a_budget_for_a_while_and_never_raises_it(db: Database, clock: Clock) -> None:
    async def room(scope: str) -> int:
        budgets, got = Counted(db), 0
        try:
            while got < 50:
                await budgets.spend(scope)
                got += 1
        except BudgetSpent:
            pass
        await clock.advance(70)
        return got

    await set_budget(db, "api", Rate(10, 60.0), by="test")
    told = Counted(db)
    await told.lower("api", 0.5, timedelta(minutes=2))
    assert await room("api") == 5
    await told.lower("api", 0.001, timedelta(minutes=2))
    assert await room("api") == 1
    await clock.advance(60)
    assert await room("api") == 10
    await told.lower("api", 0.5, timedelta(minutes=2))
    await told.lower("api", 7.0, timedelta(minutes=2))
    assert await room("api") == 10


async def test_what_headers_repeat_is_not_written_again_and_again(db: Database, clock: Clock) -> None:
    await set_budget(db, "api", Rate(10, 60.0), by="test")
    budgets = Budgets(db)
    stamps = set[Any]()
    for share in (1.0, 0.5, 0.5, 0.45, 0.52, 0.3, 0.3, 1.0, 1.0):
        await budgets.lower("api", share, MINUTE)
        stamps.add(await db.fetchval("select updated_at from tidemill.budget where scope = 'api'"))
    assert len(stamps) == 4  # as it was set, 0.5, 0.3, and taken back
    assert (await list_budgets(db))[0].share is None


async def test_calls_that_are_not_counted_are_slowed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await set_budget(db, "api", None, by="test")
    await Budgets(db).lower("api", 0.4, MINUTE)
    waited: list[float] = []
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda s: waited.append(s) or sleep(0))
    await Budgets(db).spend("api")
    assert waited == [pytest.approx(0.6)]


# Set and declared -----------------------------------------------------------------------------------------------------


async def test_what_stands_in_code_follows_it_and_what_an_operator_set_stands(db: Database) -> None:
    async def lines() -> list[tuple[str, int | None, str | None]]:
        return [(line.scope, line.most, line.set_by) for line in await list_budgets(db)]

    await Budgets(db, {"a": Rate(5, 1.0), "b:*": None}).declare(db)
    assert await lines() == [("a", 5, "code"), ("b:*", None, "code")]
    await Budgets(db, {"a": Rate(7, 1.0)}).declare(db)
    await set_budget(db, "b:*", Rate(1, 60.0), by="ops")
    await Budgets(db, {"b:*": Rate(9, 1.0)}).declare(db)
    assert await lines() == [("a", 7, "code"), ("b:*", 1, "ops")]
    await Budgets(db).block("a", MINUTE, "busy")
    for scope in ("a", "b:*"):
        await drop_budget(db, scope)
    assert await lines() == [("a", None, None)], "the pause stays"
    await Budgets(db, {"b:*": Rate(9, 1.0)}).declare(db)
    assert await lines() == [("a", None, None), ("b:*", 9, "code")]


@pytest.mark.parametrize(
    "scope",
    ["", "a" * 301, "a*", "*", "a:*:b", "a\0", "\ud800", 5],
    ids=["empty", "long", "star", "all", "amid", "nul", "surrogate", "number"],
)
async def test_a_scope_that_cannot_be_taken_is_refused_by_name(scope: Any) -> None:
    with pytest.raises(InvalidInput, match=r"scope: .* is no scope"):
        check_scope(scope, or_pattern=True)


async def test_what_cannot_be_spent_paused_set_or_dropped_is_refused_by_name(db: Database) -> None:
    budgets = Budgets(db)
    await set_budget(db, "api", Rate(5, 1.0), by="test")
    refused: list[tuple[Any, str]] = [
        (budgets.spend("apl"), "scope: no budget is declared for 'apl'; declare it with app.budget"),
        (budgets.spend("a:*"), "scope: 'a:\\*' is no scope"),
        (budgets.spend("api", 6), "calls: 6 at once; the budget of 'api' never allows more than 5"),
        (budgets.spend("api", 0), "calls: 0 is no whole number"),
        (budgets.block("apl", MINUTE, "x", known=True), "scope: no budget is declared for 'apl'"),
        (budgets.block("api", timedelta(0), "x"), r"pause: datetime.timedelta\(0\) is no timedelta above 0"),
        (budgets.block("api", 60, "x"), "pause: 60 is no timedelta"),  # type: ignore[arg-type]
        (budgets.block("api", MINUTE, None), "reason: None is no text"),  # type: ignore[arg-type]
        (set_budget(db, "api", None, by=""), "by: is empty"),
        (drop_budget(db, "apl"), "scope: there is no budget 'apl'"),
        (resume_budget(db, "api"), "scope: 'api' is neither paused nor slowed"),
    ]
    for work, told in refused:
        with pytest.raises(InvalidInput, match=told):
            await work
    with pytest.raises(InvalidInput, match="rate: '1000001/s' is more than"):
        Rate.read("1000001/s")
    assert await db.fetchval("select array_agg(scope) from tidemill.budget") == ["api"]


# Processes ------------------------------------------------------------------------------------------------------------

MOST, PER_S = 20, 1.0
SPENDER = """\
import asyncio, sys, time
from tidemill.engine import Budgets, BudgetSpent
from tidemill.postgres import Database

async def main():
    async with await Database.open(sys.argv[1], max_size=4) as db:
        budgets = Budgets(db)
        async def call():
            while await db.fetchval("select count(*) from made") < int(sys.argv[2]):
                try:
                    await budgets.spend("api")
                except BudgetSpent as e:
                    await asyncio.sleep(e.retry_after.total_seconds())
                else:
                    at = time.time()
                    await db.execute("insert into made (at, pid) values (to_timestamp($1), pg_backend_pid())", at)
        await asyncio.gather(*(call() for _ in range(5)))

asyncio.run(main())
"""


@pytest.fixture
def spenders(database_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, "-c", SPENDER, database_url, "90"]
    processes = [subprocess.Popen(command) for _ in range(3)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def test_processes_together_keep_to_a_budget_and_one_that_is_killed_holds_nobody_up(
    db: Database, request: pytest.FixtureRequest
) -> None:
    await db.execute(
        """
        create table made (at timestamptz not null, pid int not null);
        create table leased (slot bigint not null, calls int not null, at timestamptz default clock_timestamp());
        create function note() returns trigger language plpgsql as $$
        begin
            insert into public.leased (slot, calls)
            values (new.slot, new.leased[1] - case when new.slot = old.slot then old.leased[1] else 0 end);
            return null;
        end $$;
        create trigger note after update on tidemill.budget for each row
        when (new.leased is distinct from old.leased) execute function note();
        """
    )
    await set_budget(db, "api", Rate(MOST, PER_S), by="test")
    processes: list[subprocess.Popen[bytes]] = request.getfixturevalue("spenders")
    await until(lambda: db.fetchval("select count(*) >= 30 from made"), what="the first calls")
    processes[0].kill()
    await until(lambda: db.fetchval("select count(*) >= 90 from made"), what="the others' calls")
    for process in processes:
        process.kill()
        process.wait()
    # What was leased, by the slot that the lease read off the clock: exact. A stamp of our own comes later by as much
    # as the machine likes, so it says only that no slot was still to come. Calls within PER_S are of 22 slots at most.
    leases = await db.fetch("select extract(epoch from at)::float8 as at, slot, calls from leased order by slot")
    for n, first in enumerate(leases):
        assert first["at"] >= first["slot"] * PER_S / 20
        assert sum(row["calls"] for row in leases[n:] if row["slot"] - first["slot"] < 22) <= MOST
    # What was made, by a stamp that comes a moment later than the call: a little of the window is left to that.
    made = [row["at"] for row in await db.fetch("select extract(epoch from at)::float8 as at from made order by at")]
    for first, beyond in zip(made, made[MOST:], strict=False):
        assert beyond - first > PER_S * 0.75
    assert sum(row["calls"] for row in leases) >= len(made)
