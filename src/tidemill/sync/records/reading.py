"""Reads one stream to its end, or to what stops it, and says what that means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from tidemill.connectors import ErrorKind, ProviderError, Redactor, Stream, TimeBudgetSpent, Window
from tidemill.errors import ConfigurationError, InvalidInput, TidemillError
from tidemill.sync.jobs.run import Run
from tidemill.sync.outcomes import COMPLETED, Verdict, step_verdict
from tidemill.sync.records.cursor import CursorMoved
from tidemill.sync.records.ledger import Ledger

T = TypeVar("T")

GRACE_S = 5.0
"""What a connector may take beyond its deadline to hand out what it has, before its read is cancelled."""
LONGEST_WAIT = timedelta(minutes=15)
"""A provider that asks for a longer pause is left to the next run."""
MOST_WAITS = 10
"""Pauses in a row without a cursor having moved; then, too, it is left to the next run."""
OUT_OF_TIME = Verdict("partial", "time_budget", stops=True)


class ConnectorBroke(TidemillError):
    """A connector raised what no connector may: a fault of its own. The text is redacted."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream's read ended.

    Attributes:
        error: what a later attempt might not meet; None where it would, or where nothing went wrong.
        wait: how long the provider wants to be left alone, if that is worth waiting for.
    """

    verdict: Verdict
    error: Exception | None = None
    wait: timedelta | None = None


async def streams_of(run: Run) -> dict[str, Stream]:
    """The connector's streams by name.

    Raises:
        ProviderError, TimeBudgetSpent: that could not be found out.
        ConnectorBroke: by a fault of the connector.
    """
    return {stream.name: stream for stream in await _asked(run, lambda: run.connector.streams(run.read))}


def chosen(streams: Mapping[str, Stream], wanted: Sequence[str] | None) -> tuple[list[Stream], list[str]]:
    """The streams that are wanted, in the connector's order, and the names of which there is none."""
    if wanted is None:
        return list(streams.values()), []
    return [s for s in streams.values() if s.name in wanted], [name for name in wanted if name not in streams]


async def read_stream(ledger: Ledger, window: Window) -> Ending:
    """Read the ledger's stream from its cursor on, a commit a batch, and close its tally.

    Raises:
        LeaseLost: the run is somebody else's.
        DatabaseUnavailable: the database is.
    """
    run, stream = ledger.run, ledger.stream
    ending = Ending(COMPLETED)
    ledger.tally.begin()
    try:
        await ledger.begin()
        async with aclosing(run.connector.read(run.read, stream.name, ledger.cursor.at, window)) as batches:
            while (batch := await _asked(run, lambda: anext(batches, None))) is not None:
                await ledger.commit(batch)
                if run.read.remaining() <= 0:
                    raise TimeBudgetSpent("the run's time is over")
        await ledger.finish()
    except CursorMoved as e:
        ending = Ending(Verdict("partial", "cursor_moved", stops=True))
        ledger.tally.end(ending.verdict, str(e))
    except TimeBudgetSpent:
        ending = Ending(OUT_OF_TIME)
        ledger.tally.end(ending.verdict)
    except (InvalidInput, ConfigurationError) as e:
        ending = Ending(Verdict("failed", "invalid"))
        ledger.tally.end(ending.verdict, str(e))
    except ProviderError as e:
        ending = ended_by(e, wrote=ledger.tally.wrote, waits=ledger.report.waits)
        ledger.tally.end(ending.verdict, str(e))
    except ConnectorBroke as e:
        ending = Ending(Verdict("partial" if ledger.tally.wrote else "failed", "connector_error"), e)
        ledger.tally.end(ending.verdict, str(e))
    if not ledger.tally.ended:
        await ledger.give_up()
    return ending


def ended_by(error: ProviderError, *, wrote: bool, waits: int = 0) -> Ending:
    """What a provider's refusal or silence means."""
    verdict = step_verdict(error, wrote=wrote)
    if error.kind is ErrorKind.TRANSIENT:
        return Ending(verdict, error)
    if error.kind is ErrorKind.RATE_LIMITED and error.retry_after is not None:
        worth = error.retry_after <= LONGEST_WAIT and waits < MOST_WAITS
        return Ending(verdict, wait=error.retry_after if worth else None)
    return Ending(verdict)


async def _asked(run: Run, ask: Callable[[], Awaitable[T]]) -> T:
    """What the connector answers; one that forgets the time is cancelled."""
    limit = asyncio.timeout(max(run.read.remaining(), 0) + GRACE_S)
    try:
        async with limit:
            return await ask()
    except TidemillError:
        raise
    except Exception as e:  # a connector is somebody else's code
        if isinstance(e, TimeoutError) and limit.expired():
            raise TimeBudgetSpent("the connector went on beyond its deadline") from None
        raise _broke(run, e) from e


def _broke(run: Run, e: Exception) -> ConnectorBroke:
    secrets: Any = [run.read.token, *run.read.secrets.values()]
    return ConnectorBroke(Redactor(secrets).text(f"{run.provider}: {type(e).__name__}: {e}"))
