"""Jobs that spend budgets, of each flavour, in a module that child processes can import."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tidemill import BudgetSpent, Context, InvalidInput, PlainContext


async def in_loop(ctx: Context) -> str:
    await ctx.spend("api:loop")
    return "called"


def plain(ctx: PlainContext, args: dict[str, str]) -> str:
    with pytest.raises(InvalidInput, match="scope: no budget is declared for 'nothing'"):
        ctx.spend("nothing")
    ctx.spend(args["scope"])
    return "called"


def catches(ctx: PlainContext, args: dict[str, str]) -> str:
    ctx.block(args["scope"], timedelta(minutes=10), "429 Too Many Requests")
    try:
        ctx.spend(args["scope"])
    except BudgetSpent as e:
        return f"{e.scope}: {e.reason}"
    return "called"
