"""The name of a record within its stream, as it stands in ``synced_records.key``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def record_key(record: Mapping[str, Any], fields: Sequence[str]) -> str | None:
    """The values of the key's fields as a compact JSON array.

    None when the record cannot be named: a field is missing, null, or neither text, number nor boolean.
    """
    values = [record.get(name) for name in fields]
    if not all(isinstance(value, str | int | float) for value in values):
        return None
    return msgspec.json.encode(values).decode()
