"""The tests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import msgspec
import pytest

from tidemill.connectors import Connector, ErrorKind, ProviderError, Stream, TimeBudgetSpent, Window, read_config
from tidemill.errors import InvalidInput
from tidemill.testing.connector_suite.bench import Bench, Read, leftover_tasks
from tidemill.testing.connector_suite.store import Store
from tidemill.testing.connector_suite.truth import check_holds, check_same
from tidemill.testing.connector_suite.world import Trouble, World

_NAME = re.compile(r"^[a-z][a-z0-9_.-]{0,49}$")
_REFUSALS = frozenset({ErrorKind.TOKEN_INVALID, ErrorKind.USER_ACTION, ErrorKind.PERMISSION})
_CRASHES = 25
_SHORT = 1.0
_PATIENCE = 15.0

Work = Callable[[Bench], Awaitable[None]]


class ConnectorSuite:
    """Subclass it as ``Test…`` and override :meth:`case`. Each test opens a case of its own, in a loop of its own.

    Attributes:
        seconds: after which a test is given up.
        most_batches: batches of one read after which it is taken to be endless.
    """

    seconds: float = 120
    most_batches: int = 12_000

    def case(self) -> AbstractAsyncContextManager[tuple[Connector, World]]:
        """A connector and its world, as an async context manager."""
        raise NotImplementedError("override case() with an @asynccontextmanager that yields (connector, world)")

    def run(self, work: Work) -> None:
        """Run a test, and hold that no secret was told meanwhile."""

        async def go() -> None:
            async with asyncio.timeout(self.seconds), self.case() as (connector, world):
                assert all(len(text) >= 8 for text in world.secrets.values()), "secrets of a world have 8 characters"
                async with Bench.open(connector, world, self.most_batches) as bench:
                    await work(bench)
                    assert bench.secrets_told() == [], "secrets stand in errors, misses or logs"

        asyncio.run(go())

    def test_its_spec_can_stand_in_a_database(self) -> None:
        async def work(bench: Bench) -> None:
            spec = bench.connector.spec
            assert _NAME.match(spec.name), "a name is lower-case letters, digits, '_', '.' and '-', at most 50"
            assert spec.title
            assert bench.connector.spec == spec
            assert set(bench.world.secrets) <= set(spec.secrets) or "*" in spec.secrets

        self.run(work)

    def test_its_config_is_taken_and_a_misspelt_field_is_told(self) -> None:
        async def work(bench: Bench) -> None:
            kind, config = bench.connector.spec.config, bench.world.config
            if kind is None:
                assert not config, "it declares no config, and the world gives one"
                return
            read_config(kind, msgspec.json.decode(msgspec.json.encode(config)))
            with pytest.raises(InvalidInput, match="no_such_field"):
                read_config(kind, {**config, "no_such_field": 1})
            assert msgspec.json.schema(kind)

        self.run(work)

    def test_its_streams_are_stable_and_every_record_has_its_key(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            assert streams == await bench.streams(), "asked twice, it names other streams"
            names = [stream.name for stream in streams]
            assert names, "it has no streams"
            assert len(set(names)) == len(names), "two streams have one name"
            most = 0
            for stream in streams:
                store = await _whole(bench, stream)
                assert store.bad[stream.name] == 0, f"{stream.name}: no JSON objects with {stream.key}"
                most = max(most, (await bench.read(stream, Store())).batches)
            assert most >= 3, "no stream takes three batches: give the world more records, or smaller pages"

        self.run(work)

    def test_a_whole_read_brings_what_is_there(self) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                check_same(bench, stream, await _whole(bench, stream))

        self.run(work)

    def test_reading_again_from_the_last_cursor_changes_nothing(self) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                store = await _whole(bench, stream)
                for _ in range(3):
                    await _well(bench, stream, store)
                    check_same(bench, stream, store)

        self.run(work)

    @pytest.mark.parametrize("lose", [False, True], ids=["after its commit", "before its commit"])
    def test_a_crash_at_any_batch_is_made_good_from_the_committed_cursor(self, lose: bool) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                batches = (await bench.read(stream, Store())).batches
                for point in sorted({round(n * (batches - 1) / _CRASHES) for n in range(_CRASHES + 1)}):
                    store = Store()
                    await bench.read(stream, store, stop=lambda number, at=point: number >= at, lose=lose)
                    await _well(bench, stream, store)
                    check_same(bench, stream, store, f"crashed at batch {point}")

        self.run(work)

    def test_a_read_that_crashes_after_every_batch_still_loses_nothing(self) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                store = Store()
                for _ in range(_CRASHES):
                    await bench.read(stream, store, stop=lambda number: number >= 0)
                await _well(bench, stream, store)
                check_same(bench, stream, store)

        self.run(work)

    def test_reads_side_by_side_do_not_touch_each_other(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            stores = [(stream, Store()) for stream in [*streams, *streams]]
            await asyncio.gather(*(_well(bench, stream, store) for stream, store in stores))
            for stream, store in stores:
                check_same(bench, stream, store)

        self.run(work)

    def test_what_is_added_and_changed_is_found_from_the_cursor(self) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                store = await _whole(bench, stream)
                _or_skip(await bench.world.change(stream.name), "its records do not change")
                await _well(bench, stream, store)
                check_same(bench, stream, store)

        self.run(work)

    def test_what_is_deleted_goes(self) -> None:
        async def work(bench: Bench) -> None:
            told = 0
            for stream in await bench.streams():
                store = await _whole(bench, stream)
                if await bench.world.delete(stream.name):
                    told += 1
                    await _well(bench, stream, store)
                    check_same(bench, stream, store)
                    check_same(bench, stream, await _whole(bench, stream), "read anew after the delete")
            _or_skip(told > 0, "it tells no deletes")

        self.run(work)

    def test_a_window_brings_its_part_of_the_past_and_no_other(self) -> None:
        async def work(bench: Bench) -> None:
            asked = 0
            for stream in await bench.streams():
                windows = bench.world.windows(stream.name)
                assert bool(windows) == stream.window, f"{stream.name}: windows of the world ≠ declared"
                for window in windows:
                    store = Store()
                    read = await bench.read(stream, store, window)
                    assert read.error is None, f"{stream.name}: {read.error}"
                    check_same(bench, stream, store, f"in {window}", window)
                    asked += 1
            _or_skip(asked > 0, "no stream can be asked about the past")

        self.run(work)

    def test_a_stream_that_it_does_not_have_is_refused(self) -> None:
        async def work(bench: Bench) -> None:
            read = await bench.read(Stream(name="no_such_stream", key=("id",)), Store())
            assert isinstance(read.error, InvalidInput), "an unknown stream is InvalidInput"

        self.run(work)

    def test_a_cursor_that_it_never_gave_ends_in_a_typed_failure_or_in_a_whole_read(self) -> None:
        async def work(bench: Bench) -> None:
            for stream in await bench.streams():
                store = Store()
                store.cursors[stream.name] = '{"no": ["cursor", "of", "ours"]'
                await bench.read(stream, store)  # anything but the three failures of the protocol is raised here

        self.run(work)

    def test_bad_rows_do_not_stop_the_good_ones(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            await _trouble(bench, Trouble.BAD_ROWS)
            bad = 0
            for stream in streams:
                store = Store()
                read = await _well(bench, stream, store)
                bad += read.misses + store.bad[stream.name]
                check_same(bench, stream, store)
            assert bad > 0, "the bad rows are nowhere told"

        self.run(work)

    def test_check_passes_with_good_secrets(self) -> None:
        async def work(bench: Bench) -> None:
            await bench.connector.check(bench.context())

        self.run(work)

    def test_a_bad_token_is_told_as_such_and_nothing_is_committed(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            await _trouble(bench, Trouble.BAD_TOKEN)
            with pytest.raises(ProviderError) as caught:
                await bench.connector.check(bench.context())
            bench.hear(caught.value)
            assert caught.value.kind in _REFUSALS, f"check: {caught.value}"
            for stream in streams:
                store = Store()
                read = await bench.read(stream, store)
                assert isinstance(read.error, ProviderError)
                assert read.error.kind in _REFUSALS, f"{stream.name}: {read.error}"
                assert not store.records(stream)
                assert not store.cursors

        self.run(work)

    def test_missing_secrets_end_in_a_typed_failure(self) -> None:
        async def work(bench: Bench) -> None:
            _or_skip(bool(bench.world.secrets), "it needs none")
            with pytest.raises(ProviderError) as caught:
                await bench.connector.check(bench.context(nothing=""))
            assert caught.value.kind in _REFUSALS

        self.run(work)

    def test_a_slow_provider_does_not_outlast_the_deadline(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            await _trouble(bench, Trouble.SLOW)
            for stream in streams:
                store = Store()
                async with asyncio.timeout(_PATIENCE):
                    read = await bench.read(stream, store, context=bench.context(_SHORT))
                assert isinstance(read.error, TimeBudgetSpent), f"{stream.name}: {read.error}"
                await bench.world.trouble(None)
                await _well(bench, stream, store)
                check_same(bench, stream, store)
                await bench.world.trouble(Trouble.SLOW)

        self.run(work)

    def test_a_read_that_is_given_up_leaves_nothing_running(self) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            for stream in streams:
                await _whole(bench, stream)  # a world in this loop has tasks of its own for the connections it keeps
            before = asyncio.all_tasks()
            for stream in streams:
                async with aclosing(bench.connector.read(bench.context(), stream.name, None, Window())) as batches:
                    async for _ in batches:
                        break
            for _ in range(200):
                if not leftover_tasks(before):
                    break
                await asyncio.sleep(0.01)
            assert leftover_tasks(before) == []

        self.run(work)

    @pytest.mark.parametrize("kind", [Trouble.DOWN, Trouble.WRONG_TYPES, Trouble.ENDLESS], ids=lambda kind: kind.value)
    def test_trouble_ends_in_a_typed_failure_and_costs_no_record(self, kind: Trouble) -> None:
        async def work(bench: Bench) -> None:
            streams = await bench.streams()
            await _trouble(bench, kind)
            failed: list[str] = []
            stores: dict[str, Store] = {}
            for stream in streams:
                stores[stream.name] = Store()
                read = await bench.read(stream, stores[stream.name])
                if read.error is not None or read.misses:
                    failed.append(stream.name)
                assert read.error is None or isinstance(read.error, ProviderError), f"{stream.name}: {read.error!r}"
            assert failed, f"{kind} is nowhere told: every read ended well"
            await bench.world.trouble(None)
            for stream in streams:
                await _well(bench, stream, stores[stream.name])
                check_holds(bench, stream, stores[stream.name], f"resumed after {kind}")

        self.run(work)

    def test_records_that_come_more_than_once_stand_once(self) -> None:
        async def work(bench: Bench) -> None:
            streams = [stream for stream in await bench.streams() if stream.key]
            _or_skip(bool(streams), "its records have no keys")
            await _trouble(bench, Trouble.DUPLICATES)
            for stream in streams:
                store = Store()
                read = await bench.read(stream, store)
                assert read.error is None or isinstance(read.error, ProviderError)
                if read.error is not None:
                    await bench.world.trouble(None)
                    await _well(bench, stream, store)
                    await bench.world.trouble(Trouble.DUPLICATES)
                check_same(bench, stream, store)

        self.run(work)


async def _whole(bench: Bench, stream: Stream) -> Store:
    store = Store()
    await _well(bench, stream, store)
    return store


async def _well(bench: Bench, stream: Stream, store: Store) -> Read:
    read = await bench.read(stream, store)
    assert read.error is None, f"{stream.name}: {read.error}"
    return read


async def _trouble(bench: Bench, kind: Trouble) -> None:
    _or_skip(await bench.world.trouble(kind), f"this world knows no {kind}")


def _or_skip(can: bool, why: str) -> None:
    if not can:
        pytest.skip(why)
