from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.web.support import BEARER, bearer, error_of, functions, settings_of, token_of
from tests.web.test_manual import Tenancy
from tidemill.engine import Engine, Registry
from tidemill.postgres import Database
from tidemill.sync import Sync

URL = "/functions/v1/sync-posts"


def _sync(db: Database) -> Sync:
    """The real room without its outside world; no worker runs, so what is started stays under way."""
    nowhere: Any = None
    registry = Registry()
    sync = Sync(
        Engine(db, registry), connector=nowhere, http=nowhere, gate=nowhere, vault=nowhere, settings=settings_of()
    )
    for kind in sync.kinds():
        registry.add(kind)
    return sync


async def _give_token(tenancy: Tenancy) -> None:
    await tenancy.db.execute(
        "insert into public.workspace_threads_tokens "
        "(workspace_threads_account_id, authorized_by_user_id, access_token_encrypted, expires_at, is_primary) "
        "values ($1, $2, 'sealed', tidemill.now() + interval '30 days', true)",
        tenancy.account,
        tenancy.owner,
    )


async def test_a_tick_over_http_opens_the_slots_run_once(db: Database) -> None:
    sync: Any = _sync(db)
    async with functions(db, sync) as client:
        async with client.post("/functions/v1/scheduled-sync?wait=0", headers=BEARER) as response:
            assert response.status == 202
            status_url = (await response.json())["status_url"]
        async with client.get(status_url, headers=BEARER) as response:
            assert (await response.json())["status"] == "running"
        async with client.post("/functions/v1/scheduled-sync?wait=0", headers=BEARER) as response:
            assert response.status == 200
            second = await response.json()
    assert (second["success"], second["skipped"], second["reason"]) == (True, True, "already_running")
    rows = await db.fetch("select status, trigger from public.system_job_logs order by started_at")
    assert [(row["status"], row["trigger"]) for row in rows] == [("running", "http"), ("skipped", "http")]


async def test_a_user_starts_a_step_follows_it_and_meets_his_own_lease(db: Database) -> None:
    tenancy, sync = await Tenancy(db).create(), _sync(db)
    await _give_token(tenancy)
    door: Any = sync
    mine, others = bearer(token_of(tenancy.editor)), bearer(token_of(tenancy.owner))
    async with functions(db, door) as client:
        async with client.post(f"{URL}?wait=0", json=tenancy.body(), headers=mine) as response:
            assert response.status == 202
            started = await response.json()
        async with client.get(started["status_url"], headers=mine) as response:
            assert response.status == 200
            state = await response.json()
            assert (state["status"], state["total_accounts"]) == ("running", 1)
        async with client.get(started["status_url"], headers=others) as response:
            assert response.status == 404
        async with client.post(URL, json=tenancy.body(), headers=others) as response:
            assert response.status == 200
            assert (await response.json())["reason"] == "already_running"
    row = await db.fetchrow("select * from public.sync_logs where run_id = $1", UUID(started["run_id"]))
    assert row is not None
    assert (row["status"], row["triggered_by"], row["job_type"]) == ("pending", tenancy.editor, "sync_posts")


async def test_an_account_without_a_live_token_is_told_so(db: Database) -> None:
    tenancy, door = await Tenancy(db).create(), _sync(db)
    any_door: Any = door
    async with (
        functions(db, any_door) as client,
        client.post(URL, json=tenancy.body(), headers=bearer(token_of(tenancy.owner))) as response,
    ):
        assert response.status == 400
        assert await error_of(response) == "TOKEN_EXPIRED"
