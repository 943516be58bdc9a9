"""``tidemill connectors``, ``sync-jobs``, ``replay``, ``repair``: tenants' own syncs, as operators handle them."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.cli.conftest import Run
from tests.cli.support import query, until
from tests.conftest import run_apart
from tidemill.cli.exits import Exit
from tidemill.postgres import Database
from tidemill.sync.jobs import credentials
from tidemill.vault import Keyring, Vault

CONFIG = {"base_url": "https://api.example.com", "streams": [{"name": "orders", "path": "orders", "key": ["id"]}]}
SECRET = "s3cret-of-a-tenant"
END = "2026-11-08T00:00"
VAULT = Vault(Keyring([("test", bytes(range(32)))]))


@pytest.fixture
def acme(database_url: str) -> str:
    """A company's code; its neighbour is ``other``."""
    for code in ("acme", "other"):
        query(database_url, "insert into public.companies (code, name, timezone) values ($1, $1, 'Asia/Taipei')", code)
    return "acme"


@pytest.fixture
def tm(run: Run, database_url: str) -> Any:
    """Runs a command on the test's database, with --json: exit code and document."""

    def call(*arguments: str, code: Exit = Exit.OK) -> Any:
        ended, out, err = run("--database-url", database_url, *arguments, "--json")
        assert ended == code, err
        return json.loads(out) if ended in (Exit.OK, Exit.NOT_WELL) and out else err

    return call


@pytest.fixture
def shop(tm: Any, acme: str) -> str:
    return tm(
        "connectors", "add", "--company", acme, "--provider", "http", "--name", "shop", "--config", json.dumps(CONFIG)
    )["id"]


def test_a_connector_is_checked_and_the_exit_code_tells(tm: Any, run: Run, database_url: str, shop: str) -> None:
    refused = tm("connectors", "check", "shop", code=Exit.NOT_WELL)
    assert (refused["id"], refused["ok"], refused["reason"]) == (shop, False, "token_invalid")
    code, out, _ = run("--database-url", database_url, "connectors", "check", "shop")
    assert (code, "no secret named token" in out) == (Exit.NOT_WELL, True)
    tm("connectors", "check", "nobody", code=Exit.NOT_FOUND)
    assert "--within" in tm("connectors", "check", "shop", "--within", "0", code=Exit.USAGE)


@pytest.fixture
def daily(tm: Any, acme: str, shop: str) -> str:
    return tm("sync-jobs", "add", "--company", acme, "--connector", "shop", "--type", "sync", "--name", "daily")["id"]


def test_a_connector_is_made_shown_changed_and_removed(tm: Any, run: Run, shop: str, database_url: str) -> None:
    [listed] = tm("connectors", "list", "--company", "acme")["connectors"]
    assert (listed["id"], listed["provider"], listed["name"]) == (shop, "http", "shop")
    assert tm("connectors", "list", "--company", "other") == {"connectors": []}
    assert tm("connectors", "show", shop) == tm("connectors", "show", "shop")
    assert tm("connectors", "set", "shop", "--status", "inactive")["version"] == 2
    assert tm("connectors", "show", "shop")["status"] == "inactive"
    for arguments in (("list",), ("show", "shop")):
        code, out, _ = run("--database-url", database_url, "connectors", *arguments)
        assert (code, "shop" in out) == (Exit.OK, True)
    assert tm("connectors", "rm", "shop") == {"id": shop, "removed": True}
    assert "no connector" in tm("connectors", "show", "shop", code=Exit.NOT_FOUND)


def test_a_connector_with_jobs_goes_only_with_them(tm: Any, daily: str) -> None:
    assert "--with-jobs" in tm("connectors", "rm", "shop", code=Exit.NOT_WELL)
    tm("connectors", "rm", "shop", "--with-jobs")
    tm("sync-jobs", "show", daily, code=Exit.NOT_FOUND)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--provider", "http", "--config", "{"), "--config: this is not valid JSON"),
        (("--provider", "http", "--config", "[]"), "--config: this is not a JSON object"),
        (("--provider", "http", "--config", "@nowhere.json"), "--config: nowhere.json: No such file"),
        (("--provider", "http", "--config", '{"base_url": 7}'), "config.base_url"),
        (("--provider", "nobody"), "provider: there is no connector 'nobody'"),
        (("--provider", "threads", "--type", "t" * 31), "connector: a value cannot be stored"),
        (("--provider", "threads", "--name", "shop"), "--name: the company has a connector of that name"),
    ],
    ids=range(7),
)
def test_a_bad_connector_is_refused_by_name(tm: Any, shop: str, arguments: tuple[str, ...], said: str) -> None:
    assert said in tm("connectors", "add", "--company", "acme", *arguments, code=Exit.USAGE)


