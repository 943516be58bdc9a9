"""Reading a request's parameters, strictly: what the provider does not know is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl

from tidemill.simulators.threads.errors import invalid

_FIELD = re.compile(r"([a-z_]+)(?:\{([a-z_,]*)\})?(?:,|$)")


@lru_cache(maxsize=4096)
def parse_query(query: str) -> Mapping[str, str]:
    """The parameters of a query string, each at most once. Not to be changed by the caller: it is cached."""
    pairs = parse_qsl(query, keep_blank_values=True)
    params = dict(pairs)
    if len(params) != len(pairs):
        raise invalid("A parameter is given twice")
    return params


def allow(params: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse parameters the endpoint does not know."""
    for name in params:
        if name not in known and name != "access_token":
            raise invalid(f"Unexpected parameter: {name}")


@lru_cache(maxsize=1024)
def parse_names(text: str, known: tuple[str, ...]) -> tuple[str, ...] | str:
    """The names of a comma list, without doubles; a str is the first name that is not known."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    return next((name for name in names if name not in known), names)


@lru_cache(maxsize=1024)
def parse_fields(text: str | None, known: frozenset[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The fields asked for with their sub-fields (`children{id,media_url}`); `id` always is among them."""
    fields: dict[str, tuple[str, ...]] = {"id": ()}
    at = 0
    while text and at < len(text):
        match = _FIELD.match(text, at)
        if match is None:
            raise invalid("Syntax error in the fields parameter")
        name, inner = match.group(1), match.group(2)
        if name not in known:
            raise invalid(f"Tried accessing nonexisting field ({name})")
        fields[name] = tuple(inner.split(",")) if inner else ()
        at = match.end()
    return tuple(fields.items())


def parse_instant_param(params: Mapping[str, str], name: str, now: int) -> int | None:
    """A `since` or `until`: Unix seconds, an ISO date or instant, or `now`."""
    text = params.get(name)
    if text is None:
        return None
    if text == "now":
        return now
    if text.isascii() and text.isdecimal() and len(text) <= 12:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Param {name} must be a UNIX timestamp or a date") from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
