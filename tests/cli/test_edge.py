"""Exit codes, help and error texts: the same for every command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Run
from tests.cli.support import command, environ, tidemill
from tidemill.cli import exits
from tidemill.cli.main import guarded
from tidemill.cli.main import tidemill as group
from tidemill.errors import ConfigurationError, DatabaseUnavailable, InvalidInput, LeaseLost, SchemaOutOfDate

NOWHERE = "postgresql://postgres:hunter2@127.0.0.1:1/nowhere"


def _leaves(node: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(node, click.Group):
        return [path]
    own = [path] if path else []
    ctx = click.Context(node)
    children = [(name, node.get_command(ctx, name)) for name in node.list_commands(ctx)]
    return own + [leaf for name, child in children if child for leaf in _leaves(child, (*path, name))]


@pytest.mark.parametrize("path", _leaves(group), ids=" ".join)
def test_every_commands_help_has_an_example(path: tuple[str, ...], run: Run) -> None:
    code, out, _ = run(*path, "--help")
    assert code == 0
    assert "Example: tidemill " in out or path == ("simulator", "threads")


def test_help_and_version_exit_with_0_and_name_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    commands = (
        *("accounts", "cron", "demo", "doctor", "jobs", "logs", "migrate", "queues", "run", "schedules", "serve"),
        *("simulator", "up", "worker"),
    )
    assert [name for name in commands if f"\n  {name}" not in out] == []
    assert run("--version")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("logs", "--nonsense"),
        ("logs", "--run", "not-an-id"),
        ("logs", "--system", "--account", "x"),
        ("migrate", "--check", "--dry-run"),
        ("worker", "--processes", "0"),
        ("demo", "--json"),
        ("--config", "missing.toml", "accounts"),
        ("--database-url", "not a url", "accounts"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_no_traceback(arguments: tuple[str, ...], run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.strip()
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["accounts", "logs", "migrate"])
def test_an_unreachable_database_exits_with_4_and_never_shows_the_password(name: str, run: Run) -> None:
    code, out, err = run("--database-url", NOWHERE, name)
    assert (code, out) == (4, "")
    assert err.startswith("tidemill: Postgres is not available")
    assert len(err.splitlines()) == 1
    assert "hunter2" not in err


def test_a_schema_out_of_date_exits_with_5_and_says_what_to_run(empty_database_url: str, run: Run) -> None:
    for arguments in (("accounts",), ("logs",), ("run", "scheduled-sync"), ("worker",), ("worker", "--processes", "2")):
        code, _, err = run("--database-url", empty_database_url, *arguments)
        assert (code, "tidemill migrate" in err) == (5, True), arguments


@pytest.mark.parametrize("name", ["accounts", "logs", "doctor", "migrate --check", "cron status"])
def test_looking_where_there_is_no_database_makes_none(name: str, run: Run, tmp_path: Path) -> None:
    code, out, err = run(*name.split())
    assert code == (1 if name == "doctor" else 3)
    assert "tidemill demo" in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), 2),
        (InvalidInput("field", "x"), 2),
        (exits.NotFound("x"), 3),
        (DatabaseUnavailable("x"), 4),
        (SchemaOutOfDate("x"), 5),
        (exits.NotWell("x"), 1),
        (LeaseLost("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("two", [ExceptionGroup("one", [OSError("y")]), DatabaseUnavailable("x")]), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_failure_has_its_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIDEMILL_DEBUG", raising=False)

    def fail() -> None:
        raise error

    assert guarded(fail) == code
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("TIDEMILL_DEBUG", "1")
    assert guarded(fail) == code
    assert "Traceback" in capsys.readouterr().err or code == 130


def test_a_secret_in_a_failures_text_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("cannot reach postgresql://me:hunter2@db/x?token=abc123")

    assert guarded(fail) == 1
    err = capsys.readouterr().err
    assert "hunter2" not in err
    assert "abc123" not in err


def test_it_runs_as_a_module_and_its_output_may_be_cut_off(tmp_path: Path) -> None:
    shown = tidemill("--version", folder=tmp_path)
    assert shown.returncode == 0
    read, write = os.pipe()
    os.close(read)
    cut = subprocess.run(
        command("--help"), stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, env=environ(), timeout=60, check=False
    )
    os.close(write)
    assert cut.stderr == b""


def test_a_flag_wins_over_the_environment_and_a_named_folder_over_a_database(
    database_url: str, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", NOWHERE)
    assert run("--database-url", database_url, "accounts")[0] == 0
    assert run("--data-dir", str(tmp_path / "empty"), "accounts")[0] == 3
    assert run("accounts")[0] == 4


def test_the_settings_file_is_read_and_a_wrong_setting_is_named(run: Run, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f'database_url = "{database_url}"\n')
    assert run("--config", "other.toml", "accounts")[0] == 0
    (tmp_path / "tidemill.toml").write_text('databse_url = "x"\n')
    code, _, err = run("accounts")
    assert (code, "databse_url" in err) == (2, True)
