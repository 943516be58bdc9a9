"""Calls to providers: bounded in number, time and size, retried where that can help, and silent about secrets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict, istr
from yarl import URL

from tidemill.connectors.egress import Egress, EgressRefused
from tidemill.connectors.errors import ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.gate import Gate, MemoryGate, Scopes, Strikes, Usage
from tidemill.connectors.redact import Redactor
from tidemill.connectors.retry_after import retry_after
from tidemill.connectors.sessions import Sessions
from tidemill.connectors.slots import Slots
from tidemill.errors import ConfigurationError
from tidemill.vault import Secret

T = TypeVar("T")

_AUTHORIZATION = istr("Authorization")
_NOT_ROUNDED = 1e9  # aiohttp rounds time-outs above this up to whole seconds, past our deadlines


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one process allows its calls. Times in seconds."""

    calls_in_flight: int = 100
    connect_s: float = 5.0
    read_s: float = 15.0
    """The longest silence while an answer is awaited or read."""
    total_s: float = 30.0
    max_body_bytes: int = 8 * 1024 * 1024
    """A larger answer, also once unpacked, is given up as ``TRANSIENT``."""
    tries: int = 3
    backoff_s: float = 0.5
    """Mean wait before the second try; it doubles with each further one, ± 50 %."""


class Dialect(Protocol):
    """How a provider speaks of failures and budgets."""

    def failure(self, status: int, body: bytes, redactor: Redactor) -> ProviderError:
        """The error that an answer stands for, once it could not be read as the answer asked for."""
        ...

    def usage(self, headers: Mapping[str, str]) -> Usage | None:
        """How full the budget is by the headers of any answer. Asked on every call: cheap when there are none."""
        ...


class Tally:
    """Calls made for one piece of work, to be told in its log."""

    __slots__ = ("calls", "retries")

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0


class HttpClient:
    """One per process: a connection pool, a bound on calls in flight, and a gate.

    No redirect is followed, no cookie kept, no proxy taken from the environment (unless asked).
    """

    def __init__(self, sessions: Sessions, gate: Gate, limits: Limits) -> None:
        self.sessions = sessions
        self.gate = gate
        self.limits = limits
        self.strikes = Strikes()
        self.slots = Slots(limits.calls_in_flight)
        self.timeout = self.timeout_within(limits.total_s)

    @classmethod
    async def open(
        cls,
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        proxy_from_env: bool = False,
        resolver: AbstractResolver | None = None,
    ) -> Self:
        """Open the pools; ``gate`` defaults to one within this process, guarded calls' ``resolver`` to the system's."""
        sessions = Sessions(proxy_from_env=proxy_from_env, resolver=resolver)
        return cls(sessions, gate or MemoryGate(), limits or Limits())

    async def close(self) -> None:
        """Close all connections."""
        await self.sessions.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def caller(
        self,
        dialect: Dialect,
        *,
        scopes: Scopes,
        deadline: float,
        token: Secret | None = None,
        secrets: Iterable[Secret] = (),
        headers: Mapping[str, str] | None = None,
        egress: Egress | None = None,
        tally: Tally | None = None,
    ) -> Caller:
        """Calls on behalf of one account (or of the app): see :class:`Caller`.

        Give ``egress`` wherever a tenant had a say in the address; without it calls go anywhere.
        """
        return Caller(self, dialect, scopes, deadline, token, secrets, headers or {}, egress, tally or Tally())

    def timeout_within(self, seconds: float) -> aiohttp.ClientTimeout:
        """The time-outs of a call that must end within ``seconds``."""
        limits = self.limits
        return aiohttp.ClientTimeout(
            total=min(seconds, limits.total_s),
            sock_connect=limits.connect_s,
            sock_read=limits.read_s,
            ceil_threshold=_NOT_ROUNDED,
        )


