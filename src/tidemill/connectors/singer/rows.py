"""Whether a record is what its SCHEMA says."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, cast

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (NoneType,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


class RowCheck:
    """Checks the key and the types of the fields; not what lies deeper.

    More would cost a library or a second for every ten thousand records, and it would refuse records that are good:
    formats and lengths in taps' schemas are often wrong, types seldom are.
    """

    def __init__(self, schema: dict[str, Any], key: Sequence[str]) -> None:
        self._key = tuple(key)
        properties = schema.get("properties")
        items = cast("dict[str, Any]", properties).items() if isinstance(properties, dict) else ()
        allowed = {name: _allowed(each) for name, each in items}
        self._typed = tuple((name, types) for name, types in allowed.items() if types)

    def fault(self, record: object) -> str | None:
        """Why the record cannot be taken; None when it can. Tells no value of it."""
        if type(record) is not dict:
            return "a record is not a JSON object"
        row = cast("dict[str, Any]", record)
        for name in self._key:
            if row.get(name) is None:
                return f"the key field {name!r} is missing"
        for name, types in self._typed:
            if name in row and type(value := row[name]) not in types:
                if isinstance(value, float) and int in types and value.is_integer():
                    continue
                return f"the field {name!r} is of another type than its schema says"
        return None


def _allowed(schema: object) -> frozenset[type]:
    """The types that a field may be of; empty where the schema does not say, or says it in a way not read here."""
    if not isinstance(schema, dict):
        return frozenset()
    schema = cast("dict[str, Any]", schema)
    for word in ("anyOf", "oneOf"):
        if isinstance(branches := schema.get(word), list):
            each = [_allowed(branch) for branch in cast("list[Any]", branches)]
            return frozenset[type]().union(*each) if all(each) else frozenset()
    said = schema.get("type")
    names = [str(name) for name in (cast("list[Any]", said) if isinstance(said, list) else [said])]
    if not all(name in _TYPES for name in names):
        return frozenset()
    return frozenset(kind for name in names for kind in _TYPES[name])
