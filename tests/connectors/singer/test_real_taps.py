"""Taps that this project has not written, on data that it has not made: read, killed, and with their faults."""

from __future__ import annotations

import csv
import json
import os
import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.connectors.singer import real
from tests.connectors.singer.host import Job
from tests.connectors.singer.killing import disturbed, host_of, size_of, undisturbed
from tests.connectors.singer.support import Drained, Store, context, drain
from tidemill.connectors import ProviderError, Stream, TimeBudgetSpent, Window
from tidemill.connectors.singer import SingerConnector
from tidemill.postgres import connect

ROWS = 12_000
"""The tap sends a STATE after 10,000."""
PASSES = 20

TABLE = """\
create table weather (
    origin text not null, time_hour timestamptz not null, day date not null, temp double precision, precip numeric,
    wind_dir integer, primary key (origin, time_hour)
)"""
COLUMNS = ("origin", "time_hour", "day", "temp", "precip", "wind_dir")

pytestmark = pytest.mark.timeout(1200)  # the first of them installs the taps


async def read(connector: SingerConnector, config: dict[str, Any], store: Store | None, **more: Any) -> Drained:
    """One stream from where the store is, into it."""
    [stream] = await connector.streams(context(config, **more))
    cursor = store.cursor if store else None
    got = await drain(connector.read(context(config, **more), stream.name, cursor, Window()))
    if store:
        store.begin()
        for batch in got.batches:
            store.commit(batch)
    return got


# A tap of spreadsheets ------------------------------------------------------------------------------------------------


@pytest.fixture
def sheets(tmp_path: Path) -> tuple[SingerConnector, dict[str, Any], Path]:
    """A host of tap-spreadsheets on a copy of the data's first rows."""
    file = tmp_path / "weather.csv"
    lines = real.weather().read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:12_001]))
    os.utime(file, (1_700_000_000, 1_700_000_000))
    tap = {"path": str(file), "format": "csv", "table_name": "weather", "primary_keys": ["origin", "time_hour"]}
    config = {"executable": "tap-spreadsheets", "config": {"files": [{**tap, "worksheet": ""}]}}
    taps = {"tap-spreadsheets": real.program("tap-spreadsheets", "tap-spreadsheets")}
    return SingerConnector(taps, folder=tmp_path / "private"), config, file


def _key(row: dict[str, Any]) -> str:
    return json.dumps([row["origin"], row["time_hour"]])


async def test_a_file_is_read_whole_not_again_and_again_when_it_has_changed(
    sheets: tuple[SingerConnector, dict[str, Any], Path],
) -> None:
    connector, config, file = sheets
    store = Store(Stream(name="weather", key=("origin", "time_hour")))
    first = await read(connector, config, store)
    assert (first.failure, first.misses) == (None, [])
    expected = {_key(row): row for row in csv.DictReader(file.read_text().splitlines())}
    assert set(store.records) == set(expected)
    for key, row in expected.items():
        temp = store.records[key]["temp"]
        assert temp in (None, "NA") if row["temp"] == "NA" else float(temp) == float(row["temp"])

    again = await read(connector, config, store)
    assert (again.failure, sum(len(batch.records) for batch in again.batches)) == (None, 0)
    assert again.batches[-1].caught_up

    with file.open("a") as end:
        end.write("JFK,2014,1,1,0,30,20,50,10,5,NA,0,1012,10,2014-01-01T05:00:00Z\n")
    os.utime(file, (1_700_000_100, 1_700_000_100))
    changed = await read(connector, config, store)
    assert changed.failure is None
    assert set(store.records) == set(expected) | {'["JFK", "2014-01-01T05:00:00Z"]'}


async def test_a_tap_that_does_not_find_its_file_ends_well_and_only_the_volume_tells(
    sheets: tuple[SingerConnector, dict[str, Any], Path],
) -> None:
    connector, config, file = sheets
    store = Store(Stream(name="weather", key=("origin", "time_hour")))
    await read(connector, config, store)
    cursor, count = store.cursor, len(store.records)
    file.unlink()
    await connector.check(context(config))  # the catalogue is ten minutes old
    [stream] = await connector.streams(context(config))
    gone = await read(connector, config, store)
    assert gone.failure is None
    assert sum(len(batch.records) for batch in gone.batches) == 0
    assert stream.never_empty
    assert not any(batch.caught_up for batch in gone.batches)
    assert (store.cursor, len(store.records)) == (cursor, count)


# A tap of Postgres ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def source(empty_database_url: str) -> str:
    """A database with the data in a table."""
    conn: Any = await connect(empty_database_url, name="tidemill tests")
    try:
        await conn.execute(TABLE)
        await conn.copy_records_to_table("weather", records=[_row(row) for row in real.rows(ROWS)], columns=COLUMNS)
    finally:
        await conn.close(timeout=10)
    return empty_database_url


