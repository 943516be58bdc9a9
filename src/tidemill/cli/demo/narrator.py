"""What the demo says while it plays: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Generator

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[int, int], None]

_WHAT = 13
"""Columns before the text of a line that tells what is done."""
_NARROWEST = 30
"""Columns that a text is left, however narrow the window is."""


class Narrator:
    """Speaks on standard output, or on standard error when that holds JSON."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._err = to_stderr
        stream = sys.stderr if to_stderr else sys.stdout
        self.console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())

    def open(self) -> None:
        """The first words."""
        self.say(
            "Tidemill demo: 60 simulated accounts, and a Singer tap on real data. Nothing of it leaves this machine."
        )

    def say(self, text: str = "", *, indent: int = 0) -> None:
        """One line; where a terminal is too narrow for it, the rest goes below, ``indent`` columns in."""
        if self.console.is_terminal:
            room = max(self.console.width, indent + _NARROWEST)
            before = text[: len(text) - len(text.lstrip("\n"))]
            folded = textwrap.wrap(
                text.strip("\n"), room, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False
            )
            text = before + "\n".join(folded) + ("\n" if text.lstrip("\n").endswith("\n") else "")
        click.echo(text, err=self._err)

    def done(self, what: str, text: str) -> None:
        """One thing that is done."""
        self.say(f"  {what:<10} {text}", indent=_WHAT)

    def fact(self, name: str, text: str) -> None:
        """One line of a list of figures."""
        self.say(f"  {name:<24} {text}", indent=37)

    def complain(self, problem: str) -> None:
        """Something that does not add up."""
        click.echo(f"tidemill: {problem}", err=True)

    @contextlib.contextmanager
    def progress(self, what: str) -> Generator[Report]:
        """Report done and total inside the block; a bar shows them where there is a terminal."""
        if not self.console.is_terminal:
            yield lambda _done, _total: None
            return
        columns = (TextColumn("  {task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total or None)
