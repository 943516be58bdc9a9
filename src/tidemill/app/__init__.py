"""The application: :class:`Tidemill` declares it, :class:`Rooms` is what stands when it is open."""

from __future__ import annotations

from tidemill.app.declared import JobOptions, Options, Tidemill
from tidemill.app.rooms import SCHEDULED_SYNC, Rooms

__all__ = ["SCHEDULED_SYNC", "JobOptions", "Options", "Rooms", "Tidemill"]
