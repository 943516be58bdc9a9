"""Threads as a connector: posts, post insights, account insights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from tidemill.connectors.context import Context
from tidemill.connectors.errors import FATAL, ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.http import base_url
from tidemill.connectors.protocol import Batch, MetricKind, Miss, Spec, Stream, Window
from tidemill.connectors.threads import answers
from tidemill.connectors.threads.client import ThreadsClient, checked_id
from tidemill.connectors.threads.errors import ThreadsDialect
from tidemill.connectors.threads.models import POST_METRICS, Post, PostInsights
from tidemill.connectors.threads.oauth import PERMISSIONS
from tidemill.errors import InvalidInput
from tidemill.settings import Settings

BATCH_SIZE = 500
INSIGHTS_WINDOW = timedelta(days=7)
EARLIEST_INSIGHTS = datetime.fromtimestamp(1_712_991_600, UTC)
"""The API refuses account insights from before."""

_STREAMS = (
    Stream(name="posts", key=("id",), cursor="published_at"),
    Stream(name="post_insights", key=("post_id",), metrics=dict.fromkeys(POST_METRICS, MetricKind.COUNTER)),
    Stream(
        name="account_insights",
        key=(),
        window=True,
        metrics={
            "followers_count": MetricKind.GAUGE,
            "views": MetricKind.PERIODIC,
            **dict.fromkeys(("likes", "replies", "reposts", "quotes", "clicks"), MetricKind.GAUGE),
        },
    ),
)


class ThreadsConnector:
    """Reads Threads accounts.

    Args:
        base: the API's address, without version.
        calls_per_account: insights calls of one account side by side.
        overlap: how far behind the newest known post a read of ``posts`` goes back, for posts that show up late.
        max_pages: pages of posts after which a read gives up; its cursor then stays where it was.
    """

    def __init__(
        self,
        base: str,
        *,
        calls_per_account: int = 10,
        overlap: timedelta = timedelta(days=3),
        max_pages: int = 1000,
    ) -> None:
        self._base = base_url(base, "TIDEMILL_THREADS_BASE_URL")
        self._calls_per_account = calls_per_account
        self._overlap = overlap
        self._max_pages = max_pages
        self._dialect = ThreadsDialect()

    @classmethod
    def load(cls, settings: Settings) -> ThreadsConnector:
        """From the settings."""
        return cls(settings.threads_base_url)

    @property
    def spec(self) -> Spec:
        """Who it is."""
        return Spec(name="threads", title="Threads", permissions=PERMISSIONS)

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        """``posts``, ``post_insights``, ``account_insights``."""
        return _STREAMS

    def client(self, ctx: Context) -> ThreadsClient:
        """The API as this account."""
        caller = ctx.http.caller(
            self._dialect, scopes=ctx.scopes, deadline=ctx.deadline, token=ctx.token, tally=ctx.tally
        )
        return ThreadsClient(caller, self._base)

    async def check(self, ctx: Context) -> None:
        """Ask whose token it is."""
        await self.client(ctx).profile()

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        """See :meth:`tidemill.connectors.protocol.Connector.read`.

        - ``posts``: :class:`Post`; a batch a page; the cursor is the time of the newest post, as ISO 8601.
          ``window.since`` is how far back to go at most.
        - ``post_insights``: :class:`PostInsights` of ``window.entities``, provider post ids. Not about the past.
        - ``account_insights``: one :class:`AccountInsights` over the window, by default the last 7 days. Of
          ``window.entities`` (``followers_count``, which takes no window, and ``window``) only those are asked for.
        """
        if stream == "posts":
            return self._posts(ctx, cursor, window)
        if stream == "post_insights":
            if window.since or window.until:
                raise InvalidInput("window", "post_insights are totals as of now; they cannot be asked about the past")
            return self._post_insights(ctx, [checked_id(post_id) for post_id in window.entities])
        if stream == "account_insights":
            return self._account_insights(ctx, window)
        raise InvalidInput("stream", f"no such stream of threads: {stream!r}")

    async def _posts(self, ctx: Context, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        newest = _watermark(cursor)
        back_to = max(filter(None, (newest and newest - self._overlap, window.since)), default=None)
        async with aclosing(self.client(ctx).pages(max_pages=self._max_pages)) as pages:
            async for page in pages:
                newest = max(filter(None, (newest, *(post.published_at for post in page.posts))), default=None)
                last = not page.more or _passes(page.posts, back_to)
                yield Batch(
                    records=page.posts,
                    misses=page.misses,
                    observed_at=await ctx.now(),
                    cursor_after=newest.isoformat() if last and newest else None,
                )
                if last:
                    return
        error = ProviderError(ErrorKind.PERMANENT, f"more than {self._max_pages} pages of posts; the rest was not read")
        yield Batch(records=(), misses=(Miss("posts", error),), observed_at=await ctx.now())

    async def _post_insights(self, ctx: Context, post_ids: Sequence[str]) -> AsyncGenerator[Batch]:
        client = self.client(ctx)
        for start in range(0, len(post_ids), BATCH_SIZE):
            reading = _Reading(client, post_ids[start : start + BATCH_SIZE])
            failure = await reading.run(self._calls_per_account)
            if reading.records or reading.misses:
                yield Batch(
                    records=reading.records,
                    misses=reading.misses,
                    deletes=[miss.entity for miss in reading.misses if miss.error.kind is ErrorKind.GONE],
                    observed_at=await ctx.now(),
                )
            if failure is not None:
                raise failure

    async def _account_insights(self, ctx: Context, window: Window) -> AsyncGenerator[Batch]:
        client = self.client(ctx)
        until = window.until or await ctx.now()
        since = max(window.since or until - INSIGHTS_WINDOW, EARLIEST_INSIGHTS)
        if since >= until:
            raise InvalidInput("window", f"account_insights reach back to {EARLIEST_INSIGHTS:%Y-%m-%d}, and not ahead")
        got: list[answers.Insights] = []
        misses: list[Miss] = []
        failure: ProviderError | TimeBudgetSpent | None = None
        for entity in window.entities or ("followers_count", "window"):
            try:
                got.append(
                    await (client.followers() if entity == "followers_count" else client.account_window(since, until))
                )
            except TimeBudgetSpent as e:
                failure = e
                break
            except ProviderError as e:
                if e.kind in FATAL:
                    failure = e
                    break
                misses.append(Miss(entity, e))
        if got or misses:
            records = [answers.account_insights(since, until, got)] if got else []
            yield Batch(records=records, misses=misses, observed_at=await ctx.now())
        if failure is not None:
            raise failure


def _passes(posts: Sequence[Post], back_to: datetime | None) -> bool:
    """Whether a page reaches behind ``back_to``, so that the rest is older still.

    Its last post decides, since a pinned one may stand before newer ones. The order is not documented: of a page
    that runs from old to new, nothing follows.
    """
    if back_to is None or not posts:
        return False
    return posts[-1].published_at < back_to and posts[-1].published_at <= posts[0].published_at


def _tells_little(failure: ProviderError | TimeBudgetSpent) -> int:
    """Of several: the provider's answer says most, then that it was not called after it, least that the time was up."""
    return 2 if isinstance(failure, TimeBudgetSpent) else int(failure.response is None)


