"""Every error a provider may answer with, at every endpoint and with every HTTP status, means what the contract says.

The tables below are the contract, written anew: nothing in them is taken from the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import pytest

from tests.sync.support import PATIENCE, STEPS, Row, World, world
from tidemill.connectors import Limits
from tidemill.simulators.threads import Account, Fault, FaultError
from tidemill.simulators.threads import metrics as simulated

Meaning = Literal["token", "user", "permission", "throttle", "app", "passing", "object", "gone"]

STATUSES = {"documented": None, "all_400": 400, "all_403": 403, "all_429": 429, "all_500": 500}
"""The positions of the simulator's status knob, as a rule's own status."""
ENDPOINTS = ("posts", "post_insights", "account_insights")
STEP_OF = dict(zip(ENDPOINTS, STEPS, strict=True))
POSTS = 2


@dataclass(frozen=True)
class Case:
    meaning: Meaning
    code: int
    subcode: int | None = None
    is_transient: bool | None = None

    def __str__(self) -> str:
        name = f"{self.code}" + (f"_{self.subcode}" if self.subcode else "")
        return name if self.is_transient is None else f"{name}_transient"


CODED = [
    *(Case("token", 190, subcode) for subcode in (None, 463, 467, 458, 460, 492)),
    Case("token", 102),
    *(Case("user", 190, subcode) for subcode in (459, 464)),
    *(Case("permission", code) for code in (10, 200, 299, 3)),
    *(Case("throttle", code, is_transient=True) for code in (17, 32, 613, 80002)),
    Case("throttle", 17),
    Case("passing", 1),
    Case("passing", 2),
    *(Case("passing", code, is_transient=True) for code in (190, 10, 100, 368, 77777)),
    *(Case("object", code) for code in (24, 100, 368, 506)),
    Case("gone", 100, 33),
]
APP_WIDE = [Case("app", 4, is_transient=True), Case("app", 341)]
UNREADABLE = ["html_502", "truncated_json", "reset", "not_json", "empty", "reset_after_commit", "hang"]


def _step_and_rest(meaning: Meaning, endpoint: str, *, wrote: bool) -> tuple[str, str | None]:
    """What the table says of the step that met the error: its status, and its reason where the table names one."""
    match meaning:
        case "token":
            return "failed", "token_invalid"
        case "user":
            return "failed", "user_action"
        case "permission":
            return "failed", "permission"
        case "throttle" | "app":
            return ("partial" if wrote else "skipped"), "rate_limited"
        case "passing" | "object" | "gone":
            return ("partial", None) if wrote else ("failed", "provider")


def _stops(meaning: Meaning) -> bool:
    return meaning in ("token", "user", "throttle", "app")


def _tries(case: Case, status: int | None) -> int:
    """How often a call is made. Of a code that the documentation does not settle, a status of 500 says: try again."""
    return 3 if case.meaning == "passing" or (case.code in (368, 506) and status == 500) else 1


def _account_status(statuses: list[str]) -> str:
    if set(statuses) == {"completed"}:
        return "completed"
    if set(statuses) == {"skipped"}:
        return "skipped"
    return "partial" if {"completed", "partial"} & set(statuses) else "failed"


@dataclass(frozen=True)
class Struck:
    """An account that an error was scripted for."""

    account: Account
    id: UUID
    endpoint: str
    status: int | None
    post: str | None


async def _strike(w: World, account: Account, endpoint: str, fault: dict[str, Any]) -> Struck:
    """Make one endpoint of an account fail from now on; of the insights of posts, those of one post only."""
    post = account.post(0).id if endpoint == "post_insights" else None
    w.sim.faults.add([Fault(endpoint=endpoint, user=account.id, post=post, **fault)])
    error: FaultError | None = fault.get("error")
    return Struck(account, w.ids[account.id], endpoint, error and error.status, post)


def _telltale(w: World, account: Account) -> str:
    """A message in which a careless provider repeats every secret it was sent."""
    token = w.token(account)
    return f"Error for access_token={token}&client_secret={w.sim.app_secret}: '{token}', Bearer {token}"


async def _check_struck(w: World, rows: dict[str, Row], struck: Struck, meaning: Meaning, tries: int) -> str:
    """Everything that the table says of the struck account; returns its status."""
    step = STEP_OF[struck.endpoint]
    wrote = struck.endpoint == "post_insights" and await w.snapshots(struck.id) > 0
    expected: list[tuple[str, str | None]] = []
    for name in STEPS:
        if name == step:
            expected.append(_step_and_rest(meaning, struck.endpoint, wrote=wrote))
        elif STEPS.index(name) > STEPS.index(step) and _stops(meaning):
            expected.append(("skipped", _step_and_rest(meaning, struck.endpoint, wrote=wrote)[1]))
        else:
            expected.append(("completed", None))
    said = [
        (row.status, row.reason if want[1] or row.status == "completed" else None)
        for row, want in zip(rows.values(), expected, strict=True)
    ]
    where = f"{struck.endpoint}: {rows}"
    assert said == expected, where
    for row in rows.values():
        assert row.completed_at is not None
        assert row.started_at <= row.completed_at

    row = rows[step]
    assert row.error, where
    assert len(row.error) < 700
    if tries == 1 and meaning not in ("gone", "object", "passing"):
        assert row.metadata["api_response"]["error"]["code"] > 0
    assert row.metadata["retry_count"] == (tries - 1) * (2 if struck.endpoint == "account_insights" else 1)
    if meaning in ("passing", "object", "gone") and struck.endpoint == "post_insights":
        assert (row.metadata["metrics_updated"], row.metadata["metrics_missing"]) == (POSTS - 1, 1)
    if step != "sync_metrics" and rows["sync_metrics"].status == "completed":
        assert await w.snapshots(struck.id) == POSTS

    account = await w.account(struck.id)
    token_status = {"token": "invalid", "user": "user_action"}.get(meaning, "valid")
    assert account["token_status"] == token_status, where
    assert (account["reauth_told_at"] is not None) == (meaning in ("token", "user"))
    assert account["disabled_steps"] == ([step] if meaning == "permission" else [])
    gone = await w.db.fetch(
        "select threads_post_id from public.workspace_threads_posts"
        " where workspace_threads_account_id = $1 and gone_at is not null",
        struck.id,
    )
    assert [r[0] for r in gone] == ([struck.post] if meaning == "gone" and struck.post else [])
    return _account_status([status for status, _ in expected])


async def _check_undisturbed(w: World, rows: dict[str, Row], account: UUID) -> None:
    assert [row.said for row in rows.values()] == [("completed", None)] * 3
    assert await w.snapshots(account) == POSTS
    assert (await w.account(account))["last_sync_batch_at"] == w.slot


async def _check_run(w: World, run: UUID, statuses: list[str]) -> None:
    """The run is what its accounts are: the contract's own sums."""
    log = await w.system_log(run)
    errors = [s for s in statuses if s in ("failed", "partial")]
    good, skipped = statuses.count("completed"), statuses.count("skipped")
    if not errors:
        expected = "skipped" if skipped and not good else "completed"
    else:
        expected = "failed" if not good and "partial" not in errors else "partial"
    assert log["status"] == expected
    counts = {key: log["metadata"][key] for key in log["metadata"] if key != "results"}
    assert counts == {
        "total_accounts": len(statuses),
        "success_count": good,
        "error_count": len(errors),
        "skipped_count": skipped,
    }
    told = {UUID(result["account_id"]): result["status"] for result in log["metadata"]["results"]}
    assert sorted(told.values()) == sorted(statuses)


