"""The demo, as a newcomer runs it, but that the tap is there already: tests/test_wheel.py has it installed."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from tests.cli.support import alive, environ, processes, query, started, tidemill, until
from tests.conftest import run_apart
from tests.lent_tap import installed, lend_tap
from tidemill.cli.demo.audit import harvest_problems
from tidemill.cli.demo.company import Company
from tidemill.cli.demo.harvest import Harvest
from tidemill.cli.demo.narrator import Narrator
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.tap import Tap, installing
from tidemill.cli.demo.weather import Weather, digest
from tidemill.cli.exits import NotWell
from tidemill.postgres import Database, embedded

FIGURES = {
    "posts": "select count(*) as n from workspace_threads_posts",
    "snapshots": "select count(*) as n from workspace_threads_post_metrics",
    "account_snapshots": "select count(*) as n from workspace_threads_account_insights",
    "deltas": "select count(*) as n from workspace_threads_post_metrics_deltas",
    "account_deltas": "select count(*) as n from workspace_threads_account_insights_deltas",
    "current": "select count(distinct workspace_threads_post_id) as n from workspace_threads_post_metrics",
    "accounts_current": "select count(current_followers_count) as n from workspace_threads_accounts",
}
COMPANY = "select c.id, j.connector_id, j.id as job from companies c join sync_jobs j on j.company_id = c.id"
RECORDS = "select count(*)::int as n from synced_records"
ONE = "where key = (select min(key) from synced_records)"
TAMPERED = {
    f"update synced_records set data = data || '{{\"temp\": 451}}' {ONE}": "content",
    f"delete from synced_records {ONE}": "records and rows",
    "update connector_state set cursor = null": "no cursor",
    "update sync_run_logs set status = 'partial', reason = 'no_rows' where trigger = 'manual'": "partial (no_rows)",
}
HOSTILE = {
    "TIDEMILL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/not-to-be-touched",
    "TIDEMILL_ENV": "production",
    "TIDEMILL_THREADS_BASE_URL": "http://127.0.0.1:1",
    "CRON_SECRET": "x",
    "BATCH_SIZE": "1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
    for parent in (tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
    lend_tap(tmp_path)
    return tmp_path


def _january() -> dict[tuple[str, str], str]:
    with installed().data.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["month"] == "1"]
    return {(row["origin"], row["time_hour"]): row["temp"] for row in rows}


async def _audited(url: str, weather: Weather) -> dict[str, str]:
    """What the audit finds after each tampering with the company's rows, all of which is undone; "" is none."""
    async with await Database.open(url, max_size=1, name="tidemill tests") as db, db.transaction() as conn:
        [row] = await conn.fetch(COMPANY)
        stage = cast("Stage", SimpleNamespace(app=SimpleNamespace(db=conn)))
        company = Company(stage, row["id"], row["connector_id"], row["job"], weather, "")
        found: dict[str, str] = {}
        for tampering in ("", *TAMPERED):
            await conn.execute("savepoint untouched")
            if tampering:
                await conn.execute(tampering)
            found[tampering] = "; ".join(await harvest_problems(company, await Harvest.read(company)))
            await conn.execute("rollback to savepoint untouched")
        return found


def _sleeping(data: Path) -> bool:
    return embedded.find(data) is None


