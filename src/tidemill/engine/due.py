"""Sources of due work, each ticked by a task of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

import structlog

from tidemill.errors import DatabaseUnavailable

CHANNEL = "tidemill_due"
"""Notifications that a source has something new; the payload is its name."""
POLL_S = 5.0
"""Between two ticks of a source of which nothing is heard."""
POLL_DEAF_S = 1.0
"""The same while no notification would arrive."""

_log = structlog.get_logger("tidemill.engine")


class Ticked(Protocol):
    """Something that turns due rows into jobs; any number of nodes may tick it at once."""

    async def tick(self) -> object:
        """Enqueue what is due now."""
        ...


class DueSource(Protocol):
    """A room's own source of jobs, beside the schedules; any number of nodes may tick it at once.

    A tick that finds nothing costs one statement, however much there is that is not due.
    """

    @property
    def name(self) -> str:
        """The payload of the notifications that wake it."""
        ...

    async def tick(self) -> float | None:
        """Enqueue what is due now; in how many seconds something will be due, None while nothing is planned."""
        ...


async def tick_when_told(schedules: Ticked, due: asyncio.Event) -> None:
    """Tick when the heartbeat found something due. It may take seconds, for which the upkeep does not wait."""
    while True:
        await due.wait()
        due.clear()
        try:
            await schedules.tick()
        except DatabaseUnavailable as e:
            _log.warning("schedules_wait_for_database", error=str(e))


async def tick_always(source: DueSource, woken: asyncio.Event, hears: Callable[[], bool]) -> None:
    """Tick now, when woken, when the next is due, and from time to time, until cancelled.

    What a source raises is told and costs that tick: it works on what tenants wrote, and must not stop a worker.
    """
    while True:
        woken.clear()
        longest = (POLL_S if hears() else POLL_DEAF_S) * random.uniform(0.75, 1.0)  # noqa: S311 - spreads the nodes
        pause = longest
        try:
            due_s = await source.tick()
            pause = longest if due_s is None else min(max(due_s, 0.0), longest)
        except DatabaseUnavailable as e:
            _log.warning("source_waits_for_database", source=source.name, error=str(e))
        except Exception:  # noqa: BLE001 - see above
            _log.exception("tick_failed", source=source.name)
        try:
            async with asyncio.timeout(pause):
                await woken.wait()
        except TimeoutError:
            continue
