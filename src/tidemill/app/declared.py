"""The application, declared: jobs and schedules in code, and the way to enqueue them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack, cast, overload
from uuid import UUID

from tidemill.app.rooms import Rooms
from tidemill.connectors import Limits as CallLimits
from tidemill.engine import Backoff, Kind, NewJob, Rate, Registry, Schedule
from tidemill.engine.budgets import check_scope
from tidemill.engine.chain import enqueue_batch, enqueue_chain
from tidemill.engine.function import kind_of
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.settings import Settings

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])
JobOf = Callable[[Any, T], Any] | Callable[[Any], Any] | str
"""A declared function of (ctx, args) or (ctx), or the name of its kind."""


class JobOptions(TypedDict, total=False):
    """The rules that a job runs under, all optional.

    ``name`` is stored with every job: module and qualified name unless given. ``queue`` it waits in. ``priority``:
    higher first. ``max_attempts``: errors after which it is dead. ``backoff`` between attempts. ``timeout``: seconds
    of one attempt. ``unique``: makes the key that one live job may hold, of its arguments; True takes all of them.
    ``tenant``: makes the tenant of the arguments. ``concurrency``: jobs that run at a time in the whole fleet, or
    ``{"all": 50, "tenant": 5, "args.account": 1}``; ``rate``: jobs that begin, ``"100/m"`` or such a mapping.
    ``processes``: a plain function runs in a child process instead of a thread. ``exposed``: signed-in users may
    enqueue it through ``public.tidemill_enqueue``, for the tenant in this claim of their token; ``most_waiting``: as
    long as not so many of the tenant's wait already.
    """

    name: str
    queue: str
    priority: int
    max_attempts: int
    backoff: Backoff
    timeout: float
    unique: Callable[[Any], str] | bool
    tenant: Callable[[Any], UUID | None]
    concurrency: int | Mapping[str, int]
    rate: str | Mapping[str, str]
    processes: bool
    exposed: str
    most_waiting: int


class Options(TypedDict, total=False):
    """What can be said of one job when it is enqueued; see :class:`~tidemill.engine.NewJob`.

    ``delay`` is a timedelta or seconds.
    """

    at: datetime | None
    delay: timedelta | float | None
    key: str | None
    priority: int
    tenant: UUID | None
    max_attempts: int | None


class Batch:
    """Jobs to be enqueued together when the block of :meth:`Tidemill.batch` ends.

    Attributes:
        ids: after the block: a job's id, or None where its key was held, in the order they were added.
    """

    def __init__(self, prepare: Callable[..., NewJob]) -> None:
        self._prepare = prepare
        self.jobs: list[NewJob] = []
        self.ids: list[int | None] = []

    def add(self, job: JobOf[T], args: T | Mapping[str, Any] | None = None, **options: Unpack[Options]) -> None:
        """Add a job.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
        """
        self.jobs.append(self._prepare(job, args, **options))


class Tidemill:
    """Declares an application's jobs and schedules. Nothing is opened until it is entered, or :meth:`open` is.

    Args:
        settings: read from the environment when it is opened, unless given.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings
        self._registry = Registry()
        self._kind_of: dict[Callable[..., Any], Kind] = {}
        self._schedules: dict[str, Schedule] = {}
        self._budgets: dict[str, Rate | None] = {}
        self._rooms: Rooms | None = None
        self._entered = AsyncExitStack()

    # Declaring -------------------------------------------------------------------------------------------------------

    @overload
    def job(self, function: Function, /) -> Function: ...
    @overload
    def job(self, /, **options: Unpack[JobOptions]) -> Callable[[Function], Function]: ...
    def job(self, function: Callable[..., Any] | None = None, /, **options: Unpack[JobOptions]) -> Any:
        """Declare a function of ``(ctx, args)`` or ``(ctx)`` as a job; it stays the function that it is.

        Its arguments are a ``dict``, a msgspec ``Struct``, dataclass, TypedDict or pydantic model, by annotation. It
        returns an outcome, or a plain value for ``Done(value)``. What it raises is retried.

        Raises:
            ConfigurationError: when the function or a rule cannot be taken.
        """

        def declare(function: Function) -> Function:
            if self._rooms is not None:
                raise ConfigurationError("jobs are declared before the application is opened")
            rules: dict[str, Any] = dict(options)
            kind = kind_of(function, **rules)
            self._registry.add(kind)
            self._kind_of[function] = kind
            return function

        return declare if function is None else declare(function)

    def schedule(
        self,
        job: JobOf[T],
        args: T | Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        **when: Any,
    ) -> None:
        """Declare a schedule that enqueues ``job`` with ``args``; every worker fires it, each fire becomes one job.

        ``name`` is the job's unless given. ``when`` is what :class:`~tidemill.engine.Schedule` takes, e.g.
        ``cron="*/5 * * * *", timezone="Asia/Taipei"``.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
            ConfigurationError: when the name is taken.
        """
        kind = self._registry[self._name(job)]
        given = dict(cast("Mapping[str, Any]", args or {})) if args is None or isinstance(args, Mapping) else None
        packed = kind.arguments.pack(args if given is None else {"fire_at": datetime.now(UTC), **given})
        packed.pop("fire_at", None)
        name = name or kind.name
        if name in self._schedules:
            raise ConfigurationError(f"schedule {name!r} is declared twice; give each a name")
        self._schedules[name] = Schedule(name=name, kind=kind.name, args=packed, **when)

    def budget(self, scope: str, rate: str | None = None) -> None:
        """Declare how many calls jobs may make to the outside, in the whole fleet; they spend it by ``ctx.spend``.

        Args:
            scope: what is called, e.g. ``stripe``. ``stripe:*`` gives each scope with that prefix a budget of its own.
            rate: e.g. ``100/s``, ``5000/h`` (s, m, h, d): no span of that length sees more calls. None: they are not
                counted, and only pauses (``ctx.block``) hold.

        Raises:
            InvalidInput: naming what cannot be taken.
            ConfigurationError: when the scope has one already, or the application is open.
        """
        if self._rooms is not None:
            raise ConfigurationError("budgets are declared before the application is opened")
        if check_scope(scope, or_pattern=True) in self._budgets:
            raise ConfigurationError(f"budget {scope!r} is declared twice")
        self._budgets[scope] = None if rate is None else Rate.read(rate)

    # Opening ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self, *, syncs: bool = False, name: str = "tidemill", limits: CallLimits | None = None
    ) -> AsyncGenerator[Rooms]:
        """Connect to the database, with what is declared up to now; ``syncs`` opens the built-in syncs as well.

        Raises:
            DatabaseUnavailable: when Postgres cannot be reached or started.
            SchemaOutOfDate: when ``tidemill migrate`` has to be run first.
            ConfigurationError: when a setting is missing or wrong, or the application is open already.
        """
        if self._rooms is not None:
            raise ConfigurationError("the application is open already")
        async with self.connect(syncs=syncs, name=name, limits=limits) as rooms:
            self._rooms = rooms
            try:
                yield rooms
            finally:
                self._rooms = None

    @asynccontextmanager
    async def connect(
        self, *, syncs: bool = False, name: str = "tidemill", limits: CallLimits | None = None
    ) -> AsyncGenerator[Rooms]:
        """Rooms of their own, beside those of :meth:`open`: for another event loop. Raises the same."""
        async with Rooms.open(
            self.settings or Settings.load(),
            kinds=self._registry,
            schedules=self._schedules.values(),
            budgets=self._budgets,
            syncs=syncs,
            name=name,
            limits=limits,
        ) as rooms:
            yield rooms

    async def __aenter__(self) -> Self:
        await self._entered.enter_async_context(self.open())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._entered.__aexit__(kind, e, tb)

    @property
    def rooms(self) -> Rooms:
        """What is open.

        Raises:
            ConfigurationError: when nothing is.
        """
        if self._rooms is None:
            raise ConfigurationError("the application is not open; use: async with app:")
        return self._rooms

    async def run_worker(self, *, queues: Mapping[str, int] | None = None) -> None:
        """Declare the schedules and run jobs until cancelled; ``queues`` says how many of each side by side.

        The application is opened for it, unless it is open. ``tidemill worker --app module:app`` does the same with
        signals, several processes and the built-in syncs.
        """
        async with AsyncExitStack() as stack:
            rooms = self._rooms or await stack.enter_async_context(self.open())
            await rooms.declare_schedules()
            worker = await stack.enter_async_context(rooms.worker(queues=queues))
            await worker.run()

    # Enqueueing ------------------------------------------------------------------------------------------------------

    async def enqueue(
        self,
        job: JobOf[T],
        args: T | Mapping[str, Any] | None = None,
        *,
        conn: Any = None,
        **options: Unpack[Options],
    ) -> int:
        """Enqueue one job and return its id; with ``conn`` it commits or rolls back with the caller's data.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
            KeyHeld: when a live job of the kind holds the key.
        """
        return await self.rooms.engine.enqueue_one(self.prepare(job, args, **options), conn=conn)

    async def enqueue_many(self, jobs: Sequence[NewJob], *, conn: Any = None) -> list[int | None]:
        """Enqueue what :meth:`prepare` made, in one statement; None for each whose key is held.

        Raises:
            InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
        """
        return await self.rooms.engine.enqueue_many(jobs, conn=conn)

    def prepare(self, job: JobOf[T], args: T | Mapping[str, Any] | None = None, **options: Unpack[Options]) -> NewJob:
        """A job to hand to :meth:`enqueue_many` or :meth:`chain`, where it is checked.

        Raises:
            InvalidInput: when the job is not declared here.
        """
        given = cast("dict[str, Any]", options)
        if isinstance(delay := given.get("delay"), timedelta):
            given["delay"] = delay.total_seconds()
        try:
            return NewJob(kind=self._name(job), args=args, **given)
        except TypeError as e:
            raise InvalidInput("options", str(e)) from None

    @asynccontextmanager
    async def batch(
        self,
        *,
        on_done: JobOf[T] | None = None,
        args: T | Mapping[str, Any] | None = None,
        deadline: datetime | None = None,
        tenant: UUID | None = None,
        conn: Any = None,
    ) -> AsyncGenerator[Batch]:
        """Jobs that are counted together: added in the block, enqueued at its end, in one transaction.

        Once all have ended, however they ended, ``on_done`` is enqueued with ``args`` and ``batch``, a
        :class:`~tidemill.engine.BatchSummary`. At the ``deadline`` (``tidemill.now()``) what is left is ``skipped``.
        A block that raises enqueues nothing.

        Raises:
            InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
        """
        batch = Batch(self.prepare)
        yield batch
        last = None if on_done is None else self.prepare(on_done, args)
        batch.ids = await enqueue_batch(
            self.rooms.engine, batch.jobs, on_done=last, deadline=deadline, tenant=tenant, conn=conn
        )

    async def chain(self, *steps: NewJob | Sequence[NewJob], tenant: UUID | None = None, conn: Any = None) -> list[int]:
        """Enqueue jobs one after another; a step of several runs them side by side. Answers the first step's ids.

        A step is begun once every job of the one before is ``done``; its jobs get ``batch``, the summary of that. Any
        other outcome ends the chain: the job ``tidemill.batch`` that notes it is ``cancelled``.

        Raises:
            InvalidInput: naming the argument that cannot be taken; then nothing is enqueued.
            KeyHeld: when a live job holds the key of one of the first step's.
        """
        listed = [[step] if isinstance(step, NewJob) else step for step in steps]
        return await enqueue_chain(self.rooms.engine, listed, tenant=tenant, conn=conn)

    def _name(self, job: Callable[..., Any] | str) -> str:
        if isinstance(job, str):
            return self._registry[job].name
        try:
            return self._kind_of[job].name
        except (KeyError, TypeError):
            raise InvalidInput("job", f"{job!r} is not declared with @app.job") from None