@pytest.mark.timeout(600)
def test_the_demo_ends_well_its_figures_are_the_databases_and_nothing_is_left_running(folder: Path) -> None:
    (folder / "tidemill.toml").write_text('database_url = "postgresql://nobody@127.0.0.1:1/not-to-be-touched"\n')
    ran = tidemill("demo", "--once", "--json", folder=folder, env=environ(**HOSTILE), timeout=500)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["problems"] == []
    assert [tick["status"] for tick in told["ticks"]] == ["partial"] * 3
    assert [tick["total_accounts"] for tick in told["ticks"]] == [60] * 3
    outcomes = {(o["status"], o["reason"]): o["accounts"] for o in told["outcomes"]}
    assert outcomes[("skipped", "token_expired")] == [1, 2, 2]
    assert outcomes[("partial", "rate_limited")] == [1, 0, 0]
    assert outcomes[("skipped", "rate_limited")] == [0, 1, 1]
    assert outcomes[("completed", None)] == [57, 56, 56]
    tap = told["tap"]
    assert [(run["status"], run["added"], run["changed"]) for run in tap["runs"]] == [
        ("completed", len(_january()), 0),
        ("completed", 0, 0),
    ]
    assert (tap["records"], tap["rows"]) == (len(_january()), len(_january()))
    assert "replication_key_value" in tap["cursor"]
    data = folder / ".tidemill" / "demo"
    with embedded.attach(data) as server:
        assert {name: query(server.url, sql)[0]["n"] for name, sql in FIGURES.items()} == told["figures"]
        roles = query(server.url, "select role, count(*)::int as n from workspace_members group by 1 order by 1")
        assert [(row["role"], row["n"]) for row in roles] == [("editor", 6), ("owner", 6), ("viewer", 6)]
        stored = query(server.url, "select data, first_seen_at, last_seen_at from synced_records")
        assert {(row["data"]["origin"], row["data"]["time_hour"]): row["data"]["temp"] for row in stored} == _january()
        weather = Weather(installed().data, folder / "weather.csv")
        weather.begin()
        found = run_apart(_audited(server.url, weather))
        assert found.pop("") == ""
        assert all(TAMPERED[tampering] in finding for tampering, finding in found.items()), found
        assert query(server.url, "select \"offset\" = interval '0' as real from tidemill.clock") == [{"real": True}]
    # What the summary recommends works, with --data-dir and, here, without.
    (folder / "tidemill.toml").unlink()
    for arguments in (("logs",), ("logs", "--failed"), ("accounts",), ("sync-jobs", "runs", "weather"), ("doctor",)):
        assert tidemill(*arguments, folder=folder).returncode == 0, arguments
    for arguments in (("logs",), ("doctor",)):
        named = tidemill("--data-dir", str(data), *arguments, folder=folder, env=environ(**HOSTILE))
        assert named.returncode == (1 if arguments == ("doctor",) else 0), arguments  # that CRON_SECRET is too short
    until(lambda: _sleeping(data), "the embedded server stops")
    until(lambda: not processes(str(folder)), "no process is left")


@pytest.mark.timeout(600)
def test_the_demo_goes_on_by_its_schedules_until_ctrl_c_and_can_be_run_again_without_a_network(
    database_url: str, folder: Path
) -> None:
    at = ("--database-url", database_url)
    with started(*at, "demo", folder=folder) as (process, output):
        until(lambda: "It goes on by itself" in output.read_text(), "the three ticks are over", within=300)
        busy = tidemill(*at, "demo", "--once", folder=folder, timeout=200)
        assert (busy.returncode, "another demo" in busy.stderr) == (1, True)
        next_at = query(database_url, "select next_at from tidemill.schedule")[0]["next_at"]
        query(database_url, "select tidemill.set_clock($1)", next_at)
        until(lambda: output.read_text().partition("It goes on by itself")[2].count("slot ") == 1, "the schedule fires")
        # The job of the tap is due, for the clock has moved. Then the file has a day more, which the next run brings.
        until(lambda: "weather " in output.read_text().partition("It goes on by itself")[2], "the tap runs")
        query(database_url, "select tidemill.set_clock(tidemill.now() + interval '2 minutes')")
        until(lambda: query(database_url, RECORDS)[0]["n"] > len(_january()), "a day more has come")
        children = [pid for pid in processes(str(folder)) if pid != process.pid]
        assert len(children) >= 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
        assert not any(map(alive, children))
    assert query(database_url, "select count(*)::int as n from tidemill.node") == [{"n": 0}]
    assert "Traceback" not in output.read_text()
    (folder / ".tidemill" / "demo" / "taps").unlink()
    offline = environ(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(folder))
    again = tidemill(*at, "demo", "--once", folder=folder, env=offline, timeout=500)
    assert again.returncode == 1, again.stderr
    [problem] = again.stderr.splitlines()
    assert "the demo's tap cannot be installed: No matching distribution found for attrs" in problem
    assert "its company is left out" in problem
    assert query(database_url, "select count(*)::int as n from workspaces") == [{"n": 6}]
    assert query(database_url, "select count(*)::int as n from system_job_logs") == [{"n": 3}]


