"""Job kinds: a name, a handler and the rules it runs under."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from tidemill.engine.arguments import Arguments, as_json
from tidemill.engine.backoff import Backoff
from tidemill.engine.job import NewJob, Orphan
from tidemill.engine.limits import Limit
from tidemill.engine.outcome import Outcome
from tidemill.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from tidemill.engine.context import Context
    from tidemill.postgres import Connection

Handler = Callable[["Context", dict[str, Any]], Awaitable[Outcome | None]]
OnOrphan = Callable[["Connection", Sequence[Orphan]], Awaitable[None]]

PRIORITIES = range(-1000, 1001)
MOST_ATTEMPTS = 10_000
MOST_WAITING = 10_000
"""Of an exposed kind's bound: each call counts up to it."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


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
        arguments: the type that its jobs are checked against.
        unique: makes a unique key of a job's arguments; True takes the arguments themselves.
        tenant: makes a job's tenant of its arguments.
        limits: what the kind may use of the fleet.
        exposed: the top-level claim of a user's token, a uuid, that is the tenant of jobs enqueued through
            ``public.tidemill_enqueue``; None keeps the kind from that door.
        most_waiting: jobs of the kind that one tenant may have waiting when it enqueues another through that door.
    """

    name: str
    handler: Handler
    queue: str = "default"
    max_attempts: int = 20
    timeout: float = 300.0
    backoff: Backoff = field(default_factory=Backoff)
    priority: int = 0
    on_orphan: OnOrphan | None = None
    arguments: Arguments = field(default_factory=Arguments)
    unique: Callable[[Any], str] | bool = False
    tenant: Callable[[Any], UUID | None] | None = None
    limits: tuple[Limit, ...] = ()
    exposed: str | None = None
    most_waiting: int | None = None

    def packed(self, job: NewJob) -> bytes | None:
        """The arguments, as JSON, of a job that may be written as it is: it only has them, and perhaps a tenant.

        None where there is more to it, or to see: then :meth:`checked` does.
        """
        if self.unique or self.tenant or job.batch is not None or not _is_ordinary(job, job.key, job.tenant):
            return None
        return self.arguments.pack_instance(job.args)

    def checked(self, job: NewJob) -> NewJob:
        """The job as it may be stored: arguments as JSON, key and tenant filled in.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
        """
        key, tenant = job.key, job.tenant
        text = None if self.unique or self.tenant else self.arguments.pack_instance(job.args)
        if text is not None:
            args: Any = msgspec.Raw(text)
        else:
            args = self.arguments.pack(job.args)
            key, tenant = self._filled_in(args, key, tenant)
        if not _is_ordinary(job, key, tenant):
            _check(job, key, tenant)
        return NewJob(
            kind=self.name,
            args=args,
            key=key,
            at=job.at,
            delay=job.delay,
            priority=job.priority,
            tenant=tenant,
            batch=job.batch,
            max_attempts=job.max_attempts,
            trace=job.trace,
        )

    def _filled_in(self, args: dict[str, Any], key: str | None, tenant: UUID | None) -> tuple[str | None, UUID | None]:
        if key is None and self.unique:
            key = self.arguments.digest(args) if self.unique is True else self.unique(self.arguments.read(args))
        if tenant is None and self.tenant is not None:
            tenant = self.tenant(self.arguments.read(args))
        return key, tenant


def _is_ordinary(job: NewJob, key: object, tenant: object) -> bool:
    """Whether nothing is said of a job that could be wrong: so it is of most."""
    return (
        job.at is job.delay is job.max_attempts is job.trace is key is None
        and type(job.priority) is int
        and job.priority == 0
        and (tenant is None or isinstance(tenant, UUID))
    )


def _check(job: NewJob, key: object, tenant: object) -> None:
    if job.at is not None and job.delay is not None:
        raise InvalidInput("delay", "give either at or delay, not both")
    check_instant("at", job.at)
    if job.delay is not None and not (_is(job.delay, (int, float)) and 0 <= job.delay < 1e9):
        raise InvalidInput("delay", f"{job.delay!r} is not a number of seconds from 0 to 1e9")
    if not _is(job.priority, int) or job.priority not in PRIORITIES:
        raise InvalidInput("priority", f"{job.priority!r} is not a whole number from -1000 to 1000; higher runs first")
    if job.max_attempts is not None and not (_is(job.max_attempts, int) and 1 <= job.max_attempts <= MOST_ATTEMPTS):
        raise InvalidInput("max_attempts", f"{job.max_attempts!r} is not a whole number from 1 to {MOST_ATTEMPTS}")
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= 500):
        raise InvalidInput("key", "needs to be text of 1 to 500 characters")
    as_json("key", key)
    if job.trace is not None and not (_is(job.trace, str) and _TRACEPARENT.fullmatch(job.trace)):
        raise InvalidInput("trace", f"{job.trace!r} is no W3C traceparent")
    check_tenant(tenant)


def check_instant(field: str, value: object) -> None:
    """Raise InvalidInput, naming ``field``, unless it is None or an instant that Postgres can store."""
    if value is None:
        return
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidInput(field, "needs to be a datetime with a time zone, e.g. datetime.now(UTC)")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(field, f"{value} is in no year from 1 to 9999 of UTC") from None


def check_tenant(value: object) -> None:
    """Raise InvalidInput unless it is None or a UUID."""
    if value is not None and not isinstance(value, UUID):
        raise InvalidInput("tenant", f"{value!r} is not a UUID")


def check_jobs(field: str, jobs: Iterable[object]) -> None:
    """Raise InvalidInput, naming ``field``, unless they are jobs to enqueue."""
    for job in jobs:
        if not isinstance(job, NewJob):
            raise InvalidInput(field, f"takes jobs as prepare() makes them, not {type(job).__name__}")


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    """What the type checker knows, for callers that have none."""
    return isinstance(value, kind) and not isinstance(value, bool)


class Registry:
    """The kinds that this application knows."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[str, Kind] = {}
        for kind in kinds:
            self.add(kind)

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
            raise InvalidInput("kind", f"no job kind {name[:200]!r} is registered; known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._kinds.values()))

    @property
    def queues(self) -> list[str]:
        """The queues that registered kinds use, sorted."""
        return sorted({kind.queue for kind in self._kinds.values()})
