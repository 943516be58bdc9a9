from __future__ import annotations

from typing import Any

from tests.sync.support import world
from tidemill.sync import ending


async def test_an_account_whose_data_postgres_refuses_fails_alone(database_url: str) -> None:
    """The ends of many accounts' steps share a transaction; what breaks one of them must not break the others."""
    async with world(database_url, accounts=6, accounts_at_once=6) as w:
        cursed, *others = w.ids.values()
        await w.db.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise exception 'refused by a trigger of the test'; end $$;"
            "create trigger refuse before insert on public.workspace_threads_account_insights for each row"
            f" when (new.workspace_threads_account_id = '{cursed}') execute function refuse()"
        )
        state = await w.run()
        assert (state.status, state.success_count, state.error_count) == ("partial", 5, 1)
        for account in others:
            assert [said for said, _ in await w.said(state.run_id, account)] == ["completed"] * 3
            assert await w.snapshots(account) == 4
        rows = (await w.rows(state.run_id))[cursed]
        assert [row.status for row in rows.values()] == ["completed", "completed", "failed"]
        assert "refused by a trigger of the test" in (rows["sync_account_insights"].error or "")
        assert await w.snapshots(cursed) == 4


async def test_the_ends_of_accounts_that_come_together_share_a_transaction(database_url: str, monkeypatch: Any) -> None:
    groups: list[int] = []
    end_all = ending.write_observed

    async def counted(conn: Any, observed: Any) -> None:
        groups.append(len(observed))
        await end_all(conn, observed)

    monkeypatch.setattr(ending, "write_observed", counted)
    async with world(database_url, accounts=12, accounts_at_once=12) as w:
        state = await w.run()
        assert state.status == "completed"
    assert sum(groups) == 12 * 3
    assert max(groups) > 1
    assert len(groups) < 12 * 3