async def _scopes(w: World) -> dict[str, tuple[timedelta, str]]:
    rows = await w.db.fetch(
        "select scope as name, blocked_until - tidemill.now() as left, reason from tidemill.budget"
        " where blocked_until is not null"
    )
    return {row["name"]: (row["left"], row["reason"]) for row in rows}


def _account_scope(w: World, account: Account) -> str:
    return f"threads:account:{w.sim.app_id}:{account.id}"


@pytest.mark.parametrize("case", CODED, ids=str)
async def test_an_error_code_means_the_same_with_any_status_and_disturbs_nobody_else(
    database_url: str, case: Case
) -> None:
    combinations = [(endpoint, status) for status in STATUSES.values() for endpoint in ENDPOINTS]
    async with world(database_url, accounts=len(combinations) + 2, posts=POSTS) as w:
        await w.know_posts()
        struck: list[Struck] = []
        for account, (endpoint, status) in zip(w.sim.accounts, combinations, strict=False):
            error = FaultError(
                code=case.code,
                subcode=case.subcode,
                status=status,
                is_transient=case.is_transient,
                message=_telltale(w, account),
            )
            struck.append(await _strike(w, account, endpoint, {"error": error}))
        before = {s.id: w.sim.calls.of(s.endpoint, s.account.id) for s in struck}
        state = await w.tick()

        rows = await w.rows(state.run_id)
        statuses = [await _check_struck(w, rows[s.id], s, case.meaning, _tries(case, s.status)) for s in struck]
        for s in struck:
            tries = _tries(case, s.status)
            made = w.sim.calls.of(s.endpoint, s.account.id) - before[s.id]
            # The list of posts is one call and the account's insights are two; a fatal refusal of the first ends them.
            if s.endpoint == "posts":
                assert made == tries
            elif s.endpoint == "account_insights":
                assert made == (2 * tries if case.meaning in ("passing", "object", "gone") else 1)
            else:
                assert made <= POSTS - 1 + tries
        for account in w.sim.accounts[-2:]:
            await _check_undisturbed(w, rows[w.ids[account.id]], w.ids[account.id])
        await _check_run(w, state.run_id, [*statuses, "completed", "completed"])

        scopes = await _scopes(w)
        if case.meaning in ("throttle", "user"):
            assert set(scopes) == {_account_scope(w, s.account) for s in struck}
            longest = timedelta(seconds=80) if case.meaning == "throttle" else timedelta(hours=6)
            assert all(timedelta(0) < left <= longest for left, _ in scopes.values())
        else:
            assert scopes == {}
        assert all(attempt == 1 for attempt, _ in await w.attempts())
        assert not w.events("job_failed")
        assert len(w.events("needs_reauth")) == (len(struck) if case.meaning in ("token", "user") else 0)
        assert await w.leaks() == []


