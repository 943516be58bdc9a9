"""What a benchmark promises, and whether it holds: a line for each bar."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure and the bound that it is held to."""

    name: str
    figure: float
    word: str
    bound: float

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.figure <= self.bound if self.word == "at most" else self.figure >= self.bound

    def __str__(self) -> str:
        return f"{self.figure:8.3f}  {self.word:8} {self.bound:<5g} {'ok' if self.ok else 'MISSED'}  {self.name}"


@dataclass
class Bars:
    """The bars of one run, in the order in which they were judged."""

    judged: list[Bar] = field(default_factory=list[Bar])

    def at_most(self, name: str, figure: float, bound: float) -> None:
        """Hold ``figure`` to an upper bound."""
        self.judged.append(Bar(name, figure, "at most", bound))

    def at_least(self, name: str, figure: float, bound: float) -> None:
        """Hold ``figure`` to a lower bound."""
        self.judged.append(Bar(name, figure, "at least", bound))

    def close(self) -> int:
        """Print them; the exit code, 1 where one is missed."""
        print(*self.judged, sep="\n", flush=True)
        return 0 if all(bar.ok for bar in self.judged) else 1


def note(text: str) -> None:
    """Say how far it is, beside the results."""
    print(f"  {text}", file=sys.stderr, flush=True)
