"""However a stream is cut into batches, wherever a run is cut off, whatever comes twice: the records are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sync.records.desk import TYPES, Desk, batch
from tidemill.connectors import Batch, Stream, Window
from tidemill.engine import Context, Done, Engine, Job
from tidemill.postgres import Connection

KEYED = Stream(name="keyed", key=("id",), cursor="at", window=True)
KEYLESS = Stream(name="keyless", key=(), cursor="at")
bounded = settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


class Crash(Exception):
    """The process is gone."""


When = Literal["before", "after"]


class Crashing(Context):
    """A context whose process dies at its n-th transaction, just before or just after the commit."""

    __slots__ = ("_left", "_when")

    def __init__(self, job: Job, engine: Engine, n: int, when: When) -> None:
        super().__init__(job, engine, deadline=0)
        self._left, self._when = n, when

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        self._left -= 1
        async with super().transaction() as conn:
            yield conn
            if self._left == 0 and self._when == "before":
                raise Crash
        if self._left == 0:
            raise Crash


async def until_done(desk: Desk, crashes: list[tuple[int, When]]) -> Any:
    """One run, in as many attempts as it dies and one more."""
    run = await desk.open_run()
    for n, when in crashes:
        try:
            outcome = await TYPES["sync"].run(desk.attempt(run, ctx=Crashing(desk.job, desk.engine, n, when)))
            break
        except Crash:
            pass
    else:
        outcome = await TYPES["sync"].run(desk.attempt(run))
    await desk.close_run(run)
    return outcome


async def content(desk: Desk) -> set[tuple[Any, ...]]:
    rows = await desk.db.fetch(
        "select stream, key, data::text, hash, version, deleted_at is null from synced_records where connector_id = $1",
        desk.connector_id,
    )
    return {tuple(row) for row in rows}


@dataclass(frozen=True)
class Event:
    """What happened to an object at the provider; ``value`` None: it was deleted."""

    id: int
    value: int | None


@dataclass(frozen=True)
class Cuts:
    """How a provider hands out its events: ends of batches, whether each brings its cursor, how much comes again."""

    ends: list[int]
    silent: list[bool]
    twice: list[bool]
    overlap: int

    def batches(self, events: list[Event], cursor: str | None) -> Iterator[Batch]:
        at = max(0, int(cursor or 0) - self.overlap)
        ends = [end for end in sorted({*self.ends, len(events)}) if at < end <= len(events)]
        for i, end in enumerate(ends):
            part = events[at:end]
            last = {event.id: event.value for event in part}
            found = batch(
                *[{"id": e.id, "value": e.value} for e in part if e.value is not None],
                deletes=[str(gone) for gone, value in last.items() if value is None],
                cursor=None if self.silent[i % len(self.silent)] and end < len(events) else str(end),
            )
            yield found
            if self.twice[i % len(self.twice)]:
                yield found
            at = end


events = st.lists(st.builds(Event, st.integers(0, 4), st.none() | st.integers(0, 3)), max_size=14)
flags = st.lists(st.booleans(), min_size=1, max_size=4)
cuts = st.builds(Cuts, st.lists(st.integers(1, 14), max_size=6), flags, flags, st.integers(0, 3))
crashes = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["before", "after"])), max_size=4)


@bounded
@given(events=events, cuts=cuts, crashes=crashes)
async def test_records_with_a_key(desk: Desk, events: list[Event], cuts: Cuts, crashes: list[tuple[int, When]]) -> None:
    whole = Cuts([], [False], [False], 0)
    results: list[set[tuple[Any, ...]]] = []
    for how, deaths in ((whole, []), (cuts, crashes)):
        await desk.settle_in()
        desk.connector.known.clear()
        desk.connector.add(KEYED, lambda cursor, window, how=how: how.batches(events, cursor))
        assert isinstance(await until_done(desk, deaths), Done)
        results.append(await content(desk))
        assert await desk.cursor("keyed") == (str(len(events)) if events else None)
    assert results[0] == results[1]
    # And these are the provider's.
    known: dict[str, tuple[int, bool]] = {}
    for event in events:
        key = f"[{event.id}]"
        if event.value is not None:
            known[key] = (event.value, True)
        elif key in known:
            known[key] = (known[key][0], False)
    assert {key: (data["value"], live) for (_, key), (data, live) in (await desk.records()).items()} == known


@bounded
@given(
    segments=st.lists(st.lists(st.integers(0, 2), max_size=5), max_size=4),
    tail=st.lists(st.integers(0, 2), max_size=4),
    cut=flags,
    again=st.booleans(),
    crashes=crashes,
)
async def test_records_without_a_key(
    desk: Desk,
    segments: list[list[int]],
    tail: list[int],
    cut: list[bool],
    again: bool,
    crashes: list[tuple[int, When]],
) -> None:
    """Each segment ends with a cursor, the tail with the end of the read; ``again``: the last one comes once more."""

    def script(cut: list[bool], again: bool, cursor: str | None) -> Iterator[Batch]:
        for n in range(max(0, int(cursor or 0) - again), len(segments) + 1):
            values = segments[n] if n < len(segments) else tail
            part: list[Any] = []
            for i, value in enumerate(values):
                part.append({"value": value})
                if cut[i % len(cut)]:
                    yield batch(*part)
                    part = []
            yield batch(*part, cursor=str(n + 1) if n < len(segments) else None)

    results: list[set[tuple[Any, ...]]] = []
    for how, twice, deaths in (([False], False, []), (cut, again, crashes)):
        await desk.settle_in()
        desk.connector.known.clear()
        desk.connector.add(KEYLESS, lambda cursor, window, how=how, twice=twice: script(how, twice, cursor))
        assert isinstance(await until_done(desk, deaths), Done)
        results.append(await content(desk))
        assert await desk.staged() == 0
    assert results[0] == results[1]
    most = Counter[int]()
    for part in (*segments, tail):
        most |= Counter(part)
    assert Counter(data["value"] for data, _ in (await desk.records()).values()) == most


ACTS = ("sync", "grow", "fill", "overwrite", "dry_run", "repair")


@bounded
@given(acts=st.lists(st.sampled_from(ACTS), max_size=8), events=events, cuts=cuts)
async def test_nothing_but_the_provider_moves_the_cursor_and_nothing_moves_it_back(
    desk: Desk, acts: list[str], events: list[Event], cuts: Cuts
) -> None:
    grown = 0
    now: list[Event] = []

    def script(cursor: str | None, window: Window) -> Iterator[Batch]:
        assert window in (Window(), Window(since=SINCE, until=UNTIL))
        return cuts.batches(now, cursor)

    await desk.settle_in()
    desk.connector.known.clear()
    desk.connector.add(KEYED, script)
    span = {"since": SINCE.isoformat(), "until": UNTIL.isoformat()}
    at = 0
    for act in acts:
        before, records = await desk.cursor("keyed"), await content(desk)
        match act:
            case "grow":
                grown = min(len(events), grown + 5)
                now = events[:grown]
            case "sync":
                await desk.run()
                assert int(await desk.cursor("keyed") or 0) >= at
                at = int(await desk.cursor("keyed") or 0)
                assert at == len(now)
                continue
            case "repair":
                await desk.run("repair", {"window": span})
            case mode:
                await desk.run("replay", {"window": span, "mode": mode})
        assert await desk.cursor("keyed") == before
        if act == "dry_run":
            assert await content(desk) == records
    now = events
    await desk.run()
    alone = await content(desk)
    await desk.settle_in()
    await desk.run()
    # A replay can bring what lives for a while only, which a sync that came later never saw: it stands there, deleted.
    assert {row for row in alone if row[5]} == {row for row in await content(desk) if row[5]}
