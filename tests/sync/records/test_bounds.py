"""What a long stream costs: no more memory than a batch, and statements by the batch, not by the record."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tests.sync.records.desk import Desk, batch, steps
from tidemill.connectors import Batch, Stream, Window
from tidemill.engine import Done
from tidemill.postgres import Database, pool
from tidemill.sync.records import SyncRecords

BATCHES = 40


class Counted(dict[str, Any]):
    """A record that is counted while it lives."""

    alive: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(record)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


@pytest.mark.parametrize("stream", [Stream(name="s", key=("id",)), Stream(name="s", key=())], ids=["keyed", "keyless"])
@pytest.mark.parametrize(
    "size", [pytest.param(500, id="20000"), pytest.param(5_000, id="200000", marks=pytest.mark.chaos)]
)
async def test_of_however_long_a_stream_two_batches_at_most_are_in_memory(
    desk: Desk, stream: Stream, size: int
) -> None:
    def script(cursor: str | None, window: Window) -> Iterator[Batch]:
        for start in range(0, BATCHES * size, size):
            yield batch(*[Counted({"id": i, "name": f"record {i}"}) for i in range(start, start + size)])

    gc.collect()
    Counted.most = Counted.alive = 0
    desk.connector.add(stream, script)
    outcome, _ = await desk.run()
    assert isinstance(outcome, Done)
    assert outcome.result["added"] == BATCHES * size
    there = await desk.db.fetchval("select count(*) from synced_records where connector_id = $1", desk.connector_id)
    assert there == BATCHES * size
    assert size <= Counted.most <= 2 * size


async def test_a_batch_takes_a_handful_of_statements_however_many_records_it_has(
    records_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    connect = pool.connect

    async def heard(*args: Any, **options: Any) -> Any:
        conn: Any = await connect(*args, **options)
        conn.add_query_logger(lambda query: sent.append(query.query))
        return conn

    monkeypatch.setattr(pool, "connect", heard)
    async with await Database.open(records_url, name="tidemill tests") as db, Desk.open(db) as desk:

        async def statements(batches: int, records: int) -> int:
            desk.connector.add(
                Stream(name="s", key=("id",), cursor="id"),
                steps(*[batch(*[{"id": i} for i in range(records)], cursor=str(n)) for n in range(batches)]),
            )
            run = await desk.open_run()
            sent.clear()
            assert isinstance(await SyncRecords().run(desk.attempt(run)), Done)
            return len(sent)

        small, large, three = await statements(1, 1), await statements(1, 5_000), await statements(3, 1)
    assert small == large
    assert (three - small) / 2 <= 7  # begin, fence, the run, records, cursor, metrics, commit
