"""The numbers behind the insights: pure functions of a post or an account and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tidemill.simulators.threads.clock import SLOT
from tidemill.simulators.threads.data import HOUR, Account, Post
from tidemill.simulators.threads.dice import fraction, roll

POST_METRICS = ("views", "likes", "replies", "reposts", "quotes", "shares")
ACCOUNT_TOTALS = {"likes": 90, "replies": 20, "reposts": 12, "quotes": 4}
"""Metrics of a user that are totals over a window, with their share per thousand of a day's views."""

_PACIFIC = ZoneInfo("America/Los_Angeles")
_FIRST_DAY = date(2024, 6, 1)
_QUIET = 20 * 60


def post_metrics(account: Account, post: Post, now: int) -> tuple[int | None, ...]:
    """The post's lifetime metrics at an instant in the order of POST_METRICS; None where the answer leaves one out.

    Views are 0 for the first 20 minutes or so, then approach a ceiling. Likes and reposts sometimes fall (people take
    them back). `views` is missing in about one quarter of an hour of sixty, `shares` in one of thirty.
    """
    chance = post.chance
    age = now - post.published - _QUIET - chance % 240 + 120
    slot = roll(chance, now // SLOT)
    if age <= 0:
        views = 0
    else:
        ceiling = 1 + account.reach * (1 + (chance >> 8) % 400) // 40
        views = int(ceiling * age / (age + (2 + (chance >> 20) % 30) * HOUR))
    likes = views * (20 + (chance >> 28) % 80) // 1000
    reposts = views * ((chance >> 36) % 12) // 1000
    if slot % 8 == 0:
        likes -= min(likes, 1 + (slot >> 8) % 3)
        reposts -= min(reposts, (slot >> 16) % 2)
    return (
        None if (slot >> 24) % 60 == 0 else views,
        likes,
        views * ((chance >> 44) % 15) // 1000,
        reposts,
        views * ((chance >> 52) % 4) // 1000,
        None if (slot >> 32) % 30 == 0 else views * ((chance >> 56) % 6) // 1000,
    )


def days(since: int, until: int) -> Iterator[date]:
    """The US-Pacific days that since..until (seconds, end exclusive) touches, in order."""
    day = datetime.fromtimestamp(since, _PACIFIC).date()
    last = datetime.fromtimestamp(max(since, until - 1), _PACIFIC).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


@lru_cache(maxsize=1024)
def bounds(day: date) -> tuple[int, int]:
    """A US-Pacific day's first instant and its end, in seconds: 07:00 or 08:00 UTC, as daylight saving has it."""
    start = datetime.combine(day, time(), _PACIFIC)
    end = datetime.combine(day + timedelta(days=1), time(), _PACIFIC)
    return int(start.timestamp()), int(end.timestamp())


def day_views(account: Account, day: date, now: int) -> int | None:
    """Profile views of a day, of today those so far; None for a day the provider has no number for."""
    start, end = bounds(day)
    if day < _FIRST_DAY or start > now or roll(account.seed, 20, day.toordinal()) % 12 == 0:
        return None
    return _so_far(_whole_day(account, day), start, end, now)


def window_total(account: Account, metric: str, window: list[date], now: int) -> int:
    """A total of ACCOUNT_TOTALS over days."""
    share, total = ACCOUNT_TOTALS[metric], 0
    for day in window:
        start, end = bounds(day)
        if day >= _FIRST_DAY and start <= now:
            total += _so_far(_whole_day(account, day) * share // 1000, start, end, now)
    return total


def link_clicks(account: Account, window: list[date], now: int) -> list[tuple[str, int]]:
    """Clicks over days for each of the account's links (none to three of them)."""
    links: list[tuple[str, int]] = []
    for number in range(account.seed % 4):
        clicks = 0
        for day in window:
            start, end = bounds(day)
            if day >= _FIRST_DAY and start <= now:
                clicks += _so_far(roll(account.seed, 21, number, day.toordinal()) % 12, start, end, now)
        links.append((f"https://example.com/{account.username}/{number + 1}", clicks))
    return links


def followers(account: Account, now: int) -> int:
    """Followers at an instant: rising slowly, with small falls."""
    wave = roll(account.seed, 22, now // SLOT) % 5 - 2
    if account.small:
        return max(0, min(99, 20 + account.seed % 70 + wave))
    grown = max(0, now - 1_700_000_000) * (1 + account.seed % 9) // 86_400
    return 150 + account.reach * 3 + grown + wave


def demographics(account: Account, breakdown: str, now: int) -> list[tuple[str, int]]:
    """Followers by a breakdown (country, city, age, gender), summing to at most the whole."""
    names = _GROUPS[breakdown]
    weights = [1 + roll(account.seed, 23, ordinal, len(breakdown)) % 50 for ordinal in range(len(names))]
    whole = followers(account, now)
    return [(name, whole * weight // sum(weights)) for name, weight in zip(names, weights, strict=True)]


def _whole_day(account: Account, day: date) -> int:
    weekend = 3 if day.weekday() >= 5 else 4
    return int(account.reach * weekend * (0.1 + 0.2 * fraction(account.seed, 24, day.toordinal())) / 4)


def _so_far(value: int, start: int, end: int, now: int) -> int:
    return value if now >= end else value * (now - start) // (end - start)


_GROUPS = {
    "country": ("US", "TW", "JP", "DE", "BR"),
    "city": ("Taipei, Taiwan", "Oakland, California", "Osaka, Japan", "Hamburg, Germany"),
    "age": ("13-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+"),
    "gender": ("F", "M", "U"),
}
