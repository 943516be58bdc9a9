"""A tap that goes wrong ends its run with the reason; what came before it, and the last good cursor, stay."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.connectors.singer.support import CATALOG, SAY_SCHEMA, Fake, context, fake, lives, record, state, until
from tidemill.connectors import ErrorKind, ProviderError, TimeBudgetSpent, Window
from tidemill.connectors.singer import process
from tidemill.connectors.singer.process import Tap
from tidemill.errors import InvalidInput

GOOD = (SAY_SCHEMA, record(1), state({"id": 1}), record(2))
"""Two records, the first of them covered by a STATE."""
SECRET = "s3cr3t-of-the-tenant"


@pytest.mark.parametrize(
    ("steps", "kind", "reason"),
    [
        ([{"exit": 3}], "transient", "the tap ended with exit code 3"),
        ([{"kill": "SIGKILL"}], "transient", "the tap was ended by SIGKILL"),
        ([{"kill": "SIGSEGV"}], "transient", "the tap was ended by SIGSEGV"),
        ([{"raw": '{"type": "RECORD", "stream": "it'}], "transient", "the tap ended in the middle of a line"),
        ([{"raw": '{"type": "RECORD", "stream\n'}], "permanent", "the tap wrote a line that is no message"),
        (
            [{"raw": "Downloading…\n"}],
            "permanent",
            "that is no message (JSON is malformed: invalid character (byte 0)): Do",
        ),
        ([{"raw": "[" * 100_000 + "\n"}], "permanent", "the tap wrote a line that is no message"),
        ([{"raw": '"RECORD"\n'}], "permanent", "the tap wrote a line that is no message"),
        ([{"say": {"type": "BATCH", "stream": "items", "manifest": []}}], "permanent", "BATCH messages, which are not"),
        ([state("x" * 2_000_000)], "permanent", "the tap's STATE has 2000002 bytes; 1048576 are allowed"),
        ([{"say": {"type": "SCHEMA", "stream": "items"}}], "permanent", "a SCHEMA without a schema"),
        (
            [{"stderr": 'INFO METRIC: {"metric": "sync_duration", "tags": {"status": "failed"}}'}],
            "transient",
            "says that",
        ),
    ],
    ids=lambda value: None if isinstance(value, list) else value.split(" (")[0][-30:],
)
async def test_the_run_ends_with_the_reason_and_what_came_before_is_good(
    tap: Fake, steps: list[dict[str, Any]], kind: str, reason: str
) -> None:
    got = await tap.drain(*GOOD, *steps)
    assert isinstance(got.failure, ProviderError)
    assert got.failure.kind == kind
    assert reason in got.failure.message
    assert (got.ids, got.cursor) == ([1, 2], {"id": 1})


async def test_a_record_before_its_schema_ends_the_run(tap: Fake) -> None:
    got = await tap.drain(record(1), SAY_SCHEMA)
    assert "a RECORD before its SCHEMA" in str(got.failure)
    assert got.ids == []


async def test_a_call_that_failed_is_no_failed_run(tap: Fake) -> None:
    metric = {"metric": "http_request_duration", "tags": {"status": "failed"}}
    got = await tap.drain(*GOOD, {"stderr": f"INFO METRIC: {json.dumps(metric)}"})
    assert got.failure is None


async def test_the_reason_tells_the_last_words_without_secrets(tap: Fake) -> None:
    lines = [{"stderr": f"line {number}: {SECRET} and plain-password"} for number in range(30)]
    with structlog.testing.capture_logs() as logs:
        got = await tap.drain(
            *GOOD,
            *lines,
            {"raw": f"{SECRET}\n"},
            secrets={"api_key": SECRET},
            tap={"password": "plain-password"},
            log=structlog.get_logger(),
        )
        crashed = await tap.drain(*lines, {"exit": 1}, secrets={"api_key": SECRET}, tap={"password": "plain-password"})
    assert isinstance(crashed.failure, ProviderError)
    assert "exit code 1: line 29: [redacted] and [redacted]" in crashed.failure.message
    assert crashed.failure.response is not None
    assert len(crashed.failure.response["stderr"]) == 10
    said = f"{logs} {got.failure!r} {crashed.failure!r} {crashed.failure.response}"
    assert "line 5" in said
    assert SECRET not in said
    assert "plain-password" not in said


async def test_a_flood_on_standard_error_neither_blocks_the_tap_nor_fills_the_log(tap: Fake) -> None:
    with structlog.testing.capture_logs() as logs:
        got = await tap.drain(SAY_SCHEMA, {"flood": 30_000_000}, record(1), log=structlog.get_logger())
    assert (got.ids, got.failure) == ([1], None)
    assert len([entry for entry in logs if entry["event"] == "tap"]) < 1000
    assert [entry["lines"] > 100_000 for entry in logs if entry["event"] == "tap_lines_not_logged"] == [True]


async def test_a_line_of_100_mb_ends_the_run_and_is_not_held(tap: Fake) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    got = await tap.drain(*GOOD, {"long": 100_000_000})
    assert "the tap wrote a line of more than 16777216 bytes" in str(got.failure)
    assert (got.ids, got.cursor) == ([1, 2], {"id": 1})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


async def test_a_tap_that_says_nothing_is_ended(tmp_path: Path) -> None:
    hasty = fake(tmp_path / "host", idle_s=3.0, grace_s=1.0)
    got = await hasty.drain(*GOOD, {"ignore": "SIGTERM"}, {"hang": True})
    assert "the tap has said nothing for 3 s" in str(got.failure)
    assert (got.ids, got.cursor) == ([1, 2], {"id": 1})


async def test_a_tap_that_waits_for_us_is_not_silent(tmp_path: Path) -> None:
    hasty = fake(tmp_path / "host", idle_s=2.0, records=500)
    count = 0
    async for batch in hasty.read(SAY_SCHEMA, {"rows": 20_000}):
        count += len(batch.records)
        if count == 500:
            time.sleep(2.5)  # noqa: ASYNC251 - the whole process is busy for longer than a tap may be silent
    assert count == 20_000


async def test_at_the_deadline_the_tap_is_asked_to_end_and_its_last_words_count(tap: Fake) -> None:
    got = await tap.drain(SAY_SCHEMA, {"last_words": {}}, {"rows": 100_000, "slow": 0.001}, seconds=3)
    assert isinstance(got.failure, TimeBudgetSpent)
    assert 0 < len(got.ids) < 100_000
    assert got.cursor == {"id": got.ids[-1]}


async def test_a_tap_that_ends_well_after_it_was_asked_to_is_no_success(tap: Fake) -> None:
    got = await tap.drain(*GOOD, {"last_words": {"id": 2}}, {"hang": True}, seconds=3)
    assert isinstance(got.failure, TimeBudgetSpent)
    assert (got.ids, got.cursor) == ([1, 2], {"id": 2})


async def test_a_tap_that_takes_no_notice_is_killed_at_the_deadline(tap: Fake, tmp_path: Path) -> None:
    told = tmp_path / "told"
    began = time.monotonic()
    got = await tap.drain(*GOOD, {"ignore": "SIGTERM"}, {"tell": str(told)}, {"rows": 10**9, "slow": 0.01}, seconds=3)
    assert isinstance(got.failure, TimeBudgetSpent)
    assert time.monotonic() - began < 30
    assert not lives(json.loads(told.read_text())["pid"])
    assert got.cursor == {"id": 1}


async def test_a_reader_that_leaves_ends_the_tap_and_what_it_left_behind(tap: Fake, tmp_path: Path) -> None:
    told, child = tmp_path / "told", tmp_path / "child"
    batches = tap.read(*GOOD, {"hold": str(child)}, {"tell": str(told)}, {"hang": True})
    await anext(batches)
    await until(told.exists)
    given = json.loads(told.read_text())
    assert lives(given["pid"])
    await batches.aclose()
    assert not lives(given["pid"])
    await until(lambda: not lives(int(child.read_text())))
    assert not Path(given["folder"]).exists()


async def test_a_tap_with_nobody_to_read_it_waits(tap: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taps: list[Tap] = []

    class Seen(Tap):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            taps.append(self)
            super().connection_made(transport)

    monkeypatch.setattr(process, "Tap", Seen)
    done = tmp_path / "done"
    batches = tap.read(SAY_SCHEMA, {"rows": 6000, "state_every": 1000}, {"rows": 100_000}, {"touch": str(done)})
    first = await anext(batches)
    assert len(first.records) == 1000
    await until(lambda: taps[-1]._held >= 128 * 1024)
    for _ in range(1000):  # whatever the loop would do now
        await asyncio.sleep(0)
    assert taps[-1]._held < 1_000_000
    assert not done.exists()
    await batches.aclose()


async def test_a_tap_that_cannot_be_run_is_told_apart_from_one_that_is_not_allowed(tap: Fake) -> None:
    with pytest.raises(InvalidInput, match=r"config.executable: no tap 'bash' is allowed here .* known: tap-fake"):
        await anext(tap.connector.read(context({"executable": "bash"}), "items", None, Window()))
    (tap.folder / "tap-fake").unlink()
    got = await tap.drain(*GOOD)
    assert isinstance(got.failure, ProviderError)
    assert got.failure.kind is ErrorKind.PERMANENT
    assert "not installed on this worker" in got.failure.message


async def test_a_program_that_is_none_says_so(tap: Fake) -> None:
    (tap.folder / "tap-fake").write_text("#!/no/such/interpreter\n")
    got = await tap.drain(*GOOD)
    assert "cannot be run: No such file or directory" in str(got.failure)


@pytest.mark.parametrize(
    ("discovering", "catalog", "reason"),
    [
        ([{"exit": 2}], CATALOG, "the tap ended with exit code 2"),
        ([{"raw": "hello "}], CATALOG, "what the tap discovered is no catalogue"),
        ([], {"streams": 5}, "what the tap discovered is no catalogue"),
        ([{"raw": " " * 5000}], CATALOG, "the tap wrote more than 3000 bytes"),
        ([{"hang": True}], CATALOG, "the tap did not tell its streams within 2 s"),
    ],
    ids=["crash", "talk", "no-list", "too-large", "hang"],
)
async def test_a_discovery_that_fails_is_told(
    tmp_path: Path, discovering: list[Any], catalog: Any, reason: str
) -> None:
    host = fake(tmp_path / "host", discovery_s=2.0, catalog_bytes=3000, grace_s=1.0)
    config = host.config(catalog=catalog, tap={"discovering": discovering})
    with pytest.raises(ProviderError, match=reason):
        await host.connector.check(context(config))
