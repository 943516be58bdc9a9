"""Makes a kind of a function of the application's."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import math
from collections.abc import Callable, Coroutine
from datetime import datetime
from types import SimpleNamespace
from typing import Any, get_type_hints
from uuid import UUID

import msgspec

from tidemill.engine.arguments import Arguments, as_json
from tidemill.engine.backoff import Backoff
from tidemill.engine.context import Context
from tidemill.engine.kind import MOST_ATTEMPTS, MOST_WAITING, PRIORITIES, Handler, Kind
from tidemill.engine.limits import Limit, read_limits
from tidemill.engine.outcome import Cancel, Done, Fail, Outcome, Partial, Skip, Snooze
from tidemill.engine.processes import check_importable
from tidemill.engine.threads import Ask, PlainContext
from tidemill.errors import ConfigurationError, InvalidInput, LeaseLost


class _Nothing(msgspec.Struct):
    """The arguments of a function that takes none."""


def kind_of(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    queue: str = "default",
    priority: int = 0,
    max_attempts: int = 20,
    backoff: Backoff | None = None,
    timeout: float = 300.0,
    unique: Callable[[Any], str] | bool = False,
    tenant: Callable[[Any], UUID | None] | None = None,
    concurrency: object = None,
    rate: object = None,
    exposed: str | None = None,
    most_waiting: int | None = None,
    processes: bool = False,
) -> Kind:
    """A kind that runs ``function(ctx, args)`` or ``function(ctx)``.

    A coroutine function runs in the event loop, a plain one in a thread, or with ``processes`` in a child process.

    Raises:
        ConfigurationError: naming what about the function or its rules cannot be.
    """
    if not inspect.isfunction(function):
        raise ConfigurationError(f"{function!r} is not a function, so it cannot be a job")
    name = name or f"{function.__module__}.{function.__qualname__}"
    if not 1 <= len(name) <= 200:
        raise ConfigurationError(f"the name of job {name!r} needs 1 to 200 characters")
    if not 1 <= len(queue) <= 100:
        raise ConfigurationError(f"job {name!r}: queue needs 1 to 100 characters")
    if priority not in PRIORITIES:
        raise ConfigurationError(f"job {name!r}: priority {priority!r} is outside -1000 to 1000; higher runs first")
    if not 1 <= max_attempts <= MOST_ATTEMPTS:
        raise ConfigurationError(f"job {name!r}: max_attempts {max_attempts!r} is outside 1 to {MOST_ATTEMPTS}")
    if not 0 < timeout < math.inf:
        raise ConfigurationError(f"job {name!r}: timeout {timeout!r} is no number of seconds above 0")
    _check_exposed(name, exposed, most_waiting, has_key=bool(unique))
    arguments = _arguments(function, name)
    return Kind(
        name,
        _handler(function, name, arguments, processes=processes),
        queue=queue,
        priority=priority,
        max_attempts=max_attempts,
        backoff=backoff or Backoff(),
        timeout=timeout,
        unique=unique,
        tenant=tenant,
        limits=_limits(name, arguments, concurrency, rate),
        exposed=exposed,
        most_waiting=most_waiting,
        arguments=arguments or Arguments(_Nothing),
    )


def _limits(name: str, arguments: Arguments | None, concurrency: object, rate: object) -> tuple[Limit, ...]:
    try:
        limits = read_limits(concurrency, rate)
    except InvalidInput as e:
        raise ConfigurationError(f"job {name!r}: {e}") from None
    for limit in limits:
        if limit.most == 0:
            raise ConfigurationError(f"job {name!r}: {limit.what} 0 would let it never run")
        argument = limit.per.removeprefix("args.")
        if argument != limit.per and not (arguments and arguments.may_hold(argument)):
            raise ConfigurationError(f"job {name!r}: {limit.what} counts by {limit.per}, which is no argument of it")
    return limits


def _check_exposed(name: str, claim: object, most_waiting: object, *, has_key: bool) -> None:
    if claim is not None and not (isinstance(claim, str) and 1 <= len(claim) <= 200):
        raise ConfigurationError(
            f"job {name!r}: exposed names a claim of a user's token, e.g. 'company_id', not {claim!r}"
        )
    if claim is not None and has_key:
        raise ConfigurationError(f"job {name!r}: exposed and unique exclude each other; SQL cannot make the key")
    if most_waiting is None:
        return
    if claim is None:
        raise ConfigurationError(f"job {name!r}: most_waiting bounds an exposed job; give exposed as well")
    if not isinstance(most_waiting, int) or isinstance(most_waiting, bool) or not 1 <= most_waiting <= MOST_WAITING:
        raise ConfigurationError(
            f"job {name!r}: most_waiting {most_waiting!r} is no whole number from 1 to {MOST_WAITING}"
        )


def _arguments(function: Callable[..., Any], name: str) -> Arguments | None:
    """What the second parameter takes; None when there is no second."""
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if positional != parameters or len(positional) not in (1, 2):
        raise ConfigurationError(f"job {name!r} takes (ctx) or (ctx, args), not {inspect.signature(function)}")
    if len(positional) == 1:
        return None
    annotation = positional[1].annotation
    if annotation is inspect.Parameter.empty:
        return Arguments()
    # Only this one: the context's type is often imported for the type checker alone.
    holder = SimpleNamespace(__annotations__={"args": annotation})
    try:
        return Arguments(get_type_hints(holder, globalns=function.__globals__)["args"])
    except NameError as e:
        raise ConfigurationError(f"job {name!r}: the type of its arguments must stand in its module: {e}") from None


def _handler(function: Callable[..., Any], name: str, arguments: Arguments | None, *, processes: bool) -> Handler:
    def given(ctx: Context | PlainContext, raw: dict[str, Any]) -> tuple[Any, ...]:
        return (ctx,) if arguments is None else (ctx, arguments.read_stored(raw))

    def plain(ctx: Context) -> PlainContext:
        return PlainContext(ctx.job, ctx.deadline, ctx.report.say, _asking(ctx))

    async def in_loop(ctx: Context, raw: dict[str, Any]) -> Outcome | None:
        return outcome_of(await function(*given(ctx, raw)))

    async def in_thread(ctx: Context, raw: dict[str, Any]) -> Outcome | None:
        args = given(plain(ctx), raw)
        return outcome_of(await ctx.engine.threads.run(lambda: function(*args)))

    async def in_process(ctx: Context, raw: dict[str, Any]) -> Outcome | None:
        context, *args = given(plain(ctx), raw)
        return outcome_of(await ctx.engine.processes.run(function, context, *args))

    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"job {name!r} is a generator; a job returns its outcome")
    if not processes:
        return in_loop if inspect.iscoroutinefunction(function) else in_thread
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"job {name!r}: processes=True takes a plain function, not a coroutine function")
    check_importable(function)
    return in_process


def _asking(ctx: Context) -> Callable[[Ask], None]:
    """The way from a thread to the methods of the attempt's context."""
    loop = asyncio.get_running_loop()

    def ask(wanted: Ask) -> None:
        work: Coroutine[Any, Any, None] = getattr(ctx, wanted.method)(*wanted.args)
        try:
            asked = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            work.close()
            raise LeaseLost("the worker has ended, and with it this attempt") from None
        asked.result()

    return ask


def outcome_of(value: Any) -> Outcome | None:
    """What a function returned, as an outcome that can be recorded; a plain value is the result of ``Done``.

    Raises:
        InvalidInput: when Postgres could not store it. Endings are written many at a time, and one must not spoil
            the others.
    """
    match value:
        case None:
            return None
        case Done(result=None):
            return value
        case Done(result=result):
            return Done(as_json("result", result))
        case Partial() | Skip() | Cancel() | Fail():
            return dataclasses.replace(value, reason=_reason(value.reason), result=as_json("result", value.result))
        case Snooze(until=datetime() as until):
            if until.tzinfo is None:
                raise InvalidInput("until", "needs a time zone, e.g. datetime.now(UTC)")
        case Snooze(until=until):
            if not isinstance(until, (int, float)) or not 0 <= until < 1e9:
                raise InvalidInput("until", f"{until!r} is neither a datetime nor a number of seconds from 0 to 1e9")
        case _:
            return Done(as_json("result", value))
    return dataclasses.replace(value, reason=_reason(value.reason))


def _reason(reason: object) -> str:
    if not isinstance(reason, str):
        raise InvalidInput("reason", f"needs to be text, not {type(reason).__name__}")
    return as_json("reason", reason)
