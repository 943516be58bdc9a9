"""A request to the API as its handlers see it: who calls, what is asked, and under which conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from aiohttp import web
from yarl import URL

from tidemill.errors import InvalidInput
from tidemill.web.api.codes import invalid, problem
from tidemill.web.api.refusals import not_found
from tidemill.web.jwt import User
from tidemill.web.problems import Problem

__all__ = [
    "Answer",
    "Call",
    "accepts_json",
    "etag",
    "idempotency_key",
    "in_field",
    "read_body",
    "read_id",
    "read_if_match",
    "read_query",
    "told",
]

T = TypeVar("T")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_TAGS = re.compile(r'\s*(W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')
_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")


@dataclass(frozen=True)
class Call:
    """One request, read and found well-formed.

    Attributes:
        user: who calls.
        url: path and query, as they came.
        path: the parts of the path that vary; ``id`` is a UUID.
        query: the query's parameters, of the route's type.
        body: the body, of the route's type; None where it takes none.
        if_match: the versions that the caller would change; None for any.
    """

    user: User
    url: URL
    path: Mapping[str, str]
    query: Any
    body: Any
    if_match: frozenset[str] | None

    @property
    def id(self) -> UUID:
        """The row that the path names."""
        return UUID(self.path["id"])

    def must_match(self, version: int) -> None:
        """Pass when the caller means this version.

        Raises:
            Problem: 412, when it has changed since he read it.
        """
        if self.if_match is not None and str(version) not in self.if_match:
            raise problem("PRECONDITION_FAILED", f"It is at version {version} now; read it again, then edit that.")


@dataclass(frozen=True)
class Answer:
    """What a handler gives: the body, the headers that belong to it, and where a list goes on.

    Attributes:
        outside: gives the body once the transaction has ended: what calls the outside holds no connection meanwhile.
    """

    body: object
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    after: str | None = None
    outside: Callable[[], Awaitable[object]] | None = None


def etag(version: int) -> dict[str, str]:
    """The header that tells a version of a definition."""
    return {"ETag": f'"{version}"'}


def read_id(request: web.Request) -> Mapping[str, str]:
    """The path's parts; what is no UUID names nothing.

    Raises:
        Problem: 404.
    """
    for value in request.match_info.values():
        if not _UUID.fullmatch(value):
            raise not_found()
    return request.match_info


def accepts_json(request: web.Request) -> None:
    """Pass when the caller takes JSON.

    Raises:
        Problem: 406.
    """
    ranges = ",".join(request.headers.getall("Accept", [])).lower()
    if not ranges.strip():
        return
    for part in ranges.split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        refused = any(re.fullmatch(r"q=0(\.0{0,3})?", parameter.replace(" ", "")) for parameter in parameters)
        if kind in ("*/*", "application/*", "application/json") and not refused:
            return
    raise problem("NOT_ACCEPTABLE", "Answers are application/json.")


def read_if_match(request: web.Request, *, needed: bool) -> frozenset[str] | None:
    """The versions in ``If-Match``, compared strongly; None when there is no condition.

    Raises:
        Problem: 428 when it is needed and missing, 422 when it cannot be read.
    """
    given = request.headers.getall("If-Match", [])
    if not given:
        if needed:
            raise problem("PRECONDITION_REQUIRED", 'Send If-Match with the ETag of what you read, such as "3".')
        return None
    text = ",".join(given).strip()
    if text == "*":
        return None
    tags: set[str] = set()
    at = 0
    while at < len(text):
        tag = _TAGS.match(text, at)
        if tag is None or tag.end() == at:
            raise invalid("If-Match", 'must be *, or ETags such as "3" with commas between')
        if tag[1] is None:  # a weak tag never matches
            tags.add(tag[2])
        at = tag.end()
    return frozenset(tags)


def idempotency_key(request: web.Request) -> str | None:
    """The caller's ``Idempotency-Key``; None without one.

    Raises:
        Problem: 422, when it cannot be one.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise invalid("Idempotency-Key", "must be given once, as 1 to 200 visible ASCII characters")
    return given[0]


def read_query(request: web.Request, kind: type[T]) -> T:
    """The query's parameters.

    Raises:
        Problem: 422, naming the parameter.
    """
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise invalid(_short(name), "is given twice")
        given[name] = value
    try:
        query = msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise _named(error, kind, "query") from None
    for name in given:
        if getattr(query, name) is None:  # the word null, which would pass for a parameter that was left out
            raise invalid(name, "must have a value; leave it out to choose nothing by it")
    return query


async def read_body(request: web.Request, kind: type[T] | None) -> tuple[bytes, T | None]:
    """The body as it came, and as ``kind``. Where none is taken, nothing and ``{}`` pass.

    Raises:
        Problem: 400 when it is no JSON, 413, 415, or 422 naming the field.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise problem("UNSUPPORTED_MEDIA_TYPE", "A body must not be compressed.")
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise problem("TOO_LARGE", "The body is longer than 64 KB.") from None
    if kind is None:
        if raw.strip() not in (b"", b"{}"):
            raise problem("INVALID_BODY", "There is no body to be sent here.")
        return b"", None
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        raise problem("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json in UTF-8.")
    try:
        body = msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _named(error, kind, "body") from None
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else "is no JSON"
        raise problem("INVALID_BODY", f"The body {reason}.", field="body", message=reason) from None
    json.loads(raw, object_pairs_hook=_refuse_twice, parse_int=str, parse_float=str)
    _refuse_nul(msgspec.to_builtins(body), "")
    return raw, body


def in_field(field: str, error: InvalidInput) -> InvalidInput:
    """The error with its field below ``field``."""
    message = str(error).removeprefix(f"{error.field}: ")
    return InvalidInput(f"{field}.{error.field}", message)


def told(error: InvalidInput) -> Problem:
    """An error of a room below as a problem."""
    return invalid(_short(error.field), str(error).removeprefix(f"{error.field}: "))


def _named(error: Exception, kind: type, where: str) -> Problem:
    """The problem of a value that msgspec refused; its messages hold types and names, and words that were taken."""
    text = str(error)
    path = ""
    if at := _AT.search(text):
        path, text = at["path"], text[: at.start()]
    for shape, message in ((_UNKNOWN, "unknown field"), (_MISSING, "is missing")):
        if named := shape.fullmatch(text):
            return invalid(_short(".".join(part for part in (path, named["name"]) if part)), message)
    if text.startswith("Invalid enum value") and (words := _words(get_type_hints(kind).get(path))):
        return invalid(_short(path), f"must be one of {', '.join(words)}")
    return invalid(_short(path or where), text[:1].lower() + text[1:200])


def _words(hint: Any) -> list[str]:
    """Those that a field may be."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for part in get_args(hint) for word in _words(part)]


def _short(name: str) -> str:
    """A name that came from outside, fit to be shown."""
    return "".join(c if c.isprintable() else "?" for c in name[:100]) or "?"


def _refuse_twice(members: list[tuple[str, object]]) -> None:
    """Of two members of one name parsers take either, so that what one has judged the next may not see."""
    seen: set[str] = set()
    for name, _ in members:
        if name in seen:
            raise invalid(_short(name), "is given twice")
        seen.add(name)


def _refuse_nul(value: object, path: str) -> None:
    """No text in Postgres holds a NUL; JSON may, at any depth."""
    if isinstance(value, str):
        if "\0" in value:
            raise invalid(_short(path) if path else "body", "holds a NUL character, which cannot be stored")
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            below = f"{path}.{key}" if path else key
            _refuse_nul(key, below)
            _refuse_nul(inner, below)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            _refuse_nul(inner, path)
