"""Runs as answers: wait for one, show one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from tidemill.errors import TidemillError
from tidemill.sync import RunState, Triggered
from tidemill.web.edge import extend_deadline, note
from tidemill.web.functions.door import SyncDoor
from tidemill.web.problems import json_response

__all__ = ["Runs", "state_body"]


class Runs:
    """Answers for triggered runs, in the seed's words.

    Attributes:
        stopping: set when the server shuts down; whoever waits is answered with the run's state then.
    """

    def __init__(self, sync: SyncDoor) -> None:
        self._sync = sync
        self.stopping = asyncio.Event()

    async def answer(self, request: web.Request, triggered: Triggered, seconds: float) -> web.Response:
        """200 with the outcome if the run ends within ``seconds`` or was skipped, else 202 with where to ask for it."""
        note(request, run_id=str(triggered.run_id))
        if triggered.skipped:
            return json_response(_skipped_body(triggered.reason, triggered.locked_until))
        extend_deadline(request, seconds)
        state = await self._wait(triggered.run_id, seconds)
        if state is None:
            raise TidemillError(f"run {triggered.run_id} was started and is not there")
        if not state.final:
            status_url = f"/functions/v1/runs/{state.run_id}"
            body = {"run_id": state.run_id, "status": state.status, "status_url": status_url}
            return json_response(body, status=202, headers={"Location": status_url})
        return json_response(state_body(state))

    async def stop(self, app: web.Application) -> None:
        """Let go of whoever waits; an ``on_shutdown`` signal."""
        self.stopping.set()

    async def state(self, run_id: UUID) -> RunState | None:
        """The run's state now."""
        return await self._sync.wait(run_id, 0)

    async def _wait(self, run_id: UUID, seconds: float) -> RunState | None:
        waiting = asyncio.create_task(self._sync.wait(run_id, seconds))
        stopped = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else await self.state(run_id)
        finally:
            waiting.cancel()
            stopped.cancel()


def state_body(state: RunState) -> dict[str, object]:
    """A run's state as JSON.

    ``success`` is true for a run that is ``completed`` or ``skipped``, false for ``partial`` and ``failed``, and null
    while it is not over; a skipped run says ``skipped`` and its ``reason`` beside its counts.
    """
    body: dict[str, object] = {
        "success": state.status in ("completed", "skipped") if state.final else None,
        "run_id": state.run_id,
        "status": state.status,
        "started_at": state.started_at,
        "completed_at": state.completed_at,
        "total_accounts": state.total_accounts,
        "success_count": state.success_count,
        "error_count": state.error_count,
        "skipped_count": state.skipped_count,
        "results": state.results,
    }
    if state.status == "skipped":
        body |= {"skipped": True, "reason": state.skipped_reason}
    return body


def _skipped_body(reason: str | None, locked_until: object) -> Mapping[str, object]:
    return {"success": True, "skipped": True, "reason": reason, "locked_until": locked_until}
