"""The layers computed the slow way: from the whole set of observations, knowing nothing of how they came."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

Values = tuple[int | None, ...]


def _last_known(seen: list[tuple[datetime, Values]], m: int) -> tuple[int | None, datetime | None]:
    for at, values in reversed(seen):
        if values[m] is not None:
            return values[m], at
    return None, None


def post_deltas(published_at: datetime, observed: Mapping[datetime, Values]) -> dict[datetime, tuple[object, ...]]:
    """Layer 2 of a post, in the form of ``Home.deltas``."""
    rows: dict[datetime, tuple[object, ...]] = {}
    seen: list[tuple[datetime, Values]] = []
    for at, values in sorted(observed.items()):
        deltas: list[int | None] = []
        for m, value in enumerate(values):
            before = _last_known(seen, m)[0] if seen else 0
            deltas.append(None if value is None or before is None else value - before)
        start = seen[-1][0] if seen else min(published_at, at)
        rows[at] = (start, at, *deltas, not seen and at - published_at >= timedelta(minutes=30))
        seen.append((at, values))
    return rows


def account_deltas(observed: Mapping[datetime, Values]) -> dict[datetime, tuple[object, ...]]:
    """Layer 2 of an account: start, end, then a delta for each gauge (none for profile_views, the second)."""
    rows: dict[datetime, tuple[object, ...]] = {}
    seen: list[tuple[datetime, Values]] = []
    for at, values in sorted(observed.items()):
        deltas: list[int | None] = []
        for m, value in enumerate(values):
            before = _last_known(seen, m)[0]
            deltas.append(None if value is None or before is None or m == 1 else value - before)
        rows[at] = (seen[-1][0] if seen else None, at, *deltas)
        seen.append((at, values))
    return rows


def current(observed: Mapping[datetime, Values], width: int) -> tuple[object, ...]:
    """Layer 3: the newest known values, their slots, the newest slot."""
    newest = [_last_known(sorted(observed.items()), m) for m in range(width)]
    return (*[value for value, _ in newest], *[at for _, at in newest], max(observed, default=None))
