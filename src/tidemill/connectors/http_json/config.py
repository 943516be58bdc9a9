"""What a company says of a REST endpoint: where it is, how it is asked, and how its answers are read."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from yarl import URL

from tidemill.connectors.egress import wrong_with
from tidemill.connectors.http_json.marks import mark

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A field, or a query parameter."""
DottedPath = Annotated[str, Meta(max_length=200, pattern=r"^([^\x00-\x1f\x7f]+)?$")]
"""Names of fields with dots between them, from the whole answer on."""
HeaderName = Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderText = Annotated[str, Meta(max_length=1000, pattern=r"^[\x20-\x7e]*$")]
Size = Annotated[int, Meta(ge=1, le=10_000)]

_SECRET = re.compile(r"auth|cookie|token|secret|password|passwd|api[_-]?key|signature|credential", re.IGNORECASE)
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive"}
)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class NoAuth(_Part, frozen=True, tag_field="in", tag="none"):
    """The endpoint is open to everybody."""


class HeaderAuth(_Part, frozen=True, tag_field="in", tag="header"):
    """The secret ``token`` goes into a header, after ``prefix``."""

    name: HeaderName = "Authorization"
    prefix: HeaderText = "Bearer "

    def __post_init__(self) -> None:
        if self.name.lower() in _OURS:
            raise ValueError(f"name: {self.name} is not a header that can be given")


class QueryAuth(_Part, frozen=True, tag_field="in", tag="query"):
    """The secret ``token`` goes into a query parameter. Prefer a header: URLs stand in servers' logs."""

    name: Name


class PagePaging(_Part, frozen=True, tag_field="kind", tag="page"):
    """Pages, or records to skip, are counted in a query parameter."""

    parameter: Name = "page"
    first: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    counts: Literal["pages", "records"] = "pages"
    """``records``: the parameter is the number of records before the page, from ``first`` (usually 0) on."""
    size: Size = 100
    size_parameter: Name | None = None
    end: Literal["empty", "short"] = "empty"
    """What the last page looks like: empty, or shorter than ``size``. ``short`` saves a call, and loses records where
    the provider gives fewer than it was asked for."""


class CursorPaging(_Part, frozen=True, tag_field="kind", tag="cursor"):
    """An answer names the cursor of the next page."""

    path: DottedPath
    parameter: Name = "cursor"
    size: Size = 100
    size_parameter: Name | None = None


class LinkPaging(_Part, frozen=True, tag_field="kind", tag="link"):
    """An answer's ``Link`` header names the next page (RFC 8288, ``rel="next"``)."""

    size: Size = 100
    size_parameter: Name | None = None


class NoPaging(_Part, frozen=True, tag_field="kind", tag="none"):
    """One answer is all."""


class Cursor(_Part, frozen=True):
    """What a read begins with, so that it brings only what is new."""

    field: Name
    """The records' field that grows: the time of their last change, or a number."""
    parameter: Name
    """The query parameter that takes the highest value seen."""
    compare: Literal["time", "number"] = "time"
    """How values are compared: ISO 8601 times (UTC where they name no zone), or numbers."""
    initial: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """What the very first read begins with; without it that read asks for everything."""
    order: Literal["ascending", "any"] = "any"
    """``ascending``: the provider sorts by the field, so the cursor moves with each page. Otherwise with the last."""
    inclusive: bool = True
    """Whether the provider also gives records whose value is the very one asked for (``>=``, not ``>``)."""

    def __post_init__(self) -> None:
        if self.initial is not None and mark(self.initial, self.compare) is None:
            raise ValueError(f"initial: is not a {self.compare}")


class WindowParameters(_Part, frozen=True):
    """How a part of the past is asked for."""

    since: Name
    until: Name
    format: Literal["iso", "date", "seconds", "milliseconds"] = "iso"


class StreamConfig(_Part, frozen=True):
    """One kind of record."""

    name: Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
    path: Annotated[str, Meta(max_length=1000, pattern=r"^[\x21-\x7e]*$")]
    """Below ``base_url``."""
    records: DottedPath = ""
    """Where the list of records stands in the answer; empty: the answer is the list."""
    key: Annotated[list[Name], Meta(max_length=10)] = []
    """The fields that name a record; none: records are told apart by all that they hold."""
    cursor: Cursor | None = None
    window: WindowParameters | None = None
    paging: NoPaging | PagePaging | CursorPaging | LinkPaging = NoPaging()
    deleted: Name | None = None
    """The field that marks a record as deleted: by true, a time, or anything but null, 0, "", "0" and "false"."""
    query: dict[Name, Annotated[str, Meta(max_length=1000)]] = {}
    never_empty: bool = False
    """Whether a read without any record is suspicious."""

    def __post_init__(self) -> None:
        if not _is_below(self.path):
            raise ValueError('path: must be a plain path below base_url, without "..", "?", "#", "\\" or a scheme')
        if self.deleted is not None and not self.key:
            raise ValueError("deleted: needs a key: without one nothing says which record is gone")
        _no_secrets("query", self.query)


class HttpConfig(_Part, frozen=True):
    """A REST API that answers in JSON."""

    base_url: Annotated[str, Meta(min_length=1, max_length=2000)]
    streams: Annotated[list[StreamConfig], Meta(min_length=1, max_length=100)]
    auth: NoAuth | HeaderAuth | QueryAuth = HeaderAuth()
    headers: dict[HeaderName, HeaderText] = {}
    """Sent with every call; no place for secrets."""
    query: dict[Name, Annotated[str, Meta(max_length=1000)]] = {}
    """Sent with every call, before a stream's own."""
    max_pages: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    """Pages of one read after which it is given up."""

    def __post_init__(self) -> None:
        try:
            url = URL(self.base_url)
        except ValueError:
            raise ValueError("base_url: is no URL") from None
        if wrong := wrong_with(url):
            raise ValueError(f"base_url: {wrong}")
        if url.raw_query_string or url.raw_fragment or "?" in self.base_url or not _is_below(url.raw_path):
            raise ValueError("base_url: must end with a plain path; parameters go into query")
        names = [stream.name for stream in self.streams]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"streams: two are named {twice}")
        if ours := next((name for name in self.headers if name.lower() in _OURS), None):
            raise ValueError(f"headers: {ours} is not a header that can be given")
        _no_secrets("headers", self.headers)
        _no_secrets("query", self.query)


def _is_below(path: str) -> bool:
    plain = not any(sign in path for sign in ("?", "#", "\\", "://")) and not path.startswith("//")
    return plain and ".." not in URL.build(path="/" + path.lstrip("/"), encoded=True).path.split("/")


def _no_secrets(field: str, names: dict[str, str]) -> None:
    if name := next((name for name in names if _SECRET.search(name)), None):
        raise ValueError(f"{field}: {name} looks like a secret: declare it in auth and give it as the credential token")
