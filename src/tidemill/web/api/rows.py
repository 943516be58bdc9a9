"""Rows as the API's answers, and rows that are about to be changed."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast, get_args, get_type_hints

import msgspec

from tidemill.postgres import Connection, Record
from tidemill.web.api.call import Call
from tidemill.web.api.codes import invalid
from tidemill.web.api.refusals import forbidden, not_found

__all__ = ["given", "locked", "stored_object", "struct_of"]

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def struct_of(kind: type[S], row: Record) -> S:
    """A row as ``kind``; JSON comes as text and is passed on unread."""
    raw = _raw_fields(kind)
    values: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        values[name] = msgspec.Raw(row[name].encode()) if name in raw else row[name]
    return kind(**values)


@cache
def _raw_fields(kind: type[msgspec.Struct]) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if hint is msgspec.Raw or msgspec.Raw in get_args(hint))


async def locked(conn: Connection, call: Call, *, lock: str, look: str) -> Record:
    """The row that the path names, locked for the rest of the transaction because the caller may change it.

    Which that is row security says: the policy for updates lets him lock it, or only the one for reading show it.

    Raises:
        Problem: 404 when he cannot see it, 403 when he may only read it.
    """
    row = await conn.fetchrow(lock, call.id)
    if row is not None:
        return row
    raise not_found() if await conn.fetchrow(look, call.id) is None else forbidden()


def stored_object(field: str, text: msgspec.Raw) -> dict[str, Any]:
    """What the database holds of ``field``, where a change does not replace it and it has to be judged again.

    Raises:
        Problem: 422, when SQL wrote what is no object, or a number beyond all bounds.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise invalid(field, "what is stored cannot be read; give it anew") from None


def given(value: T | msgspec.UnsetType) -> T | None:
    """What a change says of a field; None where it says nothing."""
    return None if value is msgspec.UNSET else cast(T, value)
