"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check.

    Attributes:
        check: its name, the same in every version.
        level: ``error`` makes doctor exit 1; ``warn`` does so with ``--strict``.
        text: what was found.
        fix: what to do about it; empty when all is well.
    """

    check: str
    level: Level
    text: str
    fix: str = ""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def warn(check: str, text: str, fix: str) -> Finding:
    """Worth knowing; nothing is broken."""
    return Finding(check, "warn", text, fix)


def error(check: str, text: str, fix: str) -> Finding:
    """Not well."""
    return Finding(check, "error", text, fix)
