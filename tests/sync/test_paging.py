"""Lists of posts that span pages: all are found however the provider tells the end, known ones are not read again."""

from __future__ import annotations

from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tests.sync.support import World, refusal, until, world
from tidemill.simulators.threads import Account


async def _sync_posts(w: World, account: Account) -> list[tuple[str, str | None]]:
    manual = await w.app.sync.trigger_manual(
        w.ids[account.id], "sync_posts", user_id=w.user, request_key=f"{account.id}"
    )
    assert not manual.skipped
    await w.finished(manual.run_id)

    async def _free() -> bool:
        return not await w.db.fetchval("select count(*) from tidemill.unique_key")

    await until(_free, "the end of the account's job, which comes just after that of its rows")
    return await w.said(manual.run_id, w.ids[account.id])


async def _known(w: World, account: UUID) -> int:
    return await w.db.fetchval(
        "select count(*) from public.workspace_threads_posts where workspace_threads_account_id = $1", account
    )


@pytest.mark.parametrize("posts", [100, 130])
async def test_every_way_of_ending_a_list_gives_all_posts_and_then_one_page(database_url: str, posts: int) -> None:
    # Where neither a link nor a post says that more follows, nobody can know: never with an empty page is left out.
    knobs = [
        {"paging_next": link, "last_page_cursor": cursor, "empty_page": empty, "order": order}
        for link, cursor, empty, order in product(
            ("all_but_last", "never", "always"), (True, False), (True, False), ("newest", "oldest")
        )
        if not (link == "never" and empty)
    ]
    async with world(database_url, accounts=len(knobs), posts=posts, young_share=0.2) as w:
        for account, turned in zip(w.sim.accounts, knobs, strict=True):
            w.sim.turn(**turned)
            mine = w.ids[account.id]
            assert await _sync_posts(w, account) == [("completed", None)], turned
            # Posts older than a year may be left unread, never any other.
            year = sum(w.now.timestamp() - account.published(n) <= 365 * 86_400 for n in range(posts))
            assert year <= await _known(w, mine) <= posts, turned
            newest = max(account.published(n) for n in range(posts))
            watermark = (await w.account(mine))["posts_watermark"]
            assert watermark.timestamp() == newest, turned
            made = w.sim.calls.of("posts", account.id)
            assert made <= (4 if turned["empty_page"] else 3), turned
            assert await _sync_posts(w, account) == [("completed", None)], turned
            if turned["order"] == "newest":
                assert w.sim.calls.of("posts", account.id) == made + 1, turned


async def test_the_watermark_moves_only_when_the_list_was_read_to_its_end(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=130, young_share=0.9) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        w.sim.faults.add([refusal(100, user=account, call=2)])
        assert await _sync_posts(w, account) == [("partial", "provider")]
        assert await _known(w, mine) == 100
        row: Any = await w.account(mine)
        assert row["posts_watermark"] is None
        assert await _sync_posts(w, account) == [("completed", None)]
        assert await _known(w, mine) == 130
        assert (await w.account(mine))["posts_watermark"] is not None


async def test_a_watermark_that_stands_stays_when_the_next_read_breaks_off(database_url: str) -> None:
    async with world(database_url, accounts=1, posts=130, young_share=1.0) as w:
        [account] = w.sim.accounts
        mine = w.ids[account.id]
        await w.db.execute(
            "update public.workspace_threads_accounts set posts_watermark = $2 where id = $1",
            mine,
            w.now.replace(day=8),
        )
        w.sim.faults.add([refusal(100, user=account, call=2)])
        assert await _sync_posts(w, account) == [("partial", "provider")]
        assert (await w.account(mine))["posts_watermark"] == w.now.replace(day=8)
        assert await _sync_posts(w, account) == [("completed", None)]
        assert (await w.account(mine))["posts_watermark"] > w.now.replace(day=9)
