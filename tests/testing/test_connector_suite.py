"""The suite for connectors passes a good one and finds each defect that it is there to find."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from tidemill.connectors import (
    Batch,
    Connector,
    Context,
    ErrorKind,
    Miss,
    ProviderError,
    Spec,
    Stream,
    TimeBudgetSpent,
    Window,
    record_key,
)
from tidemill.errors import InvalidInput
from tidemill.testing.connector_suite import ConnectorSuite, Trouble, World

SECRET = "sesame-open-47"
START = datetime.fromisoformat("2026-01-01T00:00:00Z")
SIZE = 3

Row = dict[str, Any]


class Shelf(World):
    """Rows with a sequence number, kept in this process."""

    def __init__(self) -> None:
        self.rows: list[Any] = [{"id": n, "text": f"row {n}", "seq": n} for n in range(1, 12)]
        self.kind: Trouble | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        return {"shelf": "a"}

    @property
    def secrets(self) -> Mapping[str, str]:
        return {"token": SECRET}

    def truth(self, stream: str, window: Window | None = None) -> Sequence[Mapping[str, Any]]:
        return [row for row in self.rows if isinstance(row, dict) and not row.get("gone") and _in(row, window)]

    def windows(self, stream: str) -> Sequence[Window]:
        return [Window(since=START, until=START + timedelta(minutes=5))]

    async def change(self, stream: str) -> bool:
        seq = len(self.rows) + 1
        self.rows[0] = {"id": 1, "text": "changed", "seq": seq}
        self.rows.append({"id": seq, "text": "new", "seq": seq + 1})
        return True

    async def delete(self, stream: str) -> bool:
        self.rows[1] = {**self.rows[1], "gone": True, "seq": max(row["seq"] for row in self.rows) + 1}
        return True

    async def trouble(self, kind: Trouble | None) -> bool:
        self.kind = kind
        if kind is Trouble.BAD_ROWS:
            self.rows += [None, {"text": "nameless", "seq": 99}]
        return True


def _in(row: Row, window: Window | None) -> bool:
    time = START + timedelta(minutes=row["seq"])
    window = window or Window()
    return (not window.since or time >= window.since) and (not window.until or time < window.until)


class Config(msgspec.Struct, forbid_unknown_fields=True):
    shelf: str


class Good:
    """A connector without a fault."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    @property
    def spec(self) -> Spec:
        return Spec(name="shelf", title="Shelf", config=Config, secrets=("token",))

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        return [Stream(name="rows", key=("id",), cursor="seq", window=True)]

    async def check(self, ctx: Context) -> None:
        self.authorize(ctx)

    def authorize(self, ctx: Context) -> None:
        if self.shelf.kind is Trouble.BAD_TOKEN or ctx.token.reveal() != SECRET:
            raise ProviderError(ErrorKind.TOKEN_INVALID, "the token is not taken")

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        if stream != "rows":
            raise InvalidInput("stream", f"there is no {stream!r}")
        if cursor is not None and not cursor.isdecimal():
            raise InvalidInput("cursor", "is a number")
        return self.batches(ctx, int(cursor or 0), window)

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        self.authorize(ctx)
        rows = [
            row for row in self.shelf.rows if not isinstance(row, dict) or (row["seq"] > after and _in(row, window))
        ]
        rows.sort(key=lambda row: row["seq"] if isinstance(row, dict) else 0)
        for start in range(0, len(rows), SIZE):
            if start:
                await self.meet(ctx)
            yield await self.batch(ctx, rows[start : start + SIZE])
        if self.shelf.kind is Trouble.ENDLESS:
            raise ProviderError(ErrorKind.PERMANENT, "there is always a next page")

    async def meet(self, ctx: Context) -> None:
        """What the provider does amid a read."""
        if self.shelf.kind in (Trouble.DOWN, Trouble.WRONG_TYPES):
            raise ProviderError(ErrorKind.TRANSIENT, "no usable answer")
        if self.shelf.kind is Trouble.SLOW:
            await asyncio.sleep(max(ctx.remaining(), 0))
            raise TimeBudgetSpent("the time is up")

    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        good = [row for row in rows if isinstance(row, dict) and "id" in row]
        return Batch(
            records=[row for row in good if not row.get("gone")],
            deletes=[record_key(row, ("id",)) or "" for row in good if row.get("gone")],
            misses=[Miss("row", ProviderError(ErrorKind.PERMANENT, "no row")) for row in rows if row not in good],
            observed_at=await ctx.now(),
            cursor_after=str(max(row["seq"] for row in good)) if good else None,
        )


