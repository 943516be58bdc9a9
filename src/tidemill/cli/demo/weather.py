"""Real data for the tap: hourly weather at New York's three airports in 2013, of which a day comes at a time."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY = ("origin", "time_hour")
_FIRST_DAYS = 31


@dataclass(slots=True)
class Weather:
    """A file that holds the data's first days, for the tap to read.

    Attributes:
        source: the data set's file.
        file: made by :meth:`begin`.
    """

    source: Path
    file: Path
    _days: list[list[dict[str, str]]] = field(default_factory=list[list[dict[str, str]]])
    _shown: int = 0

    def begin(self) -> None:
        """Read the data, and write January."""
        days: dict[tuple[int, int], list[dict[str, str]]] = {}
        with self.source.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                days.setdefault((int(row["month"]), int(row["day"])), []).append(row)
        self._days = [days[day] for day in sorted(days)]
        self._show(_FIRST_DAYS)

    def grow(self) -> int:
        """Write one day more; how many rows that adds, 0 once the year is through."""
        before = len(self.rows)
        if self._shown < len(self._days):
            self._show(self._shown + 1)
        return len(self.rows) - before

    @property
    def rows(self) -> list[dict[str, str]]:
        """What the file holds."""
        return [row for day in self._days[: self._shown] for row in day]

    def _show(self, days: int) -> None:
        self._shown = days
        new = self.file.with_suffix(".new")
        with new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        new.replace(self.file)  # so that no tap sees half of it


def digest(rows: Iterable[Mapping[str, Any]], fields: Iterable[str]) -> str:
    """A hash of these fields of all rows, whatever their order, and whether a number is written as one or as text."""
    names = sorted(fields)
    lines = sorted("\x1f".join(f"{name}={_plain(row.get(name))}" for name in names) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plain(value: Any) -> str:
    """A value as the tap may have it: it makes numbers of what looks like one, and nothing of what is missing."""
    if value is None or value == "NA":
        return ""
    try:
        return repr(float(value))
    except ValueError:
        return str(value)
