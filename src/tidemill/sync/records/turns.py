"""Streams in turn: which go on after one has failed, what is tried again, and what the run comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from tidemill.connectors import ProviderError, Stream, TimeBudgetSpent
from tidemill.engine import Fail, Outcome, Partial, Skip, Snooze
from tidemill.errors import ConfigurationError, InvalidInput
from tidemill.sync.outcomes import Verdict
from tidemill.sync.records.reading import OUT_OF_TIME, Ending, ended_by, streams_of
from tidemill.sync.records.report import Report, readable


async def over_streams(report: Report, work: Callable[[Mapping[str, Stream]], Awaitable[Outcome]]) -> Outcome:
    """Do the work on the connector's streams, or say why they are not to be had.

    Raises:
        ProviderError, ConnectorBroke: what another attempt might not meet, unless this is the last.
    """
    try:
        streams = await streams_of(report.run)
    except TimeBudgetSpent as e:
        return _unread(report, OUT_OF_TIME, str(e))
    except (InvalidInput, ConfigurationError) as e:
        return _unread(report, Verdict("failed", "invalid"), str(e))
    except ProviderError as e:
        ending = ended_by(e, wrote=False, waits=report.waits)
        if ending.wait is not None:
            return await _put_off(report, ending)
        if ending.error is not None and not _is_last(report):
            raise
        return _unread(report, ending.verdict, str(e))
    return await work(streams)


async def read_all(report: Report, streams: Sequence[Stream], read: Callable[[Stream], Awaitable[Ending]]) -> Outcome:
    """Read streams in turn; what earlier attempts have read to its end is left alone.

    Raises:
        ProviderError, ConnectorBroke: the first fault that another attempt might not meet, once all had their turn;
            on the last attempt it is told in the outcome instead.
    """
    again: Exception | None = None
    for i, stream in enumerate(streams):
        if report.of(stream.name).ended:
            continue
        ending = await read(stream)
        if ending.wait is not None:
            return await _put_off(report, ending)
        again = again or ending.error
        if ending.verdict.stops:
            report.skip_rest((s.name for s in streams[i + 1 :]), ending.verdict.reason or "stopped")
            break
    if again is not None and not _is_last(report):
        await report.save_apart()
        raise again
    return report.outcome()


def _is_last(report: Report) -> bool:
    job = report.run.ctx.job
    return job.attempt >= job.max_attempts


async def _put_off(report: Report, ending: Ending) -> Outcome:
    assert ending.wait is not None  # noqa: S101 - the callers have asked
    report.waits += 1
    await report.save_apart()
    return Snooze(ending.wait.total_seconds(), "rate_limited")


def _unread(report: Report, verdict: Verdict, error: str) -> Outcome:
    reason, metrics = verdict.reason or "provider", {"error": readable(error), **report.metrics()}
    match verdict.status:
        case "failed":
            return Fail(reason, metrics)
        case "skipped":
            return Skip(reason, metrics)
        case _:
            return Partial(reason, metrics)