def _suite(make: Callable[[Shelf], Connector]) -> ConnectorSuite:
    class Suite(ConnectorSuite):
        seconds = 60

        def case(self) -> AbstractAsyncContextManager[tuple[Connector, World]]:
            @asynccontextmanager
            async def opened() -> AsyncGenerator[tuple[Connector, World]]:
                shelf = Shelf()
                yield make(shelf), shelf

            return opened()

    return Suite()


class TestGood(ConnectorSuite):
    def case(self) -> AbstractAsyncContextManager[tuple[Connector, World]]:
        return _suite(Good).case()


class CursorAhead(Good):
    """Its cursor leaves out the row after the batch."""

    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        batch = await super().batch(ctx, rows)
        return replace(batch, cursor_after=str(int(batch.cursor_after) + 1) if batch.cursor_after else None)


class Remembers(Good):
    """Its place is in the object, not in the cursor."""

    at = 0

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        async for batch in super().batches(ctx, max(after, self.at), window):
            self.at = int(batch.cursor_after or 0)
            yield batch


class Restless(Good):
    """Names other streams each time."""

    times = 0

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        self.times += 1
        return [Stream(name=f"rows{self.times}", key=("id",))]


class Keyless(Good):
    async def streams(self, ctx: Context) -> Sequence[Stream]:
        return [Stream(name="rows", key=("number",), cursor="seq", window=True)]


class Forgetful(Good):
    """Takes no notice of deletes."""

    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        return await super().batch(ctx, [row for row in rows if not (isinstance(row, dict) and row.get("gone"))])


class Timeless(Good):
    """Takes no notice of the window."""

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        async for batch in super().batches(ctx, after, Window()):
            yield batch


class Brittle(Good):
    """One bad row ends its read."""

    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        for row in rows:
            row["id"]
        return await super().batch(ctx, rows)


class Silent(Good):
    """Tells nothing of bad rows."""

    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        return await super().batch(ctx, [row for row in rows if isinstance(row, dict) and "id" in row])


class Trusting(Good):
    """Looks at no token."""

    def authorize(self, ctx: Context) -> None:
        pass


class Talkative(Good):
    """Puts the secret into its error."""

    async def check(self, ctx: Context) -> None:
        try:
            self.authorize(ctx)
        except ProviderError as e:
            raise ProviderError(e.kind, f"not taken: {SECRET}") from None


class Logging(Good):
    """Puts the secret into a log."""

    async def check(self, ctx: Context) -> None:
        logging.getLogger("shelf").debug("checking %s", ctx.token.reveal())
        self.authorize(ctx)


class Patient(Good):
    """Waits beyond its deadline."""

    async def meet(self, ctx: Context) -> None:
        await asyncio.sleep(3600 if self.shelf.kind is Trouble.SLOW else 0)


class Swallowing(Good):
    """Takes a failure for the end of the stream, with the cursor moved on."""

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        try:
            async for batch in super().batches(ctx, after, window):
                yield batch
        except ProviderError:
            yield Batch(records=(), observed_at=await ctx.now(), cursor_after="1000")


class Untyped(Good):
    async def meet(self, ctx: Context) -> None:
        if self.shelf.kind is not None:
            raise KeyError("items")


class Endless(Good):
    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        async for batch in super().batches(ctx, after, window):
            yield batch
            while self.shelf.kind is Trouble.ENDLESS:
                yield batch
                await asyncio.sleep(0)


class Littering(Good):
    """Leaves a task behind."""

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        self.task = asyncio.create_task(asyncio.sleep(3600))
        async for batch in super().batches(ctx, after, window):
            yield batch


class Guessing(Good):
    """Takes any stream's name for its own."""

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        return super().read(ctx, "rows", cursor, window)


class Once(Good):
    """Has nothing to say once it has a cursor."""

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        async for batch in super().batches(ctx, after if not after else 10**9, window):
            yield batch


