"""What the functions server needs of the sync room."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from tidemill.sync import RunState, Step, Triggered

__all__ = ["SyncDoor"]


class SyncDoor(Protocol):
    """The one door through which syncs are started and watched, as :class:`tidemill.sync.Sync` has it."""

    async def trigger_scheduled(self, *, trigger: str, request_key: str) -> Triggered:
        """Start the scheduled sync of the current slot, unless it runs or has run."""
        ...

    async def trigger_manual(self, account_id: UUID, step: Step, *, user_id: UUID, request_key: str) -> Triggered:
        """Start one step of one account for a user who may do so; the caller has checked that.

        Raises:
            TokenExpired: the account has no token that the provider would take.
        """
        ...

    async def wait(self, run_id: UUID, seconds: float) -> RunState | None:
        """The run's state once it is final, or after ``seconds`` at the latest; None for an unknown run."""
        ...
