"""Notifications: one connection that listens, and knows when it no longer does."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

import structlog

from tidemill.errors import DatabaseUnavailable
from tidemill.postgres.connection import Connection, connect, naming_failures
from tidemill.postgres.lending import GOODBYE_S

Callback = Callable[[str], None]

_log = structlog.get_logger("tidemill.postgres")
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_BEAT = "select pg_notify($1, '')"
_SET = "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)"


class Listener:
    """LISTENs on a direct connection and calls back with each notification's payload.

    Notifications are an accelerator: they can be missed, so callers poll as well. After every connect each callback is
    called once with ``""``, which means "look for yourself, something may have been missed".

    The listener notifies itself on a channel of its own, and takes a connection on which that does not come back for
    dead. This finds half-open sockets, and transaction poolers, behind which LISTEN silently hears nothing.

    Args:
        url: a direct (session) URL.
        deadline: seconds within which a dead connection is found.
    """

    def __init__(self, url: str, *, deadline: float = 10.0) -> None:
        self._url = url
        self._deadline = deadline
        self._callbacks: dict[str, list[Callback]] = {}
        self._settings: Mapping[str, str] | None = None
        self._conn: Connection | None = None
        """What is listened on, while that is healthy and is to be lent."""
        self._in_use = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._is_healthy = False

    @property
    def healthy(self) -> bool:
        """Whether notifications arrive now, as far as the last heartbeat tells."""
        return self._is_healthy

    def on(self, channel: str, callback: Callback) -> None:
        """Call back with the payload of each notification on ``channel``. Only before :meth:`start`."""
        if self._task is not None:
            raise RuntimeError("channels are named before the listener starts")
        self._callbacks.setdefault(channel, []).append(callback)

    def to_lend(self, settings: Mapping[str, str]) -> None:
        """Have :meth:`lend` lend the connection, a session with these settings. Only before :meth:`start`."""
        if self._task is not None:
            raise RuntimeError("settings are given before the listener starts")
        self._settings = settings

    def lend(self) -> AbstractAsyncContextManager[Connection] | None:
        """The connection that hears, for a short statement; None while it is in use or not healthy.

        When it has just told of something, the server's process behind it is awake, as that of another connection is
        not. Nothing is heard until it is given back. If the block raises, the connection is replaced.

        Raises:
            DatabaseUnavailable: out of the block, when the connection is lost or stays silent in it.
        """
        if self._conn is None or self._in_use.locked() or self._conn.is_closed():
            return None
        return _Lent(self._conn, self._in_use)

    async def start(self) -> None:
        """Begin to connect in the background, and go on until :meth:`close`, whatever the server does."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tidemill listener")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        delay = _FIRST_DELAY_S
        while True:
            try:
                await self._listen()
            except DatabaseUnavailable as e:
                delay = _FIRST_DELAY_S if self._is_healthy else min(delay * 2, _LONGEST_DELAY_S)
                _log.warning("listener disconnected", reason=str(e), retry_in_s=round(delay, 2))
            finally:
                self._is_healthy, self._conn = False, None
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - so that a fleet does not return at once

    async def _listen(self) -> None:
        """Listen until the connection is found dead; then raises DatabaseUnavailable."""
        conn = await connect(self._url, name="tidemill listener", patience=0.0, command_timeout=self._deadline / 2)
        try:
            with naming_failures:
                lost, beat = asyncio.Event(), asyncio.Event()
                own_channel = f"tidemill_beat_{secrets.token_hex(8)}"
                conn.add_termination_listener(lambda _: lost.set())
                await conn.add_listener(own_channel, lambda _conn, _pid, _channel, _payload: beat.set())
                for channel in self._callbacks:
                    await conn.add_listener(channel, lambda _conn, _pid, channel, payload: self._tell(channel, payload))
                await self._beat(conn, own_channel, beat)
                if self._settings is not None:  # not as start-up parameters: a session pooler may refuse those
                    await conn.execute(_SET, list(self._settings), list(self._settings.values()))
                    self._conn = conn
                self._is_healthy = True
                for channel in self._callbacks:
                    self._tell(channel, "")
                while not await _happens(lost, within=self._deadline / 2):
                    await self._beat(conn, own_channel, beat)
                raise DatabaseUnavailable("the connection was closed")
        finally:
            conn.terminate()

    async def _beat(self, conn: Connection, channel: str, beat: asyncio.Event) -> None:
        beat.clear()
        async with self._in_use:
            await conn.execute(_BEAT, channel)
        if not await _happens(beat, within=self._deadline / 2):
            raise DatabaseUnavailable("no notification comes back; behind a transaction pooler none ever does")

    def _tell(self, channel: str, payload: str) -> None:
        for callback in self._callbacks[channel]:
            try:
                callback(payload)
            except Exception:  # noqa: BLE001 - one callback's fault must not deafen the others
                _log.exception("a notification's callback failed", channel=channel)


class _Lent:
    """The connection that hears, for the length of a block."""

    __slots__ = ("_conn", "_in_use")

    def __init__(self, conn: Connection, in_use: asyncio.Lock) -> None:
        self._conn = conn
        self._in_use = in_use

    async def __aenter__(self) -> Connection:
        await self._in_use.acquire()
        return self._conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if error is not None:  # what was begun on it must not be met by the next beat
                with suppress(Exception):  # then it is cut; what the block raised is what there is to tell
                    await self._conn.close(timeout=GOODBYE_S)
                naming_failures.__exit__(kind, error, tb)
        finally:
            self._in_use.release()


async def _happens(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
