"""Accounts of the simulator, seen through the connector."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from tidemill.connectors import Batch, Context, HttpClient, Limits, ProviderError, Scopes, TimeBudgetSpent, Window
from tidemill.connectors.threads import ThreadsConnector
from tidemill.simulators.threads import Fault, FaultError, ThreadsSimulator
from tidemill.vault import Secret

START = 1_795_000_000
LIMITS = Limits(backoff_s=0.01)
APP = "1000200030004000"


def context(
    sim: ThreadsSimulator, http: HttpClient, *, account: int = 0, seconds: float = 120, token: str | None = None
) -> Context:
    """An account of the simulator with a valid token of its own."""
    who = sim.accounts[account]
    return Context(
        http=http,
        token=Secret(token or sim.issue_token(who).text),
        scopes=Scopes.of("threads", APP, who.id),
        clock=lambda: datetime.fromtimestamp(sim.clock.now(), UTC),
        deadline=time.monotonic() + seconds,
        log=None,
    )


def post_ids(sim: ThreadsSimulator, count: int, *, account: int = 0) -> list[str]:
    """The newest posts, reposts left out."""
    who = sim.accounts[account]
    posts = (who.post(number) for number in reversed(range(who.count(sim.clock.now()))))
    return [post.id for post in posts if post.media_type != "REPOST_FACADE"][:count]


async def drain(batches: AsyncIterator[Batch]) -> tuple[list[Batch], ProviderError | TimeBudgetSpent | None]:
    """All that was yielded, and what was raised after it."""
    got: list[Batch] = []
    try:
        async for batch in batches:
            got.append(batch)  # noqa: PERF401 - what came before an error counts
    except (ProviderError, TimeBudgetSpent) as e:
        return got, e
    return got, None


async def insights(
    sim: ThreadsSimulator, ctx: Context, ids: list[str], **options: Any
) -> tuple[list[Batch], ProviderError | TimeBudgetSpent | None]:
    """Read the insights of these posts."""
    connector = ThreadsConnector(sim.url, **options)
    return await drain(connector.read(ctx, "post_insights", None, Window(entities=ids)))


def failing(code: int, subcode: int | None = None, *, endpoint: str = "post_insights", **more: Any) -> Fault:
    """A rule that answers with an error of the provider."""
    error = {name: more.pop(name) for name in ("status", "is_transient", "message", "type") if name in more}
    return Fault(endpoint=endpoint, error=FaultError(code, subcode, **error), **more)


def everything_said(error: BaseException) -> str:
    """Every text that an error could bring into a log: its own, its causes', their attributes."""
    said: list[str] = []
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        e = queue.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        said += [str(e), repr(e), repr(e.args), repr(vars(e))]
        queue += [e.__cause__, e.__context__]
    return "\n".join(said)
