"""An application as somebody else would write it, in a module that child processes can import."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pydantic

from tidemill import Backoff, BatchSummary, Context, Done, PlainContext, Tidemill

SOON = Backoff(base=0.01, cap=0.02)


class Greeting(msgspec.Struct):
    name: str
    times: int = 1


@dataclass
class Order:
    id: UUID
    lines: list[str]


class Point(TypedDict):
    x: int
    y: int


class Letter(pydantic.BaseModel):
    to: str
    copies: int = pydantic.Field(default=1, ge=1)


class Report(msgspec.Struct):
    title: str
    batch: BatchSummary


class Work(msgspec.Struct):
    n: int


def add_jobs(app: Tidemill) -> None:
    """One of each flavour, on an application of the test's own."""
    for function in (greet, ship, plot, post, loose, nothing, thread):
        app.job(function)
    app.job(backoff=SOON, max_attempts=2)(thread_exit)
    app.job(backoff=SOON, max_attempts=2, processes=True)(crash)
    app.job(backoff=SOON, max_attempts=2, processes=True)(refuse)
    app.job(backoff=SOON, max_attempts=1, processes=True, timeout=1.0)(hang)
    app.job(processes=True)(square)


async def greet(ctx: Context, args: Greeting) -> str:
    return " ".join(["hello"] * args.times + [args.name])


async def ship(ctx: Context, args: Order) -> dict[str, Any]:
    return {"id": args.id, "lines": len(args.lines)}


async def plot(ctx: Context, args: Point) -> int:
    return args["x"] + args["y"]


async def post(ctx: Context, args: Letter) -> Letter:
    return args


async def loose(ctx: Context, args: dict[str, Any]) -> Done:
    return Done(args)


async def nothing(ctx: Context) -> None:
    return None


def thread(ctx: PlainContext, args: Work) -> dict[str, Any]:
    return {"n": args.n, "main": threading.current_thread() is threading.main_thread(), "job": ctx.job.id}


def thread_exit(ctx: PlainContext) -> None:
    sys.exit(3)


def square(ctx: PlainContext, args: Work) -> dict[str, int]:
    return {"n": args.n**2, "pid": os.getpid(), "job": ctx.job.id}


def crash(ctx: PlainContext, args: Work) -> str:
    if ctx.job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def refuse(ctx: PlainContext) -> None:
    raise LookupError("nothing there")


def hang(ctx: PlainContext) -> None:
    time.sleep(600)


def count(ctx: PlainContext, args: Work) -> int:
    """Counts to n as fast as it can, then waits until a file of the name given to it is there."""
    for i in range(args.n + 1):
        ctx.progress(i, args.n, "counting")
    while not os.path.exists(os.environ["COUNTED"]) and ctx.remaining():  # noqa: PTH110
        time.sleep(0.01)
    return args.n
