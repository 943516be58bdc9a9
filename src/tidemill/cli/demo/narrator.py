"""What the demo says while it plays: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[int, int], None]


class Narrator:
    """Speaks on standard output, or on standard error when that holds JSON."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._err = to_stderr
        stream = sys.stderr if to_stderr else sys.stdout
        self.console = Console(file=stream, highlight=False, soft_wrap=not stream.isatty())

    def open(self) -> None:
        """The first words."""
        self.say("Tidemill demo: 60 simulated accounts, three syncs. Nothing leaves this machine.")

    def say(self, text: str = "") -> None:
        """One line, as it is."""
        click.echo(text, err=self._err)

    def done(self, what: str, text: str) -> None:
        """One thing that is done."""
        self.say(f"  {what:<10} {text}")

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
