"""The wheel, installed where there is no checkout: what a user gets."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATIENCE = 600

IS_ROOT = os.geteuid() == 0


def python_for_everybody() -> str:
    """An interpreter that an ordinary user can start too: root's own may lie below its closed home."""
    candidates = [sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"]
    new_enough = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in candidates:
        try:
            user = "nobody" if IS_ROOT else None
            done = subprocess.run([candidate, "-c", new_enough], user=user, cwd="/", capture_output=True, timeout=60)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.fail(f"no Python 3.11 with ensurepip that an ordinary user may start, among {', '.join(candidates)}")


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidemill-wheel-") as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        [built] = Path(folder).glob("*.whl")
        yield built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """An environment with nothing but the wheel, in a place that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tidemill-installed-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        venv = folder / "venv"
        subprocess.run([python_for_everybody(), "-m", "venv", venv], check=True, timeout=PATIENCE)
        install = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "--constraint", ROOT / "constraints.txt", wheel], check=True, timeout=PATIENCE)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_migrations_statements_and_types_are_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.suffix in {".py", ".sql", ".txt", ".typed", ".html", ".css"} and "__pycache__" not in path.parts
    }
    assert wanted - inside == set()
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.parametrize("account", ["root", "an ordinary user"])
def test_the_demo_runs_from_the_wheel(installed: Path, account: str) -> None:
    if account == "root" and not IS_ROOT:
        pytest.skip("only root can try what root sees")
    user = "nobody" if account != "root" and IS_ROOT else None
    home = installed / account.replace(" ", "-")
    home.mkdir(mode=0o755)
    data = home / ".tidemill" / "demo"
    data.mkdir(parents=True)
    for folder in (data.parent, data):
        folder.chmod(0o711)
    # The first of the two installs the demo's tap, for both.
    taps = installed / "taps"
    taps.mkdir(exist_ok=True)
    taps.chmod(0o777)
    (data / "taps").symlink_to(taps)
    if user:
        who = pwd.getpwnam(user)
        for folder in (home, data.parent, data):
            os.chown(folder, who.pw_uid, who.pw_gid)
    # No checkout, no settings, no variable of ours.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [installed / "venv/bin/tidemill", "demo", "--once", "--json"],
        cwd=home,
        env=environment,
        user=user,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    summary = json.loads(done.stdout)
    assert [(tick["status"], tick["total_accounts"]) for tick in summary["ticks"]] == [("partial", 60)] * 3
    assert summary["problems"] == []
    assert [run["added"] for run in summary["tap"]["runs"]] == [summary["tap"]["rows"], 0]
