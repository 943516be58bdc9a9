"""A TCP proxy before Postgres: the network as an enemy. It refuses, cuts, stalls and falls silent, as it is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit, urlunsplit

Where = Literal["in the request", "before the answer", "in the answer"]
"""Before the server has the whole request; or after it has done what was asked, before or within what it says."""

_START, _CANCEL, _ENCRYPT = 196608, 80877102, (80877103, 80877104)
_READY = b"Z\0\0\0\5"
NOTICED_S = 8.0
"""Seconds after which a server learns that the client of a silent connection is gone, as keepalives would tell it."""


@dataclass(eq=False)
class Fault:
    """What happens to one connection, once, at a statement."""

    where: Where
    statement: str = ""
    """Part of its text; the next statement of any connection if empty."""
    after: int = 7
    """Bytes of the request or of the answer that still pass."""
    silent: bool = False
    """The sockets stay open, and nothing comes through any more; else both are cut."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Each connection to its port is one to the server of ``url``."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.passes = asyncio.Event()
        self.passes.set()
        self.is_silent = False
        self._turns_away = False
        self._faults: list[Fault] = []
        self._server: asyncio.Server | None = None
        self._lines: dict[_Line, asyncio.Task[None]] = {}
        self._port = 0

    @property
    def url(self) -> str:
        user, at, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}{at}127.0.0.1:{self._port}"))

    @property
    def lines(self) -> int:
        """Connections, silent ones among them."""
        return len(self._lines)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()

    async def accept(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Close the door and cut what is connected."""
        assert self._server is not None
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Cut what is connected; the door stays as it is."""
        running = list(self._lines.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def turn_away(self) -> None:
        """Cut what is connected, and whatever comes, until :meth:`heal`; the port stays ours."""
        self._turns_away = True
        for task in self._lines.values():
            task.cancel()

    def swallow(self) -> None:
        """Stall: keep connections open, also take new ones, and let not a byte through until :meth:`pass_on`."""
        self.passes.clear()

    def pass_on(self) -> None:
        """Deliver what was swallowed, however late, and everything after it."""
        self.passes.set()

    def silence(self, share: float = 1.0, rng: random.Random | None = None) -> None:
        """Make connections half-open, for ever: their sockets stay open and what they send is dropped.

        With a ``share`` below 1 only some of those that are open now; with all of them, new ones too, until
        :meth:`heal`.
        """
        self.is_silent = share == 1.0
        for line in self._lines:
            if self.is_silent or (rng or random.Random(0)).random() < share:
                line.is_silent = True

    def heal(self) -> None:
        """New connections are well. What was silenced stays silent."""
        self.is_silent = False
        self._turns_away = False
        self._faults.clear()
        self.pass_on()

    def at(self, where: Where, statement: str = "", *, after: int = 7, silent: bool = False) -> Fault:
        """Have something happen to the connection that next sends a statement with this in its text."""
        fault = Fault(where, statement, after, silent)
        self._faults.append(fault)
        return fault

    def fault_of(self, statement: str) -> Fault | None:
        """The fault that waited for this statement; it waits no longer."""
        for fault in self._faults:
            if fault.statement in statement:
                self._faults.remove(fault)
                return fault
        return None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._turns_away:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.close()
            return
        line = _Line(self, (reader, writer), server)
        self._lines[line] = asyncio.create_task(line.run())
        self._lines[line].add_done_callback(lambda _: self._lines.pop(line))


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Line:
    """One connection. Requests are passed message by message, so that a statement can be recognised."""

    def __init__(self, proxy: Proxy, client: Ends, server: Ends) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._texts: dict[bytes, str] = {}
        self._fault: Fault | None = None
        self.is_silent = proxy.is_silent

    async def run(self) -> None:
        """Pass both ways until one end has closed."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if self.is_silent:  # neither end can be told now; this is the one that will be missed
                await asyncio.sleep(NOTICED_S)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._to_client.transport.abort()
            self._to_server.transport.abort()

    async def _requests(self) -> None:
        with suppress(OSError, EOFError):
            async for kind, message in self._messages():
                await self._proxy.passes.wait()
                if self.is_silent:
                    continue
                statement = self._statement(kind, message)
                if statement is not None and self._fault is None:
                    self._fault = self._proxy.fault_of(statement)
                    if self._fault is not None and self._fault.where == "in the request":
                        self._to_server.write(message[: self._fault.after])
                        await self._to_server.drain()
                        if self._happens():
                            continue
                        return
                self._to_server.write(message)
                await self._to_server.drain()

    async def _answers(self) -> None:
        with suppress(OSError):
            while chunk := await self._from_server.read(65536):
                await self._proxy.passes.wait()
                if self.is_silent:
                    continue
                if self._fault is not None:
                    if self._fault.where == "in the answer":
                        self._to_client.write(chunk[: self._fault.after])
                        await self._to_client.drain()
                    # The server comes to its end with it, so that it is done though nobody hears of it.
                    while chunk and chunk[-6:-1] != _READY:
                        more = await self._from_server.read(65536)
                        chunk = more and chunk[-6:] + more
                    if self._happens():
                        continue
                    return
                self._to_client.write(chunk)
                await self._to_client.drain()

    def _happens(self) -> bool:
        """The fault takes place; whether the connection stays, half-open."""
        assert self._fault is not None
        self.is_silent = self._fault.silent
        self._fault.happened.set()
        return self.is_silent

    async def _messages(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """The client's messages, each with its type; those of the greeting have none."""
        read, code = self._from_client.readexactly, 0
        while code != _START:
            head = await read(8)
            code = int.from_bytes(head[4:])
            yield b"", head + await read(int.from_bytes(head[:4]) - 8)
            assert code in (_START, _CANCEL, *_ENCRYPT), code
        while True:
            head = await read(5)
            yield head[:1], head + await read(int.from_bytes(head[1:]) - 4)

    def _statement(self, kind: bytes, message: bytes) -> str | None:
        """The text of the statement that this message has the server run, if it does."""
        if kind == b"P":
            name, text, _ = message[5:].split(b"\0", 2)
            self._texts[name] = text.decode()
        elif kind == b"Q":
            return message[5:-1].decode()
        elif kind == b"B":
            _, name, _ = message[5:].split(b"\0", 2)
            return self._texts[name]
        return None
