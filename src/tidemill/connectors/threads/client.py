"""The Threads API, call by call. Paths are relative to ``{base}/v1.0``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from yarl import URL

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.http import Caller
from tidemill.connectors.protocol import Miss
from tidemill.connectors.threads import answers
from tidemill.connectors.threads.models import POST_METRICS, Post, PostInsights, Profile
from tidemill.errors import InvalidInput

VERSION = "v1.0"
PAGE_SIZE = 100
"""The most that the API gives at a time."""

_PROFILE_FIELDS = "id,username,name,threads_profile_picture_url,threads_biography,is_verified"
_POST_FIELDS = "id,media_type,text,permalink,shortcode,media_url,thumbnail_url,timestamp,is_quote_post"
_WINDOW_METRICS = "views,likes,replies,reposts,quotes,clicks"


class Page(NamedTuple):
    """Posts, those that could not be read, and whether a page may follow."""

    posts: list[Post]
    misses: list[Miss]
    more: bool


class ThreadsClient:
    """Asks on behalf of the account whose token ``caller`` carries, in its header only.

    Every method raises :class:`ProviderError` and :class:`TimeBudgetSpent` as :meth:`Caller.get` does.
    """

    def __init__(self, caller: Caller, base: str) -> None:
        self._caller = caller
        self._root = f"{base}/{VERSION}/"
        self._insights_query = f"/insights?metric={','.join(POST_METRICS)}"

    async def profile(self) -> Profile:
        """Whose token this is."""
        return await self._caller.get(self._url(f"me?fields={_PROFILE_FIELDS}"), answers.read_profile)

    async def pages(self, *, max_pages: int, page_size: int = PAGE_SIZE) -> AsyncGenerator[Page, None]:
        """The account's posts page by page, newest first.

        The API is not consistent in telling the last page: a ``next`` link may be missing on all pages, and an empty
        page may have more behind it. So a page follows while there is a cursor not yet seen and either a link or a
        non-empty page, at the price of one call too many at most. Only the cursor is taken, never the link, which
        carries the token and could lead anywhere.
        """
        seen: set[str] = set()
        after = ""
        for _ in range(max_pages):
            query = f"me/threads?fields={_POST_FIELDS}&limit={page_size}"
            page = await self._caller.get(
                self._url(query + (f"&after={quote(after, safe='')}" if after else "")), answers.read_page
            )
            after = page.after or ""
            more = bool(after) and after not in seen and (page.has_next or bool(page.data))
            seen.add(after)
            posts, misses = _posts(page)
            yield Page(posts, misses, more)
            if not more:
                return

    async def post_insights(self, post_id: str) -> PostInsights:
        """A post's lifetime metrics; ``post_id`` must have passed :func:`checked_id`."""
        url = URL(self._root + post_id + self._insights_query, encoded=True)
        return answers.post_insights(post_id, await self._caller.get(url, answers.read_insights))

    async def followers(self) -> answers.Insights:
        """The followers now. In a call of its own: this metric takes no window."""
        return await self._caller.get(self._url("me/threads_insights?metric=followers_count"), answers.read_insights)

    async def account_window(self, since: datetime, until: datetime) -> answers.Insights:
        """The account's metrics over a window: views by day, the others as totals."""
        span = f"since={int(since.timestamp())}&until={int(until.timestamp())}"
        return await self._caller.get(
            self._url(f"me/threads_insights?metric={_WINDOW_METRICS}&{span}"), answers.read_insights
        )

    def _url(self, path: str) -> URL:
        return URL(self._root + path, encoded=True)


def checked_id(post_id: str) -> str:
    """``post_id``, which is safe to be part of a path.

    Raises:
        InvalidInput: it is not made of letters and digits.
    """
    try:
        return answers.check_id(post_id)
    except msgspec.ValidationError:
        raise InvalidInput("entities", "a post id is made of letters and digits") from None


def _posts(page: answers.PostsPage) -> tuple[list[Post], list[Miss]]:
    posts: list[Post] = []
    misses: list[Miss] = []
    for raw in page.data:
        try:
            posts.append(answers.read_post(raw))
        except msgspec.ValidationError as e:
            misses.append(_unreadable(raw, str(e)))
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            misses.append(_unreadable(raw, type(e).__name__))
    return posts, misses


def _unreadable(raw: msgspec.Raw, why: str) -> Miss:
    message = f"the post cannot be read: {why}"
    return Miss(answers.read_post_id(raw) or "unknown", ProviderError(ErrorKind.PERMANENT, message, status=200))
