"""The project's own rules, where a machine can see them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tidemill"
LICENSE_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
LONGEST_MODULE = 400


def _tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def _registry_hosts() -> set[str]:
    """Hosts of the well-known registries, put together here so that this file holds none, and of this machine's."""
    hosts = {"files.python" + "hosted.org", "py" + "pi.org/simple", "registry.npm" + "js.org", "proxy.go" + "lang.org"}
    pip = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    for url in re.findall(r"https?://[^\s'\"]+", pip.stdout + os.environ.get("PIP_INDEX_URL", "")):
        hosts.add(urlsplit(url).hostname or "")
    return {host for host in hosts if "." in host}


def test_no_file_holds_a_package_registrys_host_or_a_path_of_this_machine() -> None:
    hosts = sorted(_registry_hosts())
    places = [f"{ROOT}/", f"{Path.home()}/"] if Path.home() != Path("/") else [f"{ROOT}/"]
    found = [
        f"{path.relative_to(ROOT)}: {needle}"
        for path in _tracked()
        for text in [path.read_text("utf-8", errors="replace")]
        for needle in [*hosts, *places]
        if needle in text
    ]
    assert found == []


def test_every_room_imports_only_from_the_floors_below_it() -> None:
    linted = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert linted.returncode == 0, linted.stdout


def test_every_module_is_shorter_than_400_lines() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n >= LONGEST_MODULE} == {}


def test_every_sql_file_says_at_its_head_who_calls_it_and_holds_one_statement() -> None:
    wrong: list[str] = []
    for path in SOURCE.rglob("*.sql"):
        if path.parent.name == "migrations":
            continue
        lines = path.read_text().splitlines()
        body = [line.split("--")[0].rstrip() for line in lines]
        if not lines[0].startswith("--") or any(line.endswith(";") for line in body[:-1]):
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_migrations_are_ordered_by_name_and_record_themselves_last() -> None:
    files = sorted((SOURCE / "postgres" / "migrations").glob("*.sql"))
    assert files
    for path in files:
        named = re.fullmatch(r"(\d{14})_([a-z0-9_]+)\.sql", path.name)
        assert named, path.name
        last = path.read_text().rstrip().splitlines()[-1]
        assert "tidemill.schema_migrations" in last, path.name
        assert f"'{named[1]}', '{named[2]}'" in last, path.name


def test_constraints_pin_every_dependency_by_version_alone() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+-]+", line)] == []
    pinned = {_normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    assert {_normal(re.split(r"[\[<>=!~; ]", need)[0]) for need in wanted} - pinned == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_licence_is_the_plain_apache_text() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == LICENSE_SHA256


@pytest.mark.parametrize("script", [".ci/run", "scripts/venv", "scripts/debian-packages"])
def test_scripts_may_be_executed_and_stop_at_the_first_error(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert "\nset -euo pipefail\n" in path.read_text()


def test_ci_runs_what_a_developer_runs_and_ends_with_the_count_of_the_whole_suite() -> None:
    make, *goals = (ROOT / ".ci" / "run").read_text().splitlines()[-1].split()
    assert make == "make"
    assert goals == ["lint", "test-matrix", "test"]
