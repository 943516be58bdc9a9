"""Writes one stream's batches: each one transaction, its records together with its cursor or neither."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tidemill.connectors import Batch, Stream
from tidemill.postgres import Connection
from tidemill.sync.jobs.run import Run
from tidemill.sync.outcomes import COMPLETED, Verdict
from tidemill.sync.records.cursor import Cursor
from tidemill.sync.records.record import Bad, keys_of, row_of
from tidemill.sync.records.report import FIRST_FEW, Report, Tally
from tidemill.sync.records.statements import SQL

Mode = Literal["upsert", "fill", "compare"]
"""What is done with a record: written whatever was there, written if nothing was there, only looked at."""

MOST_ROWS = 5_000
MOST_CHUNK_BYTES = 8_388_608
"""What one statement is given; a batch may be larger."""
_AT_ONCE = 500
"""Records that are encoded before others get a turn of the event loop."""


@dataclass(slots=True)
class _Chunk:
    rows: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0


@dataclass(slots=True, kw_only=True)
class Ledger:
    """One stream's records and cursor in one attempt of a run.

    Records of a stream without a key cannot be told from their own repetition after a crash, so they are staged, and
    come out with the next cursor or at the end of the read.

    Attributes:
        live: whether it is the sync itself. Only that numbers full loads and ends them: a read of the past belongs to
            none.
        never_empty: whether no record at all is suspicious this time.
    """

    run: Run
    stream: Stream
    cursor: Cursor
    report: Report
    mode: Mode = "upsert"
    live: bool = False
    never_empty: bool = False
    _staged: int = 0
    _activates: int | None = None
    _caught_up: bool = False

    @property
    def tally(self) -> Tally:
        """What is committed of it."""
        return self.report.of(self.stream.name)

    async def begin(self) -> None:
        """Drop what an earlier attempt staged after the last cursor: it comes again."""
        if self.stream.key:
            return
        self._staged = 0
        async with self.run.transaction(progress=False) as conn:
            await conn.execute(SQL.staged_drop, self.run.id, self.stream.name)

    async def commit(self, batch: Batch) -> None:
        """Write a batch: its records, then what went with it, then its cursor.

        Raises:
            CursorMoved: nothing was written.
            ProviderError: its cursor cannot be stored; nothing was written.
            LeaseLost: the run is somebody else's; nothing was written.
        """
        tally = self.tally.copied()
        chunks = await self._sorted_out(batch.records, tally)
        gone = self._keys_gone(batch.deletes, tally)
        told = set(batch.deletes)
        tally.missing += sum(miss.entity not in told for miss in batch.misses)
        tally.batches += 1
        self._caught_up = self._caught_up or batch.caught_up
        if batch.activate is not None and self.live:
            self._activates = batch.activate
        moves = batch.cursor_after is not None
        # Records without a cursor are read again by the next attempt: that is no progress.
        async with self.run.transaction(progress=moves) as conn:
            for chunk in chunks:
                await self._put(conn, chunk, batch.version if self.live else None, tally)
            if moves or self.stream.key:
                await self._settle(conn, tally)
            for start in range(0, len(gone), MOST_ROWS):
                await self._delete(conn, gone[start : start + MOST_ROWS], tally)
            await self._save(conn, tally, batch.cursor_after)

    async def finish(self) -> None:
        """The read came to its end: what is staged is good, and the verdict on the stream stands."""
        tally = self.tally.copied()
        async with self.run.transaction() as conn:
            await self._settle(conn, tally)
            tally.ended = True
            if self.never_empty and not tally.records and not self._caught_up:
                # Providers and taps answer a wrong question with nothing at all, and no error.
                tally.end(Verdict("partial", "no_rows"), f"{self.stream.name}: gave records before, and none this time")
            elif tally.missing:
                tally.end(Verdict("partial", "missing"))
            else:
                tally.end(Verdict("partial", "bad_rows") if tally.bad else COMPLETED)
            await self._save(conn, tally, None)

    async def give_up(self) -> None:
        """The read did not come to its end: what is staged is worth nothing."""
        await self.begin()

    async def _save(self, conn: Connection, tally: Tally, cursor: str | None) -> None:
        """The transaction's last writes. Only now is it counted: what goes wrong before leaves the tally alone."""
        await self.cursor.move(conn, cursor, rows=bool(tally.records) and not self._staged)
        tally.cursor_moved |= cursor is not None and cursor != self.cursor.at
        before = self.tally
        if cursor is not None:
            self.report.waits = 0
        self.report.streams[self.stream.name] = tally
        try:
            await self.report.save(conn)
        except BaseException:
            self.report.streams[self.stream.name] = before
            raise
        self.cursor.moved()

    async def _sorted_out(self, records: Sequence[object], tally: Tally) -> list[_Chunk]:
        """Records as chunks for a statement each; within one the last of a key is the one that counts."""
        chunks = [_Chunk()]
        fields = self.stream.key
        for i, record in enumerate(records):
            if i % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            row = row_of(record, fields)
            if isinstance(row, Bad):
                tally.spoiled(row.why)
                continue
            tally.records += 1
            chunk = chunks[-1]
            if len(chunk.rows) >= MOST_ROWS or (chunk.rows and chunk.size + row.size > MOST_CHUNK_BYTES):
                chunk = _Chunk()
                chunks.append(chunk)
            chunk.rows[row.key if fields else str(i)] = row.text
            chunk.size += row.size
        return [chunk for chunk in chunks if chunk.rows]

    def _keys_gone(self, deletes: Sequence[str], tally: Tally) -> list[str]:
        if self.mode != "upsert":
            return []
        found: list[str] = []
        for entity in deletes:
            keys = keys_of(entity, self.stream.key)
            found += keys
            if not keys:
                tally.spoiled("a delete names no key of the stream")
        return found

    async def _put(self, conn: Connection, chunk: _Chunk, version: int | None, tally: Tally) -> None:
        texts = list(chunk.rows.values())
        if not self.stream.key:
            await conn.execute(SQL.staged_add, self.run.id, self.stream.name, texts, self._staged, version)
            self._staged += len(texts)
            return
        tally.put(
            await conn.fetchrow(SQL.records_put, *self._place, list(chunk.rows), texts, version, self.mode, self._named)
        )

    async def _settle(self, conn: Connection, tally: Tally) -> None:
        """Bring out what is staged, and with it the end of a full load."""
        if self._staged:
            last: tuple[bytes | None, int | None, int | None] = (None, None, None)
            while True:
                page = await conn.fetchrow(SQL.staged_put, *self._place, self.run.id, *last, self.mode, self._named)
                assert page is not None  # noqa: S101 - an aggregate without GROUP BY always has a row
                if not page["records"]:
                    break
                tally.put(page)
                last = (page["last_hash"], page["last_ordinal"], page["last_number"])
            await conn.execute(SQL.staged_drop, self.run.id, self.stream.name)
            self._staged = 0
        # A record that was refused is still there at the provider: what it was before must not go for it.
        if self._activates is not None and not tally.bad:
            key = ""
            while key is not None:
                page = await conn.fetchrow(SQL.records_activate, *self._place, self._activates, key)
                assert page is not None  # noqa: S101 - as above
                tally.deleted += page["deleted"]
                key = page["last_key"]
        self._activates = None

    async def _delete(self, conn: Connection, keys: Sequence[str], tally: Tally) -> None:
        tally.deleted += await conn.fetchval(SQL.records_delete, *self._place, keys)

    @property
    def _named(self) -> int:
        """Keys that are named: what an ordinary sync brings is only counted."""
        return 0 if self.live else FIRST_FEW

    @property
    def _place(self) -> tuple[object, object, str]:
        return self.run.company, self.run.connector_id, self.stream.name
