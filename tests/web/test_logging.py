from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.support import CRON_SECRET, JWT_SECRET, token_of
from tidemill.logging import bound, configure, redact


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_are_json_where_nobody_watches_and_text_on_a_terminal() -> None:
    for log_format, stream, is_json in (
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ):
        configure(log_format, stream=stream)  # type: ignore[arg-type]
        structlog.get_logger().info("hello", account="é")
        assert stream.getvalue().startswith("{") == is_json
        assert "hello" in stream.getvalue()
        assert "é" in stream.getvalue()


def test_a_log_that_nobody_can_read_any_more_does_not_stop_the_work() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as broken:
        for stream in (io.StringIO(), broken):
            configure("json", stream=stream)
            if stream is not broken:
                stream.close()
            structlog.get_logger().warning("it happened")
            logging.getLogger("asyncpg").warning("a library says")


def test_a_json_line_says_what_when_and_how_bad() -> None:
    stream, run = io.StringIO(), uuid4()
    configure("json", stream=stream)
    structlog.get_logger().warning("it happened", run=run, at=datetime(2026, 1, 2, tzinfo=UTC), n=3, nothing=None)
    (line,) = _json_lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "it happened",
        "level": "warning",
        "run": str(run),
        "at": "2026-01-02 00:00:00+00:00",
        "n": 3,
        "nothing": None,
    }


async def test_bound_ids_stay_with_their_task() -> None:
    stream = io.StringIO()
    configure("json", stream=stream)

    async def work(run_id: str) -> None:
        with bound(run_id=run_id):
            await asyncio.sleep(0)
            structlog.get_logger().info("work")

    await asyncio.gather(*(work(str(n)) for n in range(5)))
    structlog.get_logger().info("after")
    *worked, after = _json_lines(stream)
    assert sorted(str(line["run_id"]) for line in worked) == ["0", "1", "2", "3", "4"]
    assert "run_id" not in after


def test_levels_below_the_chosen_one_are_not_written() -> None:
    stream = io.StringIO()
    configure("json", level="warning", stream=stream)
    structlog.get_logger().info("no")
    logging.getLogger("x").info("no")
    structlog.get_logger().warning("yes")
    assert [line["event"] for line in _json_lines(stream)] == ["yes"]


def test_other_libraries_lines_go_the_same_way_and_only_once() -> None:
    stream = io.StringIO()
    configure("json", stream=io.StringIO())
    configure("json", stream=stream)
    logging.getLogger("aiohttp.server").warning("asked with %s", "Bearer abc.def")
    (line,) = _json_lines(stream)
    assert (line["event"], line["logger"], line["level"]) == (
        "asked with Bearer [redacted]",
        "aiohttp.server",
        "warning",
    )


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_tracebacks_are_written_without_secrets_and_without_local_variables(log_format: str) -> None:
    stream = io.StringIO()
    configure(log_format, stream=stream)  # type: ignore[arg-type]

    local_value = uuid4().hex

    def failing(held: str) -> None:
        raise RuntimeError(f"refused: Authorization: Bearer {CRON_SECRET} access_token=THQ{held}")

    for write in (structlog.get_logger().exception, logging.getLogger("lib").exception):
        try:
            failing(local_value)
        except RuntimeError:
            write("it failed")
    text = stream.getvalue()
    assert text.count("Traceback") == 2
    assert "in failing" in text
    assert CRON_SECRET not in text
    assert local_value not in text


SECRETS = {
    "Authorization": "anything at all",
    "authorization": ["a", "b"],
    "Set-Cookie": "x",
    "access_token": "THQVJ",
    "accessToken": "THQVJ",
    "access_token_encrypted": "AAAA",
    "CRON_SECRET": "x",
    "client_secret": "x",
    "jwt_secret": "x",
    "password": "x",
    "api_key": "x",
    "x-api-key": "x",
    "apikey": "x",
    "vault_keys": "id:x",
    "credentials": {"user": "x"},
    "database_url": "x",
}


@pytest.mark.parametrize("key", SECRETS)
def test_what_stands_under_a_secrets_name_is_hidden_at_any_depth(key: str) -> None:
    assert redact({key: SECRETS[key]}) == {key: "[redacted]"}
    assert redact([{"a": ({key: SECRETS[key]},)}]) == [{"a": [{key: "[redacted]"}]}]


@pytest.mark.parametrize("key", ["token_status", "tokens_seen", "secretary", "reason", "author", "password_changed_at"])
def test_names_that_only_resemble_a_secrets_are_left(key: str) -> None:
    assert redact({key: "valid"}) == {key: "valid"}


def test_numbers_under_a_secrets_name_are_fences_and_counts() -> None:
    assert redact({"token": 17, "secret": None, "jwt": False}) == {"token": 17, "secret": None, "jwt": False}


LOOKS = {
    f"Authorization: Bearer {CRON_SECRET}": CRON_SECRET,
    f"bearer {CRON_SECRET}": CRON_SECRET,
    "{'Authorization': 'Bearer s3cr!et,with+signs'}": "s3cr!et",
    f"got {token_of(uuid4())}": "eyJ",
    "GET https://graph.example/me?fields=id&access_token=THQVJ9&limit=5": "THQVJ9",
    "https://app.example/cb?code=AQB9x&state=st4te": "AQB9x",
    "https://app.example/cb?code=AQB9x&state=st4te#_": "st4te",
    'paging {"next": "https://x/?access_token=THQVJ9", "access_token": "THQVJ9 THQVJ9"}': "THQVJ9",
    "Settings(jwt_secret='abc def')": "abc",
    f"client_secret={JWT_SECRET}&grant_type=x": JWT_SECRET,
    "postgresql://boss:hunter2@10.0.0.7/db": "hunter2",
    "could not connect to 'postgres://boss:hunter2@db:5432/x?sslmode=require'": "hunter2",
    "redis://:hunter2@cache": "hunter2",
    '{"password": "with \\" hunter2 inside"}': "hunter2",
}


@pytest.mark.parametrize("text", LOOKS)
def test_secrets_are_known_by_their_look_in_any_text(text: str) -> None:
    assert LOOKS[text] not in str(redact(text))
    assert LOOKS[text] not in str(redact({"error": RuntimeError(text)}))


@pytest.mark.parametrize(
    "text",
    [
        "code=190 subcode=463: the session has expired",
        "http://127.0.0.1:8080/functions/v1/runs/1",
        "the token has expired",
        "token: must be a UUID",
        "2 of 60 accounts failed (rate_limited)",
    ],
)
def test_ordinary_words_are_left(text: str) -> None:
    assert redact(text) == text


def test_what_is_logged_is_bounded() -> None:
    assert len(str(redact("x" * 1_000_000))) < 20_000
    nested: list[object] = []
    for _ in range(10_000):
        nested = [nested]
    assert "…" in str(redact(nested))
    assert redact(b"secret") == "[6 bytes]"
    assert redact(UUID(int=0)) == str(UUID(int=0))


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_redacting_twice_changes_nothing_more_and_never_fails(value: object) -> None:
    once = redact(value)
    assert redact(once) == once