class Echoing(Good):
    """Gives more rows each time that it is asked."""

    async def batches(self, ctx: Context, after: int, window: Window) -> AsyncGenerator[Batch]:
        async for batch in super().batches(ctx, after, window):
            yield batch
        if after:
            yield Batch(records=[{"id": -after}], observed_at=await ctx.now())


class Trustful(Good):
    """Takes a cursor for its own without a look at it."""

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        return self.batches(ctx, int(cursor or 0), window)


class Naive(Good):
    async def batch(self, ctx: Context, rows: Sequence[Any]) -> Batch:
        batch = await super().batch(ctx, rows)
        return replace(batch, observed_at=batch.observed_at.replace(tzinfo=None))


class LaxConfig(msgspec.Struct):
    shelf: str


class Lax(Good):
    """A misspelt field of its config goes unseen."""

    @property
    def spec(self) -> Spec:
        return Spec(name="shelf", title="Shelf", config=LaxConfig, secrets=("token",))


class Shouting(Good):
    @property
    def spec(self) -> Spec:
        return Spec(name="The Shelf", title="Shelf", config=Config, secrets=("token",))


TROUBLE = "test_trouble_ends_in_a_typed_failure_and_costs_no_record"
CRASH = "test_a_crash_at_any_batch_is_made_good_from_the_committed_cursor"
DEFECTS: list[tuple[type[Good], str, dict[str, Any]]] = [
    (CursorAhead, CRASH, {"lose": False}),
    (Remembers, CRASH, {"lose": True}),
    (Remembers, "test_reads_side_by_side_do_not_touch_each_other", {}),
    (CursorAhead, "test_a_read_that_crashes_after_every_batch_still_loses_nothing", {}),
    (Once, "test_what_is_added_and_changed_is_found_from_the_cursor", {}),
    (Echoing, "test_reading_again_from_the_last_cursor_changes_nothing", {}),
    (Trustful, "test_a_cursor_that_it_never_gave_ends_in_a_typed_failure_or_in_a_whole_read", {}),
    (Restless, "test_its_streams_are_stable_and_every_record_has_its_key", {}),
    (Keyless, "test_its_streams_are_stable_and_every_record_has_its_key", {}),
    (Forgetful, "test_what_is_deleted_goes", {}),
    (Timeless, "test_a_window_brings_its_part_of_the_past_and_no_other", {}),
    (Brittle, "test_bad_rows_do_not_stop_the_good_ones", {}),
    (Silent, "test_bad_rows_do_not_stop_the_good_ones", {}),
    (Trusting, "test_a_bad_token_is_told_as_such_and_nothing_is_committed", {}),
    (Trusting, "test_missing_secrets_end_in_a_typed_failure", {}),
    (Talkative, "test_a_bad_token_is_told_as_such_and_nothing_is_committed", {}),
    (Logging, "test_check_passes_with_good_secrets", {}),
    (Patient, "test_a_slow_provider_does_not_outlast_the_deadline", {}),
    (Swallowing, TROUBLE, {"kind": Trouble.DOWN}),
    (Untyped, TROUBLE, {"kind": Trouble.WRONG_TYPES}),
    (Endless, TROUBLE, {"kind": Trouble.ENDLESS}),
    (Littering, "test_a_read_that_is_given_up_leaves_nothing_running", {}),
    (Guessing, "test_a_stream_that_it_does_not_have_is_refused", {}),
    (Naive, "test_a_whole_read_brings_what_is_there", {}),
    (Lax, "test_its_config_is_taken_and_a_misspelt_field_is_told", {}),
    (Shouting, "test_its_spec_can_stand_in_a_database", {}),
]


@pytest.mark.parametrize(
    ("connector", "test", "options"), DEFECTS, ids=[f"{kind.__name__}-{n}" for n, (kind, _, _) in enumerate(DEFECTS)]
)
def test_each_defect_is_found(
    connector: type[Good], test: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemill.testing.connector_suite.suite._PATIENCE", 3.0)
    getattr(_suite(Good), test)(**options)
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError, TimeoutError, pytest.fail.Exception)):
        getattr(_suite(connector), test)(**options)