def test_a_new_connector_says_whose_it_is(tm: Any, acme: str) -> None:
    assert "--company" in tm("connectors", "add", "--provider", "threads", code=Exit.USAGE)
    tm("connectors", "add", "--provider", "threads", "--company", "nobody", code=Exit.NOT_FOUND)
    tm("connectors", "add", "--provider", "threads", "--company", str(uuid4()), code=Exit.NOT_FOUND)


def test_a_name_that_two_companies_use_asks_for_the_company(tm: Any, shop: str) -> None:
    add = ("connectors", "add", "--provider", "http", "--name", "shop", "--config", json.dumps(CONFIG))
    other = tm(*add, "--company", "other")["id"]
    assert "acme, other" in tm("connectors", "show", "shop", code=Exit.USAGE)
    assert tm("connectors", "show", "shop", "--company", "other")["id"] == other
    assert tm("connectors", "show", shop)["company"] == "acme"


def opened(url: str, connector: str) -> dict[str, str]:
    async def read() -> dict[str, str]:
        async with await Database.open(url, max_size=1) as db, db.connection() as conn:
            company = await conn.fetchval("select id from public.companies where code = 'acme'")
            found = await credentials.newest(conn, VAULT, company, UUID(connector))
        return {name: secret.reveal() for name, secret in found.items()}

    return run_apart(read())


def test_secrets_come_from_a_file_or_standard_input_and_are_sealed(
    tm: Any, shop: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"token": SECRET}))
    first = tm("connectors", "credentials", "shop", "--file", str(file))
    assert (first["version"], SECRET in str(first)) == (1, False)
    piped = io.TextIOWrapper(io.BytesIO(json.dumps({"token": "newer"}).encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert tm("connectors", "credentials", "shop")["version"] == 2
    assert opened(database_url, shop) == {"token": "newer"}
    assert tm("connectors", "show", "shop")["credentials"] == 2


@pytest.mark.parametrize(
    "text", [SECRET, f'["{SECRET}"]', f'{{"wrong": "{SECRET}"}}', '{"token": ""}', '{"token": 7}', "{}", ""]
)
def test_bad_secrets_are_refused_and_not_repeated(tm: Any, shop: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(text)
    said = tm("connectors", "credentials", "shop", "--file", str(file), code=Exit.USAGE)
    assert "secrets" in said
    assert SECRET not in said


def test_secrets_are_sealed_anew_with_the_first_key(
    tm: Any, shop: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"token": SECRET}))
    tm("connectors", "credentials", "shop", "--file", str(file))
    assert tm("connectors", "credentials", "shop", "--rotate")["rotated"] is False
    monkeypatch.setenv("TIDEMILL_VAULT_KEYS", f"new:{'A' * 43}=,{os.environ['TIDEMILL_VAULT_KEYS']}")
    assert tm("connectors", "credentials", "shop", "--rotate")["rotated"] is True
    assert tm("connectors", "credentials", "shop", "--rotate")["rotated"] is False
    [row] = query(database_url, "select version, secret_ciphertext from public.connector_credentials")
    new = Vault(Keyring([("new", bytes(32))]))
    assert (row["version"], new.key_of(row["secret_ciphertext"].decode())) == (1, "new")


def test_a_job_is_made_with_its_next_fires_changed_and_removed(tm: Any, run: Run, shop: str, database_url: str) -> None:
    query(database_url, "select tidemill.set_clock('2026-03-01 00:00:00Z')")
    made = tm(
        "sync-jobs",
        "add",
        *("--connector", "shop", "--type", "sync", "--name", "daily", "--cron", "0 6 * * *", "--priority", "3"),
    )
    assert made["words"] == "at 06:00 every day, Asia/Taipei time"
    assert made["fires"] == [f"2026-03-0{day}T06:00:00+08:00" for day in (2, 3, 4)]
    assert tm("sync-jobs", "set", "daily", "--every", "15m")["version"] == 2
    shown = tm("sync-jobs", "show", "daily")
    assert (shown["schedule"], shown["priority"], shown["connector"]) == ({"every": "15m"}, 3, "shop")
    _, out, _ = run("--database-url", database_url, "sync-jobs", "show", "daily")
    assert out.startswith("field\tvalue\n")
    assert {'schedule\t{"every":"15m"}', "payload\t{}", "last_error\t-"} < set(out.splitlines())
    [listed] = tm("sync-jobs", "list", "--connector", "shop", "--status", "idle")["sync_jobs"]
    assert listed["id"] == made["id"]
    assert tm("sync-jobs", "list", "--status", "disabled") == {"sync_jobs": []}
    for arguments in (("list",), ("show", "daily"), ("runs", "daily"), ("set", "daily", "--cron", "0 7 * * *")):
        code, out, err = run("--database-url", database_url, "sync-jobs", *arguments)
        assert (code, "daily" in out) == (Exit.OK, True), err
    assert "2026-03-01T07:00:00+08:00" not in out
    assert "2026-03-02T07:00:00+08:00" in out
    tm("sync-jobs", "rm", "daily")
    tm("sync-jobs", "show", "daily", code=Exit.NOT_FOUND)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cron", "61 * * * *"), "schedule.cron"),
        (("--every", "never"), "schedule.every"),
        (("--cron", "* * * * *", "--zone", "Mars"), "schedule.timezone"),
        (("--cron", "* * * * *", "--every", "1m"), "schedule.every"),
        (("--schedule", '{"evry": "1m"}'), "schedule.evry"),
        (("--schedule", "{}", "--every", "1m"), "--schedule is the whole schedule"),
        (("--payload", "[]"), "--payload"),
    ],
    ids=range(7),
)
def test_a_bad_job_is_refused_by_name(tm: Any, shop: str, arguments: tuple[str, ...], said: str) -> None:
    assert said in tm("sync-jobs", "add", "--connector", "shop", "--type", "sync", *arguments, code=Exit.USAGE)


