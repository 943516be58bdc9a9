"""The shapes in which Threads answers, and how they become our models. Only what is read is decoded.

Each shape has a required field, so that an error sent with status 200 is never taken for an empty answer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from tidemill.connectors.threads.models import (
    POST_METRICS,
    AccountInsights,
    DayViews,
    LongToken,
    Post,
    PostInsights,
    Profile,
    ShortToken,
)
from tidemill.vault import Secret

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Seconds = Annotated[int, msgspec.Meta(gt=0, le=10**9)]


class _Cursors(msgspec.Struct):
    after: str | None = None


class _Paging(msgspec.Struct):
    cursors: _Cursors | None = None
    next: str | None = None


class PostsPage(msgspec.Struct):
    """A page of posts, each left undecoded so that one bad post spoils no other."""

    data: list[msgspec.Raw]
    paging: _Paging | None = None

    @property
    def after(self) -> str | None:
        """The cursor of the page behind this one."""
        return (self.paging.cursors.after or None) if self.paging and self.paging.cursors else None

    @property
    def has_next(self) -> bool:
        """Whether the provider names a next page. Its URL carries the token and is never followed."""
        return bool(self.paging and self.paging.next)


class _Post(msgspec.Struct):
    id: str | int
    timestamp: Instant
    media_type: str | None = None
    text: str | None = None
    permalink: str | None = None
    shortcode: str | None = None
    media_url: str | None = None
    thumbnail_url: str | None = None
    is_quote_post: bool | None = None


class _Id(msgspec.Struct):
    id: str | int


class _Profile(msgspec.Struct):
    id: str | int
    username: str | None = None
    name: str | None = None
    threads_profile_picture_url: str | None = None
    threads_biography: str | None = None
    is_verified: bool | None = None


class _Value(msgspec.Struct):
    value: Int64 | None = None
    end_time: Instant | None = None


class _Metric(msgspec.Struct):
    name: str
    values: list[_Value] = []
    total_value: _Value | None = None
    link_total_values: list[_Value] | None = None


class Insights(msgspec.Struct):
    """Metrics, of a post or of an account. Told apart by ``name``; their ``id`` does not always match it."""

    data: list[_Metric]


class _Short(msgspec.Struct):
    access_token: str
    user_id: str | int


class _Long(msgspec.Struct):
    access_token: str
    expires_in: Seconds


_read_page = msgspec.json.Decoder(PostsPage).decode
read_insights = msgspec.json.Decoder(Insights, strict=False).decode
_read_post = msgspec.json.Decoder(_Post).decode
_read_id = msgspec.json.Decoder(_Id).decode
_read_profile = msgspec.json.Decoder(_Profile).decode
_read_short = msgspec.json.Decoder(_Short).decode
_read_long = msgspec.json.Decoder(_Long, strict=False).decode


def read_page(body: bytes) -> PostsPage:
    """Decode a page of posts. A text cut inside an emoji (half a surrogate pair, which JSON allows) loses that half.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: it is no such page.
    """
    try:
        return _read_page(body)
    except msgspec.DecodeError:
        if b"\\ud" not in body.lower():
            raise
        with contextlib.suppress(ValueError):
            body = json.dumps(json.loads(body), ensure_ascii=False).encode(errors="replace")
    return _read_page(body)


def read_post(raw: msgspec.Raw) -> Post:
    """Decode one post of a page.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError: it lacks its id or time, or is malformed.
    """
    post = _read_post(raw)
    return Post(
        id=_id(post.id),
        published_at=post.timestamp,
        media_type=_text(post.media_type),
        text=_text(post.text),
        permalink=_text(post.permalink),
        shortcode=_text(post.shortcode),
        media_url=_text(post.media_url),
        thumbnail_url=_text(post.thumbnail_url),
        is_quote_post=post.is_quote_post,
    )


def read_post_id(raw: msgspec.Raw) -> str | None:
    """The id of a post that cannot be decoded whole, if that much can be."""
    try:
        return _id(_read_id(raw).id)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_profile(body: bytes) -> Profile:
    """Decode ``/me``."""
    profile = _read_profile(body)
    return Profile(
        id=_id(profile.id),
        username=_text(profile.username),
        name=_text(profile.name),
        picture_url=_text(profile.threads_profile_picture_url),
        biography=_text(profile.threads_biography),
        is_verified=profile.is_verified,
    )


def read_short_token(body: bytes) -> ShortToken:
    """Decode the answer to a code."""
    answer = _read_short(body)
    return ShortToken(token=_token(answer.access_token), user_id=_id(answer.user_id))


def read_long_token(body: bytes) -> LongToken:
    """Decode a new long-lived token. Without ``expires_in`` it is no answer: a date would have to be made up."""
    answer = _read_long(body)
    return LongToken(token=_token(answer.access_token), expires_in=answer.expires_in)


def post_insights(post_id: str, answer: Insights) -> PostInsights:
    """A post's metrics by name; those that are not there stay None."""
    found = {metric.name: _first(metric) for metric in answer.data if metric.name in POST_METRICS}
    return PostInsights(post_id=post_id, **found)


def account_insights(since: datetime, until: datetime, answers: Iterable[Insights]) -> AccountInsights:
    """An account's metrics from all calls made for it."""
    metrics = {metric.name: metric for answer in answers for metric in answer.data}

    def total(name: str) -> int | None:
        metric = metrics.get(name)
        return None if metric is None or metric.total_value is None else metric.total_value.value

    views, clicks = metrics.get("views"), metrics.get("clicks")
    return AccountInsights(
        since=since,
        until=until,
        followers_count=total("followers_count"),
        likes=total("likes"),
        replies=total("replies"),
        reposts=total("reposts"),
        quotes=total("quotes"),
        clicks=_sum(clicks.link_total_values) if clicks else None,
        views=tuple(
            DayViews(day.end_time, day.value)
            for day in (views.values if views else ())
            if day.end_time is not None and day.value is not None
        ),
    )


def _first(metric: _Metric) -> int | None:
    if metric.values:
        return metric.values[0].value
    return metric.total_value.value if metric.total_value else None


def _sum(values: list[_Value] | None) -> int | None:
    """An empty list is a total of 0: nobody clicked. A missing one is not known."""
    return None if values is None else sum(value.value or 0 for value in values)


def _id(raw: str | int) -> str:
    """Ids go into URLs, so nothing but letters, digits and ``_`` may be in one."""
    text = str(raw)
    if not (text.isascii() and text.replace("_", "").isalnum() and len(text) <= 64):
        raise msgspec.ValidationError("not an id")
    return text


def _token(text: str) -> Secret:
    if not text:
        raise msgspec.ValidationError("the token is empty")
    return Secret(text)


def _text(text: str | None) -> str | None:
    """Postgres takes no NUL in text, and one post holding it must not fail its whole batch."""
    return text.replace("\x00", "") if text is not None and "\x00" in text else text


check_id = _id

__all__ = [
    "Insights",
    "PostsPage",
    "account_insights",
    "check_id",
    "post_insights",
    "read_insights",
    "read_long_token",
    "read_page",
    "read_post",
    "read_post_id",
    "read_profile",
    "read_short_token",
]
