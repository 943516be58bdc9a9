"""The functions server: what a scheduler and, for their own accounts, users may start over HTTP."""

from __future__ import annotations

from tidemill.web.functions.app import build_functions, serve
from tidemill.web.functions.door import SyncDoor

__all__ = ["SyncDoor", "build_functions", "serve"]