@pytest.mark.timeout(300)
def test_nothing_of_the_demo_outlives_it_when_it_is_killed(database_url: str, folder: Path) -> None:
    with started("--database-url", database_url, "demo", folder=folder) as (process, output):
        until(lambda: "sync 1" in output.read_text(), "the first tick is over", within=200)
        children = [pid for pid in processes(str(folder)) if pid != process.pid]
        assert len(children) >= 2
        process.kill()
        until(lambda: not any(map(alive, children)), "the children are gone")


def test_the_demo_refuses_a_database_with_somebodys_workspaces(database_url: str, folder: Path) -> None:
    query(database_url, "insert into workspaces (name) values ('mine')")
    ran = tidemill("--database-url", database_url, "demo", "--once", folder=folder)
    assert ran.returncode == 2
    assert "one of its own" in ran.stderr
    counted: list[dict[str, Any]] = query(database_url, "select name from workspaces")
    assert counted == [{"name": "mine"}]


async def test_the_tap_is_not_installed_where_its_path_could_not_be_told(tmp_path: Path) -> None:
    with pytest.raises(NotWell, match="comma"):
        await Tap(tmp_path / "a,b").install()


async def test_an_installation_that_was_moved_or_cut_short_does_not_count(tmp_path: Path) -> None:
    tap = Tap(tmp_path / "taps")
    assert not tap.is_installed
    moved = (installed().folder / "installed").read_text()
    tap.program.parent.mkdir(parents=True)
    tap.program.with_name("python").symlink_to(installed().program.with_name("python"))
    (tap.folder / "installed").write_text(moved)
    assert not tap.is_installed
    (tap.folder / "installed").write_text(moved.replace(str(installed().folder.resolve()), str(tap.folder.resolve())))
    assert tap.is_installed
    tap.program.with_name("python").unlink()
    assert not tap.is_installed


def test_the_weather_comes_a_day_at_a_time_until_all_of_it_is_there(tmp_path: Path) -> None:
    days = [(1, day) for day in range(31, 0, -1)] + [(2, 1), (2, 2)]
    lines = [f"{origin},{month},{day},NA" for origin in ("EWR", "JFK") for month, day in days]
    source = tmp_path / "all.csv"
    source.write_text("\n".join(["origin,month,day,temp", *lines, ""]))
    weather = Weather(source, tmp_path / "weather.csv")
    weather.begin()
    assert len(weather.file.read_text().splitlines()) == 1 + 2 * 31
    assert [weather.grow() for _ in range(3)] == [2, 2, 0]
    assert sorted(weather.file.read_text().splitlines()) == sorted(source.read_text().splitlines())


def test_a_digest_is_of_values_whatever_their_order_and_however_they_are_written() -> None:
    rows = [{"a": "1", "b": "x", "more": "5"}, {"a": "NA", "b": "y"}]
    same = [{"b": "y", "a": None}, {"b": "x", "a": 1.0}]
    assert digest(rows, ["a", "b"]) == digest(same, ["b", "a"])
    for other in ([{"a": "2", "b": "x"}, rows[1]], rows[:1], [*rows, rows[1]], [{"a": "x", "b": "1"}, rows[1]]):
        assert digest(other, ["a", "b"]) != digest(rows, ["a", "b"])


def test_on_a_narrow_terminal_lines_are_folded_under_their_text(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(to_stderr=False)
    narrator.done("weather", "a line that a pipe gets as it is, however long it may be")
    narrator.console = Console(width=40, force_terminal=True)
    narrator.done("weather", "completed, 2,226 of 2,226 records read, 2,226 new")
    narrator.say("\nA heading that does not fit into forty columns:\n")
    piped, *folded = capsys.readouterr().out.splitlines()
    assert piped == "  weather    a line that a pipe gets as it is, however long it may be"
    assert folded == [
        "  weather    completed, 2,226 of 2,226",
        "             records read, 2,226 new",
        "",
        "A heading that does not fit into forty",
        "columns:",
        "",
    ]


async def test_leaving_the_demo_ends_an_installation_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {begun}.new && mv {begun}.new {begun}\nexec sleep 300\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    async with installing(Tap(tmp_path / "taps")) as task:
        while not begun.exists():
            assert not task.done()
            await asyncio.sleep(0.01)
        pid = int(begun.read_text())
        assert alive(pid)
    assert task.cancelled()
    assert not alive(pid)
