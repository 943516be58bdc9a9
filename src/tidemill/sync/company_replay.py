"""The replay of a company's Threads accounts: of the past the provider gives views by day, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tidemill.connectors import (
    Connector,
    ErrorKind,
    HttpClient,
    ProviderError,
    Scopes,
    SharedGate,
    TimeBudgetSpent,
    Window,
)
from tidemill.connectors import Context as ReadContext
from tidemill.connectors.threads.connector import EARLIEST_INSIGHTS
from tidemill.engine import Done, Fail, Outcome, Partial, Skip, Snooze
from tidemill.errors import InvalidInput, TidemillError
from tidemill.postgres import Record
from tidemill.sync.account import TOKEN_TROUBLES, await_user, mark_token, token_aad
from tidemill.sync.company import workspaces_of
from tidemill.sync.jobs import Run
from tidemill.sync.layers import DayViews, replay_views_days
from tidemill.sync.layers.views_days import DaysFound
from tidemill.sync.outcomes import COMPLETED, Verdict, run_status, step_verdict, time_budget_verdict
from tidemill.sync.records.payload import known_fields, mode_in, run_in, streams_in, window_in
from tidemill.sync.records.replay import covered_by
from tidemill.sync.records.statements import SQL as RECORDS
from tidemill.sync.statements import SQL
from tidemill.sync.telling import Telling
from tidemill.vault import Secret, Vault, VaultError

VIEWS = "account_views"
UNRECOVERABLE = {
    "followers_count": "it is told as it is now",
    "profile_views": "it is the running day as far as it had got",
    "likes_count_7d": "it is told by whole days, not as it stood at a slot",
    "views_count_7d": "it is told by whole days, not as it stood at a slot",
    "demographics": "they are told as they are now",
    "post_metrics": "they are totals as they are now",
}
"""What the provider tells of the present alone: why."""
SPAN = timedelta(days=5)
"""Of the window, what one call asks for."""
MARGIN = timedelta(days=1)
"""On both sides of it, so that the days that end within are asked for whole; the provider's days end where they do."""
CALL_S = 30.0
"""What a call may take although the attempt's time is up: each attempt gets on."""
LONGEST_WAIT = timedelta(minutes=15)
MOST_WAITS = 10
"""Pauses that the provider asks of the whole app and a run waits for."""
ACCOUNTS = 500
FEW = 5
"""Days that an action names; it counts them all."""
_DONE = {"fill": ("filled", None), "overwrite": ("filled", "overwritten"), "dry_run": ("would_fill", "would_overwrite")}


class _Unfit(TidemillError):
    """An account that cannot be asked; the text is the reason."""


