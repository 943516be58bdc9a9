"""What the Threads API knows, in our words. A value the provider left out is None, never 0."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tidemill.vault import Secret

POST_METRICS = ("views", "likes", "replies", "reposts", "quotes", "shares")


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The account that a token belongs to."""

    id: str
    username: str | None = None
    name: str | None = None
    picture_url: str | None = None
    biography: str | None = None
    is_verified: bool | None = None


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One of the account's own top-level posts."""

    id: str
    published_at: datetime
    media_type: str | None = None
    """``TEXT_POST, IMAGE, VIDEO, CAROUSEL_ALBUM, AUDIO, REPOST_FACADE``, and what may come."""
    text: str | None = None
    permalink: str | None = None
    shortcode: str | None = None
    media_url: str | None = None
    thumbnail_url: str | None = None
    is_quote_post: bool | None = None


class PostInsights(msgspec.Struct, frozen=True, kw_only=True):
    """A post's lifetime totals as read now. They may fall. All None for a repost, which has none of its own."""

    post_id: str
    views: int | None = None
    likes: int | None = None
    replies: int | None = None
    reposts: int | None = None
    quotes: int | None = None
    shares: int | None = None


class DayViews(msgspec.Struct, frozen=True):
    """Profile views of one of the provider's days, which end at midnight US-Pacific. Today's is still growing."""

    end_time: datetime
    value: int


class AccountInsights(msgspec.Struct, frozen=True, kw_only=True):
    """An account's figures: followers now, views by day, the rest as totals over ``since`` to ``until``."""

    since: datetime
    until: datetime
    followers_count: int | None = None
    likes: int | None = None
    replies: int | None = None
    reposts: int | None = None
    quotes: int | None = None
    clicks: int | None = None
    """Over all links."""
    views: tuple[DayViews, ...] = ()

    @property
    def views_total(self) -> int | None:
        """Views over all days told, None when none was."""
        return sum(day.value for day in self.views) if self.views else None


class ShortToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a code is exchanged for: lives about an hour, and only serves to get a :class:`LongToken`."""

    token: Secret
    user_id: str
    """A number beyond 2^53, so always text here."""


class LongToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token of about 60 days. There is no refresh token: while it lives it renews itself."""

    token: Secret
    expires_in: int
    """Seconds from now."""
