"""The worker's own connections, for claims, endings and the heartbeat."""

from __future__ import annotations

from tidemill.postgres import Database

CONNECTIONS = 4
ANSWER_S = 15.0
"""Seconds that a claim or an ending may take. They take milliseconds: one that does not come back is tried again on
another connection."""
SETTINGS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "plan_cache_mode": "force_generic_plan"}
"""A connection plans a statement once, likely while its queue is empty: then to read the whole table looks cheapest,
and so it does when half a million jobs come in, at a second a claim, until Postgres has taken new statistics."""


async def open_control(
    url: str, *, pooled: bool = False, name: str = "tidemill-control", answer_s: float = ANSWER_S
) -> Database:
    """A small pool that handlers cannot starve, whose plans hold for queues of any length.

    Behind a pooler no plan is kept, so there each statement is planned for the queue as it is.

    Raises:
        DatabaseUnavailable: when the server cannot be reached or refuses the login.
    """
    return await Database.open(
        url, max_size=CONNECTIONS, name=name, pooled=pooled, command_timeout=answer_s, settings=SETTINGS
    )