@dataclass(frozen=True, slots=True)
class CompanyReplay:
    """The job type ``replay`` where the connector's provider is Threads.

    Whole days that ended within the window. They are held against those that are known: ``fill`` writes the new ones,
    ``overwrite`` those that differ too, ``dry_run`` none. Snapshots, differences and newest values stay as they are.
    """

    connector: Connector
    http: HttpClient
    gate: SharedGate
    vault: Vault
    app_id: str
    name: str = "replay"

    def check(self, payload: Mapping[str, Any]) -> None:
        """``window`` or ``run``, and ``mode``, ``streams``, ``workspaces``."""
        known_fields(payload, "window", "run", "mode", "streams", "workspaces")
        if (window_in(payload) is None) == (run_in(payload) is None):
            raise InvalidInput("window", "give either a window or the run whose window is meant")
        mode_in(payload)
        streams_in(payload)
        _workspaces(payload)

    async def run(self, run: Run) -> Outcome:
        """One account after the other, until the time is up; the next attempt goes on behind what is written."""
        names = streams_in(run.payload)
        if refusal := _refused(names):
            return refusal
        window = await _window(run)
        if window is None:
            return Fail("no_such_run", {"error": "payload.run: this connector has no such run that has ended"})
        spans = list(_spans(window, await run.read.now()))
        if not spans:
            why = f"payload.window: views of days are to be had from {EARLIEST_INSIGHTS:%Y-%m-%d} until now"
            return Fail("no_window", {"error": why})
        workspaces = _workspaces(run.payload)
        telling = await Telling.load(run)
        while page := await run.ctx.db.fetch(SQL.replay_accounts, run.company, workspaces, telling.after, ACCOUNTS):
            for row in page:
                if later := await self._account(run, row, spans, telling):
                    return later
                if run.read.remaining() <= 0:
                    return Snooze(0, "more accounts to read")
        return _outcome(telling, everything=names is None)

    async def _account(self, run: Run, row: Record, spans: Sequence[Window], telling: Telling) -> Snooze | None:
        """One account, a call and a commit a span; what puts the rest of it off, None once it is through."""
        verdict, error, told = COMPLETED, None, False
        scopes = Scopes.of("threads", self.app_id, row["threads_user_id"])
        try:
            token = self._token(row)
            names = [name for name in scopes if name is not None]
            known = await run.ctx.engine.budgets.look(names)
            self.gate.learn(scopes, known)
            if any(s.reason == "user_action" and s.blocked_s is not None for s in known.values()):
                raise _Unfit("user_action")
            place = telling.place_in(row["id"])
            for span in (span for span in spans if not place or _since(span) > place):
                days = await self._read(run, scopes, token, span)
                place = _since(span)
                await self._write(run, row, days, telling, place)
                if run.read.remaining() <= 0 and span is not spans[-1]:
                    return Snooze(0, "more days to read")
        except _Unfit as e:
            verdict = Verdict("skipped", str(e))
        except VaultError as e:
            verdict, error = Verdict("failed", "token_unreadable"), e
        except TimeBudgetSpent as e:
            verdict, error = time_budget_verdict(wrote=telling.place_in(row["id"]) is not None), e
        except ProviderError as e:
            if later := await _wait(run, telling, row["id"], e):
                return later
            verdict, error = step_verdict(e, wrote=telling.place_in(row["id"]) is not None), e
        telling.counts[verdict.status] += 1
        async with run.transaction() as conn:
            await telling.through(conn, row["id"], _troubles(row["id"], verdict, error))
            if isinstance(error, ProviderError) and verdict.reason in TOKEN_TROUBLES:
                told = await mark_token(conn, row["id"], (row["token_id"], row["token_version"]), verdict, error)
        if isinstance(error, ProviderError):
            await await_user(self.gate, scopes, verdict)
        if told:
            run.ctx.log.warning("needs_reauth", account=str(row["id"]), reason=verdict.reason)
        return None

    def _token(self, row: Record) -> Secret:
        """An account's token.

        Raises:
            _Unfit: it has none that the provider would take.
            VaultError: it cannot be opened.
        """
        if row["unfit"]:
            raise _Unfit(row["unfit"])
        return Secret(self.vault.open(row["sealed"], token_aad(row["workspace_id"], row["token_id"])))

    async def _read(self, run: Run, scopes: Scopes, token: Secret, span: Window) -> list[DayViews]:
        """The whole days that ended within a span.

        Raises:
            ProviderError, TimeBudgetSpent: they could not be had.
        """
        assert span.since is not None and span.until is not None  # noqa: S101, PT018 - see _spans
        context = ReadContext(
            http=self.http,
            token=token,
            scopes=scopes,
            clock=run.read.clock,
            deadline=max(run.read.deadline, time.monotonic() + CALL_S),
            log=run.read.log,
        )
        until = min(span.until + MARGIN, await run.read.now())
        wanted = Window(since=span.since - MARGIN, until=until, entities=("window",))
        found: list[DayViews] = []
        async with aclosing(self.connector.read(context, "account_insights", None, wanted)) as batches:
            async for batch in batches:
                if batch.misses:
                    raise batch.misses[0].error
                for record in batch.records:
                    found += [DayViews(end_time=day.end_time, views=day.value) for day in record.views]
        return [day for day in found if span.since < day.end_time <= span.until]

    async def _write(self, run: Run, row: Record, days: Sequence[DayViews], telling: Telling, place: str) -> None:
        mode = mode_in(run.payload)
        async with run.transaction() as conn:
            slot = await conn.fetchval("select tidemill.now()")
            found = await replay_views_days(
                conn, workspace=row["workspace_id"], account=row["id"], slot=slot, days=days, mode=mode
            )
            telling.counts["days"] += len(days)
            await telling.within(conn, row["id"], place, _actions(row["id"], found, mode))


