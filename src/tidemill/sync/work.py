"""One account's sync under way: what its steps share."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tidemill.connectors import Batch, Connector, HttpClient, ProviderError, Scopes, Tally, Window
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Context
from tidemill.postgres import Connection
from tidemill.vault import Secret

Write = Callable[[Connection], Awaitable[None]]
"""Something read, ready to be written in a fenced transaction."""


@dataclass(slots=True, kw_only=True)
class Work:
    """An account's job.

    Attributes:
        ctx: the engine's side: fence, log.
        run, slot, account, workspace: which run of which account.
        watermark: publishing time up to which the posts are known.
        token, token_version: the opened token; replaced once if a refresh overtook us.
        deadline: ``time.monotonic()`` at which the account's time budget is spent.
    """

    ctx: Context
    run: UUID
    slot: datetime
    account: UUID
    workspace: UUID
    watermark: datetime | None
    connector: Connector
    http: HttpClient
    scopes: Scopes
    token: Secret
    token_version: int
    deadline: float
    tally: Tally = field(default_factory=Tally)

    def read(self, stream: str, *, cursor: str | None = None, window: Window | None = None) -> AsyncGenerator[Batch]:
        """Read a stream of the provider as this account."""
        context = ReadContext(
            http=self.http,
            token=self.token,
            scopes=self.scopes,
            clock=lambda: self.slot,
            deadline=self.deadline,
            log=self.ctx.log,
            tally=self.tally,
        )
        return self.connector.read(context, stream, cursor, window or Window())

    @property
    def seconds_left(self) -> float:
        """Seconds of the account's budget that are left."""
        return self.deadline - time.monotonic()


@dataclass(slots=True)
class Report:
    """What a step has done so far, over all its attempts.

    Attributes:
        counts: the step's keys of ``sync_logs.metadata``.
        wrote: whether anything of it was got.
        missing: objects that were asked for and not got.
        miss: the first of their errors, to be shown.
    """

    counts: dict[str, int]
    wrote: bool = False
    missing: int = 0
    miss: ProviderError | None = None

    @classmethod
    def resume(cls, keys: tuple[str, ...], earlier: dict[str, Any] | None) -> Report:
        """A report that goes on where an earlier attempt was interrupted."""
        counts = {key: int((earlier or {}).get(key, 0)) for key in keys}
        return cls(counts, wrote=any(counts.values()))

    def add(self, key: str, n: int) -> None:
        """Count ``n`` more."""
        self.counts[key] = self.counts.get(key, 0) + n
        self.wrote = self.wrote or n > 0

    def missed(self, batch: Batch) -> None:
        """Take over a batch's misses."""
        self.missing += len(batch.misses)
        if batch.misses and self.miss is None:
            self.miss = batch.misses[0].error
