"""What the HTTP connector makes of its config, and where it stops."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from tests.connectors.rest_server import TOKEN, RestServer
from tests.connectors.support import drain, everything_said
from tidemill.connectors import Batch, Context, Egress, ErrorKind, HttpClient, Limits, ProviderError, Scopes, Window
from tidemill.connectors.config import read_config
from tidemill.connectors.http_json import HttpConfig, HttpJsonConnector
from tidemill.connectors.http_json.links import next_link
from tidemill.errors import InvalidInput
from tidemill.vault import Secret

HERE = HttpJsonConnector(Egress.of(["127.0.0.1"]))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CURSOR = {"kind": "cursor", "path": "meta.next", "parameter": "after", "size_parameter": "limit", "size": 10}
LINK = {"kind": "link", "size_parameter": "limit", "size": 10}


@pytest.fixture
async def server() -> AsyncIterator[RestServer]:
    async with RestServer() as server:
        server.collections["notes"] = [{"id": n, "changed": f"2026-01-01T00:00:{n:02}Z", "n": n} for n in range(35)]
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with await HttpClient.open(limits=Limits(backoff_s=0.01, max_body_bytes=100_000)) as client:
        yield client


def config(server: RestServer, **stream: Any) -> dict[str, Any]:
    """Of one stream named notes, by default all in one answer; ``api`` says more of the whole."""
    api: Mapping[str, Any] = stream.pop("api", {})
    return {
        "base_url": f"{server.url}/v1",
        "streams": [{"name": "notes", "path": "all/notes", "key": ["id"], **stream}],
        **api,
    }


def context(http: HttpClient, config: Mapping[str, Any], token: str = TOKEN) -> Context:
    return Context(
        http=http,
        token=Secret(token),
        scopes=Scopes.of("http", "company", "connector"),
        clock=lambda: NOW,
        deadline=time.monotonic() + 60,
        log=None,
        config=config,
    )


async def read(
    http: HttpClient, config: Mapping[str, Any], cursor: str | None = None, window: Window | None = None
) -> tuple[list[Batch], Any]:
    return await drain(HERE.read(context(http, config), "notes", cursor, window or Window()))


def ids(batches: list[Batch]) -> list[int]:
    return [record["id"] for batch in batches for record in batch.records]


async def test_fixed_parameters_and_headers_go_with_every_call(server: RestServer, http: HttpClient) -> None:
    said = config(
        server,
        path="link/notes",
        paging=LINK,
        query={"of": "ä b&c", "both": "stream"},
        api={"query": {"both": "api", "all": "1"}, "headers": {"X-Version": "7"}},
    )
    batches, error = await read(http, said)
    assert error is None
    assert ids(batches) == list(range(35))
    assert len(server.calls) == 4
    for call in server.calls:
        assert (call.query["of"], call.query["both"], call.query["all"]) == ("ä b&c", "stream", "1")
        assert call.headers["X-Version"] == "7"
        assert call.headers["Authorization"] == f"Bearer {TOKEN}"


async def test_the_secret_stands_where_the_config_says_and_nowhere_else(server: RestServer, http: HttpClient) -> None:
    server.script = _empty
    for auth, header, parameter in (
        ({"in": "header", "name": "X-Api-Key", "prefix": ""}, TOKEN, None),
        ({"in": "query", "name": "api_key"}, None, TOKEN),
        ({"in": "none"}, None, None),
    ):
        await HERE.check(context(http, config(server, api={"auth": auth})))
        call = server.calls[-1]
        assert (call.headers.get("X-Api-Key"), call.query.get("api_key")) == (header, parameter)
        assert "Authorization" not in call.headers


async def _empty(request: web.Request) -> web.Response:
    return web.json_response([])


@pytest.mark.parametrize("token", ["", "a\r\nX: y", "ä"])
async def test_a_token_that_cannot_be_sent_is_told_without_a_call(
    server: RestServer, http: HttpClient, token: str
) -> None:
    with pytest.raises(ProviderError) as caught:
        await HERE.check(context(http, config(server), token))
    assert caught.value.kind is ErrorKind.TOKEN_INVALID
    assert server.calls == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.INVALID_REQUEST),
        (401, ErrorKind.TOKEN_INVALID),
        (403, ErrorKind.PERMISSION),
        (404, ErrorKind.INVALID_REQUEST),
        (410, ErrorKind.GONE),
        (418, ErrorKind.PERMANENT),
        (429, ErrorKind.RATE_LIMITED),
        (500, ErrorKind.TRANSIENT),
        (503, ErrorKind.TRANSIENT),
        (302, ErrorKind.PERMANENT),
    ],
)
async def test_a_status_has_its_meaning_and_its_reason_is_told_without_the_secret(
    server: RestServer, http: HttpClient, status: int, kind: ErrorKind
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"errors": [{"detail": f"no, not with {TOKEN}"}], "token": TOKEN}, status=status)

    server.script = refuse
    _, error = await read(http, config(server))
    assert error.kind is kind
    assert TOKEN not in "".join(everything_said(error))
    if status != 302:
        assert "no, not with" in str(error)


async def test_a_403_that_speaks_of_a_rate_limit_pauses_this_connector_and_no_other(
    server: RestServer, http: HttpClient
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"message": "API rate limit exceeded"}, status=403, headers={"Retry-After": "90"})

    server.script = refuse
    _, error = await read(http, config(server))
    assert (error.kind, error.scope) == (ErrorKind.RATE_LIMITED, "account")
    assert error.retry_after.total_seconds() == pytest.approx(90)
    _, error = await read(http, config(server))
    assert error.kind is ErrorKind.RATE_LIMITED
    assert len(server.calls) == 1


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1", b"[" * 5000, b"\xff", b"NaN"], ids=range(6))
async def test_what_is_not_json_is_tried_again_and_then_given_up(
    server: RestServer, http: HttpClient, body: bytes
) -> None:
    async def talk(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    server.script = talk
    batches, error = await read(http, config(server))
    assert batches == []
    assert (error.kind, len(server.calls)) == (ErrorKind.PERMANENT, 3)


@pytest.mark.parametrize("answer", [{}, {"items": {}}, {"items": "x"}, {"other": []}, [], None, 7])
async def test_an_answer_without_the_list_of_records_is_told_at_once(
    server: RestServer, http: HttpClient, answer: object
) -> None:
    async def talk(request: web.Request) -> web.Response:
        return web.json_response(answer)

    server.script = talk
    _, error = await read(http, config(server, records="items"))
    assert error.kind is ErrorKind.PERMANENT
    assert "items is not a list of records" in str(error)
    assert len(server.calls) == 1


async def test_null_in_place_of_the_list_means_none(server: RestServer, http: HttpClient) -> None:
    async def talk(request: web.Request) -> web.Response:
        return web.json_response({"data": {"items": None}})

    server.script = talk
    batches, error = await read(http, config(server, records="data.items"))
    assert (ids(batches), error) == ([], None)


async def test_a_page_of_too_many_records_and_an_answer_too_large_are_refused(
    server: RestServer, http: HttpClient
) -> None:
    async def many(request: web.Request) -> web.Response:
        return web.json_response([0] * 10_001)

    server.script = many
    _, error = await read(http, config(server))
    assert "10001 records" in str(error)

    async def large(request: web.Request) -> web.Response:
        response = web.json_response(["x" * 200_000])
        response.enable_compression()
        return response

    server.script = large
    _, error = await read(http, config(server))
    assert "larger than 100000 bytes" in str(error)


async def test_the_cursor_moves_with_each_page_of_an_ascending_stream_and_with_the_last_of_any_other(
    server: RestServer, http: HttpClient
) -> None:
    paged = {"path": "cursor/notes", "records": "items", "paging": CURSOR}
    for order, inclusive, moves in (
        ("ascending", True, [9, 19, 29, 34]),
        ("ascending", False, [8, 18, 28, 34]),
        ("any", True, [None, None, None, 34]),
    ):
        cursor = {"field": "changed", "parameter": "since", "order": order, "inclusive": inclusive}
        batches, error = await read(http, config(server, cursor=cursor, **paged))
        assert error is None
        wanted = [None if n is None else f"2026-01-01T00:00:{n:02}Z" for n in moves]
        assert [batch.cursor_after for batch in batches] == wanted, (order, inclusive)


async def test_a_stream_that_is_not_ascending_as_declared_is_told_and_its_cursor_stays_behind(
    server: RestServer, http: HttpClient
) -> None:
    server.sort = False
    cursor = {"field": "changed", "parameter": "since", "order": "ascending"}
    said = config(server, path="cursor/notes", records="items", paging=CURSOR, cursor=cursor)
    batches, error = await read(http, said)
    assert "ascending" in str(error)
    assert [len(batch.records) for batch in batches] == [10, 10]
    assert batches[-1].cursor_after is None


@pytest.mark.parametrize(
    ("compare", "values", "highest"),
    [
        ("number", [9, 10, 8], "10"),
        ("number", ["9", "10", "9.5"], "10"),
        ("number", [1.5, 1, True, None, "x", {}, "NaN", "1e400", float(2)], "1e400"),
        ("number", [12345678901234567890, 12345678901234567891], "12345678901234567891"),
        ("time", ["2026-01-02", "2026-01-01T23:00:00-05:00", "2026-01-02T03:59:59"], "2026-01-01T23:00:00-05:00"),
        ("time", ["2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "yesterday", 7, None], "2026-01-01T00:00:00Z"),
        ("time", ["2026-06-01T20:00:00Z", "0001-01-01T00:00:00+14:00"], "2026-06-01T20:00:00Z"),
        ("time", [None, "", []], None),
    ],
    ids=range(8),
)
async def test_values_of_the_cursor_field_are_compared_as_what_they_are_and_kept_as_they_were_written(
    server: RestServer, http: HttpClient, compare: str, values: list[Any], highest: str | None
) -> None:
    server.collections["notes"] = [{"id": n, "mark": value} for n, value in enumerate(values)]
    cursor = {"field": "mark", "parameter": "since_mark", "compare": compare}
    batches, error = await read(http, config(server, cursor=cursor))
    assert error is None
    assert ids(batches) == list(range(len(values)))
    assert batches[-1].cursor_after == highest


async def test_a_read_begins_at_the_cursor_or_at_the_initial_value_and_a_window_leaves_that_aside(
    server: RestServer, http: HttpClient
) -> None:
    cursor = {"field": "changed", "parameter": "since", "initial": "2026-01-01T00:00:10Z"}
    said = config(server, cursor=cursor, window={"since": "from", "until": "to"})
    assert ids((await read(http, said))[0]) == list(range(10, 35))
    assert ids((await read(http, said, "2026-01-01T00:00:30Z"))[0]) == list(range(30, 35))
    window = Window(since=datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC), until=datetime(2026, 1, 1, 0, 0, 8, tzinfo=UTC))
    assert ids((await read(http, said, None, window))[0]) == [5, 6, 7]
    assert ids((await read(http, said, "2026-01-01T00:00:07Z", window))[0]) == [7]
    batches, _ = await read(http, said, "2026-02-01T00:00:00Z")
    assert batches[-1].cursor_after == "2026-02-01T00:00:00Z"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "2026-01-01T05:00:00.500000Z"),
        ("date", "2026-01-01"),
        ("seconds", "1767243600"),
        ("milliseconds", "1767243600500"),
    ],
)
async def test_a_window_is_asked_for_in_the_providers_form(
    server: RestServer, http: HttpClient, form: str, text: str
) -> None:
    server.script = _empty
    said = config(server, window={"since": "begin", "until": "end", "format": form})
    since = datetime.fromisoformat("2026-01-01T00:00:00.5-05:00")
    assert (await read(http, said, None, Window(since=since)))[1] is None
    assert server.calls[0].query["begin"] == text
    assert "end" not in server.calls[0].query


async def test_what_cannot_be_asked_is_refused_by_name(server: RestServer, http: HttpClient) -> None:
    ctx = context(http, config(server, cursor={"field": "n", "parameter": "since", "compare": "number"}))
    for stream, window in (
        ("others", Window()),
        ("notes", Window(since=NOW)),
        ("notes", Window(entities=["1"])),
    ):
        with pytest.raises(InvalidInput):
            await drain(HERE.read(ctx, stream, None, window))
    with pytest.raises(InvalidInput, match="cursor"):
        await drain(HERE.read(ctx, "notes", "yesterday", Window()))
    assert server.calls == []


@pytest.mark.parametrize(
    ("mark", "gone"),
    [(True, True), (1, True), ("2026-01-01T00:00:00Z", True), ("true", True), (None, False), (False, False), (0, False),
     ("", False), ("0", False), ("False", False)],
    ids=range(10),
)  # fmt: skip
async def test_a_marked_record_is_a_delete(server: RestServer, http: HttpClient, mark: object, gone: bool) -> None:
    server.collections["notes"] = [{"id": 7, "removed": mark}]
    batches, _ = await read(http, config(server, deleted="removed"))
    assert (list(batches[0].deletes), len(batches[0].records)) == ((["[7]"], 0) if gone else ([], 1))


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/v1/x",
        "http://other.example/v1/link/notes",
        "//other.example/v1/link/notes",
        "/elsewhere",
        "/v1x",
        "../../secret",
        "/v1/../secret",
        "/v1/%2e%2e/secret",
        "/v1/..%2fsecret",
        "/v1/..%5csecret",
        "https:/v1/x",
        "ftp://x/v1",
        "http://[",
        "javascript:alert(1)",
    ],
)
async def test_a_link_that_leads_away_is_not_followed(server: RestServer, http: HttpClient, target: str) -> None:
    async def lure(request: web.Request) -> web.Response:
        return web.json_response([{"id": 1}], headers={"Link": f'<{target}>; rel="next"'})

    server.script = lure
    batches, error = await read(http, config(server, path="link/notes", paging=LINK))
    assert error.kind is ErrorKind.PERMANENT
    assert ids(batches) == [1]
    assert len(server.calls) == 1


async def test_a_link_with_a_port_or_scheme_of_its_own_is_another_origin(server: RestServer, http: HttpClient) -> None:
    for target in (server.url.replace("http:", "https:"), "http://127.0.0.1:1", server.url.replace("//", "//u:p@")):

        async def lure(request: web.Request, target: str = target) -> web.Response:
            return web.json_response([], headers={"Link": f"<{target}/v1/link/notes>; rel=next"})

        server.script = lure
        _, error = await read(http, config(server, path="link/notes", paging=LINK))
        assert "leads away" in str(error)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", None),
        ("<a>", None),
        ("<a>; rel=next", "a"),
        ('<a>; rel="next"', "a"),
        ('<a>;rel="prev NEXT last"', "a"),
        ('<a>; rel="prev", <b>; title="x, y; z"; REL=next; type="t"', "b"),
        ('<a>; rel="nextish"', None),
        ("<a; rel=next", None),
        ("rel=next", None),
        ("<>; rel=next", ""),
        ("<" * 5000, None),
    ],
    ids=range(11),
)
def test_the_link_header_is_read_as_it_is_meant(header: str, target: str | None) -> None:
    assert next_link(header) == target


@pytest.mark.parametrize("paging", [CURSOR, LINK, {"kind": "page"}], ids=lambda paging: paging["kind"])
async def test_pages_that_lead_in_circles_end_in_a_failure(
    server: RestServer, http: HttpClient, paging: dict[str, Any]
) -> None:
    async def circle(request: web.Request) -> web.Response:
        link = request.rel_url.update_query(at="1" if request.query.get("at") == "2" else "2")
        answer = [{"id": 1}] if paging["kind"] != "cursor" else {"meta": {"next": "c1"}, "items": []}
        return web.json_response(answer, headers={"Link": f"<{link}>; rel=next"})

    server.script = circle
    records = "items" if paging["kind"] == "cursor" else ""
    _, error = await read(http, config(server, paging=paging, records=records))
    assert error.kind is ErrorKind.PERMANENT
    assert "twice" in str(error)
    assert len(server.calls) <= 4


async def test_pages_without_an_end_stop_at_the_bound(server: RestServer, http: HttpClient) -> None:
    async def endless(request: web.Request) -> web.Response:
        return web.json_response([{"id": len(server.calls)}])

    server.script = endless
    batches, error = await read(http, config(server, paging={"kind": "page"}, api={"max_pages": 12}))
    assert "more than 12 pages" in str(error)
    assert (len(batches), len(server.calls)) == (12, 12)


@pytest.mark.parametrize("cursor", [True, {"a": 1}, [1], 1.5, "x" * 5000])
async def test_a_cursor_of_a_wrong_type_is_told(server: RestServer, http: HttpClient, cursor: object) -> None:
    async def talk(request: web.Request) -> web.Response:
        return web.json_response({"items": [], "meta": {"next": cursor}})

    server.script = talk
    _, error = await read(http, config(server, records="items", paging=CURSOR))
    assert error.kind is ErrorKind.PERMANENT
    assert len(server.calls) == 1


async def test_short_pages_end_a_read_only_where_the_config_says_so(server: RestServer, http: HttpClient) -> None:
    server.most_per_page = 7
    paging = {"kind": "page", "size": 10, "size_parameter": "limit"}
    said = config(server, path="page/notes", records="data.items", paging=paging)
    assert ids((await read(http, said))[0]) == list(range(35))
    said = config(server, path="page/notes", records="data.items", paging={**paging, "end": "short"})
    assert ids((await read(http, said))[0]) == list(range(7))


async def test_an_url_that_grows_too_long_is_not_called(server: RestServer, http: HttpClient) -> None:
    fixed = {f"p{n}": "x" * 900 for n in range(10)}
    _, error = await read(http, config(server, query=fixed))
    assert "longer than" in str(error)
    assert server.calls == []


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("config.base_url", {"base_url": "ftp://x"}),
    ("config.base_url", {"base_url": "http://u:p@x"}),
    ("config.base_url", {"base_url": "http://x/?a=1"}),
    ("config.base_url", {"base_url": "http://x/#a"}),
    ("config.base_url", {"base_url": "http://x:22"}),
    ("config.base_url", {"base_url": "http://["}),
    ("config.base_url", {"base_url": ""}),
    ("config.base_url", {"base_url": None}),
    ("config.streams", {"streams": []}),
    ("config.streams", {"streams": [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}]}),
    ("config.streams[0].name", {"streams": [{"path": "a"}]}),
    ("config.streams[0].name", {"streams": [{"name": "a b", "path": "a"}]}),
    ("config.streams[0].path", {"streams": [{"name": "a", "path": "../a"}]}),
    ("config.streams[0].path", {"streams": [{"name": "a", "path": "%2e%2e/a"}]}),
    ("config.streams[0].path", {"streams": [{"name": "a", "path": "http://x/a"}]}),
    ("config.streams[0].path", {"streams": [{"name": "a", "path": "//x/a"}]}),
    ("config.streams[0].path", {"streams": [{"name": "a", "path": "a?b=c"}]}),
    ("config.streams[0].paging.kind", {"streams": [{"name": "a", "path": "a", "paging": {"kind": "magic"}}]}),
    ("config.streams[0].paging.path", {"streams": [{"name": "a", "path": "a", "paging": {"kind": "cursor"}}]}),
    ("config.streams[0].paging.size", {"streams": [{"name": "a", "path": "a", "paging": {"kind": "page", "size": 0}}]}),
    ("config.streams[0].deleted", {"streams": [{"name": "a", "path": "a", "deleted": "gone"}]}),
    ("config.streams[0].query", {"streams": [{"name": "a", "path": "a", "query": {"api_key": "x"}}]}),
    (
        "config.streams[0].cursor.initial",
        {"streams": [{"name": "a", "path": "a", "cursor": {"field": "f", "parameter": "p", "initial": "soon"}}]},
    ),
    ("config.headers", {"headers": {"Authorization": "x"}}),
    ("config.headers", {"headers": {"X-Api-Key": "x"}}),
    ("config.headers", {"headers": {"Cookie": "x"}}),
    ("config.headers", {"headers": {"Host": "x"}}),
    ("config.headers[...]", {"headers": {"X-A": "a\r\nb"}}),
    ("config.headers", {"headers": {"X A": "a"}}),
    ("config.query", {"query": {"access_token": "x"}}),
    ("config.auth.name", {"auth": {"in": "header", "name": "Host"}}),
    ("config.auth.in", {"auth": {"in": "body"}}),
    ("config.auth.token", {"auth": {"in": "header", "token": "x"}}),
    ("config.nonsense", {"nonsense": 1}),
]


@pytest.mark.parametrize(("field", "change"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_config_is_told_by_the_name_of_its_field(field: str, change: dict[str, Any]) -> None:
    good = {"base_url": "https://api.example.com/v1", "streams": [{"name": "a", "path": "a"}]}
    read_config(HttpConfig, good)
    with pytest.raises(InvalidInput) as caught:
        read_config(HttpConfig, {**good, **change})
    assert caught.value.field == field