@pytest.mark.parametrize("case", APP_WIDE, ids=str)
async def test_a_limit_of_the_whole_app_stops_all_its_accounts(database_url: str, case: Case) -> None:
    # One account at a time, so that it is settled who comes after the one that is refused.
    async with world(database_url, accounts=3, posts=POSTS, accounts_at_once=1) as w:
        await w.know_posts()
        by_id = {w.ids[account.id]: account for account in w.sim.accounts}
        first, *others = sorted(by_id)
        for endpoint in ENDPOINTS:
            for status in STATUSES.values():
                error = FaultError(
                    code=case.code,
                    status=status,
                    is_transient=case.is_transient,
                    message=_telltale(w, by_id[first]),
                )
                struck = await _strike(w, by_id[first], endpoint, {"error": error})
                before = [w.sim.calls.of(user=by_id[account].id) for account in others]
                state = await w.tick()

                rows = await w.rows(state.run_id)
                own = await _check_struck(w, rows[first], struck, "app", 1)
                for account in others:
                    assert [row.said for row in rows[account].values()] == [("skipped", "rate_limited")] * 3
                assert [w.sim.calls.of(user=by_id[account].id) for account in others] == before
                await _check_run(w, state.run_id, [own, "skipped", "skipped"])
                scopes = await _scopes(w)
                assert set(scopes) == {f"threads:app:{w.sim.app_id}"}
                assert timedelta(0) < scopes[f"threads:app:{w.sim.app_id}"][0] <= timedelta(hours=1, minutes=20)
                w.sim.faults.clear()
                await w.db.execute("delete from tidemill.budget")
        assert all(attempt == 1 for attempt, _ in await w.attempts())
        assert await w.leaks() == []


