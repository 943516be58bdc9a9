"""Pages by key: where a list goes on is the order's key of the last item, so nothing is counted and nothing shifts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from tidemill.web.api.call import Answer
from tidemill.web.api.codes import invalid
from tidemill.web.api.models import Page

__all__ = ["check_instant", "paged", "read_after"]

T = TypeVar("T")

_EARLIEST, _LATEST = 2, 9998
"""Years that Postgres and Python both have in every zone."""


def read_after(after: str | None, kind: type[T]) -> T | None:
    """The key in an ``after`` that :func:`paged` made for the same list, whose name is the key's first part; None at
    the start.

    Raises:
        Problem: 422, when it is none, or another list's.
    """
    if after is None:
        return None
    try:
        key = msgspec.json.decode(base64.b64decode(after + "=" * (-len(after) % 4), b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError, RecursionError):
        raise invalid("after", "is not the next of a page of this list") from None
    for value in msgspec.to_builtins(key, builtin_types=(datetime,)):
        if isinstance(value, datetime):
            check_instant("after", value)
        elif isinstance(value, str) and "\0" in value:
            raise invalid("after", "is not the next of a page of this list")
    return key


def check_instant(field: str, at: datetime) -> datetime:
    """An instant that Postgres can be asked about.

    Raises:
        Problem: 422, when it has no offset, or lies beyond the calendar.
    """
    if at.tzinfo is None:
        raise invalid(field, "needs an offset, such as Z")
    if not _EARLIEST <= at.year <= _LATEST:
        raise invalid(field, "lies beyond the calendar")
    return at


def paged(items: Sequence[T], limit: int, key: Callable[[T], tuple[Any, ...]], *, more: bool | None = None) -> Answer:
    """The first ``limit`` of ``items``, of which one more was asked for to know whether any follow.

    ``more`` says it where a page may be shorter for other reasons.
    """
    shown = list(items[:limit])
    follows = len(items) > limit if more is None else more
    after = _written(key(shown[-1])) if follows and shown else None
    return Answer(Page(shown, after), after=after)


def _written(key: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()
