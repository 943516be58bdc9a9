"""Killed at random, host or tap, and resumed: the records are those of one undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from tests.connectors.singer.host import Job
from tests.connectors.singer.killing import disturbed, size_of, undisturbed
from tests.connectors.singer.support import CATALOG, SAY_SCHEMA, Fake, Store, context
from tidemill.connectors import ProviderError, Window

ROWS, STATE_EVERY = 3000, 70
KEYLESS = {"streams": [{**CATALOG["streams"][0], "key_properties": []}]}
SCHEMAS = {True: SAY_SCHEMA, False: {"say": {**SAY_SCHEMA["say"], "key_properties": []}}}


def _job(tap: Fake, tmp_path: Path, *, keyed: bool) -> Job:
    script = (SCHEMAS[keyed], {"last_words": {}}, {"rows": ROWS, "state_every": STATE_EVERY, "slow": 0.0002})
    return Job(
        taps={"tap-fake": str(tap.folder / "tap-fake")},
        config=tap.config(*script, catalog=CATALOG if keyed else KEYLESS),
        stream="items",
        commits=str(tmp_path / "commits"),
        folder=str(tap.folder / "private"),
        secrets={},
        bounds={"records": 50, "state_every_s": 0.01},
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "keyless"])
@pytest.mark.parametrize(
    ("seed", "times"),
    [(1, 3), pytest.param(2, 40, marks=pytest.mark.chaos), pytest.param(3, 40, marks=pytest.mark.chaos)],
)
async def test_host_and_tap_are_killed_and_nothing_is_lost_or_doubled(
    tap: Fake, tmp_path: Path, *, keyed: bool, seed: int, times: int
) -> None:
    job = _job(tap, tmp_path, keyed=keyed)
    wanted = await undisturbed(job)
    got = await disturbed(job, random.Random(seed), times, step=2 * size_of(wanted) // times)
    assert got.records == wanted.records
    assert got.keyless == wanted.keyless  # each once, in order
    # A tap that is told to end says where it is, and counts on from there: its last STATE is another, near the end.
    for store in (wanted, got):
        assert 0 <= ROWS - json.loads(store.cursor or "null")["id"] < STATE_EVERY
    assert len(got.records) + len(got.keyless) == ROWS


@pytest.mark.parametrize("seed", range(3))
async def test_a_tap_that_dies_between_any_two_batches_loses_nothing(tap: Fake, tmp_path: Path, seed: int) -> None:
    rng, told = random.Random(seed), tmp_path / "told"
    config = tap.config({"tell": str(told)}, SAY_SCHEMA, {"rows": ROWS, "state_every": STATE_EVERY, "slow": 0.0001})
    connector = tap.connector
    [stream] = await connector.streams(context(config))
    store = Store(stream)
    for attempt in range(5):
        ends_after = rng.randrange(1, 30)
        failure: ProviderError | None = None
        try:
            async with aclosing(connector.read(context(config), "items", store.cursor, Window())) as batches:
                async for batch in batches:
                    store.commit(batch)
                    ends_after -= 1
                    if attempt < 4 and ends_after == 0:
                        with suppress(ProcessLookupError):
                            os.kill(json.loads(told.read_text())["pid"], rng.choice((signal.SIGKILL, signal.SIGTERM)))
        except ProviderError as e:
            failure = e
        if failure is None:
            break
        assert "was ended by SIG" in failure.message
    assert failure is None
    assert sorted(row["id"] for row in store.records.values()) == list(range(1, ROWS + 1))
