"""Tests of an application's own jobs: a database a test, the real engine by hand, a clock that can be moved.

The fixtures are in :mod:`tidemill.testing.plugin`, which pytest finds by itself: ``tidemill_url``, and
``tidemill_prepare`` to be overridden. Nothing here needs pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.testing.enqueued import Enqueued
    from tidemill.testing.harness import Harness
    from tidemill.testing.plain import PlainHarness
    from tidemill.testing.stepper import Attempt, Drained

__all__ = ["Attempt", "Drained", "Enqueued", "Harness", "PlainHarness"]

_ROOMS = {"Attempt": "stepper", "Drained": "stepper", "Enqueued": "enqueued", "PlainHarness": "plain"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: every pytest run in this environment loads the plugin, and with it this package.
    if name not in __all__:
        raise AttributeError(f"module 'tidemill.testing' has no attribute {name!r}")
    return getattr(import_module(f"tidemill.testing.{_ROOMS.get(name, 'harness')}"), name)
