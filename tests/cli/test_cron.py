"""The schedule handed over to a real pg_cron, with a stand-in for pg_net."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.support import CRON_SECRET, query, until
from tests.conftest import run_apart
from tests.ports import free_port
from tidemill.postgres import migrate

BINARIES = Path("/usr/lib/postgresql/15/bin")
HAS_PG_CRON = (BINARIES.parent / "lib" / "pg_cron.so").exists()
URL = "https://sync.example.com"
NET = (
    "create schema net",
    # As pg_net keeps them.
    "create table net._http_response (id bigint generated always as identity, status_code int, error_msg text)",
    """\
create function net.http_post(url text, headers jsonb, body jsonb, timeout_milliseconds int) returns bigint
language sql as $$ insert into net._http_response (status_code) values (202) returning id $$
""",
)
JOB = "select schedule, command, active from cron.job where jobname = 'tidemill-scheduled-sync'"
SETTINGS = "select name, value from tidemill.setting order by name"
PAUSED_BY = "select paused_by from tidemill.schedule where name = 'scheduled-sync'"

needs_pg_cron = pytest.mark.skipif(
    not HAS_PG_CRON and os.environ.get("CI") != "true", reason="postgresql-15-cron is not installed"
)


@pytest.fixture(scope="module")
def cron_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Debian server with pg_cron loaded, its migrated database."""
    folder = tmp_path_factory.mktemp("cron")
    account: dict[str, Any] = {}
    if os.geteuid() == 0:
        account = {"user": "postgres", "group": "postgres"}
        for parent in (folder, *folder.parents):
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(parent.stat().st_mode | 0o011)
        import shutil

        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", free_port()
    subprocess.run(
        [BINARIES / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True,
        capture_output=True,
        **account,
    )
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "shared_preload_libraries": "pg_cron",
        "cron.use_background_workers": "on",
        "max_worker_processes": "10",
        "fsync": "off",
    }
    flags = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    with subprocess.Popen(
        [BINARIES / "postgres", "-D", data, *flags],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
        **account,
    ) as server:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        try:
            run_apart(migrate(url))  # waits for a server that is starting
            yield url
        finally:
            server.terminate()


@pytest.fixture
def at(cron_server: str) -> Iterator[tuple[str, str]]:
    query(cron_server, "create extension pg_cron")
    for statement in NET:
        query(cron_server, statement)
    yield "--database-url", cron_server
    query(cron_server, "drop extension pg_cron cascade")
    query(cron_server, "drop schema net cascade")
    query(cron_server, "drop schema if exists vault cascade")
    for table in ("setting", "edge_call", "schedule"):
        query(cron_server, f"delete from tidemill.{table}")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch, run: Run) -> str:
    monkeypatch.setenv("CRON_SECRET", CRON_SECRET)
    return CRON_SECRET


@needs_pg_cron
def test_install_registers_the_job_stores_the_values_and_the_built_in_schedule_stands_aside(
    at: tuple[str, str], secret: str, run: Run
) -> None:
    for _ in range(2):  # again changes nothing
        code, out, err = run(*at, "cron", "install", "--url", f"{URL}/")
        assert (code, err) == (0, "")
        assert secret not in out
        assert query(at[1], JOB) == [
            {
                "schedule": "*/15 * * * *",
                "command": "select public.trigger_edge_function('scheduled-sync')",
                "active": True,
            }
        ]
        assert query(at[1], SETTINGS) == [
            {"name": "CRON_SECRET", "value": secret},
            {"name": "TIDEMILL_BASE_URL", "value": URL},
        ]
        assert query(at[1], PAUSED_BY) == [{"paused_by": "pg_cron"}]
    findings = json.loads(run(*at, "doctor", "--json")[1])["findings"]
    assert [f["level"] for f in findings if f["check"] == "schedule scheduled-sync"] == ["ok"]


@needs_pg_cron
def test_remove_undoes_it(at: tuple[str, str], secret: str, run: Run) -> None:
    run(*at, "cron", "install", "--url", URL)
    code, out, _ = run(*at, "cron", "install", "--remove", "--json")
    assert (code, json.loads(out)["installed"]) == (0, False)
    assert query(at[1], JOB) == []
    assert query(at[1], SETTINGS) == []
    assert query(at[1], PAUSED_BY) == [{"paused_by": None}]
    assert run(*at, "cron", "install", "--remove")[0] == 0
    assert run(*at, "cron", "status")[0] == 1


@needs_pg_cron
@pytest.mark.timeout(200)
def test_the_job_runs_calls_the_function_and_status_shows_both(at: tuple[str, str], secret: str, run: Run) -> None:
    run(*at, "cron", "install", "--url", URL)
    code, out, _ = run(*at, "cron", "status", "--json")
    told = json.loads(out)
    assert (code, told["job"]["schedule"]) == (0, "*/15 * * * *")
    query(at[1], "select cron.alter_job(jobid, schedule := '* * * * *') from cron.job")
    done = "select 1 from cron.job_run_details where status = 'succeeded'"
    until(lambda: query(at[1], done), "pg_cron runs the job")
    query(at[1], "select cron.alter_job(jobid, active := true, schedule := '0 0 1 1 *') from cron.job")
    code, out, _ = run(*at, "cron", "status", "--json")
    told = json.loads(out)
    assert (code, told["built_in_schedule_paused_by"]) == (0, "pg_cron")
    assert "succeeded" in {row["status"] for row in told["runs"]}
    assert (told["calls"][0]["name"], told["calls"][0]["status_code"]) == ("scheduled-sync", 202)
    query(at[1], "update net._http_response set status_code = 401")
    code, out, _ = run(*at, "cron", "status")
    assert (code, "401" in out) == (1, True)


@needs_pg_cron
def test_what_supabase_vault_has_is_not_stored_a_second_time(at: tuple[str, str], run: Run) -> None:
    query(at[1], "create schema vault")
    query(
        at[1],
        "create view vault.decrypted_secrets as select 'CRON_SECRET' as name, 'from-the-vault' as decrypted_secret",
    )
    code, out, _ = run(*at, "cron", "install", "--url", URL, "--json")
    assert code == 0
    assert json.loads(out)["values"] == {"TIDEMILL_BASE_URL": "tidemill.setting", "CRON_SECRET": "Supabase Vault"}
    assert query(at[1], SETTINGS) == [{"name": "TIDEMILL_BASE_URL", "value": URL}]


@needs_pg_cron
def test_a_missing_secret_or_address_is_wrong_usage_and_nothing_is_done(
    at: tuple[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*at, "cron", "install", "--url", URL)[0] == 2
    monkeypatch.setenv("CRON_SECRET", CRON_SECRET)
    assert run(*at, "cron", "install")[0] == 2
    assert run(*at, "cron", "install", "--url", "sync.example.com")[0] == 2
    assert query(at[1], JOB) == query(at[1], SETTINGS) == []


@needs_pg_cron
def test_a_missing_pg_net_is_told(at: tuple[str, str], secret: str, run: Run) -> None:
    query(at[1], "drop schema net cascade")
    code, _, err = run(*at, "cron", "install", "--url", URL)
    assert (code, "create extension pg_net" in err) == (3, True)
    query(at[1], "create schema net")


@pytest.mark.parametrize("name", ["install", "status"])
def test_missing_extensions_exit_with_3_and_say_what_to_do(name: str, database_url: str, run: Run) -> None:
    code, out, err = run("--database-url", database_url, "cron", name)
    assert (code, out) == (3, "")
    assert "shared_preload_libraries" in err
