"""``tidemill status``: the fleet on one screen, for whoever was called."""

from __future__ import annotations

from tidemill.cli.status.command import status

__all__ = ["status"]
