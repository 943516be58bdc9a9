from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.web.support import (
    BEARER,
    StandInDoor,
    UntouchableDatabase,
    bearer,
    error_of,
    finished_door,
    functions,
    settings_of,
    token_of,
)
from tidemill.postgres import Database
from tidemill.sync import TokenExpired, Triggered

URL = "/functions/v1/sync-posts"
STEPS = {"sync-posts": "sync_posts", "sync-metrics": "sync_metrics", "sync-account-insights": "sync_account_insights"}


@dataclass
class Tenancy:
    """A workspace with one account and a user in every relation to it, and a neighbour with the same."""

    db: Database
    account: UUID = field(default_factory=uuid4)
    workspace: UUID = field(default_factory=uuid4)
    owner: UUID = field(default_factory=uuid4)
    editor: UUID = field(default_factory=uuid4)
    viewer: UUID = field(default_factory=uuid4)
    invited: UUID = field(default_factory=uuid4)
    stranger: UUID = field(default_factory=uuid4)

    async def create(self) -> Tenancy:
        for user in (self.owner, self.editor, self.viewer, self.invited, self.stranger):
            await self.db.execute("insert into auth.users (id) values ($1)", user)
        members = [(self.owner, "owner", True), (self.editor, "editor", True), (self.viewer, "viewer", True)]
        await self._workspace(self.workspace, self.account, [*members, (self.invited, "editor", False)])
        await self._workspace(uuid4(), uuid4(), [(self.stranger, "owner", True)])
        return self

    async def _workspace(self, workspace: UUID, account: UUID, members: list[tuple[UUID, str, bool]]) -> None:
        await self.db.execute(
            "insert into public.workspaces (id, name, created_by_user_id) values ($1, 'w', $2)",
            workspace,
            members[0][0],
        )
        for user, role, joined in members:
            await self.db.execute(
                "insert into public.workspace_members (workspace_id, user_id, role, joined_at) "
                "values ($1, $2, $3, case when $4 then now() end)",
                workspace,
                user,
                role,
                joined,
            )
        await self.db.execute(
            "insert into public.workspace_threads_accounts (id, workspace_id, threads_user_id, username) "
            "values ($1, $2, $3, 'name')",
            account,
            workspace,
            str(account),
        )

    def body(self) -> dict[str, Any]:
        return {"workspace_threads_account_id": str(self.account)}


@pytest.fixture
async def tenancy(db: Database) -> Tenancy:
    return await Tenancy(db).create()


@pytest.fixture
def door() -> StandInDoor:
    return finished_door()


@pytest.fixture
async def client(db: Database, door: StandInDoor) -> AsyncIterator[aiohttp.ClientSession]:
    async with functions(db, door) as session:
        yield session


@pytest.mark.parametrize(("name", "step"), STEPS.items())
async def test_each_endpoint_starts_its_step_for_the_user(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy, name: str, step: str
) -> None:
    headers = {**bearer(token_of(tenancy.owner)), "X-Request-Id": "r-1"}
    async with client.post(f"/functions/v1/{name}", json=tenancy.body(), headers=headers) as response:
        assert response.status == 200
        answer = await response.json()
    assert (answer["success"], answer["status"]) == (True, "completed")
    key = f"user:{tenancy.owner}:r-1"
    assert door.triggered == [
        {"account_id": tenancy.account, "step": step, "user_id": tenancy.owner, "request_key": key}
    ]


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("owner", 200, None),
        ("editor", 200, None),
        ("viewer", 403, "FORBIDDEN"),
        ("invited", 404, "ACCOUNT_NOT_FOUND"),
        ("stranger", 404, "ACCOUNT_NOT_FOUND"),
    ],
)
async def test_only_joined_owners_and_editors_may_start_a_sync(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy, who: str, status: int, code: str | None
) -> None:
    token = token_of(getattr(tenancy, who))
    async with client.post(URL, json=tenancy.body(), headers=bearer(token)) as response:
        assert response.status == status
        if code:
            assert await error_of(response) == code
    assert len(door.triggered) == (status == 200)


