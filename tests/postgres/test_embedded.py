"""The embedded server with real processes: sharing, dying, coming back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.postgres.support import (
    LINGER,
    Client,
    ask,
    is_reachable,
    is_running,
    postmaster,
    project,
    until,
    until_restarted,
)
from tidemill.errors import ConfigurationError, DatabaseUnavailable
from tidemill.postgres import Database, embedded
from tidemill.postgres.embedded import EmbeddedServer
from tidemill.postgres.home import Home, Running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project's ``.tidemill``, not made yet. Whoever keeps a server there at the end is told to go."""
    with project() as parent:
        folder = parent / ".tidemill"
        yield folder
        if server := embedded.find(folder):
            os.kill(server.keeper_pid, signal.SIGTERM)
            server.wait_until_stopped()


def attach(folder: Path) -> EmbeddedServer:
    return embedded.attach(folder, durable=False, linger=LINGER)


@pytest.fixture(scope="module")
def seed() -> Iterator[Path]:
    """A stopped cluster with one row in it, to start from without another initdb."""
    with project() as parent:
        with attach(parent / ".tidemill") as server:
            ask(server.url, "create table kept (n int)")
            ask(server.url, "insert into kept values (42)")
        server.wait_until_stopped()
        yield parent / ".tidemill"


@pytest.fixture
def used(folder: Path, seed: Path) -> Path:
    """A copy of that cluster, at a place of its own."""
    shutil.copytree(seed, folder, copy_function=shutil.copy2)
    if os.geteuid() == 0:
        owner = (seed / "data").stat()
        for path in (folder / "data", *(folder / "data").rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
    record = (folder / "postgres.json").read_text()
    (folder / "postgres.json").write_text(record.replace(str(seed), str(folder)))
    return folder


def test_the_first_attach_makes_a_server_with_a_secret_password_and_the_promised_settings(folder: Path):
    with embedded.attach(folder, linger=LINGER) as server:
        wanted = {
            "listen_addresses": "127.0.0.1",
            "wal_level": "logical",
            "max_connections": "200",
            "jit": "off",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "password_encryption": "scram-sha-256",
        }
        assert {name: ask(server.url, f"show {name}") for name in wanted} == wanted
        assert "@127.0.0.1:" in server.url
        password = server.url.split(":")[2].split("@")[0]
        assert len(password) >= 32
        assert not is_reachable(server.url.replace(password, "wrong"))
        assert stat.S_IMODE((folder / "postgres.json").stat().st_mode) == 0o600
        found = embedded.find(folder)
        assert found is not None
        assert (found.url, found.keeper_pid, found.port) == (server.url, server.keeper_pid, server.port)


def test_find_starts_nothing(folder: Path):
    assert embedded.find(folder) is None
    assert not folder.exists()


def test_processes_that_attach_at_once_get_the_same_server(folder: Path):
    clients = [Client(folder) for _ in range(3)]
    try:
        assert len({(c.said["url"], c.said["keeper"]) for c in clients}) == 1
        assert is_reachable(clients[0].said["url"])
    finally:
        for client in clients:
            client.kill()


def test_the_server_stays_for_the_last_client_and_ends_after_it(used: Path):
    with Client(used) as first, Client(used) as second:
        url = first.said["url"]
        assert second.said["url"] == url
        first.kill()
        server = embedded.find(used)
        assert server is not None
        with pytest.raises(TimeoutError):
            server.wait_until_stopped(timeout=5 * LINGER)
        assert ask(url, "select n from kept") == 42
        pid = postmaster(used)
        second.leave()
        server.wait_until_stopped()
        assert not is_running(pid, used)
        assert embedded.find(used) is None


def test_a_child_that_outlives_its_killed_client_does_not_keep_the_server(used: Path):
    with Client(used, "with-a-child") as client:
        child = client.said["child"]
        try:
            server = embedded.find(used)
            assert server is not None
            client.process.kill()
            server.wait_until_stopped()
            os.kill(child, 0)  # still there
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_server_comes_back_on_its_old_data_port_and_password(used: Path):
    with attach(used) as first:
        ask(first.url, "insert into kept values (43)")
    first.wait_until_stopped()
    with attach(used) as second:
        assert second.url == first.url
        assert ask(second.url, "select sum(n) from kept") == 85


def test_a_client_that_comes_while_the_server_stops_gets_a_new_one(used: Path):
    for _ in range(3):
        with attach(used) as server:
            pass
        os.kill(server.keeper_pid, signal.SIGTERM)
        until(lambda: embedded.find(used) is None)  # from here on the old one is not offered any more
        with attach(used) as again:
            assert again.keeper_pid != server.keeper_pid
            assert ask(again.url, "select n from kept") == 42


async def test_a_killed_postmaster_is_restarted_under_an_open_pool(used: Path):
    server = await asyncio.to_thread(attach, used)
    try:
        async with await Database.open(server.url) as db:
            for n in range(3):
                await db.execute("insert into kept values ($1)", n)
                pid = postmaster(used)
                os.kill(pid, signal.SIGKILL)
                await asyncio.to_thread(until_restarted, used, pid)
                assert await db.fetchval("select count(*) from kept") == n + 2
        assert embedded.find(used) is not None
    finally:
        server.release()


def test_a_killed_keeper_leaves_no_server_and_the_next_attach_has_the_data(used: Path):
    with attach(used) as server:
        pid = postmaster(used)
        os.kill(server.keeper_pid, signal.SIGKILL)
        if sys.platform.startswith("linux"):
            until(lambda: not is_running(pid, used))
        with attach(used) as again:
            assert again.url == server.url
            assert again.keeper_pid != server.keeper_pid
            assert ask(again.url, "select n from kept") == 42
            assert postmaster(used) != pid


def test_a_keeper_asked_to_stop_stops_at_once_although_there_are_clients(used: Path):
    with embedded.attach(used, durable=False, linger=1000.0) as server:
        pid = postmaster(used)
        os.kill(server.keeper_pid, signal.SIGTERM)
        server.wait_until_stopped()
        assert not is_running(pid, used)
        assert not (used / "data" / "postmaster.pid").exists()  # a clean end


def test_a_keeper_whose_folder_is_removed_ends(used: Path):
    with attach(used) as server:
        pid = postmaster(used)
        shutil.rmtree(used)
        until(lambda: not is_running(pid, used))
        assert embedded.find(used) is None
        with attach(used) as another:
            assert another.url != server.url
            assert is_reachable(another.url)


def test_a_port_taken_by_somebody_else_is_left_to_him(used: Path):
    with attach(used) as server:
        pass
    server.wait_until_stopped()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.port))
        other.listen()
        with attach(used) as again:
            assert again.port != server.port
            assert ask(again.url, "select n from kept") == 42