async def test_accounts_under_way_when_the_app_is_limited_stop_without_a_failure(database_url: str) -> None:
    async with world(database_url, accounts=6, posts=20) as w:
        refused = w.sim.accounts[0]
        w.sim.faults.add([Fault(endpoint="post_insights", user=refused.id, call=5, error=FaultError(code=4))])
        state = await w.run()
        stopped = {("partial", "rate_limited"), ("skipped", "rate_limited")}
        rows = await w.rows(state.run_id)
        assert {row.said for row in rows[w.ids[refused.id]].values()} & stopped
        for account, steps in rows.items():
            assert {row.said for row in steps.values()} <= {("completed", None), *stopped}
            assert steps["sync_metrics"].metadata.get("metrics_updated", 0) == await w.snapshots(account)
            statuses = [row.status for row in steps.values()]
            assert statuses == sorted(statuses, key=["completed", "partial", "skipped"].index)
        assert state.status in ("partial", "skipped")


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_an_answer_that_cannot_be_read_is_a_passing_failure(database_url: str, kind: str) -> None:
    limits = Limits(backoff_s=0.005, read_s=2.0 if kind == "hang" else PATIENCE)
    async with world(database_url, accounts=5, posts=POSTS, limits=limits) as w:
        await w.know_posts()
        struck = [
            await _strike(w, account, endpoint, {"kind": kind})
            for account, endpoint in zip(w.sim.accounts, ENDPOINTS, strict=False)
        ]
        state = await w.tick()
        rows = await w.rows(state.run_id)
        statuses = [await _check_struck(w, rows[s.id], s, "passing", 3) for s in struck]
        for account in w.sim.accounts[-2:]:
            await _check_undisturbed(w, rows[w.ids[account.id]], w.ids[account.id])
        await _check_run(w, state.run_id, [*statuses, "completed", "completed"])
        assert await _scopes(w) == {}
        assert await w.leaks() == []


async def test_a_failure_that_passes_within_three_tries_leaves_no_trace_but_the_count(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=POSTS) as w:
        [account] = w.sim.accounts
        w.sim.faults.add(
            [Fault(endpoint=endpoint, kind="html_502", times=2, user=account.id) for endpoint in ("posts", "me")]
        )
        state = await w.run()
        rows = (await w.rows(state.run_id))[w.ids[account.id]]
        assert [row.said for row in rows.values()] == [("completed", None)] * 3
        assert rows["sync_posts"].metadata["retry_count"] == 2
        assert state.status == "completed"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that leaves views and shares out of every post's metrics, and the days out of the account's views."""
    measured = simulated.post_metrics

    def without(*args: Any) -> tuple[int | None, ...]:
        _, likes, replies, reposts, quotes, _ = measured(*args)
        return None, likes, replies, reposts, quotes, None

    monkeypatch.setattr(simulated, "post_metrics", without)
    monkeypatch.setattr(simulated, "day_views", lambda *_: None)


@pytest.mark.usefixtures("blind")
async def test_a_metric_left_out_is_null_in_every_layer_and_no_error(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=POSTS) as w:
        [account] = w.sim.accounts
        _keep_originals(account)
        await w.run()
        state = await w.tick()
        assert await w.said(state.run_id, w.ids[account.id]) == [("completed", None)] * 3
        posts = await w.db.fetch("select * from public.workspace_threads_posts")
        assert len(posts) == POSTS
        assert {(p["current_views"], p["current_shares"]) for p in posts} == {(None, None)}
        assert all(p["current_likes"] is not None for p in posts)
        snapshots = await w.db.fetch("select * from public.workspace_threads_post_metrics")
        assert len(snapshots) == 2 * POSTS
        assert all(s["views"] is None and s["likes"] is not None for s in snapshots)
        deltas = await w.db.fetch("select * from public.workspace_threads_post_metrics_deltas")
        assert len(deltas) == 2 * POSTS
        assert all(d["views_delta"] is None and d["likes_delta"] is not None for d in deltas)
        mine = await w.account(w.ids[account.id])
        assert (mine["current_profile_views"], mine["current_views_count_7d"]) == (None, None)
        assert mine["current_followers_count"] > 0
        assert state.status == "completed"


async def test_empty_insights_of_a_repost_are_nulls_and_no_error(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=POSTS) as w:
        [account] = w.sim.accounts
        _keep_originals(account)
        repost = account.post(1)
        account._posts[1] = replace(repost, media_type="REPOST_FACADE")
        state = await w.run()
        assert await w.said(state.run_id, w.ids[account.id]) == [("completed", None)] * 3
        row = await w.db.fetchrow(
            "select m.views, m.likes, m.replies, m.reposts, m.quotes, m.shares, p.current_likes"
            " from public.workspace_threads_post_metrics m"
            " join public.workspace_threads_posts p on p.id = m.workspace_threads_post_id where threads_post_id = $1",
            repost.id,
        )
        assert row is not None
        assert set(row.values()) == {None}
        assert await w.snapshots(w.ids[account.id]) == POSTS


def _keep_originals(account: Account) -> None:
    """No post of the account is a repost."""
    for number in range(POSTS):
        account._posts[number] = replace(account.post(number), media_type="TEXT_POST")
