"""Job kinds: a name, a handler and the rules it runs under."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.engine.backoff import Backoff
from tidemill.engine.job import Orphan
from tidemill.engine.outcome import Outcome
from tidemill.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from tidemill.engine.context import Context
    from tidemill.postgres import Connection

Handler = Callable[["Context", dict[str, Any]], Awaitable[Outcome | None]]
OnOrphan = Callable[["Connection", Sequence[Orphan]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Attributes:
        name: unique; stored with every job, so renaming one strands its queued jobs.
        handler: coroutine function of (context, args); returning None means ``Done()``.
        queue: which queue its jobs wait in.
        max_attempts: errors after which a job is dead.
        timeout: seconds an attempt may take before it is cancelled and counts as an error.
        backoff: wait between attempts.
        priority: default priority, higher first.
        on_orphan: called inside the transaction that ends a job without its handler, so that the owner of the kind can
            close rows of its own.
    """

    name: str
    handler: Handler
    queue: str = "default"
    max_attempts: int = 20
    timeout: float = 300.0
    backoff: Backoff = field(default_factory=Backoff)
    priority: int = 0
    on_orphan: OnOrphan | None = None


class Registry:
    """The kinds that this application knows."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}

    def add(self, kind: Kind) -> None:
        """Register a kind.

        Raises:
            ConfigurationError: when the name is taken.
        """
        if kind.name in self._kinds:
            raise ConfigurationError(f"job kind {kind.name!r} is registered twice")
        self._kinds[kind.name] = kind

    def __getitem__(self, name: str) -> Kind:
        try:
            return self._kinds[name]
        except KeyError:
            known = ", ".join(sorted(self._kinds)) or "none"
            raise InvalidInput("kind", f"no job kind {name!r} is registered; known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._kinds.values()))

    @property
    def queues(self) -> list[str]:
        """The queues that registered kinds use, sorted."""
        return sorted({kind.queue for kind in self._kinds.values()})