def test_a_pid_file_that_names_another_living_process_is_no_obstacle(used: Path):
    with attach(used) as server:
        lines = (used / "data" / "postmaster.pid").read_text().splitlines()
        os.kill(server.keeper_pid, signal.SIGTERM)
        server.wait_until_stopped()
    # A process of the very account that the server runs as, as in a container where numbers come again soon.
    owner = (used / "data").stat()
    as_root = os.geteuid() == 0
    other = subprocess.Popen(
        ["sleep", "600"], user=owner.st_uid if as_root else None, extra_groups=[] if as_root else None
    )
    try:
        pid_file = used / "data" / "postmaster.pid"
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        with attach(used) as again:
            assert ask(again.url, "select n from kept") == 42
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_server_that_cannot_start_is_unavailable_and_its_log_says_why(used: Path):
    (used / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(DatabaseUnavailable, match="no_such_setting"):
        attach(used)
    assert embedded.find(used) is None


def test_an_initdb_that_fails_is_unavailable_and_says_why(folder: Path):
    limited = (
        "import resource, sys; from pathlib import Path; from tidemill.postgres import embedded\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"  # what a full disk looks like to initdb
        "embedded.attach(Path(sys.argv[1]), durable=False)"
    )
    done = subprocess.run([sys.executable, "-c", limited, str(folder)], capture_output=True, text=True, cwd="/")
    assert "DatabaseUnavailable: initdb failed" in done.stderr
    assert "File too large" in done.stderr
    with attach(folder) as server:  # and it is not held against the folder
        assert is_reachable(server.url)


def test_the_word_of_a_keeper_that_failed_before_we_came_is_not_for_us(used: Path):
    home = Home(used)
    until(lambda: not home.is_kept())
    with ThreadPoolExecutor() as threads, home.lock("keeper") as failed:
        assert failed.take()
        home.write_running(Running(state="failed", keeper=1, error="what broke an hour ago"))
        attaching = threads.submit(attach, used)
        until(lambda: not _is_free(home, "attach"))
        failed.release()
        with attaching.result(60) as server:
            assert ask(server.url, "select n from kept") == 42


def _is_free(home: Home, name: str) -> bool:
    with home.lock(name) as lock:
        return lock.take()


def test_data_that_was_removed_is_missed_not_silently_made_anew(used: Path):
    shutil.rmtree(used / "data")
    with pytest.raises(DatabaseUnavailable, match="is gone"):
        attach(used)


def test_a_folder_that_cannot_be_made_is_a_configuration_error(folder: Path):
    folder.parent.joinpath("file").touch()
    with pytest.raises(ConfigurationError, match="TIDEMILL_DATA_DIR"):
        attach(folder.parent / "file" / ".tidemill")
