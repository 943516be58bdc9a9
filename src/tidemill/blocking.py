"""Enqueueing from code that knows no event loop: a web framework's views, a script, a shell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from uuid import UUID

import structlog

from tidemill.app import Options, Rooms, Tidemill
from tidemill.app.declared import JobOf
from tidemill.engine import KeyHeld, NewJob
from tidemill.engine.callers import enqueue_with_sync, hold_with_sync
from tidemill.engine.chain import all_of, beginning, checked_batch, checked_chain, enqueue_batch, enqueue_chain
from tidemill.errors import ConfigurationError

T = TypeVar("T")

_log = structlog.get_logger("tidemill.client")

PATIENCE_S = 30.0
"""Seconds that one call may take unless the client is told otherwise."""
_CLOSE_S = 15.0


class Client:
    """Enqueues jobs of an application from plain code; one serves all threads of a process.

    It has a thread with an event loop and a small pool, opened here and closed by :meth:`close`. Make it after a fork,
    never before.

    Args:
        app: where the jobs are declared.
        patience: seconds that a call may take.

    Raises:
        DatabaseUnavailable: when Postgres cannot be reached or started.
        SchemaOutOfDate: when ``tidemill migrate`` has to be run first.
        ConfigurationError: when a setting is missing or wrong.
    """

    def __init__(self, app: Tidemill, *, patience: float = PATIENCE_S) -> None:
        self._app = app
        self._patience = patience
        self._opened: Future[Rooms] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill client", daemon=True)
        self._thread.start()
        try:
            self._rooms = self._opened.result()
        except BaseException:
            self._thread.join(_CLOSE_S)
            raise

    def enqueue(
        self,
        job: JobOf[T],
        args: T | Mapping[str, Any] | None = None,
        *,
        conn: Any = None,
        **options: Unpack[Options],
    ) -> int:
        """Enqueue one job and return its id, in a transaction of its own.

        ``conn`` is a synchronous connection of psycopg, SQLAlchemy or Django, in a transaction: then the job commits or
        rolls back with your data.

        Raises:
            InvalidInput: naming the argument that cannot be taken.
            KeyHeld: when a live job of the kind holds the key.
            DatabaseUnavailable: when Postgres cannot be reached.
            TimeoutError: when the answer takes too long; the job may have been enqueued.
        """
        new = self._app.prepare(job, args, **options)
        [job_id] = self.enqueue_many([new], conn=conn)
        if job_id is None:
            raise KeyHeld(new.kind, new.key)
        return job_id

    def enqueue_many(self, jobs: Sequence[NewJob], *, conn: Any = None) -> list[int | None]:
        """Enqueue what ``app.prepare`` made, all or none; None for each whose key is held.

        Raises what :meth:`enqueue` does, save KeyHeld.
        """
        if conn is None:
            return self._call(self._rooms.engine.enqueue_many(jobs))
        self._call(self._rooms.engine.declare_kinds())
        return enqueue_with_sync(conn, jobs, self._rooms.engine.registry)

    def batch(
        self,
        jobs: Sequence[NewJob],
        *,
        on_done: NewJob | None = None,
        deadline: datetime | None = None,
        tenant: UUID | None = None,
        conn: Any = None,
    ) -> list[int | None]:
        """Enqueue jobs that are counted together, and ``on_done`` once all have ended; see :meth:`Tidemill.batch`.

        Raises what :meth:`enqueue_many` does.
        """
        engine = self._rooms.engine
        if conn is None:
            return self._call(enqueue_batch(engine, jobs, on_done=on_done, deadline=deadline, tenant=tenant))
        after = checked_batch(engine.registry, jobs, on_done, deadline=deadline, tenant=tenant)
        self._call(engine.declare_kinds())
        begun = beginning(engine.registry, jobs, after, always=True, deadline=deadline, tenant=tenant)
        return hold_with_sync(conn, begun)

    def chain(self, *steps: NewJob | Sequence[NewJob], tenant: UUID | None = None, conn: Any = None) -> list[int]:
        """Enqueue jobs one after another; see :meth:`Tidemill.chain`. Raises what :meth:`enqueue` does."""
        engine, listed = self._rooms.engine, [[step] if isinstance(step, NewJob) else step for step in steps]
        if conn is None:
            return self._call(enqueue_chain(engine, listed, tenant=tenant))
        first, after = checked_chain(engine.registry, listed, tenant=tenant)
        self._call(engine.declare_kinds())
        return all_of(
            first, hold_with_sync(conn, beginning(engine.registry, first, after, always=False, tenant=tenant))
        )

    def close(self) -> None:
        """Close the pool and end the thread; a client is closed once and for all."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None or self._closing.is_set() or not self._thread.is_alive():
            work.close()
            raise ConfigurationError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result(self._patience)
        except TimeoutError:
            future.cancel()
            raise
        except CancelledError:
            raise ConfigurationError("the client was closed during the call; the job may have been enqueued") from None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as e:  # noqa: BLE001 - raised again where it was opened
            if self._opened.done():
                _log.exception("client_lost", error=str(e))
            else:
                self._opened.set_exception(e)

    async def _serve(self) -> None:
        async with self._app.connect(name="tidemill client") as rooms:
            self._loop = asyncio.get_running_loop()
            self._opened.set_result(rooms)
            await self._closing.wait()