async def test_an_unknown_account_and_anothers_account_look_the_same(
    client: aiohttp.ClientSession, tenancy: Tenancy
) -> None:
    messages: list[str] = []
    for account in (tenancy.account, uuid4()):
        body = {"workspace_threads_account_id": str(account)}
        async with client.post(URL, json=body, headers=bearer(token_of(tenancy.stranger))) as response:
            assert response.status == 404
            messages.append((await response.json())["error"]["message"])
    assert len(set(messages)) == 1


async def test_a_deleted_workspaces_account_is_not_synced(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    await tenancy.db.execute("update public.workspaces set deleted_at = now() where id = $1", tenancy.workspace)
    for user in (tenancy.owner, tenancy.editor):
        async with client.post(URL, json=tenancy.body(), headers=bearer(token_of(user))) as response:
            assert response.status in (403, 404)
    assert not door.triggered


async def test_claims_about_roles_in_a_token_open_nothing(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    boasts = {"user_metadata": {"role": "owner"}, "workspace_id": str(tenancy.workspace), "is_admin": True}
    async with client.post(URL, json=tenancy.body(), headers=bearer(token_of(tenancy.stranger, **boasts))) as response:
        assert response.status == 404
    for role in ("service_role", "anon", "postgres", "", ["authenticated"]):
        async with client.post(
            URL, json=tenancy.body(), headers=bearer(token_of(tenancy.owner, role=role))
        ) as response:
            assert response.status == 401
    assert not door.triggered


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"workspace_threads_account_id": None},
        {"workspace_threads_account_id": 1},
        {"workspace_threads_account_id": ""},
        {"workspace_threads_account_id": "1"},
        {"workspace_threads_account_id": f"{{{uuid4()}}}"},
        {"workspace_threads_account_id": f"urn:uuid:{uuid4()}"},
        {"workspace_threads_account_id": f"{uuid4()}' or true --"},
        {"workspace_threads_account_id": [str(uuid4())]},
    ],
)
async def test_a_body_without_a_uuid_is_refused_before_any_database_work(body: dict[str, Any]) -> None:
    db, door = UntouchableDatabase(), StandInDoor()
    async with (
        functions(db, door) as client,
        client.post(URL, json=body, headers=bearer(token_of(uuid4()))) as response,
    ):
        assert response.status == 400
        assert await error_of(response) == "INVALID_ID"
        assert "workspace_threads_account_id" in (await response.json())["error"]["message"]
    assert not db.touched


async def test_an_unknown_field_is_refused_by_name() -> None:
    body = {"workspace_threads_account_id": str(uuid4()), "force": True}
    async with (
        functions(UntouchableDatabase(), StandInDoor()) as client,
        client.post(URL, json=body, headers=bearer(token_of(uuid4()))) as response,
    ):
        assert response.status == 400
        assert (await response.json())["error"]["message"].startswith("force: ")


@pytest.mark.parametrize(("name", "calls"), [("sync-posts", 10), ("sync-metrics", 5), ("sync-account-insights", 10)])
async def test_a_user_who_asks_too_often_is_told_when_to_come_back(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy, name: str, calls: int
) -> None:
    async def call(user: UUID) -> tuple[int, str | None]:
        async with client.post(
            f"/functions/v1/{name}", json=tenancy.body(), headers=bearer(token_of(user))
        ) as response:
            if response.status == 429:
                assert await error_of(response) == "RATE_LIMITED"
            return response.status, response.headers.get("Retry-After")

    answers = await asyncio.gather(*(call(tenancy.owner) for _ in range(calls + 3)))
    assert sorted(status for status, _ in answers) == [200] * calls + [429] * 3
    assert all(1 <= int(after or 0) <= 60 for status, after in answers if status == 429)
    assert len(door.triggered) == calls
    # Another user's calls, and the same user's of another endpoint, are counted apart.
    assert (await call(tenancy.editor))[0] == 200
    other = next(other for other in STEPS if other != name)
    token = bearer(token_of(tenancy.owner))
    async with client.post(f"/functions/v1/{other}", json=tenancy.body(), headers=token) as response:
        assert response.status == 200