def _workspaces(payload: Mapping[str, Any]) -> list[UUID] | None:
    return workspaces_of(payload, others=("window", "run", "mode", "streams"))


def _refused(names: Sequence[str] | None) -> Fail | None:
    """What was asked for by name and is not to be had."""
    unknown = [name for name in names or () if name != VIEWS and name not in UNRECOVERABLE]
    if unknown:
        there = ", ".join((VIEWS, *UNRECOVERABLE))
        return Fail("unknown_stream", {"error": f"payload.streams: {', '.join(unknown)[:200]}: there is: {there}"})
    lost = [name for name in names or () if name in UNRECOVERABLE]
    if lost:
        why = "; ".join(f"{name}: {UNRECOVERABLE[name]}" for name in lost)
        return Fail("no_window", {"error": f"payload.streams: not to be asked about the past: {why}"})
    return None


async def _window(run: Run) -> Window | None:
    """The window, or that of a past run; None where there is no such run."""
    window = window_in(run.payload)
    if window is not None:
        return window
    covered = await run.ctx.db.fetchrow(RECORDS.run_window, run_in(run.payload), run.company, run.connector_id)
    return None if covered is None else covered_by(dict(covered), None)[0]


def _spans(window: Window, now: datetime) -> Iterator[Window]:
    """The window in parts, as far as the provider goes; both ends of each are given."""
    assert window.until is not None  # noqa: S101 - a replay's window ends
    until = min(window.until, now)
    since = max(window.since or until - SPAN, EARLIEST_INSIGHTS)
    while since < until:
        yield Window(since=since, until=min(since + SPAN, until))
        since += SPAN


def _since(span: Window) -> str:
    """A span's name: it stays when the window's end is still to come, and is ordered as the spans are."""
    assert span.since is not None  # noqa: S101 - see _spans
    return span.since.astimezone(UTC).isoformat()


async def _wait(run: Run, telling: Telling, account: UUID, e: ProviderError) -> Snooze | None:
    """How long the provider wants the whole app to wait, unless that is too long or was too often."""
    if e.kind is not ErrorKind.RATE_LIMITED or e.scope != "app" or e.retry_after is None:
        return None
    if e.retry_after > LONGEST_WAIT or telling.counts["waits"] >= MOST_WAITS:
        return None
    telling.counts["waits"] += 1
    async with run.transaction(progress=False) as conn:
        await telling.again(conn)
    return Snooze(e.retry_after.total_seconds(), "rate_limited")


def _actions(account: UUID, found: DaysFound, mode: str) -> list[dict[str, Any]]:
    added, changed = _DONE[mode]
    return [
        {
            "action": action,
            "of": VIEWS,
            "account": str(account),
            "count": len(days),
            "days": [day.isoformat() for day in days[:FEW]],
        }
        for action, days in ((added, found.new), (changed, found.other))
        if action and days
    ]


def _troubles(account: UUID, verdict: Verdict, error: Exception | None) -> list[dict[str, Any]]:
    if verdict.reason is None:
        return []
    told = {"action": "unread", "of": VIEWS, "account": str(account), "count": 1, "reason": verdict.reason}
    return [told | ({"error": str(error)} if error else {})]


def _outcome(telling: Telling, *, everything: bool) -> Outcome:
    accounts = {key: telling.counts.pop(key, 0) for key in ("completed", "partial", "failed", "skipped")}
    metrics: dict[str, Any] = {**accounts, "counts": dict(telling.counts)}
    if everything:
        metrics["unrecoverable"] = UNRECOVERABLE
    match run_status(**accounts):
        case "skipped":
            return Skip("all_skipped", metrics)
        case "failed":
            return Fail("accounts_failed", {**metrics, "error": "no account could be read; applied_actions says why"})
        case "partial":
            return Partial("accounts_failed", metrics)
        case _:
            return Partial("no_window", metrics) if everything else Done(metrics)