def test_a_run_is_asked_for_once_cancelled_and_listed(tm: Any, daily: str) -> None:
    asked = tm("sync-jobs", "run", "daily")
    assert (asked["status"], asked["trigger"]) == ("pending", "operator")
    assert tm("sync-jobs", "run", "daily")["id"] == asked["id"]
    assert tm("sync-jobs", "cancel", "daily")["status"] == "idle"
    [run] = tm("sync-jobs", "runs", "daily")["runs"]
    assert (run["id"], run["status"], run["reason"]) == (asked["id"], "skipped", "cancelled")


def test_a_job_is_paused_and_resumed_and_a_disabled_one_does_not_run(tm: Any, daily: str, database_url: str) -> None:
    assert tm("sync-jobs", "pause", "daily") == {"id": daily, "status": "paused", "already": False}
    assert tm("sync-jobs", "pause", "daily")["already"] is True
    assert tm("sync-jobs", "resume", "daily")["status"] == "idle"
    query(database_url, "update public.sync_jobs set disabled_reason = 'failed ten times'")
    assert "disabled" in tm("sync-jobs", "run", "daily", code=Exit.NOT_WELL)
    assert tm("sync-jobs", "resume", "daily")["status"] == "idle"


@contextmanager
def ending_what_is_asked_for(database_url: str, status: str, metrics: dict[str, object]) -> Generator[None]:
    """A worker's part in a run, from beside it: the run that comes is ended."""
    ending = "update public.sync_run_logs set status = $1, finished_at = now(), reason = 'r', metrics = $2::text::jsonb"

    def end_it() -> None:
        until(lambda: query(database_url, "select from public.sync_run_logs"), "a run is asked for")
        query(database_url, ending, status, json.dumps(metrics))

    worker = threading.Thread(target=end_it)
    worker.start()
    yield
    worker.join()


