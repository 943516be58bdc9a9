"""The harness for tests that know no event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Iterable
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from tidemill.app import Tidemill
from tidemill.app.declared import JobOf
from tidemill.blocking import Client
from tidemill.testing.enqueued import Enqueued, Like
from tidemill.testing.harness import MOST, Harness
from tidemill.testing.stepper import Drained

T = TypeVar("T")


class PlainHarness:
    """A :class:`~tidemill.testing.Harness` with a thread and an event loop of its own, for plain tests.

    Jobs run in that loop. The application is not opened: plain code reaches it by a client. The methods take, answer
    and raise what the harness's do.

    Args:
        app: the application. Its settings point to the database for as long as the harness is entered.
        url: a migrated database that nobody else uses: the fixture ``tidemill_url``.
    """

    def __init__(self, app: Tidemill, url: str) -> None:
        self._harness = Harness(app, url, opens=False)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tidemill harness", daemon=True)
        self._thread.start()
        try:
            self._call(self._harness.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if "client" in self.__dict__:
                self.client.close()
            self._call(self._harness.__aexit__(kind, e, tb))
        finally:
            self._end()

    @cached_property
    def client(self) -> Client:
        """A client of the application, closed with the harness."""
        return Client(self._harness.app)

    def drain(self, *, queues: Iterable[str] | None = None, most: int = MOST, with_delayed: bool = False) -> Drained:
        """See :meth:`Harness.drain`."""
        return self._call(self._harness.drain(queues=queues, most=most, with_delayed=with_delayed))

    @contextmanager
    def inline(self) -> Generator[None]:
        """See :meth:`Harness.inline`."""
        with self._harness.inline():
            yield

    def enqueued(self, job: JobOf[Any] | None = None) -> list[Enqueued]:
        """See :meth:`Harness.enqueued`."""
        return self._call(self._harness.enqueued(job))

    def assert_enqueued(self, job: JobOf[Any], *, times: int | None = None, **like: Unpack[Like]) -> list[Enqueued]:
        """See :meth:`Harness.assert_enqueued`."""
        return self._call(self._harness.assert_enqueued(job, times=times, **like))

    def refute_enqueued(self, job: JobOf[Any], **like: Unpack[Like]) -> None:
        """See :meth:`Harness.refute_enqueued`."""
        self._call(self._harness.refute_enqueued(job, **like))

    def now(self) -> datetime:
        """See :meth:`Harness.now`."""
        return self._call(self._harness.now())

    def travel(self, to: datetime) -> None:
        """See :meth:`Harness.travel`."""
        self._call(self._harness.travel(to))

    def advance(self, by: timedelta | None = None, *, to: datetime | None = None) -> None:
        """See :meth:`Harness.advance`."""
        self._call(self._harness.advance(by, to=to))

    def tick(self) -> datetime | None:
        """See :meth:`Harness.tick`."""
        return self._call(self._harness.tick())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
