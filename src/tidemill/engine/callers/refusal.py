"""What the database says of jobs that it does not take, whichever library it is heard through."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tidemill.errors import InvalidInput, TidemillError

BAD_INPUT = "TM003"
"""SQLSTATE raised by ``tidemill.refuse``."""
_LOCK_NOT_AVAILABLE = "55P03"
_FIELDS = {"run_at": "at"}
"""Fields that are called otherwise here."""
_DEEPEST = 5
"""Exceptions looked at: the libraries wrap the driver's once or twice."""


class EnqueueBlocked(TidemillError):
    """Another open transaction has been enqueuing with the same key, or filling the same batch, for too long."""


@dataclass(frozen=True, slots=True)
class _Diagnosis:
    sqlstate: str
    field: str | None
    message: str


@contextmanager
def naming_refusals() -> Generator[None]:
    """Turn what ``tidemill.enqueue_many`` raises into ours; any other exception passes.

    Raises:
        InvalidInput: naming the field that cannot be taken.
        EnqueueBlocked: when the wait for another transaction took too long.
    """
    try:
        yield
    except Exception as e:
        found = _diagnosis(e)
        if found and found.sqlstate == BAD_INPUT and found.field:
            problem = found.message.removeprefix(f"{found.field}: ")
            raise InvalidInput(_FIELDS.get(found.field, found.field), problem) from e
        if found and found.sqlstate == _LOCK_NOT_AVAILABLE:
            raise EnqueueBlocked(
                "another open transaction has been enqueuing with the same key, or filling the same batch, for too long"
            ) from e
        raise


def _diagnosis(error: BaseException) -> _Diagnosis | None:
    """What the server said: asyncpg's errors carry it themselves, psycopg's in ``diag``, others wrap one of these."""
    cause: BaseException | None = error
    found = None
    for _ in range(_DEEPEST):
        if cause is None:
            break
        diag: Any = getattr(cause, "diag", cause)
        if sqlstate := getattr(diag, "sqlstate", None):
            message = getattr(diag, "message_primary", None) or getattr(diag, "message", None) or str(cause)
            found = _Diagnosis(sqlstate, getattr(diag, "column_name", None), message)
        cause = cause.__cause__
    return found
