"""The documentation says what is so: links lead somewhere, tables match the code, commands run."""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.lent_tap import lend_tap
from tidemill.cli.main import tidemill
from tidemill.postgres import Database
from tidemill.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
COMMAND_SECONDS = 300

TABLES = """\
select n.nspname || '.' || c.relname, obj_description(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v') and not c.relispartition
order by 1
"""


def _rows(page: str, columns: int) -> list[list[str]]:
    """The body rows of a page's tables that have so many columns."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if len(row) == columns and row[0].startswith("`")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_the_settings_page_lists_every_setting_with_its_default_and_no_other() -> None:
    documented = {row[0]: (row[1], row[2].endswith("Secret.")) for row in _rows("reference/settings.md", 3)}
    expected: dict[str, tuple[str, bool]] = {}
    for field in dataclasses.fields(Settings):
        names = " or ".join(f"`{name}`" for name in field.metadata["names"])
        expected[names] = (_shown(field.default), not field.repr)
    assert documented == expected


def _shown(default: object) -> str:
    if default is None or default == ():
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


async def test_the_tables_page_lists_every_table_and_view_in_the_databases_own_words(db: Database) -> None:
    schemas = ["public", "tidemill"]
    expected = {f"`{name}`": _escaped(comment or "") for name, comment in await db.fetch(TABLES, schemas)}
    if os.environ.get("TIDEMILL_WRITE_DOCS"):
        _write_tables(expected)
    documented = {row[0]: row[1] for row in _rows("reference/tables.md", 2)}
    assert documented == expected, "run this test with TIDEMILL_WRITE_DOCS=1 to write the page anew"


def _escaped(comment: str) -> str:
    return comment.replace("|", r"\|")


def _write_tables(tables: dict[str, str]) -> None:
    page = DOCS / "reference" / "tables.md"
    head = page.read_text().split("\n## ")[0].rstrip() if page.exists() else "# Tables"
    parts = [head]
    for schema in ("public", "tidemill"):
        parts.append(f"\n## Schema `{schema}`\n\n| Table or view | What it holds |\n|---|---|")
        parts += [f"| {name} | {comment} |" for name, comment in tables.items() if name.startswith(f"`{schema}.")]
    page.write_text("\n".join(parts) + "\n")


def test_the_command_line_page_lists_every_command_and_no_other() -> None:
    documented = {row[0].strip("`") for row in _rows("reference/cli.md", 2)}
    assert documented == {f"tidemill {command}" for command in _commands(tidemill)}


def _commands(group: click.Group, path: str = "") -> Iterator[str]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield path + name


def _runnable(page: Path) -> list[tuple[str, str]]:
    """(command, expected output) of a page's blocks marked ``console runnable``; no output means any."""
    steps: list[tuple[str, str]] = []
    for block in re.findall(r"^```console runnable\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in block.splitlines(keepends=True):
            if line.startswith("$ "):
                steps.append((line[2:].strip(), ""))
            else:
                steps[-1] = (steps[-1][0], steps[-1][1] + line)
    return steps


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a page's commands run. What a page that failed leaves running is ended by the number it wrote down."""
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{file.read_text().strip()}/cwd").readlink() == tmp_path:
                os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [p for p in PAGES if _runnable(p)], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs_in_order(page: Path, folder: Path) -> None:
    checker = doctest.OutputChecker()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMILL_", "CRON_SECRET"))}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    if any("tidemill demo" in command for command, _ in _runnable(page)):
        lend_tap(folder)
    for command, expected in _runnable(page):
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout}\n{ran.stderr}"
        if expected:
            assert checker.check_output(expected, ran.stdout, doctest.ELLIPSIS), f"$ {command}\n{ran.stdout}"
