"""The mission: scheduled syncs of all accounts, three layers deep, with honest logs."""

from __future__ import annotations

from tidemill.sync.connect import Connected, connect_account
from tidemill.sync.runs import STEPS, RunState, Step, TokenExpired, Triggered
from tidemill.sync.service import QUEUE, Sync

__all__ = [
    "QUEUE",
    "STEPS",
    "Connected",
    "RunState",
    "Step",
    "Sync",
    "TokenExpired",
    "Triggered",
    "connect_account",
]
