"""An application under test: its database is the test's own, its jobs run when the test says so, and time obeys."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack
from unittest import mock

from tidemill.app import Rooms, Tidemill
from tidemill.app.declared import JobOf
from tidemill.blocking import Client
from tidemill.engine.recurrence import recurrence
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.postgres import Database
from tidemill.settings import Settings
from tidemill.testing.enqueued import Enqueued, Like, Wanted, listed
from tidemill.testing.statements import SQL
from tidemill.testing.stepper import Attempt, Drained, Stepper, within_a_job

P = ParamSpec("P")
T = TypeVar("T")

MOST = 1000
"""Attempts after which jobs are taken to breed without end."""


class Harness:
    """An application, open on a test's database, whose jobs run when the test says so.

    Enter it in the event loop that the test runs in. Schedules are declared when it is entered.

    Args:
        app: the application. Its settings point to the database for as long as the harness is entered.
        url: a migrated database that nobody else uses: the fixture ``tidemill_url``.
        opens: False leaves ``async with app:`` to the code under test, e.g. to the lifespan of a web application.

    Raises:
        ConfigurationError: when a setting is wrong, or the application is open already.
        DatabaseUnavailable: when the database cannot be reached.
    """

    def __init__(self, app: Tidemill, url: str, *, opens: bool = True) -> None:
        self.app = app
        self._url = url
        self._opens = opens
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            before = self.app.settings
            stack.callback(setattr, self.app, "settings", before)
            self.app.settings = replace(
                before or Settings.load(), database_url=self._url, listen_url=None, pooled=False, env="test"
            )
            opened = self.app.open() if self._opens else self.app.connect()
            self._rooms: Rooms = await stack.enter_async_context(opened)
            self._loop = asyncio.get_running_loop()
            self._turn = asyncio.Lock()
            self._stepper = Stepper(self.app, self._rooms)
            await self._stepper.start()
            stack.push_async_callback(self._stepper.close)
            await self._rooms.declare_schedules()
            self._entered = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._entered.__aexit__(kind, e, tb)

    @property
    def db(self) -> Database:
        """The test's database."""
        return self._rooms.db

    # Running ---------------------------------------------------------------------------------------------------------

    async def drain(
        self, *, queues: Iterable[str] | None = None, most: int = MOST, with_delayed: bool = False
    ) -> Drained:
        """Run the jobs that are due, one after the other, and those that they enqueue.

        Args:
            queues: those that are served; None means all.
            most: attempts after which the jobs are taken to breed without end.
            with_delayed: goes on with jobs that are delayed, snoozed or to be tried again, moving the clock to the next
                of them whenever nothing is due. Schedules do not fire by it.

        Raises:
            AssertionError: after ``most`` attempts, when there is still something to run.
            InvalidInput: when no job is declared in one of the queues.
        """
        served = self._served(queues)
        attempts: list[Attempt] = []
        async with self._turn:
            while True:
                if len(attempts) >= most and await self._stepper.due(served):
                    raise AssertionError(_endless(attempts))
                attempt = await self._stepper.step(served)
                if attempt is not None:
                    attempts.append(attempt)
                elif not (with_delayed and await self._stepper.wait(served)):
                    return Drained(attempts)

    @contextmanager
    def inline(self) -> Generator[None]:
        """In this block jobs run as they are enqueued, with all that is due and all that they enqueue in their turn.

        That goes for ``enqueue``, ``enqueue_many``, ``batch`` and ``chain`` of the application and for every
        :class:`~tidemill.blocking.Client`; these then raise what a handler raised, whose attempt is recorded. Jobs in a
        transaction of the caller's (``conn=``) are not there before it commits, and delayed ones are not due: they wait
        for :meth:`drain`.
        """
        with ExitStack() as stack:
            for name in ("enqueue", "enqueue_many", "chain"):
                stack.enter_context(mock.patch.object(self.app, name, self._followed(getattr(self.app, name))))
            stack.enter_context(mock.patch.object(self.app, "batch", self._block_followed(self.app.batch)))
            stack.enter_context(mock.patch.object(Client, "enqueue_many", self._client_followed(Client.enqueue_many)))
            yield

    def _followed(self, enqueue: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        async def followed(*args: P.args, **kwargs: P.kwargs) -> T:
            answer = await enqueue(*args, **kwargs)
            await self._settle()
            return answer

        return followed

    def _block_followed(
        self, batch: Callable[P, AbstractAsyncContextManager[T]]
    ) -> Callable[P, AbstractAsyncContextManager[T]]:
        @asynccontextmanager
        async def followed(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T]:
            async with batch(*args, **kwargs) as block:
                yield block
            await self._settle()

        return followed

    def _client_followed(self, enqueue_many: Callable[P, T]) -> Callable[P, T]:
        def followed(*args: P.args, **kwargs: P.kwargs) -> T:
            if within_a_job.get():
                return enqueue_many(*args, **kwargs)
            if self._is_own_loop():
                raise ConfigurationError(
                    "a Client holds up the event loop in which its jobs would run inline: call it by asyncio.to_thread"
                )
            ids = enqueue_many(*args, **kwargs)
            # A running job may be what makes this call, in a thread of its own: to wait for it would be for ever.
            if not self._stepper.running:
                asyncio.run_coroutine_threadsafe(self._run_due(), self._loop).result()
            return ids

        return followed

    async def _settle(self) -> None:
        if within_a_job.get():
            return  # whoever runs that job comes to this one next
        if self._is_own_loop():
            await self._run_due()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._run_due(), self._loop))

    async def _run_due(self) -> None:
        attempts: list[Attempt] = []
        async with self._turn:
            while (attempt := await self._stepper.step(self._stepper.queues)) is not None:
                if attempt.error is not None:
                    raise attempt.error
                attempts.append(attempt)
                if len(attempts) > MOST:
                    raise AssertionError(_endless(attempts))

    def _is_own_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _served(self, queues: Iterable[str] | None) -> list[str]:
        known = self._stepper.queues
        served = known if queues is None else list(queues)
        if unknown := [queue for queue in served if queue not in known]:
            raise InvalidInput("queues", f"no job is declared in {unknown[0]!r}; there are: {', '.join(sorted(known))}")
        return served

    # Looking ---------------------------------------------------------------------------------------------------------

    async def enqueued(self, job: JobOf[Any] | None = None) -> list[Enqueued]:
        """The jobs that wait, ready or delayed, in the order of their ids: those of one declared job, or all.

        Raises:
            InvalidInput: when the job is not declared.
        """
        kind = None if job is None else self.app.prepare(job).kind
        jobs = [Enqueued(**row) for row in await self.db.fetch(SQL.waiting)]
        return [found for found in jobs if kind in (None, found.kind)]

    async def assert_enqueued(
        self, job: JobOf[Any], *, times: int | None = None, **like: Unpack[Like]
    ) -> list[Enqueued]:
        """Make sure that such a job waits, ready or delayed; those that do.

        Args:
            job: a declared function, or the name of its kind.
            times: how many there must be; None means at least one.
            like: what is asked of it, see :class:`~tidemill.testing.enqueued.Like`.

        Raises:
            AssertionError: telling what waits instead.
            InvalidInput: when the job is not declared, or cannot have such an argument.
        """
        if times is not None and times < 1:
            raise InvalidInput("times", f"{times!r} is no number from 1 on; use refute_enqueued for none")
        wanted, jobs = self._wanted(job, like), await self.enqueued()
        found = wanted.among(jobs)
        if not found:
            raise AssertionError(f"no such job waits: {wanted}\n{wanted.near_misses(jobs)}")
        if times not in (None, len(found)):
            raise AssertionError(f"{len(found)} such jobs wait instead of {times}: {wanted}\n{listed(found)}")
        return found

    async def refute_enqueued(self, job: JobOf[Any], **like: Unpack[Like]) -> None:
        """Make sure that no such job waits.

        Raises:
            AssertionError: telling which ones do.
            InvalidInput: when the job is not declared, or cannot have such an argument.
        """
        wanted = self._wanted(job, like)
        if found := wanted.among(await self.enqueued()):
            raise AssertionError(f"{len(found)} such jobs wait, and none should: {wanted}\n{listed(found)}")

    def _wanted(self, job: JobOf[Any], like: Like) -> Wanted:
        return Wanted(self._rooms.engine.registry[self.app.prepare(job).kind], like)

    # Time ------------------------------------------------------------------------------------------------------------

    async def now(self) -> datetime:
        """What ``tidemill.now()`` says."""
        return await self.db.fetchval("select tidemill.now()")

    async def travel(self, to: datetime) -> None:
        """Jump to an instant: nothing happened on the way. Schedules are planned anew from there, as if new.

        Raises:
            InvalidInput: when ``to`` has no time zone.
        """
        await self._set_clock(to)
        plans = {row["name"]: recurrence(row["spec"]).next(to) for row in await self._rooms.schedules.list()}
        await self.db.execute(SQL.replan, list(plans), list(plans.values()))

    async def advance(self, by: timedelta | None = None, *, to: datetime | None = None) -> None:
        """Let time pass, by so much or up to an instant. What comes due meanwhile is due; nothing runs by itself.

        Raises:
            InvalidInput: when it would go back, ``to`` has no time zone, or not exactly one of both is given.
        """
        if (by is None) == (to is None):
            raise InvalidInput("by", "give either by or to")
        now = await self.now()
        if by is not None:
            to = now + by
        assert to is not None  # noqa: S101 - one of both was given
        if to.tzinfo is not None and to < now:
            raise InvalidInput("by" if by else "to", f"{to} lies before {now}; use travel to go back")
        await self._set_clock(to)

    async def tick(self) -> datetime | None:
        """Enqueue the jobs of all schedules that are due, as workers do; when the next one will be, None for never."""
        return await self._rooms.schedules.tick()

    async def _set_clock(self, to: datetime) -> None:
        if to.tzinfo is None:
            raise InvalidInput("to", "needs a time zone, e.g. tzinfo=ZoneInfo('Europe/Berlin')")
        await self.db.execute("select tidemill.set_clock($1)", to)


def _endless(attempts: Sequence[Attempt]) -> str:
    kinds = Counter(attempt.job.kind for attempt in attempts).most_common(5)
    told = ", ".join(f"{kind} ({n})" for kind, n in kinds)
    return f"after {len(attempts)} attempts there are still jobs to run; do they breed? What ran most: {told}"
