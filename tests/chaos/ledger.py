"""Jobs of every sort that write what they do into a ledger. Nothing in it forbids a row twice: only the engine does."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tidemill.engine import Backoff, Context, Done, Kind, Outcome, Registry, Snooze
from tidemill.engine.chain import closing_kind

TABLES = """
create table public.chaos_ledger (name text not null, phase int not null, job bigint not null, attempt int not null);
create table public.chaos_fed (name text not null, sort text not null, job bigint);
"""
"""``chaos_fed`` is written in the transaction that enqueues, so it knows what jobs there are, whatever was answered."""
PHASES = 3
SNOOZED = -1
"""The phase in which a job was put off."""
SORTS = ("plain", "result", "batch", "key", "retry", "snooze", "chain", "cancel", "loose")


class NotYetError(Exception):
    """What every first attempt of a ``retry`` job fails of."""


def kind_name(sort: str) -> str:
    return f"chaos.{sort}"


def registry() -> Registry:
    backoff = Backoff(base=0.1, cap=0.5)
    return Registry([closing_kind(), *(Kind(kind_name(sort), work, backoff=backoff) for sort in SORTS)])


def phases(sort: str) -> set[int]:
    """What a job of this sort has written in the end, once each."""
    return {*range(PHASES), SNOOZED} if sort == "snooze" else set(range(PHASES))


async def work(ctx: Context, args: dict[str, Any]) -> Outcome | None:
    sort, name = ctx.job.kind.removeprefix("chaos."), args["name"]
    for phase in range(PHASES):
        await _write(ctx, name, phase)
        if phase == 0 and sort == "retry" and ctx.job.attempt == 1:
            raise NotYetError
        if phase == 0 and sort == "snooze" and await _write(ctx, name, SNOOZED):
            return Snooze(random.uniform(0.05, 0.3))
        await asyncio.sleep(random.uniform(0, 0.03))
    return Done({"name": name}) if sort == "result" else None


async def _write(ctx: Context, name: str, phase: int) -> bool:
    """Write the row unless it is there; whether it was not."""
    async with ctx.transaction() as conn:
        done = await conn.fetchval(
            "select exists (select from chaos_ledger where job = $1 and phase = $2)", ctx.job.id, phase
        )
        await asyncio.sleep(random.uniform(0, 0.02))
        if not done:
            attempt = ctx.job.attempt + ctx.job.crashes
            await conn.execute("insert into chaos_ledger values ($1, $2, $3, $4)", name, phase, ctx.job.id, attempt)
    return not done