async def test_guessing_account_ids_spends_the_same_limit(client: aiohttp.ClientSession, tenancy: Tenancy) -> None:
    statuses: list[int] = []
    for _ in range(7):
        body = {"workspace_threads_account_id": str(uuid4())}
        headers = bearer(token_of(tenancy.stranger))
        async with client.post("/functions/v1/sync-metrics", json=body, headers=headers) as response:
            statuses.append(response.status)
    assert statuses == [404] * 5 + [429] * 2


async def test_an_account_whose_lease_is_held_is_skipped(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    door.answer = Triggered(uuid4(), skipped=True, reason="already_running", locked_until=None)
    async with client.post(URL, json=tenancy.body(), headers=bearer(token_of(tenancy.owner))) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer == {"success": True, "skipped": True, "reason": "already_running", "locked_until": None}


async def test_an_account_whose_token_expired_must_be_connected_again(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    door.answer = TokenExpired("workspace_threads_account_id", "the token ended at 2026-01-01")
    async with client.post(URL, json=tenancy.body(), headers=bearer(token_of(tenancy.owner))) as response:
        assert response.status == 400
        assert await error_of(response) == "TOKEN_EXPIRED"


async def _log_row(tenancy: Tenancy, run_id: UUID, triggered_by: UUID | None) -> None:
    await tenancy.db.execute(
        "insert into public.sync_logs "
        "(workspace_threads_account_id, workspace_id, job_type, status, run_id, triggered_by) "
        "values ($1, $2, 'sync_posts', 'running', $3, $4)",
        tenancy.account,
        tenancy.workspace,
        run_id,
        triggered_by,
    )


async def test_a_user_sees_the_state_of_the_runs_he_started_and_of_no_other(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    door.finished.clear()
    async with client.post(f"{URL}?wait=0", json=tenancy.body(), headers=bearer(token_of(tenancy.editor))) as response:
        assert response.status == 202
        status_url = (await response.json())["status_url"]
    (run_id,) = door.runs
    await _log_row(tenancy, run_id, tenancy.editor)

    async def status_for(**headers: str) -> int:
        async with client.get(status_url, headers=headers) as response:
            return response.status

    assert await status_for(**bearer(token_of(tenancy.editor))) == 200
    assert await status_for(**bearer(token_of(tenancy.owner))) == 404
    assert await status_for(**bearer(token_of(tenancy.stranger))) == 404
    assert await status_for(**BEARER) == 200
    assert await status_for() == 401
    # Whoever leaves the workspace no longer sees it.
    await tenancy.db.execute("delete from public.workspace_members where user_id = $1", tenancy.editor)
    assert await status_for(**bearer(token_of(tenancy.editor))) == 404


async def test_a_scheduled_runs_results_which_name_all_tenants_are_shown_to_no_user(
    client: aiohttp.ClientSession, door: StandInDoor, tenancy: Tenancy
) -> None:
    async with client.post("/functions/v1/scheduled-sync", headers=BEARER) as response:
        run_id = UUID((await response.json())["run_id"])
    await _log_row(tenancy, run_id, None)
    async with client.get(f"/functions/v1/runs/{run_id}", headers=bearer(token_of(tenancy.owner))) as response:
        assert response.status == 404


async def test_the_cron_secret_is_no_users_token_and_a_users_token_no_cron_secret() -> None:
    db, door = UntouchableDatabase(), StandInDoor()
    async with functions(db, door) as client:
        async with client.post(URL, json={}, headers=BEARER) as response:
            assert response.status == 401
        async with client.post("/functions/v1/scheduled-sync", headers=bearer(token_of(uuid4()))) as response:
            assert response.status == 401
    assert not db.touched


async def test_without_keys_for_user_tokens_manual_syncs_are_off() -> None:
    db = UntouchableDatabase()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(functions(db, StandInDoor(), settings_of(jwt_secret=None)))
        async with client.post(URL, json={}, headers=bearer(token_of(uuid4()))) as response:
            assert response.status == 501
            assert await error_of(response) == "NOT_CONFIGURED"
        async with client.get(f"/functions/v1/runs/{uuid4()}", headers=bearer(token_of(uuid4()))) as response:
            assert response.status == 401
    assert not db.touched
