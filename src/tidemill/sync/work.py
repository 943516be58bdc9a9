"""One account's sync under way: what its steps share."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from tidemill.connectors import Batch, Connector, HttpClient, ProviderError, Scopes, Tally, Window
from tidemill.connectors import Context as ReadContext
from tidemill.engine import Context
from tidemill.sync.observed import Observed
from tidemill.vault import Secret

_GONE = "gone"


@dataclass(slots=True, kw_only=True)
class Work:
    """An account's job.

    Attributes:
        ctx: the engine's side: fence, log.
        run, slot, account, workspace: which run of which account.
        watermark: publishing time up to which the posts are known.
        token, token_key: the opened token, and its id and version; replaced if a refresh or a new consent overtook us.
        user_must_act: whether the provider's last word was that the account's owner has to act.
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
    token_key: tuple[UUID, int]
    user_must_act: bool
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

    def observed(self, **read: Any) -> Observed:
        """What was read of this account at this slot; see :class:`Observed` for ``read``."""
        return Observed(workspace=self.workspace, account=self.account, slot=self.slot, **read)

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
        gone: how many of them the provider no longer has, so that nobody will ask for them again.
        miss: the first of their errors, to be shown.
    """

    counts: dict[str, int]
    wrote: bool = False
    missing: int = 0
    gone: int = 0
    miss: ProviderError | None = None

    @classmethod
    def resume(cls, keys: tuple[str, ...], earlier: dict[str, Any] | None, *, from_start: bool) -> Report:
        """A report that goes on where ``earlier``'s :meth:`progress` ended.

        Args:
            keys: the step's counts.
            earlier: None for a first attempt.
            from_start: the step reads everything again, and so counts it again.
        """
        before = {key: int((earlier or {}).get(key, 0)) for key in (*keys, _GONE)}
        gone = 0 if from_start else before[_GONE]
        counts = {key: 0 if from_start else before[key] for key in keys}
        return cls(counts, wrote=any(before.values()), missing=gone, gone=gone)

    def add(self, key: str, n: int) -> None:
        """Count ``n`` more."""
        self.counts[key] = self.counts.get(key, 0) + n
        self.wrote = self.wrote or n > 0

    def missed(self, batch: Batch) -> None:
        """Take over a batch's misses."""
        self.missing += len(batch.misses)
        self.gone += len(batch.deletes)
        if batch.misses and self.miss is None:
            self.miss = batch.misses[0].error

    def progress(self) -> Progress:
        """How far it is now, to be committed together with the data handed out last."""
        return Progress({**self.counts, _GONE: self.gone}, str(self.miss) if self.miss else None)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a later attempt is told: ``sync_logs.metadata``, and the first miss."""

    metadata: dict[str, int]
    error: str | None