def _row(row: dict[str, str]) -> tuple[Any, ...]:
    at = datetime.fromisoformat(row["time_hour"])
    numbers = [None if row[name] == "NA" else float(row[name]) for name in ("temp", "precip", "wind_dir")]
    temp, precip, wind_dir = numbers
    return row["origin"], at, at.date(), temp, precip, None if wind_dir is None else int(wind_dir)


def job(source: str, tmp_path: Path, key: str, **bounds: Any) -> Job:
    """Read the table, by ``key``."""
    url = urlsplit(source)
    config = {
        "executable": "tap-postgres",
        "config": {
            "host": url.hostname,
            "port": url.port,
            "user": unquote(url.username or ""),
            "database": url.path.removeprefix("/"),
            "filter_schemas": ["public"],
        },
        "streams": {"public-weather": {"replication_method": "INCREMENTAL", "replication_key": key}},
    }
    return Job(
        taps={"tap-postgres": str(real.program("meltanolabs-tap-postgres", "tap-postgres"))},
        config=config,
        stream="public-weather",
        commits=str(tmp_path / "commits"),
        folder=str(tmp_path / "private"),
        secrets={"password": unquote(url.password or "")},
        bounds=bounds,
    )


async def test_a_table_is_read_in_increments(source: str, tmp_path: Path) -> None:
    reading = job(source, tmp_path, "time_hour")
    store = await undisturbed(reading)
    assert store.stream.key == ("origin", "time_hour")
    assert store.stream.cursor == "time_hour"
    assert len(store.records) == ROWS
    temps = {(row["origin"], row["time_hour"][:13]): row["temp"] for row in store.records.values()}
    wanted = {(row[0], row[1].isoformat()[:13]): row[3] for row in map(_row, real.rows(ROWS))}
    assert temps == wanted

    conn = await connect(source, name="tidemill tests")
    try:
        await conn.execute("insert into weather values ('LGA', '2020-01-01T00:00Z', '2020-01-01', 1.5, null, null)")
    finally:
        await conn.close(timeout=10)
    more = await read(host_of(reading), reading.config, store, secrets=reading.secrets)
    assert more.failure is None
    assert 1 <= sum(len(batch.records) for batch in more.batches) < 10
    assert len(store.records) == ROWS + 1


async def test_a_taps_own_fault_fails_the_run_and_leaves_the_cursor(source: str, tmp_path: Path) -> None:
    """tap-postgres cannot compare a date with the text that its own STATE has of it."""
    reading = job(source, tmp_path, "day")
    store = await undisturbed(reading)
    cursor = store.cursor
    got = await read(host_of(reading), reading.config, store, secrets=reading.secrets)
    assert isinstance(got.failure, ProviderError)
    assert "exit code 1" in got.failure.message
    assert "TypeError" in json.dumps(got.failure.response)
    assert json.loads(store.cursor or "null") == json.loads(cursor or "null")
    assert reading.secrets["password"] not in f"{got.failure} {got.failure.response}"


async def test_a_wrong_password_is_told_and_shown_nowhere(source: str, tmp_path: Path) -> None:
    reading = replace(job(source, tmp_path, "time_hour"), secrets={"password": "n0t-the-passw0rd"})
    with pytest.raises(ProviderError, match="exit code") as refused:
        await host_of(reading).check(context(reading.config, secrets=reading.secrets))
    assert "password authentication failed" in json.dumps(refused.value.response)
    assert "n0t-the-passw0rd" not in f"{refused.value} {refused.value.response}"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("seed", "times"),
    [(1, 2), pytest.param(2, 12, marks=pytest.mark.chaos), pytest.param(3, 12, marks=pytest.mark.chaos)],
)
async def test_killed_at_random_and_resumed_the_records_are_those_of_one_undisturbed_run(
    source: str, tmp_path: Path, seed: int, times: int
) -> None:
    reading = job(source, tmp_path, "time_hour", records=250)
    wanted = await undisturbed(reading)
    got = await disturbed(reading, random.Random(seed), times, step=size_of(wanted) // times)
    assert got.records == wanted.records
    assert json.loads(got.cursor or "null") == json.loads(wanted.cursor or "null")


@pytest.mark.chaos
async def test_a_run_out_of_time_goes_on_where_the_tap_said_it_was(source: str, tmp_path: Path) -> None:
    reading = job(source, tmp_path, "time_hour", records=250)
    wanted = await undisturbed(reading)
    connector = host_of(reading)
    [stream] = await connector.streams(context(reading.config, secrets=reading.secrets))
    store, cursors, seconds = Store(stream), set[str | None](), 3.0
    for _ in range(PASSES):
        ctx = context(reading.config, secrets=reading.secrets, seconds=seconds)
        got = await drain(connector.read(ctx, stream.name, store.cursor, Window()))
        for batch in got.batches:
            store.commit(batch)
        if got.failure is None:
            break
        assert isinstance(got.failure, TimeBudgetSpent)
        if store.cursor in cursors:
            seconds *= 2  # too little, on a busy machine, for the tap to begin
        cursors.add(store.cursor)
    assert got.failure is None
    assert store.records == wanted.records
