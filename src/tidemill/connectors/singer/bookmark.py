"""Whether a STATE says how far a stream was read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

_NO_PLACE = frozenset(
    {"replication_key", "replication_key_signpost", "starting_replication_value", "progress_markers", "context"}
)
"""What Meltano's SDK notes of a read that cannot be taken up again: the next one begins at the beginning."""


def has_bookmark(state: str | None, names: Iterable[str]) -> bool:
    """Whether ``state`` has a place in the stream of one of these names; old taps write it without ``bookmarks``.

    What is nested too deeply to be looked through has none.
    """
    if state is None:
        return False
    try:
        return _has_place(msgspec.json.decode(state), names)
    except RecursionError:
        return False


def _has_place(whole: object, names: Iterable[str]) -> bool:
    if not isinstance(whole, dict):
        return False
    places = cast("dict[str, Any]", whole)
    if isinstance(inner := places.get("bookmarks"), dict):
        places = cast("dict[str, Any]", inner)
    return any(_says_something(places.get(name)) for name in names)


def _says_something(value: object) -> bool:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return any(_says_something(item) for name, item in items if name not in _NO_PLACE)
    if isinstance(value, list):
        return any(map(_says_something, cast("list[Any]", value)))
    return value is not None and value != ""
