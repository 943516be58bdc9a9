"""One connection to Postgres: what every caller may ask of it, how it is opened, and how its failures are named."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol, cast

import asyncpg
import msgspec
from asyncpg import Record as Record

from tidemill.errors import ConfigurationError, DatabaseUnavailable

COMMAND_TIMEOUT = 60.0
"""Seconds a statement may take unless its caller says otherwise."""
CONNECT_TIMEOUT = 10.0
"""Seconds one attempt to connect may take."""
IDLE_TRANSACTION_S = 15
"""Seconds after which Postgres ends a transaction whose process fell silent, and frees what it locked: nothing of ours
waits for anybody else inside a transaction. Set for the session, or behind a pooler for each transaction."""
_KEEPALIVE = (10, 5, 3)
"""Seconds of silence before the other end is asked for a sign of life, seconds between two such questions, and how many
may stay unanswered: after half a minute in all either end takes the other for gone."""
_UNACKNOWLEDGED_S = 30
"""Seconds that what was sent may stay unacknowledged before the network is taken for broken."""
_LOOK_AFTER_CLIENT = "client_connection_check_interval"
_LOOK_AFTER_CLIENT_S = 5
"""Seconds between two looks of a busy server whether its client is there: a statement does not outlive the process that
sent it by more, nor does what it locked."""
PATIENCE = 3.0
"""Seconds over which a refused connection is tried again: what a restart of the server takes, with room."""


_SIGNS_OF_LIFE = {
    _LOOK_AFTER_CLIENT: f"{_LOOK_AFTER_CLIENT_S}s",
    "tcp_keepalives_idle": str(_KEEPALIVE[0]),
    "tcp_keepalives_interval": str(_KEEPALIVE[1]),
    "tcp_keepalives_count": str(_KEEPALIVE[2]),
    "tcp_user_timeout": f"{_UNACKNOWLEDGED_S}s",
}
"""What the server does to find a client that is gone without a word. Our own end is set up in the same way."""


class Connection(Protocol):
    """The part of an asyncpg connection that Tidemill uses, with types.

    Both a pooled and a plain asyncpg connection fit.
    """

    async def fetch(self, query: str, /, *args: Any, timeout: float | None = None) -> list[Record]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, /, *args: Any, timeout: float | None = None) -> Record | None:
        """The first row."""
        ...

    async def fetchval(self, query: str, /, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """One value of the first row."""
        ...

    async def execute(self, query: str, /, *args: Any, timeout: float | None = None) -> str:
        """No rows; the command tag. Without arguments the text may hold several statements."""
        ...

    async def executemany(self, command: str, args: Iterable[Sequence[Any]], *, timeout: float | None = None) -> None:
        """One statement for many sets of arguments, all or nothing."""
        ...

    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[Any]],
        columns: Iterable[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """COPY … FROM STDIN (BINARY)."""
        ...

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> AbstractAsyncContextManager[Any]:
        """A transaction, or a savepoint inside one."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def is_closed(self) -> bool:
        """Whether the connection is known to be gone."""
        ...

    async def add_listener(self, channel: str, callback: Callable[[Any, int, str, str], None]) -> None:
        """LISTEN; the callback takes the connection, the sender's pid, the channel and the payload."""
        ...

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None:
        """Call back when the connection is gone."""
        ...

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye and close."""
        ...

    def terminate(self) -> None:
        """Cut the connection without waiting."""
        ...


class _Naming:
    """Turns a lost, refused or silent connection into `DatabaseUnavailable`; any other exception passes.

    The body may do more than talk to Postgres, so an ambiguous exception (a time-out, an `OSError`) counts only
    when asyncpg itself raised it.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(error, Exception) and is_connection_failure(error):
            raise DatabaseUnavailable(_describe(error)) from error


naming_failures = _Naming()
"""Stateless, so one object serves everybody at no cost per call."""

_LOST: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
_RESTARTING: tuple[type[Exception], ...] = (*_LOST, ConnectionError, FileNotFoundError)
_AMBIGUOUS: tuple[type[Exception], ...] = (TimeoutError, OSError)


