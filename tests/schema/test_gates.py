"""The files against tools that others wrote: Supabase's command line and advisors, and a linter of migrations."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import environ, tidemill
from tests.conftest import administer, with_database
from tests.matrix.__main__ import DEBIAN, installed, server
from tests.schema.supabase import PROJECT, Cli, administrator, give_up
from tidemill.postgres import connect
from tidemill.postgres.migrate import migrations

ROOT = Path(__file__).parents[2]

INLINED = {"tidemill.lane_of", "tidemill.new_token"}
"""Functions without a search path of their own, which would keep Postgres from inlining them. They are not for tenants,
run with their caller's rights and name no object but those of pg_catalog."""

KNOWN = {
    # A column that is new, of a table with one row for each kind of job: nothing is scanned and nobody waits.
    (
        "adding-foreign-key-constraint",
        "alter table tidemill.kind add column if not exists queue int references tidemill.queue (id);",
    ),
}
"""What the linter may find, and the line where it does."""


@pytest.fixture(scope="module")
def platform() -> Iterator[tuple[str, str]]:
    """Debian's PostgreSQL 15 as a Supabase project: its superuser's URL, and that of who runs migrations there."""
    if not (DEBIAN / "15" / "bin" / "postgres").exists():
        give_up("PostgreSQL 15 is not installed: scripts/debian-packages")
    with server(installed(15)) as url:
        role, statements, as_role = administrator(url)
        asyncio.run(administer(url, statements))
        asyncio.run(administer(url, f"create database project owner {role}"))
        asyncio.run(administer(with_database(url, "project"), PROJECT.format(role=role)))
        yield with_database(url, "project"), with_database(as_role, "project")


@pytest.mark.timeout(600)
def test_supabase_db_push_applies_the_exported_files_and_its_advisors_find_nothing_insecure(
    platform: tuple[str, str], tmp_path: Path
) -> None:
    superuser_url, url = platform
    supabase = Cli(tmp_path)
    supabase.run("init", "--yes")
    exported = tidemill("migrate", "--export", str(supabase.project / "supabase" / "migrations"), folder=tmp_path)
    assert exported.returncode == 0, exported.stderr
    remote = f"{url}?sslmode=disable"  # Debian's server speaks TLS to no one who does not trust its certificate
    supabase.run("db", "push", "--yes", f"--remote={remote}")

    checked = tidemill("migrate", "--check", folder=tmp_path, env=environ(TIDEMILL_DATABASE_URL=url))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    again = supabase.run("db", "push", "--yes", f"--remote={remote}")
    assert "up to date" in again

    findings = supabase.findings(remote)
    assert findings, "the advisors always have something to say of the speed"
    security = [f for f in findings if "SECURITY" in f["categories"]]
    assert {(f["name"], f"{f['metadata']['schema']}.{f['metadata']['name']}") for f in security} == {
        ("function_search_path_mutable", name) for name in INLINED
    }
    doubled = [f["detail"] for f in findings if f["name"] in ("multiple_permissive_policies", "auth_rls_initplan")]
    assert doubled == []
    assert asyncio.run(_published(superuser_url)) == {
        "integration_connectors",
        "sync_jobs",
        "sync_notifications",
        "sync_run_logs",
    }


async def _published(url: str) -> set[str]:
    conn = await connect(url, name="tidemill tests")
    try:
        rows = await conn.fetch("select tablename from pg_publication_tables where pubname = 'supabase_realtime'")
        return {row[0] for row in rows}
    finally:
        conn.terminate()


def test_squawk_finds_nothing_in_the_migrations_but_what_is_known() -> None:
    """Before the first release all files meet an empty database, one after the other: they are linted as one."""
    text = "".join(f"{migration.sql}\n" for migration in migrations())
    ran = subprocess.run(
        [Path(sys.executable).parent / "squawk", "--reporter", "json", "--stdin-filepath", "migrations.sql"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = text.splitlines()
    assert ran.stdout.startswith("["), ran.stderr
    found = {(f["rule_name"], lines[f["line"]].strip()) for f in json.loads(ran.stdout)}
    assert found == KNOWN
