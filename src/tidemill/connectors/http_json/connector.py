"""Any REST endpoint that answers in JSON, as a connector that a company describes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

import msgspec
from yarl import URL

from tidemill.connectors.config import read_config
from tidemill.connectors.context import Context
from tidemill.connectors.egress import Egress
from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.http import Caller
from tidemill.connectors.http_json.config import HeaderAuth, HttpConfig, QueryAuth, StreamConfig, WindowParameters
from tidemill.connectors.http_json.marks import Watermark
from tidemill.connectors.http_json.paging import Walk, at, below
from tidemill.connectors.keys import record_key
from tidemill.connectors.protocol import Batch, Miss, Spec, Stream, Window
from tidemill.connectors.status_dialect import StatusDialect
from tidemill.errors import InvalidInput
from tidemill.settings import Settings
from tidemill.vault import Secret

MAX_RECORDS = 10_000
"""Records of one page."""
_NOT_DELETED = frozenset({"", "0", "false"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HttpJsonConnector:
    """Reads what its config describes (:class:`HttpConfig`), going only where ``egress`` lets it."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._dialect = StatusDialect()

    @classmethod
    def load(cls, settings: Settings) -> HttpJsonConnector:
        """From the settings."""
        return cls(Egress.load(settings))

    @property
    def spec(self) -> Spec:
        """Who it is."""
        return Spec(name="http", title="HTTP JSON", config=HttpConfig, secrets=("token",))

    async def streams(self, ctx: Context) -> Sequence[Stream]:
        """Those of the config."""
        return [
            Stream(
                name=stream.name,
                key=tuple(stream.key),
                cursor=stream.cursor.field if stream.cursor else None,
                window=stream.window is not None,
                never_empty=stream.never_empty,
            )
            for stream in read_config(HttpConfig, ctx.config).streams
        ]

    async def check(self, ctx: Context) -> None:
        """Ask for the first page of the first stream, and whether it holds a list of records."""
        config = read_config(HttpConfig, ctx.config)
        api = _Api(ctx, config, self._egress, self._dialect)
        stream = config.streams[0]
        walk = Walk(api.base, stream, api.url(stream, _cursor_parameters(stream, None, Window())))
        await api.page(walk.first, stream)

    def read(self, ctx: Context, stream: str, cursor: str | None, window: Window) -> AsyncGenerator[Batch]:
        """See :meth:`tidemill.connectors.protocol.Connector.read`. A batch a page."""
        config = read_config(HttpConfig, ctx.config)
        found = next((known for known in config.streams if known.name == stream), None)
        if found is None:
            raise InvalidInput("stream", f"the config has no stream {stream!r}")
        if window.entities:
            raise InvalidInput("window", "single records cannot be asked for by their names")
        if (window.since or window.until) and found.window is None:
            raise InvalidInput("window", f"{stream} cannot be asked about the past: its config has no window")
        return self._read(ctx, config, found, cursor, window)

    async def _read(
        self, ctx: Context, config: HttpConfig, stream: StreamConfig, cursor: str | None, window: Window
    ) -> AsyncGenerator[Batch]:
        high = await _watermark(ctx, stream, cursor)
        api = _Api(ctx, config, self._egress, self._dialect)
        walk = Walk(api.base, stream, api.url(stream, _cursor_parameters(stream, cursor, window)))
        url: URL | None = walk.first
        for number in range(1, config.max_pages + 1):
            page = await api.page(url, stream)
            before = high.highest if high else None
            rows = _sorted_out(stream, page.records, number)
            lowest = high.see(row.get(stream.cursor.field) for row in rows.seen) if high and stream.cursor else None
            failure: ProviderError | None = None
            try:
                url = walk.after(url, page.answer, page.records, page.headers)
            except ProviderError as e:
                failure = e
            moves = None
            if high and stream.cursor and failure is None:
                ascending = stream.cursor.order == "ascending"
                if ascending and number > 1 and lowest and before and lowest.place < before.place:
                    failure = _not_ascending(stream)
                elif url is None:
                    moves = high.at_end()
                elif ascending:
                    moves = high.within()
            yield Batch(
                records=rows.records,
                misses=rows.misses,
                deletes=rows.deletes,
                observed_at=await ctx.now(),
                cursor_after=moves,
            )
            if failure is not None:
                raise failure
            if url is None:
                return
        raise ProviderError(ErrorKind.PERMANENT, f"more than {config.max_pages} pages; the rest was not read")


class _Page(NamedTuple):
    answer: object
    records: list[Any]
    headers: Mapping[str, str]


class _Rows(NamedTuple):
    """A page's records: good ones, the keys of deleted ones, bad ones; ``seen`` is what may move the cursor."""

    records: list[dict[str, Any]]
    deletes: list[str]
    misses: list[Miss]
    seen: list[dict[str, Any]]


