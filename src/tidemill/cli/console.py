"""What a person reads, and what a program reads instead: tables on a terminal, tabs in a pipe, JSON on demand."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

_WIDEST = 2000
_STYLES = {
    "completed": "green",
    "ok": "green",
    "valid": "green",
    "partial": "yellow",
    "warn": "yellow",
    "skipped": "cyan",
    "failed": "red",
    "error": "red",
    "broken": "red",
    "late": "red",
    "gone": "red",
    "paused": "yellow",
    "expired": "red",
    "invalid": "red",
    "user_action": "yellow",
    "running": "blue",
}


@cache
def out() -> Console:
    """Standard output."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())


def say(text: str = "") -> None:
    """One line to standard output, as it is."""
    click.echo(text)


def hint(text: str) -> None:
    """One line for the person, not for a program that reads the output."""
    click.echo(text, err=True)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_rows(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = (), whole: bool = False
) -> None:
    """A table on a terminal; lines of tab-separated fields below a line of headings anywhere else.

    ``whole`` leaves a line that is too long for the window to the terminal: an id cut in two cannot be copied.
    """
    shown = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        click.echo("\t".join(headings))
        for row in shown:
            click.echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    table = _table(headings, shown, right)
    console = out()
    if whole:
        wanted = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
        console = Console(file=sys.stdout, highlight=False, width=max(wanted, console.width))
    console.print(table)


def table_of(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> Table:
    """A table for a terminal, to be put together with others."""
    return _table(headings, [[_cell(value) for value in row] for row in rows], right)


def _table(headings: Sequence[str], shown: Iterable[Sequence[str]], right: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = set(right)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numeric else "left", overflow="fold")
    for row in shown:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return utc(value)
        case timedelta():
            return seconds(value.total_seconds())
        case dict() | list():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def utc(at: datetime) -> str:
    """An instant with its zone: ``2026-11-22 03:15:00Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def seconds(value: float) -> str:
    """A duration: ``1.4 s``, ``2 m 05 s``."""
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} m {int(value) % 60:02d} s"


def plain(row: Any) -> dict[str, Any]:
    """A database row as a dict; what JSON cannot hold becomes text."""
    return {key: value.total_seconds() if isinstance(value, timedelta) else value for key, value in row.items()}
