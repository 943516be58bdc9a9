"""A tap sees nothing of ours, nobody sees its files, and it does not outlive its host."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.singer.host import Job
from tests.connectors.singer.support import SAY_SCHEMA, Fake, context, lives, record, until
from tidemill.connectors import TimeBudgetSpent, Window
from tidemill.connectors.singer import SingerConnector
from tidemill.connectors.singer.folder import Folders
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.settings import Settings

ROOT = Path(__file__).parents[3]


async def given(tap: Fake, tmp_path: Path, **more: Any) -> dict[str, Any]:
    """What the tap was given."""
    told = tmp_path / "told"
    got = await tap.drain(SAY_SCHEMA, {"tell": str(told)}, record(1), **more)
    assert got.failure is None
    return json.loads(told.read_text())


async def test_a_tap_is_told_nothing_of_ours(tap: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", "postgresql://mine")
    monkeypatch.setenv("TIDEMILL_VAULT_KEYS", "k:mine")
    told = await given(tap, tmp_path)
    environment = told["environment"]
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "HOME", "TMPDIR", "LANG", "TZ"}  # Python adds LC_CTYPE itself
    assert environment["HOME"] == environment["TMPDIR"] == told["folder"] == told["cwd"]
    assert "mine" not in json.dumps(environment)


async def test_its_files_are_for_nobody_else_and_go_with_it(tap: Fake, tmp_path: Path) -> None:
    told = await given(tap, tmp_path, cursor='{"id": 0}', secrets={"api_key": "s3cr3t", "auth.password": "p4ss"})
    modes = {Path(path).name: stat.S_IMODE(mode) for path, mode in told["modes"].items()}
    folder = Path(told["folder"])
    assert modes[folder.name] == 0o700
    assert {modes[name] for name in ("config.json", "catalog.json", "state.json")} == {0o600}
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert not folder.exists()
    assert told["state"] == {"id": 0}
    assert told["config"]["api_key"] == "s3cr3t"
    assert told["config"]["auth"] == {"password": "p4ss"}
    assert "s3cr3t" not in " ".join(told["arguments"])


async def test_a_secret_whose_place_is_taken_by_a_value_is_refused(tap: Fake) -> None:
    with pytest.raises(InvalidInput, match=r"secrets.auth.password: auth in the tap's configuration is not an object"):
        await tap.drain(SAY_SCHEMA, tap={"auth": "basic"}, secrets={"auth.password": "p4ss"})


def start_host(tap: Fake, tmp_path: Path, *script: Any) -> subprocess.Popen[bytes]:
    """A host in a process of its own that reads this script."""
    job = Job(
        taps={"tap-fake": str(tap.folder / "tap-fake")},
        config=tap.config(*script),
        stream="items",
        commits=str(tmp_path / "commits"),
        folder=str(tap.folder / "private"),
        secrets={},
    )
    (tmp_path / "job.json").write_text(json.dumps(asdict(job)))
    return subprocess.Popen([sys.executable, "-m", "tests.connectors.singer.host", tmp_path / "job.json"], cwd=ROOT)


async def test_a_host_that_is_killed_takes_its_tap_along_and_its_files_are_swept_by_the_next(
    tap: Fake, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    host = start_host(tap, tmp_path, SAY_SCHEMA, {"ignore": "SIGTERM"}, {"tell": str(told)}, {"hang": True})
    try:
        await until(told.exists)
        left = json.loads(told.read_text())
        assert lives(left["pid"])
    finally:
        host.kill()
        host.wait()
    await until(lambda: not lives(left["pid"]))
    assert Path(left["folder"], "config.json").exists()
    got = await tap.drain(SAY_SCHEMA, record(1))
    assert got.ids == [1]
    assert not Path(left["folder"]).exists()


async def test_the_files_of_a_run_that_goes_on_are_not_swept(tap: Fake) -> None:
    base = tap.folder / "private"
    with Folders(base).made() as mine, Folders(base).made() as others:
        assert mine.exists()
        assert others.exists()
        assert mine != others


def test_a_place_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    for name in ("open", "link"):
        with pytest.raises(ConfigurationError, match="nobody else may enter"), Folders(tmp_path / name).made():
            raise AssertionError


async def test_a_cancelled_read_ends_the_tap(tap: Fake, tmp_path: Path) -> None:
    told = tmp_path / "told"
    reading = asyncio.create_task(tap.drain(SAY_SCHEMA, {"tell": str(told)}, {"hang": True}))
    await until(told.exists)
    pid = json.loads(told.read_text())["pid"]
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not lives(pid)


async def test_several_taps_run_side_by_side(tap: Fake) -> None:
    got = await asyncio.gather(*(tap.drain(SAY_SCHEMA, {"rows": 500 * number}) for number in range(1, 4)))
    assert [len(each.ids) for each in got] == [500, 1000, 1500]


def test_it_works_on_uvloop_too(tap: Fake) -> None:
    uvloop = pytest.importorskip("uvloop")
    script = (SAY_SCHEMA, {"flood": 100_000}, {"rows": 20_000, "state_every": 3000})
    got = uvloop.run(tap.drain(*script))
    assert (len(got.ids), got.cursor, got.failure) == (20_000, {"id": 18_000}, None)
    stopped = uvloop.run(tap.drain(*script, {"ignore": "SIGTERM"}, {"hang": True}, seconds=2))
    assert isinstance(stopped.failure, TimeBudgetSpent)
    assert stopped.ids == list(range(1, len(stopped.ids) + 1))  # as far as it came


@pytest.mark.parametrize("many", [200_000, pytest.param(1_000_000, marks=pytest.mark.chaos)])
def test_memory_is_bounded_however_long_the_stream(tap: Fake, many: int) -> None:
    """Measured where it is read, in a process of its own, against a short stream."""
    peaks: list[int] = []
    for rows in (20_000, many):
        job = {"folder": str(tap.folder), "config": tap.config(SAY_SCHEMA, {"quick_rows": rows})}
        ran = subprocess.run(
            [sys.executable, "-c", _COUNT, json.dumps(job)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        count, cursor, peak = json.loads(ran.stdout)
        assert (count, json.loads(cursor)) == (rows, {"id": rows})
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 30_000, "kilobytes more for ten or fifty times as many records"


_COUNT = """
import asyncio, json, resource, sys
from pathlib import Path
from tests.connectors.singer.support import Window, context, fake
job = json.loads(sys.argv[1])
async def main():
    connector, count, cursor = fake(Path(job["folder"])).connector, 0, None
    async for batch in connector.read(context(job["config"]), "items", None, Window()):
        count, cursor = count + len(batch.records), batch.cursor_after or cursor
    print(json.dumps([count, cursor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
asyncio.run(main())
"""


def test_taps_are_allowed_by_absolute_path() -> None:
    settings = Settings.load(environ={"TIDEMILL_SINGER_TAPS": "tap-a=bin/tap-a"})
    with pytest.raises(ConfigurationError, match=r"TIDEMILL_SINGER_TAPS: tap-a: 'bin/tap-a' is not an absolute path"):
        SingerConnector.load(settings)


@pytest.mark.parametrize("said", ["tap-a", "tap-a=", "../tap=/x"])
def test_a_list_of_taps_that_cannot_be_read_is_refused(said: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDEMILL_SINGER_TAPS"):
        Settings.load(environ={"TIDEMILL_SINGER_TAPS": said})


def test_taps_can_be_allowed_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.toml"
    file.write_text('[singer_taps]\ntap-a = "/opt/taps/a"\n')
    assert Settings.load(environ={}, file=file).singer_taps == {"tap-a": Path("/opt/taps/a")}


async def test_without_a_list_no_tap_runs() -> None:
    connector = SingerConnector.load(Settings.load(environ={}))
    with pytest.raises(InvalidInput, match=r"config.executable: no tap 'tap-a' is allowed here .*; none is"):
        await connector.streams(context({"executable": "tap-a"}))


async def test_a_tap_named_by_its_path_is_no_allowed_tap(tap: Fake) -> None:
    path = str(tap.folder / "tap-fake")
    with pytest.raises(InvalidInput, match=r"config\.executable"):
        await anext(tap.connector.read(context({"executable": path}), "items", None, Window()))


def test_the_launcher_does_not_run_a_tap_whose_host_has_gone(tmp_path: Path) -> None:
    launcher = ROOT / "src" / "tidemill" / "connectors" / "singer" / "launch.py"
    ran = tmp_path / "ran"
    done = subprocess.run([sys.executable, "-I", "-S", launcher, "1", "/usr/bin/touch", ran], check=False)
    assert done.returncode == 1
    assert not ran.exists()


def test_signals_are_as_a_program_expects_them(tmp_path: Path) -> None:
    launcher = ROOT / "src" / "tidemill" / "connectors" / "singer" / "launch.py"
    status = subprocess.run(
        [sys.executable, "-I", "-S", launcher, str(os.getpid()), "/bin/cat", "/proc/self/status"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ignored = int(status.split("SigIgn:")[1].split()[0], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)
