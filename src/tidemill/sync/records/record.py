"""A provider's record on its way into a row: its JSON, its key, or what is wrong with it. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

MOST_BYTES = 1_048_576
"""Size of a record as JSON."""
MOST_KEY_BYTES = 2_000
"""Size of a key: an index entry of Postgres holds some 2,700 bytes."""

# Keys in a dict's own order: jsonb sorts them, and the digest is taken of what jsonb prints.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_key = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Row(NamedTuple):
    """A record that can be stored: its key, empty for a stream without one, and its JSON."""

    key: str
    text: str
    size: int


class Bad(NamedTuple):
    """A record that cannot be stored, and why, in words that show nothing of it."""

    why: str


def row_of(record: object, fields: Sequence[str]) -> Row | Bad:
    """``record`` as a row of a stream whose key is made of ``fields``."""
    if not isinstance(record, Mapping):
        return Bad(f"a record is an object, this is of type {type(record).__name__}")
    named = cast(Mapping[str, Any], record)
    for field in fields:
        if named.get(field) is None:
            return Bad(f"the key field {field!r} is {'null' if field in named else 'missing'}")
    try:
        text = _encode(named if isinstance(named, dict) else dict(named))
        size = len(text.encode())
        key = _encode_key([named[field] for field in fields]) if fields else ""
    except (TypeError, ValueError, RecursionError) as e:  # UnicodeEncodeError, for half a character, is a ValueError
        return Bad(f"it is not JSON: {_what(e)}")
    if size > MOST_BYTES:
        return Bad(f"it is {size:,} bytes long as JSON; the most is {MOST_BYTES:,}")
    if "\\u0000" in text and _NUL.search(text):
        return Bad("it holds a NUL character, which Postgres does not store")
    if len(key.encode()) > MOST_KEY_BYTES:
        return Bad(f"its key is longer than {MOST_KEY_BYTES:,} bytes")
    return Row(key, text, size)


def keys_of(entity: str, fields: Sequence[str]) -> list[str]:
    """The keys that a delete may mean: it names the whole key as a JSON array, or the value of the only key field.

    A provider's number may have become text on its way here, so a lone value is looked for as both. Empty: it names no
    key of such a stream.
    """
    if not fields:
        return [entity]
    try:
        value: Any = json.loads(entity)
    except (ValueError, RecursionError):
        value = None
    found: list[Any] = []
    if isinstance(value, list) and len(cast(list[Any], value)) == len(fields):
        found.append(value)
    if len(fields) == 1:
        found.append([entity])
        if isinstance(value, int | float):
            found.append([value])
    try:
        return [key for key in map(_encode_key, found) if "\\u0000" not in key]
    except ValueError:  # NaN, which Python reads and JSON does not know
        return []


def _what(e: Exception) -> str:
    """The failure without any of the record: messages of the encoder may quote it."""
    match e:
        case TypeError():
            return "it holds a value of a type that JSON does not have"
        case UnicodeEncodeError():
            return "it holds half a character (a lone surrogate)"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "it holds a number that JSON does not have"
