"""Which statements went over a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tidemill.postgres import Connection


@contextmanager
def counting(conn: Connection) -> Iterator[list[str]]:
    """The statements sent while this is open, transaction control left out."""
    queries: list[str] = []

    def log(record: Any) -> None:
        if not record.query.upper().startswith(("BEGIN", "COMMIT")):
            queries.append(record.query)

    logged: Any = conn
    logged.add_query_logger(log)
    try:
        yield queries
    finally:
        logged.remove_query_logger(log)