class _Api:
    """The API as this company."""

    def __init__(self, ctx: Context, config: HttpConfig, egress: Egress, dialect: StatusDialect) -> None:
        self.base = URL(config.base_url)
        self._query = config.query
        self._secret: dict[str, str] = {}
        headers = dict(config.headers)
        secrets: list[Secret] = []
        if isinstance(config.auth, HeaderAuth | QueryAuth):
            token = _token(ctx.token)
            secrets = [ctx.token]
            if isinstance(config.auth, HeaderAuth):
                headers[config.auth.name] = config.auth.prefix + token
            else:
                self._secret[config.auth.name] = token
        self._caller: Caller = ctx.http.caller(
            dialect,
            scopes=ctx.scopes,
            deadline=ctx.deadline,
            secrets=secrets,
            headers=headers,
            egress=egress,
            tally=ctx.tally,
        )

    def url(self, stream: StreamConfig, parameters: Mapping[str, str]) -> URL:
        """Where a stream begins. The secret is not in it."""
        return below(self.base, stream.path).with_query({**self._query, **stream.query, **parameters})

    async def page(self, url: URL, stream: StreamConfig) -> _Page:
        """One page.

        Raises:
            ProviderError: as :meth:`Caller.get`; ``PERMANENT`` when the answer is not what the config says.
            TimeBudgetSpent: the deadline came first.
        """
        url = url.update_query(self._secret) if self._secret else url
        answer, headers = await self._caller.get_with_headers(url, msgspec.json.decode)
        records = at(answer, stream.records)
        if records is None and _is_null(answer, stream.records):
            records = []  # how some write that there are none
        if not isinstance(records, list):
            where = stream.records or "the answer"
            raise ProviderError(ErrorKind.PERMANENT, f"{where} is not a list of records, but {_kind(records)}")
        rows = cast(list[Any], records)
        if len(rows) > MAX_RECORDS:
            raise ProviderError(ErrorKind.PERMANENT, f"a page holds {len(rows)} records, more than {MAX_RECORDS}")
        return _Page(answer, rows, headers)


async def _watermark(ctx: Context, stream: StreamConfig, cursor: str | None) -> Watermark | None:
    if stream.cursor is None:
        return None
    high = Watermark(stream.cursor.compare, inclusive=stream.cursor.inclusive, now=await ctx.now())
    if cursor is not None and not high.start(cursor):
        raise InvalidInput("cursor", f"the cursor of {stream.name} is a {stream.cursor.compare}, and this is none")
    return high


def _cursor_parameters(stream: StreamConfig, cursor: str | None, window: Window) -> dict[str, str]:
    """What limits a read: the window, and the cursor, which wins where both use one parameter."""
    parameters: dict[str, str] = {}
    if stream.window is not None:
        for name, instant in ((stream.window.since, window.since), (stream.window.until, window.until)):
            if instant is not None:
                parameters[name] = _instant(instant, stream.window)
    if stream.cursor is not None:
        begin = cursor if cursor is not None or parameters else stream.cursor.initial
        if begin is not None:
            parameters[stream.cursor.parameter] = begin
    return parameters


def _instant(instant: datetime, window: WindowParameters) -> str:
    instant = instant.astimezone(UTC)
    if window.format == "iso":
        return instant.isoformat(timespec="auto").replace("+00:00", "Z")
    if window.format == "date":
        return instant.date().isoformat()
    return str((instant - _EPOCH) // timedelta(**{window.format: 1}))


def _sorted_out(stream: StreamConfig, records: Sequence[Any], page: int) -> _Rows:
    rows = _Rows([], [], [], [])
    for number, record in enumerate(records, 1):
        name = f"page {page}, record {number}"
        if not isinstance(record, dict):
            rows.misses.append(_bad(name, f"is not an object, but {_kind(record)}"))
            continue
        row = cast(dict[str, Any], record)
        key = record_key(row, stream.key)
        if key is None:
            rows.misses.append(_bad(name, f"lacks its key ({', '.join(stream.key)})"))
            continue
        rows.seen.append(row)
        if stream.deleted is not None and _marked(row.get(stream.deleted)):
            rows.deletes.append(key)
        else:
            rows.records.append(row)
    return rows


def _marked(value: object) -> bool:
    return value.lower() not in _NOT_DELETED if isinstance(value, str) else bool(value)


def _token(secret: Secret) -> str:
    text = secret.reveal()
    if not text:
        raise ProviderError(ErrorKind.TOKEN_INVALID, "not called: the connector has no secret named token")
    if not text.isascii() or not text.isprintable():
        raise ProviderError(ErrorKind.TOKEN_INVALID, "not called: the secret has characters that no token has")
    return text


def _is_null(answer: object, path: str) -> bool:
    parent, _, name = path.rpartition(".")
    holder = at(answer, parent)
    return isinstance(holder, dict) and name in holder


def _kind(value: object) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (dict, "an object"),
        (list, "a list"),
        (str, "text"),
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "nothing")


def _bad(name: str, what: str) -> Miss:
    return Miss(name, ProviderError(ErrorKind.PERMANENT, f"{name} {what}", status=200))


def _not_ascending(stream: StreamConfig) -> ProviderError:
    field = stream.cursor.field if stream.cursor else ""
    message = f'{stream.name} does not come in ascending order of {field}; say "order": "any" in its cursor'
    return ProviderError(ErrorKind.PERMANENT, message)
