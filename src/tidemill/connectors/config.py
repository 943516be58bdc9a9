"""What a company says of its connector, checked against the connector's own Struct."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from tidemill.errors import InvalidInput

T = TypeVar("T", bound=msgspec.Struct)

_PLACE = re.compile(r"^(?P<what>.*) - at (?:`key` in )?`\$(?P<path>[^`]*)`$", re.DOTALL)
_OWN = re.compile(r"^(?P<name>[a-z_][a-z0-9_.]*): (?P<what>.+)$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)


def read_config(kind: type[T], config: Mapping[str, Any]) -> T:
    """``config`` as ``kind``.

    What a Struct's ``__post_init__`` finds it raises as ``ValueError("field: what is wrong")``.

    Raises:
        InvalidInput: it does not fit; the field is its path, such as ``config.streams[0].paging``.
    """
    try:
        return msgspec.convert(dict(config), kind)
    except msgspec.ValidationError as e:
        raise _named(str(e)) from None


def _named(said: str) -> InvalidInput:
    place = _PLACE.match(said)
    what, path = (place["what"], place["path"]) if place else (said, "")
    if unknown := _UNKNOWN.match(what):
        return InvalidInput(f"config{path}.{unknown['name']}", "there is no such field")
    if missing := _MISSING.match(what):
        return InvalidInput(f"config{path}.{missing['name']}", "is required")
    if own := _OWN.match(what):
        return InvalidInput(f"config{path}.{own['name']}", own["what"])
    return InvalidInput(f"config{path}", what)