class Caller:
    """Makes the calls of one piece of work: with its token, against its budgets, until its deadline.

    ``deadline`` is an instant of :func:`time.monotonic`. ``secrets`` are hidden from every error besides the token.
    ``headers`` go with every call. With ``egress`` no call leaves for an address that it does not permit.
    """

    def __init__(
        self,
        http: HttpClient,
        dialect: Dialect,
        scopes: Scopes,
        deadline: float,
        token: Secret | None,
        secrets: Iterable[Secret],
        headers: Mapping[str, str],
        egress: Egress | None,
        tally: Tally,
    ) -> None:
        self._http = http
        self._dialect = dialect
        self._scopes = scopes
        self._deadline = deadline
        self._tally = tally
        self._egress = egress
        self._headers = _authorization(token)
        self._headers.update(headers)
        self._redactor = Redactor([*secrets, *([token] if token else [])])

    async def get(self, url: URL, parse: Callable[[bytes], T]) -> T:
        """GET ``url`` (already encoded) and read the answer with ``parse``, a msgspec decoder's ``decode``.

        Transient failures are tried again, with jittered exponential backoff; a refusal for too many calls pauses its
        scope at the gate and is raised at once.

        Raises:
            ProviderError: any refusal, or no usable answer after the last try.
            TimeBudgetSpent: the deadline leaves no room for the call, or for its next try.
        """
        return (await self._call("GET", url, parse, None))[0]

    async def get_with_headers(self, url: URL, parse: Callable[[bytes], T]) -> tuple[T, Mapping[str, str]]:
        """As :meth:`get`, with the answer's headers."""
        return await self._call("GET", url, parse, None)

    async def post_form(self, url: URL, form: Mapping[str, str], parse: Callable[[bytes], T]) -> T:
        """POST ``form``; otherwise as :meth:`get`, retries included: use it only where a repetition does no harm."""
        return (await self._call("POST", url, parse, urlencode(form).encode()))[0]

    async def _call(
        self, method: str, url: URL, parse: Callable[[bytes], T], form: bytes | None
    ) -> tuple[T, Mapping[str, str]]:
        tried = 0
        while True:
            if wait := await self._http.gate.before_call(self._scopes):
                await self._sleep(wait)
            outcome = await self._attempt(method, url, parse, form)
            if not isinstance(outcome, ProviderError):
                return outcome
            tried += 1
            if outcome.kind is not ErrorKind.TRANSIENT:
                raise outcome
            if tried >= self._http.limits.tries:
                outcome.kind = outcome.becomes or outcome.kind
                raise outcome
            self._tally.retries += 1
            backoff = self._http.limits.backoff_s * 2 ** (tried - 1)
            await self._sleep(backoff * random.uniform(0.5, 1.5), outcome)  # noqa: S311

    async def _attempt(
        self, method: str, url: URL, parse: Callable[[bytes], T], form: bytes | None
    ) -> tuple[T, Mapping[str, str]] | ProviderError:
        """One exchange. Failures come back as values: raised inside a handler they would carry aiohttp's own error
        along, which knows the URL and the Authorization header."""
        slots = self._http.slots
        if not slots.take() and not await slots.wait(self._deadline - time.monotonic()):
            _out_of_time(None)
        try:
            exchange = await self._exchange(method, url, form)
        finally:
            slots.give_back()
        if isinstance(exchange, ProviderError):
            return exchange
        status, headers, body = exchange
        usage = self._dialect.usage(headers)
        if usage is not None and self._scopes.account is not None:
            await self._http.gate.usage(self._scopes.account, usage.percent, usage.regain_after)
        if 200 <= status < 300:
            try:
                return parse(body), headers
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # what it is instead is found below
        error = self._dialect.failure(status, body, self._redactor)
        if error.kind is ErrorKind.RATE_LIMITED:
            await self._block(error, usage, headers)
        return error

    async def _exchange(
        self, method: str, url: URL, form: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes] | ProviderError:
        http = self._http
        left = self._deadline - time.monotonic()
        if left <= 0:
            _out_of_time(None)
        if self._egress is not None and (refused := self._egress.refusal(url)):
            return ProviderError(ErrorKind.PERMANENT, f"not called: the URL {refused}")
        self._tally.calls += 1
        trouble = ""
        status: int | None = None
        response: aiohttp.ClientResponse | None = None
        try:
            response = await http.sessions.to(url, self._egress).request(
                method,
                url,
                headers=self._headers if form is None else _as_form(self._headers),
                data=form,
                allow_redirects=False,
                timeout=http.timeout if left >= http.limits.total_s else http.timeout_within(left),
            )
            status = response.status
            body = await _read(response, http.limits.max_body_bytes)
            if body is not None:
                return status, response.headers, body
            trouble = f"the answer is larger than {http.limits.max_body_bytes} bytes"
        except TimeoutError as e:
            trouble = f"no full answer in time ({type(e).__name__})"
        except (aiohttp.ClientError, OSError) as e:
            if isinstance(e, aiohttp.ClientConnectorError) and isinstance(e.os_error, EgressRefused):
                return ProviderError(ErrorKind.PERMANENT, f"not called: {e.os_error}")
            trouble = f"no full answer: {type(e).__name__}: {e}"
        finally:
            if response is not None and not response.closed:  # one read to its end is closed, its connection pooled
                response.close()
        error = ProviderError(ErrorKind.TRANSIENT, self._redactor.text(trouble), status=status)
        if time.monotonic() >= self._deadline:
            _out_of_time(error)
        return error

    async def _block(self, error: ProviderError, usage: Usage | None, headers: Mapping[str, str]) -> None:
        scope = self._scopes.named(error.scope or "account")
        told = [pause for pause in (usage.regain_after if usage else None, retry_after(headers)) if pause is not None]
        if scope is None:
            error.retry_after = max(told, default=None)
            return
        error.retry_after = self._http.strikes.next_pause(scope, max(told, default=None))
        await self._http.gate.blocked(scope, error.retry_after, f"code {error.code}, HTTP {error.status}")

    async def _sleep(self, seconds: float, last: ProviderError | None = None) -> None:
        if time.monotonic() + seconds >= self._deadline:
            _out_of_time(last)
        await asyncio.sleep(seconds)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body, or None when it is larger than ``limit``. The length a server states is not trusted alone."""
    if (response.content_length or 0) > limit:
        return None
    content = response.content
    body = await content.readany()
    if content.at_eof():
        return body if len(body) <= limit else None
    chunks = [body]
    size = len(body)
    while size <= limit and not content.at_eof():
        chunk = await content.readany()
        size += len(chunk)
        chunks.append(chunk)
    return b"".join(chunks) if size <= limit else None


def _authorization(token: Secret | None) -> CIMultiDict[str]:
    if token is None:
        return CIMultiDict()
    text = token.reveal()
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ProviderError(ErrorKind.TOKEN_INVALID, "not called: the stored token has characters that no token has")
    return CIMultiDict({_AUTHORIZATION: f"Bearer {text}"})


def _as_form(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    return CIMultiDict([*headers.items(), ("Content-Type", "application/x-www-form-urlencoded")])


def _out_of_time(last: ProviderError | None) -> NoReturn:
    raise TimeBudgetSpent("the time for this work is spent") from last


def base_url(text: str, setting: str) -> str:
    """``text`` as a base to put paths after, without a slash at its end.

    Raises:
        ConfigurationError: when it is no plain http(s) URL.
    """
    url = None
    with contextlib.suppress(ValueError):
        url = URL(text)
    plain = (
        url is not None and url.scheme in ("http", "https") and url.host and not (url.query or url.fragment or url.user)
    )
    if url is None or not plain:
        raise ConfigurationError(f"{setting}: must be a plain http:// or https:// URL")
    return str(url).rstrip("/")