@pytest.mark.parametrize(("status", "code"), [("completed", Exit.OK), ("partial", Exit.NOT_WELL)])
def test_a_run_is_followed_to_its_end(tm: Any, daily: str, database_url: str, status: str, code: Exit) -> None:
    with ending_what_is_asked_for(database_url, status, {}):
        run = tm("sync-jobs", "run", "daily", "--wait", "600", code=code)
    assert run["status"] == status


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"records": 2226, "added": 72, "bad": 0, "whole": True, "streams": {"days": {}}}, ["added 72, records 2,226"]),
        ({"findings": 0, "unrecoverable": 0, "streams": {}}, ["Nothing was found."]),
        ({}, []),
    ],
    ids=["some", "none", "untold"],
)
def test_what_a_run_did_is_told_in_figures(
    run: Run, daily: str, database_url: str, metrics: dict[str, object], told: list[str]
) -> None:
    with ending_what_is_asked_for(database_url, "completed", metrics):
        code, out, _ = run("--database-url", database_url, "sync-jobs", "run", "daily", "--wait", "600")
    first, *others = out.splitlines()
    assert (code, "completed" in first, others) == (Exit.OK, True, told)


def test_a_run_that_nobody_takes_up_is_not_waited_for_for_ever(run: Run, daily: str, database_url: str) -> None:
    code, out, err = run("--database-url", database_url, "sync-jobs", "run", "daily", "--wait", "0.2")
    assert (code, "pending" in out) == (Exit.NOT_WELL, True)
    assert "No worker is running" in err


def test_a_replay_is_a_job_by_hand_that_is_used_again(tm: Any, shop: str, database_url: str) -> None:
    arguments = ("replay", "shop", "--since", "2026-11-01T00:00", "--until", "2026-11-08T00:00:00Z", "--wait", "0")
    first = tm(*arguments, "--mode", "fill", "--stream", "b", "--stream", "a")
    again = tm(*arguments, "--mode", "fill", "--stream", "a", "--stream", "b")
    other = tm(*arguments, "--mode", "dry_run")
    assert (again["job_id"], again["id"]) == (first["job_id"], first["id"])
    assert other["job_id"] != first["job_id"]
    [job] = query(database_url, "select * from public.sync_jobs where id = $1", UUID(first["job_id"]))
    assert (job["job_type"], job["schedule"]) == ("replay", {})
    assert job["payload"] == {
        "window": {"since": "2026-11-01T00:00:00+00:00", "until": "2026-11-08T00:00:00+00:00"},
        "mode": "fill",
        "streams": ["a", "b"],
    }


@pytest.mark.parametrize(
    ("since", "until_", "said"),
    [("yesterday", END, "--since"), (END, END, "--until"), (END, "x", "--until")],
)
def test_a_bad_window_is_refused_by_name(tm: Any, shop: str, since: str, until_: str, said: str) -> None:
    arguments = ("replay", "shop", "--since", since, "--until", until_, "--mode", "fill", "--wait", "0")
    assert said in tm(*arguments, code=Exit.USAGE)


def test_a_repair_is_a_job_by_hand_that_is_used_again(tm: Any, shop: str, database_url: str) -> None:
    first = tm("repair", "shop", "--dry-run", "--wait", "0")
    tm("sync-jobs", "cancel", first["job_id"])
    again = tm("repair", "shop", "--dry-run", "--wait", "0")
    assert (again["job_id"] == first["job_id"], again["id"] == first["id"]) == (True, False)
    assert tm("repair", "shop", "--wait", "0")["job_id"] != first["job_id"]
    payloads = query(database_url, "select payload from public.sync_jobs where job_type = 'repair' order by created_at")
    assert [row["payload"] for row in payloads] == [{"dry_run": True}, {"dry_run": False}]


def test_a_company_is_made_once(tm: Any, acme: str) -> None:
    made = tm("companies", "add", "new", "--name", "New Ltd", "--zone", "Europe/Berlin")
    assert "already" in tm("companies", "add", "new", "--name", "Again", code=Exit.USAGE)
    assert "Mars" in tm("companies", "add", "far", "--name", "Far", "--zone", "Mars", code=Exit.USAGE)
    assert "stored" in tm("companies", "add", "c" * 33, "--name", "Long", code=Exit.USAGE)
    listed = {row["code"]: row for row in tm("companies", "list")["companies"]}
    assert listed.keys() == {"acme", "new", "other"}
    assert (listed["new"]["id"], listed["new"]["timezone"], listed["new"]["connectors"]) == (
        made["id"],
        "Europe/Berlin",
        0,
    )
