"""The plugin in users' projects: pytest in a process of its own, on files as a user would write them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import administer, run_apart
from tidemill.postgres import connect, embedded

from .conftest import INI, Project

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-jobs.md"
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
TEXT = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
SHOP, CONFTEST, *TESTS = PYTHON

COUNTING = """\
import pytest
from tidemill.postgres import connect

@pytest.mark.parametrize("n", range(4))
async def test_a_database_has_only_what_its_test_wrote(tidemill_url, n):
    conn = await connect(tidemill_url)
    assert await conn.fetchval("select count(*) from mails") == 0
    await conn.execute("insert into mails (recipient) values ('x')")
    assert await conn.fetchval("select count(*) from mails") == 1
    await conn.close()
"""


@pytest.mark.parametrize("runner", ["asyncio", "anyio"])
def test_the_how_to_runs_as_it_is_written(project: Project, runner: str) -> None:
    project.write("shop.py", SHOP)
    project.write("conftest.py", CONFTEST)
    for n, text in enumerate(TESTS):
        project.write(f"test_{n}.py", text)
    project.write("test_message.py", TESTS[0].split("\n\n\n")[0] + MESSAGE)
    if runner == "anyio":
        project.write("pytest.ini", "[pytest]\nanyio_mode = auto\nfilterwarnings = error\n")
        project.write("conftest.py", CONFTEST + "\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    result = project.run("-p", "no:asyncio" if runner == "anyio" else "no:anyio")
    result.assert_outcomes(passed=5, failed=1)
    told = [line.strip() for line in TEXT[0].splitlines()]
    shown = [re.sub(r"^E +", "", line) for line in result.outlines if line.startswith("E ")]
    start = shown.index(told[0])
    assert [re.sub(r"^\d+", "3", line) for line in shown[start : start + len(told)]] == told


MESSAGE = """


async def test_it(tm: Harness) -> None:
    await place(Order(7, "ada@example.com"))
    await tm.assert_enqueued(confirm, args=Order(7, "ada@example.org"))
"""


def test_two_processes_share_a_server_and_no_test_sees_another_ones_rows(project: Project, server_url: str) -> None:
    project.write("shop.py", SHOP)
    project.write("conftest.py", CONFTEST)
    project.write("test_counting.py", COUNTING)
    before = _databases(server_url)
    project.run("-n", "2").assert_outcomes(passed=4)
    assert _databases(server_url) == before


def test_a_plain_preparation_may_run_an_event_loop_and_leave_a_connection_open(project: Project) -> None:
    project.write(
        "conftest.py",
        """\
import asyncio
import psycopg, pytest

left_open = []

@pytest.fixture(scope="session")
def tidemill_prepare():
    def prepare(url):
        asyncio.run(asyncio.sleep(0))
        left_open.append(psycopg.connect(url, autocommit=True))
        left_open[0].execute("create table mails (recipient text)")
    return prepare
""",
    )
    project.write("test_counting.py", COUNTING)
    project.run().assert_outcomes(passed=4)


def test_a_preparation_that_fails_is_shown_with_its_traceback(project: Project) -> None:
    project.write(
        "conftest.py",
        """\
import pytest

@pytest.fixture(scope="session")
def tidemill_prepare():
    async def prepare(url):
        raise LookupError("no such migration")
    return prepare
""",
    )
    project.write("test_it.py", "def test_it(tidemill_url): pass\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*conftest.py:6: LookupError", "*LookupError: no such migration*"])


THREE = """\
def test_without(): pass
def test_with(tidemill_url): pass
def test_too(tidemill_url): pass
"""


def test_no_database_is_told_to_the_tests_that_ask_for_one_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMILL_TEST_DATABASE_URL")
    project.write("pytest.ini", f"{INI}tidemill_test_database_url = postgresql://x@127.0.0.1:1/x\n")
    project.write("test_it.py", THREE)
    result = project.run()
    result.assert_outcomes(passed=1, errors=2)
    told = [line for line in result.outlines if line.startswith("tidemill_url: no database for this test")]
    assert len(told) == 2
    assert "Postgres is not available" in told[0]
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_role_that_may_not_create_databases_is_told_what_it_lacks(
    project: Project, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"tm_poor_{os.getpid()}"
    run_apart(administer(server_url, f"create role {role} login password 'poor'"))
    try:
        at = re.sub(r"//[^@]*@", f"//{role}:poor@", server_url)
        monkeypatch.setenv("TIDEMILL_TEST_DATABASE_URL", at)
        project.write("test_it.py", THREE)
        result = project.run()
    finally:
        run_apart(administer(server_url, f"drop role {role}"))
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines([f"*permission denied*alter role {role} createdb*"])


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that the embedded server's account can reach."""
    with tempfile.TemporaryDirectory(prefix="tidemill-testing-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)
        yield Path(made)


def test_without_a_server_named_all_processes_share_an_embedded_one_from_which_leftovers_are_swept(
    project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMILL_TEST_DATABASE_URL")
    monkeypatch.setenv("TIDEMILL_DATA_DIR", str(folder))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, live = f"tidemill_test_{gone.pid}_dead", f"tidemill_test_{os.getpid()}_live"
    server = embedded.attach(folder / "test", durable=False)
    try:
        for name in (left, live, "theirs"):
            run_apart(administer(server.url, f"create database {name}"))
        project.write("shop.py", SHOP)
        project.write("conftest.py", CONFTEST)
        project.write("test_counting.py", COUNTING)
        project.run("-n", "2").assert_outcomes(passed=4)
        assert _databases(server.url) == {"postgres", live, "theirs"}
    finally:
        server.release()
        server.wait_until_stopped()
        shutil.rmtree(server.place, ignore_errors=True)


def test_a_run_that_uses_no_fixture_of_ours_loads_nothing_of_ours_but_the_plugin(project: Project) -> None:
    project.write(
        "test_it.py",
        """\
import sys

def test_it(request):
    assert request.config.pluginmanager.hasplugin("tidemill")
    ours = {name for name in sys.modules if name.split(".")[0] == "tidemill"}
    assert ours == {"tidemill", "tidemill.testing", "tidemill.testing.plugin"}
    assert not {"asyncpg", "msgspec", "structlog", "aiohttp", "cryptography"} & sys.modules.keys()
""",
    )
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    project.run("-p", "no:anyio", "-p", "no:asyncio").assert_outcomes(passed=1)


def _databases(url: str) -> set[str]:
    async def names() -> set[str]:
        conn = await connect(url)
        rows = await conn.fetch("select datname from pg_database where not datistemplate")
        await conn.close()
        return {row["datname"] for row in rows}

    return run_apart(names())
