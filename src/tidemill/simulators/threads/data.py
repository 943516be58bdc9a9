"""Who is on the simulated Threads and what they posted: a function of (seed, anchor, account, number of the post)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime

from tidemill.simulators.threads.dice import fraction, roll

HOUR, DAY = 3600, 86_400
YOUNG = 72 * HOUR
OLDEST = 400 * DAY

_MEDIA_TYPES = ("TEXT_POST",) * 9 + ("IMAGE",) * 5 + ("VIDEO",) * 3 + ("CAROUSEL_ALBUM",) * 2 + ("REPOST_FACADE",)
_FIRST = ("amber", "birch", "cedar", "coral", "delta", "ember", "fjord", "harbor", "indigo", "juniper")
_SECOND = ("bakery", "books", "coffee", "design", "films", "garden", "kitchen", "labs", "market", "studio")
_WORDS = ("tide", "again", "morning", "we", "made", "new", "thing", "for", "you", "slow", "water", "wheel", "turns")


@dataclass(frozen=True, slots=True)
class Post:
    """One post and the constants its metrics are derived from."""

    id: str
    number: int
    published: int
    media_type: str
    text: str
    shortcode: str
    chance: int


class Account:
    """One user. Post number 0 is the oldest; the backlog's `posts` are followed by those the clock brings."""

    def __init__(self, world: World, index: int) -> None:
        self.index = index
        self._world = world
        self._seed = roll(world.seed, index)
        family = roll(world.seed) % 1_000_000
        self.id = f"17841{family:06d}{index:06d}"
        self._post_prefix = f"18{family % 1000:03d}{index:06d}"
        first, second = _FIRST[index % len(_FIRST)], _SECOND[roll(self._seed, 1) % len(_SECOND)]
        self.username = f"{first}_{second}_{index:03d}"
        self.name = f"{first} {second}".title() if roll(self._seed, 2) % 8 else None
        self.biography = f"{second} by the {first}" if roll(self._seed, 3) % 4 else None
        self.is_verified = roll(self._seed, 4) % 10 == 0
        self.reach = 40 + roll(self._seed, 5) % 4000
        """The size of the account's audience, which its posts' and its own metrics grow with."""
        self.small = index % 5 == 4
        """Fewer than 100 followers, so no demographics."""
        self.pace = max(60, int(world.new_post_every * (0.5 + fraction(self._seed, 6)))) if world.new_post_every else 0
        """Seconds between two new posts; 0: none appear."""
        self._posts: dict[int, Post] = {}

    @property
    def seed(self) -> int:
        """The account's own share of the world's seed."""
        return self._seed

    def published(self, number: int) -> int:
        """When a post appears, in seconds since the epoch; rises with the number."""
        backlog = self._world.posts
        spread = 0.05 + 0.9 * fraction(self._seed, 7, number)
        if number >= backlog:
            return self._world.anchor + int((number - backlog + spread) * self.pace)
        share = (backlog - 1 - number + spread) / backlog
        young = self._world.young_share
        if share < young:
            return self._world.anchor - 1 - int(share / young * YOUNG)
        rest = (share - young) / (1 - young)
        return self._world.anchor - 1 - YOUNG - int(rest * rest * (OLDEST - YOUNG))

    def count(self, now: int) -> int:
        """How many posts there are at an instant, so also the number of the next one."""
        backlog, anchor = self._world.posts, self._world.anchor
        if now < anchor:
            return bisect_right(range(backlog), now, key=self.published)
        if not self.pace:
            return backlog
        started = backlog + (now - anchor) // self.pace
        return started + (self.published(started) <= now)

    def between(self, since: int | None, until: int) -> range:
        """Numbers of the posts published in since..until, both inclusive."""
        stop = self.count(until)
        start = 0 if since is None else bisect_left(range(stop), since, key=self.published)
        return range(start, stop)

    def post(self, number: int) -> Post:
        """The post with a number, whether or not it has appeared yet."""
        known = self._posts.get(number)
        if known is None:
            known = self._posts[number] = self._make(number)
        return known

    def find(self, post_id: str, now: int) -> Post | None:
        """The post with an id if it is this account's and has appeared."""
        number = post_id[11:]
        if len(post_id) != 17 or not post_id.startswith(self._post_prefix) or not number.isascii():
            return None
        return self.post(int(number)) if number.isdecimal() and int(number) < self.count(now) else None

    def _make(self, number: int) -> Post:
        chance = roll(self._seed, 8, number)
        media_type = _MEDIA_TYPES[chance % len(_MEDIA_TYPES)]
        words = " ".join(_WORDS[(chance >> shift) % len(_WORDS)] for shift in range(4, 4 + 4 * (3 + chance % 6), 4))
        post_id = f"{self._post_prefix}{number:06d}"
        text = "" if media_type == "REPOST_FACADE" else f"{words} #{number}"
        return Post(post_id, number, self.published(number), media_type, text, _shortcode(int(post_id)), chance)


class World:
    """All accounts. The same (seed, anchor, shape) is the same world, in any process."""

    def __init__(
        self, *, seed: int, accounts: int, posts: int, anchor: datetime, young_share: float, new_post_every: float
    ) -> None:
        """Lay the world out.

        `anchor` is the instant the backlog's ages are counted back from; `posts` the length of every account's
        backlog; `young_share` of it is at most 72 h old, the rest up to 400 days; `new_post_every` is the mean time
        in seconds between two new posts of an account, 0 for none.
        """
        if not 1 <= accounts <= 999_999 or not 0 <= posts <= 500_000:
            raise ValueError("accounts must be 1..999999 and posts 0..500000")
        if not 0 < young_share <= 1 or new_post_every < 0:
            raise ValueError("young_share must be in (0, 1] and new_post_every not negative")
        self.seed, self.posts, self.anchor = seed, posts, int(anchor.timestamp())
        self.young_share, self.new_post_every = young_share, new_post_every
        self.accounts = [Account(self, index) for index in range(accounts)]
        self._by_id = {account.id: account for account in self.accounts}
        self._by_username = {account.username: account for account in self.accounts}

    def account(self, name: str) -> Account | None:
        """The account with an id or a username."""
        return self._by_id.get(name) or self._by_username.get(name)


def _shortcode(number: int) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    code = ""
    while number:
        number, digit = divmod(number, 64)
        code = alphabet[digit] + code
    return code
