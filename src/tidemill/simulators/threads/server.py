"""The simulator: one small HTTP server around the state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web

from tidemill.simulators.threads.clock import VirtualClock
from tidemill.simulators.threads.control import control, turned
from tidemill.simulators.threads.cursors import Cursors
from tidemill.simulators.threads.data import Account, World
from tidemill.simulators.threads.errors import ExchangeError, GraphError, http_status, invalid
from tidemill.simulators.threads.faults import Fault, FaultScript, read_faults
from tidemill.simulators.threads.knobs import Knobs
from tidemill.simulators.threads.limits import charge, usage_headers
from tidemill.simulators.threads.mischief import misbehave
from tidemill.simulators.threads.params import parse_query
from tidemill.simulators.threads.routes import Route, route, understand
from tidemill.simulators.threads.state import Call, Calls, State
from tidemill.simulators.threads.tokens import SCOPES, Token, TokenStore

_JSON = {"Content-Type": "application/json; charset=UTF-8"}
_encode = msgspec.json.Encoder().encode


class ThreadsSimulator:
    """A strict, scriptable, deterministic stand-in for the Threads API on a port of this machine.

    Equal seeds and clocks give equal bytes. `async with ThreadsSimulator(seed=1, accounts=3) as sim:` serves at
    `sim.url` until the block ends. In the same process a test may reach for `sim.clock`, `sim.knobs`, `sim.faults`,
    `sim.calls` and `sim.issue_token(…)`; from another one it uses the control door (`control.py`).
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        accounts: int = 3,
        posts: int = 40,
        start: datetime | None = None,
        running: bool | None = None,
        anchor: datetime | None = None,
        young_share: float = 0.3,
        new_post_every: float = 12 * 3600,
        faults: Iterable[Fault | dict[str, Any]] = (),
        knobs: Knobs | None = None,
        app_id: str = "1000200030004000",
        app_secret: str = "simulated-app-secret",  # noqa: S107 - it guards nothing
        latency_ms: float = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Describe the world; nothing listens yet.

        With `start` the clock stands at that instant unless `running`; without it is the machine's clock and runs.
        `posts` is every account's backlog: `young_share` of it at most 72 h old at `anchor`, the rest up to 400 days.
        `anchor` is `start` by default, else the last midnight UTC. More posts appear after it, one an account every
        `new_post_every` seconds in the mean (0: none). `latency_ms` delays every answer of the provider.
        Raises ValueError for a world that cannot be.
        """
        if anchor is None:
            anchor = start or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if anchor.tzinfo is None:
            anchor = anchor.replace(tzinfo=UTC)
        world = World(
            seed=seed,
            accounts=accounts,
            posts=posts,
            anchor=anchor,
            young_share=young_share,
            new_post_every=new_post_every,
        )
        self._start, self._running, self._rules, self._knobs = (
            start,
            running,
            read_faults(list(faults)),
            knobs or Knobs(),
        )
        self._host, self._port, self._latency = host, port, latency_ms / 1000
        self.state = State(
            seed=seed,
            app_id=app_id,
            app_secret=app_secret,
            clock=VirtualClock(start, running=running),
            world=world,
            cursors=Cursors(seed),
            knobs=self._knobs,
            tokens=TokenStore(seed, app_id),
            faults=FaultScript(self._rules),
        )
        self._stopping = asyncio.Event()
        self._handlers: web.Server | None = None
        self._server: asyncio.Server | None = None

    # What a test in the same process uses.

    @property
    def url(self) -> str:
        """Where the simulator answers, without a slash at the end; empty until started."""
        return self.state.url

    @property
    def app_id(self) -> str:
        """The client_id of the one app there is."""
        return self.state.app_id

    @property
    def app_secret(self) -> str:
        """Its client_secret."""
        return self.state.app_secret

    @property
    def accounts(self) -> Sequence[Account]:
        """All accounts."""
        return self.state.world.accounts

    @property
    def clock(self) -> VirtualClock:
        """The clock, to be set and advanced."""
        return self.state.clock

    @property
    def knobs(self) -> Knobs:
        """The knobs in force."""
        return self.state.knobs

    def turn(self, **knobs: object) -> None:
        """Turn some knobs, the others stay. Raises ValueError for an unknown one or a value it does not have."""
        self.state.knobs = turned(self.state.knobs, knobs)

    @property
    def faults(self) -> FaultScript:
        """The fault script in force."""
        return self.state.faults

    @property
    def calls(self) -> Calls:
        """The counters."""
        return self.state.calls

    def issue_token(
        self, account: Account | str, *, scopes: Iterable[str] = SCOPES, expires_in: int | None = None, age: int = 0
    ) -> Token:
        """A long token without the dialog, `age` seconds old. Raises ValueError for an unknown account."""
        found = self.state.world.account(account) if isinstance(account, str) else account
        if found is None:
            raise ValueError(f"no account {account!r}")
        life = None if expires_in is None else expires_in + age
        return self.state.tokens.issue(found, self.clock.now() - age, scopes=scopes, expires_in=life)

    def reset(self) -> None:
        """Everything as at the start; tokens and codes given out are gone."""
        self.state = replace(
            self.state,
            clock=VirtualClock(self._start, running=self._running),
            knobs=self._knobs,
            tokens=TokenStore(self.state.seed, self.state.app_id),
            faults=FaultScript(self._rules),
            limits=type(self.state.limits)(),
            calls=Calls(),
        )

    # Start and stop.

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._handlers = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._server = await loop.create_server(self._handlers, self._host, self._port, backlog=1024)
        port = self._server.sockets[0].getsockname()[1]
        self.state.url = f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}"

    async def stop(self) -> None:
        """Close the port and every connection, hanging ones too."""
        self._stopping.set()
        if self._server is not None and self._handlers is not None:
            self._server.close()
            self._handlers.pre_shutdown()
            await self._handlers.shutdown(timeout=5)
            await self._server.wait_closed()
            self._server = self._handlers = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # One call.

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        state = self.state
        if path.startswith("/_sim/"):
            return await control(state, self.reset, request)
        calls = state.calls
        calls.in_flight += 1
        calls.most_in_flight = max(calls.most_in_flight, calls.in_flight)
        try:
            if self._latency:
                await asyncio.sleep(self._latency)
            return await self._provide(state, request, path, query)
        finally:
            calls.in_flight -= 1

    async def _provide(self, state: State, request: web.BaseRequest, path: str, query: str) -> web.StreamResponse:
        try:
            found, node = route(request.method, path)
            params = parse_query(query)
            if request.method == "POST":
                params = {**params, **{name: str(value) for name, value in (await request.post()).items()}}
            call = understand(state, found, node, params, _bearer(request.headers.get("Authorization")))
        except GraphError as error:
            state.calls.count("unknown", "-")
            return _refusal(state, error, None)
        state.calls.count(found.name, call.account.id if call.account else "-")
        if state.faults:
            post = node if found.name in ("post", "post_insights") else None
            fault = state.faults.strike(found.name, call.account, post)
            if fault is not None and fault.error is not None:
                headers = {**(_usage(state, call, found) or {}), **fault.headers}
                if found.name == "token.code":
                    return _flat_refusal(state, ExchangeError(fault.error.message), fault.error.status, headers)
                return _refusal(state, fault.error.exception(), headers)
            if fault is not None:
                return await misbehave(request, fault, lambda: _answer(state, call, found), self._stopping)
        return _answer(state, call, found)


def _answer(state: State, call: Call, found: Route) -> web.Response:
    try:
        token = call.token
        if found.metered and token and token.account and not token.revoked and call.now < token.expires:
            charge(state.limits.budget(token.account.id, call.now), call.now, state.knobs)
        answer = found.answer(state, call)
    except GraphError as error:
        return _refusal(state, error, _usage(state, call, found))
    except ExchangeError as error:
        return _flat_refusal(state, error, None, {})
    if isinstance(answer, web.Response):
        return answer
    body = answer if isinstance(answer, bytes) else _encode(answer)
    usage = _usage(state, call, found)
    return web.Response(body=body, headers={**_JSON, **usage} if usage else _JSON)


def _usage(state: State, call: Call, found: Route) -> dict[str, str] | None:
    if not found.metered or call.account is None:
        return None
    user = call.account.id
    return usage_headers(user, state.limits.budget(user, call.now), call.now, state.knobs)


def _refusal(state: State, error: GraphError, headers: dict[str, str] | None) -> web.Response:
    status = error.status or http_status(state.knobs, error.code)
    return web.Response(body=_encode(error.body()), status=status, headers={**_JSON, **(headers or {})})


def _flat_refusal(state: State, error: ExchangeError, status: int | None, headers: dict[str, str]) -> web.Response:
    status = status or http_status(state.knobs, 100)
    return web.Response(body=_encode(error.body()), status=status, headers={**_JSON, **headers})


def _bearer(header: str | None) -> str | None:
    """The token of an Authorization header. Raises code 100 when the header is of another scheme."""
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise invalid("The Authorization header must be a Bearer token")
    return token