class _Reading:
    """One batch of insights under way: a few workers share the ids, the first fatal error stops them all."""

    def __init__(self, client: ThreadsClient, post_ids: Sequence[str]) -> None:
        self.records: list[PostInsights] = []
        self.misses: list[Miss] = []
        self._client = client
        self._total = len(post_ids)
        self._ids: Iterator[str] = iter(post_ids)
        self._stopped = False

    async def run(self, workers: int) -> ProviderError | TimeBudgetSpent | None:
        """Read all; gives back, never raises, what stopped it short."""
        tasks = [asyncio.create_task(self._work()) for _ in range(min(workers, self._total))]
        try:
            first, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            self._stopped = True
            failed = [e for task in first if (e := task.exception())]
            if others and all(isinstance(e, ProviderError) and e.response is None for e in failed):
                # Held back, they say, for what one of the others was answered, who is about to tell it. Each call has
                # its own deadline, and nobody begins another.
                await asyncio.wait(others)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        failures: list[ProviderError | TimeBudgetSpent] = []
        for end in ended:
            if isinstance(end, ProviderError | TimeBudgetSpent):
                failures.append(end)
            elif isinstance(end, Exception):
                raise end
        return min(failures, key=_tells_little, default=None)

    async def _work(self) -> None:
        for post_id in self._ids:
            if self._stopped:
                return
            try:
                self.records.append(await self._client.post_insights(post_id))
            except ProviderError as e:
                if e.kind in FATAL:
                    raise
                self.misses.append(Miss(post_id, e))


def _watermark(cursor: str | None) -> datetime | None:
    if cursor is None:
        return None
    try:
        newest = datetime.fromisoformat(cursor)
    except ValueError:
        newest = None
    if newest is None or newest.tzinfo is None:
        raise InvalidInput("cursor", "the cursor of posts is a time with its offset, as ISO 8601")
    return newest
