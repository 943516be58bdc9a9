"""An application as somebody else would write it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tidemill import Backoff, Context, Done, Fail, PlainContext, Skip, Snooze, Tidemill
from tidemill.blocking import Client

app = Tidemill()
noted: list[Any] = []
"""What ran, in this process."""


@dataclass
class Parcel:
    number: int
    to: str = "nobody"
    express: bool = False


class Lost(Exception):
    pass


@app.job(queue="mail")
async def send(ctx: Context, parcel: Parcel) -> Done:
    noted.append(parcel.number)
    return Done({"sent": parcel.number})


@app.job(max_attempts=3, backoff=Backoff(base=3600, cap=7200))
async def lose(ctx: Context, parcel: Parcel) -> None:
    raise Lost(parcel.number)


@app.job(tenant=lambda args: UUID(int=args["tenant"]))
async def anything(ctx: Context, args: dict[str, Any]) -> None:
    noted.append(args)


@app.job
async def twice(ctx: Context, parcel: Parcel) -> None:
    async with ctx.transaction() as conn:
        await app.enqueue(send, Parcel(parcel.number * 10), conn=conn)
    await app.enqueue(send, Parcel(parcel.number * 10 + 1))
    noted.append(parcel.number)


@app.job
async def breed(ctx: Context) -> None:
    await app.enqueue(breed)


@app.job
async def wait(ctx: Context) -> Snooze:
    return Snooze(60.0)


@app.job
async def judge(ctx: Context, args: dict[str, Any]) -> Skip | Fail:
    return Skip("not today") if args["mild"] else Fail("never")


@app.job(max_attempts=1, timeout=0.05)
async def dawdle(ctx: Context) -> None:
    await asyncio.sleep(60)


@app.job
async def linger(ctx: Context) -> None:
    noted.append("lingers")
    await asyncio.sleep(60)


@app.job
async def robbed(ctx: Context, args: dict[str, Any]) -> None:
    await ctx.db.execute("delete from tidemill.job_lease where id = $1", ctx.job.id)
    if args["writes"]:
        async with ctx.transaction():
            noted.append("written")


@app.job
def plainly(ctx: PlainContext, args: dict[str, Any]) -> int:
    return args["n"] + 1


@app.job
def relay(ctx: PlainContext) -> None:
    """Enqueues from its own thread, and from one that knows nothing of the job."""
    with Client(app) as client, ThreadPoolExecutor(1) as threads:
        client.enqueue(send, Parcel(1))
        threads.submit(client.enqueue, send, Parcel(2)).result()


@app.job
async def report(ctx: Context) -> None:
    noted.append("report")


app.schedule(report, name="daily", cron="30 2 * * *", timezone="Europe/Berlin")