def is_connection_failure(error: Exception) -> bool:
    """Whether asyncpg raised this because the connection is lost, was refused, or stayed silent."""
    if isinstance(error, _LOST):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return "connection is closed" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        # A connection that the server has told of its end, used before the socket is closed.
        return "cannot switch to state" in str(error)
    return isinstance(error, _AMBIGUOUS) and _was_raised_by_asyncpg(error)


def _was_raised_by_asyncpg(error: Exception) -> bool:
    raiser, tb = "", error.__traceback__
    while tb is not None:
        module = str(tb.tb_frame.f_globals.get("__name__", ""))
        if not module.startswith("asyncio"):
            raiser = module
        tb = tb.tb_next
    return raiser.startswith("asyncpg")


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "Postgres did not answer in time"
    if "unsupported startup parameter" in str(error):
        return (
            f"a transaction pooler is in the way ({error}): set TIDEMILL_POOLED=true, and TIDEMILL_LISTEN_URL to a "
            "direct connection, which migrations and LISTEN need"
        )
    return f"Postgres is not available: {error}"


async def connect(
    url: str,
    *,
    name: str = "tidemill",
    pooled: bool = False,
    patience: float = PATIENCE,
    command_timeout: float = COMMAND_TIMEOUT,
    settings: Mapping[str, str] | None = None,
) -> Connection:
    """Open one connection whose json and jsonb columns are Python values.

    Args:
        url: ``postgresql://…``; what asyncpg takes.
        name: shown as ``application_name``.
        pooled: whether a transaction pooler stands between: then no statement is kept, no setting is sent.
        patience: seconds over which a server that refuses (it may be restarting) is tried again.
        command_timeout: seconds, for every statement without a time-out of its own.
        settings: of the session, by Postgres' names; a pooler is sent none.

    Raises:
        DatabaseUnavailable: when there is no connection to be had, for whatever reason.
        ConfigurationError: when the URL makes no sense.
    """
    # A pooler refuses start-up parameters that it does not track, so jit can be turned off on direct connections only.
    sent = {"application_name": name}
    if not pooled:
        sent |= {"jit": "off", "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_S}s", **_SIGNS_OF_LIFE}
        sent |= settings or {}
    loop = asyncio.get_running_loop()
    give_up = loop.time() + patience
    delay = 0.02
    while True:
        try:
            opened: Any = await cast(Any, asyncpg).connect(
                url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=command_timeout,
                statement_cache_size=0 if pooled else 256,
                server_settings=sent,
            )
        except asyncpg.InvalidParameterValueError as e:
            if _LOOK_AFTER_CLIENT not in str(e):
                raise DatabaseUnavailable(_describe(e)) from e
            del sent[_LOOK_AFTER_CLIENT]  # the server runs on a system where it cannot look
            continue
        except asyncpg.ClientConfigurationError as e:
            raise ConfigurationError(f"the database URL cannot be used: {e}") from e
        except socket.gaierror as e:
            raise DatabaseUnavailable(f"Postgres is not available: its host name is not known ({e.strerror})") from e
        except _RESTARTING as e:
            if loop.time() + delay > give_up:
                raise DatabaseUnavailable(_describe(e)) from e
        except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError) as e:
            raise DatabaseUnavailable(_describe(e)) from e
        else:
            break
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, guards nothing
        delay = min(delay * 2, 0.5)
    _ask_for_signs_of_life(opened._transport.get_extra_info("socket"))
    for kind in ("json", "jsonb"):  # both are built in, so this costs no round trip
        await opened.set_type_codec(kind, schema="pg_catalog", encoder=_to_json, decoder=_from_json, format="text")
    return cast(Connection, opened)


def _ask_for_signs_of_life(sock: Any) -> None:
    """Have the operating system find out that the server is gone, also where nobody waits for an answer now."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": _KEEPALIVE[0],
        "TCP_KEEPINTVL": _KEEPALIVE[1],
        "TCP_KEEPCNT": _KEEPALIVE[2],
        "TCP_USER_TIMEOUT": _UNACKNOWLEDGED_S * 1000,
    }
    for option, value in options.items():
        if hasattr(socket, option):  # not every system has each
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_from_json = msgspec.json.Decoder[Any]().decode
