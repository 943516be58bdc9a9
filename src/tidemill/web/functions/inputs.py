"""What callers send: small JSON objects and ``?wait=``. Anything else is refused with the name of the field."""

from __future__ import annotations

import re
from uuid import UUID

import msgspec
from aiohttp import web

from tidemill.web.problems import Problem

__all__ = ["MAX_BODY", "MAX_WAIT_S", "only_id_of", "read_object", "refuse_fields", "uuid_of", "wait_of"]

MAX_BODY = 64 * 1024
MAX_WAIT_S = 55.0
DEFAULT_WAIT_S = 2.0

_SECONDS = re.compile(r"[0-9]{1,2}(\.[0-9]{1,3})?")


def wait_of(request: web.Request) -> float:
    """Seconds that the caller will wait for the run to end: ``?wait=``, 0 to 55, default 2."""
    given = request.query.getall("wait", [])
    if not given:
        return DEFAULT_WAIT_S
    if len(given) > 1 or not _SECONDS.fullmatch(given[0]) or float(given[0]) > MAX_WAIT_S:
        raise Problem(400, "INVALID_WAIT", f"wait: must be given once, as seconds from 0 to {MAX_WAIT_S:.0f}.")
    return float(given[0])


async def read_object(request: web.Request) -> dict[str, object]:
    """The body as a JSON object; an empty body is an empty object."""
    body = await request.read()
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "INVALID_BODY", "body: must be a JSON object.") from error


def refuse_fields(body: dict[str, object], *, known: frozenset[str] = frozenset()) -> None:
    """Refuse what this endpoint does not know, so that a misspelt field is not silently dropped."""
    if unknown := sorted(body.keys() - known):
        raise Problem(400, "INVALID_BODY", f"{unknown[0][:64]}: unknown field.")


def only_id_of(body: dict[str, object], field: str) -> UUID:
    """The UUID in the one field that the body may have."""
    refuse_fields(body, known=frozenset({field}))
    return uuid_of(body.get(field), field)


def uuid_of(value: object, field: str) -> UUID:
    """The value as a UUID in its usual written form."""
    try:
        return msgspec.convert(value, UUID)
    except msgspec.ValidationError as error:
        raise Problem(400, "INVALID_ID", f"{field}: must be a UUID.") from error
