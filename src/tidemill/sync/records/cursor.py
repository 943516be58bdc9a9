"""Where a stream's read begins, and how far it is committed: the live cursor of the connector, or a run's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tidemill.connectors import ErrorKind, ProviderError
from tidemill.errors import TidemillError
from tidemill.postgres import Connection
from tidemill.sync.jobs.run import Run
from tidemill.sync.records.statements import SQL

MOST_BYTES = 1_048_576


class CursorMoved(TidemillError):
    """Somebody else has moved the live cursor: what was read from the old one is not to be committed."""


class Cursor(Protocol):
    """A stream's cursor during one read.

    Attributes:
        at: as committed; None begins at the beginning.
    """

    at: str | None

    async def move(self, conn: Connection, to: str | None, *, rows: bool) -> None:
        """Move it in the transaction of the batch before it.

        Args:
            conn: the batch's transaction.
            to: None leaves it where it is.
            rows: whether records of the stream have come.

        Raises:
            CursorMoved: it is not where it was when the read began.
        """
        ...

    def moved(self) -> None:
        """The transaction of the last :meth:`move` has been committed."""
        ...


@dataclass(slots=True)
class LiveCursor:
    """The connector's own cursor of a stream, moved by compare-and-set.

    Attributes:
        rows_ever: whether any run has brought a record of it.
    """

    run: Run
    stream: str
    at: str | None
    version: int
    rows_ever: bool
    _next: tuple[str | None, int, bool] | None = None

    @classmethod
    async def read(cls, run: Run, stream: str) -> LiveCursor:
        """As it stands."""
        row = await run.ctx.db.fetchrow(SQL.state_read, run.company, run.connector_id, stream)
        if row is None:
            return cls(run, stream, None, 0, False)
        return cls(run, stream, row["cursor"], row["version"], row["rows_ever"])

    async def move(self, conn: Connection, to: str | None, *, rows: bool) -> None:
        """See :class:`Cursor`."""
        if to is None and (self.rows_ever or not rows):
            return
        place = (self.run.company, self.run.connector_id, self.stream)
        version = await conn.fetchval(SQL.state_move, *place, storable(to), self.version, rows)
        if version is None:
            raise CursorMoved(f"{self.stream}: the cursor was moved by somebody else")
        self._next = (to if to is not None else self.at, version, self.rows_ever or rows)

    def moved(self) -> None:
        """See :class:`Cursor`."""
        if self._next is not None:
            self.at, self.version, self.rows_ever = self._next
            self._next = None


@dataclass(slots=True)
class OwnCursor:
    """A run's own cursor of a stream: it lives as long as the run's row and is nobody else's."""

    run: Run
    stream: str
    at: str | None
    _next: str | None = None

    @classmethod
    async def read(cls, run: Run, stream: str) -> OwnCursor:
        """Where an earlier attempt of the run left it."""
        return cls(run, stream, await run.ctx.db.fetchval(SQL.run_cursor_read, run.id, stream))

    async def move(self, conn: Connection, to: str | None, *, rows: bool) -> None:
        """See :class:`Cursor`."""
        if to is not None:
            await conn.execute(SQL.run_cursor_move, self.run.id, self.stream, storable(to))
            self._next = to

    def moved(self) -> None:
        """See :class:`Cursor`."""
        if self._next is not None:
            self.at, self._next = self._next, None


async def forget_cursors(run: Run) -> None:
    """The run needs its own cursors no more."""
    async with run.transaction(progress=False) as conn:
        await conn.execute(SQL.run_cursor_drop, run.id)


def storable(cursor: str | None) -> str | None:
    """A connector's cursor, if it can be kept.

    Raises:
        ProviderError: it cannot; the text shows nothing of it.
    """
    if cursor is None:
        return None
    try:
        fits = len(cursor.encode()) <= MOST_BYTES and "\0" not in cursor
    except (AttributeError, UnicodeEncodeError):
        fits = False
    if not fits:
        raise ProviderError(
            ErrorKind.PERMANENT, f"the connector gave a cursor that is no text of at most {MOST_BYTES:,} bytes"
        )
    return cursor
