"""Scheduled syncs and durable jobs, inside your own Postgres."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.app import Tidemill
    from tidemill.engine import (
        Backoff,
        BatchSummary,
        BudgetSpent,
        Cancel,
        Context,
        Done,
        Fail,
        KeyHeld,
        NewJob,
        Partial,
        Skip,
        Snooze,
    )
    from tidemill.engine.threads import PlainContext
    from tidemill.errors import ConfigurationError, DatabaseUnavailable, InvalidInput, LeaseLost, TidemillError
    from tidemill.settings import Settings

__all__ = [
    "Backoff",
    "BatchSummary",
    "BudgetSpent",
    "Cancel",
    "ConfigurationError",
    "Context",
    "DatabaseUnavailable",
    "Done",
    "Fail",
    "InvalidInput",
    "KeyHeld",
    "LeaseLost",
    "NewJob",
    "Partial",
    "PlainContext",
    "Settings",
    "Skip",
    "Snooze",
    "Tidemill",
    "TidemillError",
]

_ELSEWHERE = {"Tidemill": "app", "PlainContext": "engine.threads", "Settings": "settings"}
_ERRORS = ("ConfigurationError", "DatabaseUnavailable", "InvalidInput", "LeaseLost", "TidemillError")


def __getattr__(name: str) -> Any:
    # Imported when asked for: `tidemill --version` and the simulators load this package and need none of it.
    if name not in __all__:
        raise AttributeError(f"module 'tidemill' has no attribute {name!r}")
    room = "errors" if name in _ERRORS else _ELSEWHERE.get(name, "engine")
    return getattr(import_module(f"tidemill.{room}"), name)
