"""What a connector is: a provider's streams, read in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from tidemill.connectors.context import Context
from tidemill.connectors.errors import ProviderError


class MetricKind(StrEnum):
    """How a figure behaves over time, and so what a difference of two readings means."""

    COUNTER = "counter"
    """A lifetime total; the difference is what was added, or by a correction taken away."""
    GAUGE = "gauge"
    """A level as it is now."""
    PERIODIC = "periodic"
    """Counts within the provider's own periods; the newest is still growing. Stored by period, never differenced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Who a connector is."""

    name: str
    """Short and lasting: it stands in the database."""
    title: str
    permissions: tuple[str, ...] = ()
    """What is asked of the account's owner."""
    config: type[msgspec.Struct] | None = None
    """What a company says of its connector; None when it has nothing to say."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that it may be given; ``"*"`` stands for any."""
    process: bool = False
    """Whether a run holds a process of its own on the worker's machine: ``TIDEMILL_TAPS`` bounds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One kind of record."""

    name: str
    key: tuple[str, ...]
    """Fields that name a record within its account; empty when nothing does."""
    cursor: str | None = None
    """The field whose highest value the cursor holds; None when every read starts anew."""
    window: bool = False
    """Whether it can be asked about the past: only then can it be replayed."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of a record, where it is known."""
    never_empty: bool = False
    """Whether a read without a record is suspicious once there has been one: the run is ``partial`` then."""
    metrics: Mapping[str, MetricKind] = field(default_factory=dict[str, MetricKind])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of a stream is wanted; what is None or empty is the connector's choice."""

    since: datetime | None = None
    until: datetime | None = None
    entities: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Miss:
    """An entity that was asked for and not got, and why."""

    entity: str
    error: ProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records to be committed together, with the cursor that holds once they are.

    ``cursor_after`` is valid only with its batch, and only when all batches before it are committed; None leaves the
    cursor where it is. ``deletes`` are entities that no longer exist at the provider; each also stands in ``misses``.
    ``observed_at`` is the slot clock's time once the records had been read. ``caught_up`` says that the source knows
    how far this stream was read before and has nothing newer: a read without a record is then as it should be, even of
    a stream that is ``never_empty``.
    """

    records: Sequence[Any]
    observed_at: datetime
    cursor_after: str | None = None
    deletes: Sequence[str] = ()
    misses: Sequence[Miss] = ()
    version: int | None = None
    activate: int | None = None
    caught_up: bool = False


class Connector(Protocol):
    """A provider. One object serves all accounts, so it keeps nothing of any."""

    @property
    def spec(self) -> Spec:
        """Who it is."""
        ...

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        """What it can read.

        Raises:
            ProviderError, TimeBudgetSpent: that could not be found out.
        """
        ...

    async def check(self, ctx: Context) -> None:
        """Whether the token works, by the cheapest call there is.

        Raises:
            ProviderError, TimeBudgetSpent: it does not, or that could not be found out.
        """
        ...

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        """Read ``stream`` from ``cursor`` on.

        What is yielded is good even when an error follows: a fatal one (:data:`~tidemill.connectors.errors.FATAL`), or
        the end of the time, is raised only after all that was read had been yielded.

        Raises:
            ProviderError: the stream cannot go on.
            TimeBudgetSpent: ``ctx.deadline`` came first.
            InvalidInput: no such stream, or not in such a window.
        """
        ...
