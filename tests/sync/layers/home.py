"""A workspace with one account and its posts, and the rows of the layers as plain tuples."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from tidemill.postgres import Connection
from tidemill.sync.layers import (
    AccountObservation,
    AccountSnapshot,
    PostObservation,
    PostSnapshots,
    Written,
    write_post_metrics,
)

NOON = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)
METRICS = ("views", "likes", "replies", "reposts", "quotes", "shares")


def slot(n: int) -> datetime:
    """The n-th quarter of an hour from noon."""
    return NOON + timedelta(minutes=15 * n)


@dataclass
class Home:
    conn: Connection
    workspace: UUID = field(default_factory=uuid4)
    account: UUID = field(default_factory=uuid4)

    @classmethod
    async def make(cls, conn: Connection) -> Home:
        home = cls(conn)
        await conn.execute("insert into workspaces (id, name) values ($1, 'a workspace')", home.workspace)
        await conn.execute(
            "insert into workspace_threads_accounts (id, workspace_id, threads_user_id, username) "
            "values ($1, $2, $3, 'someone')",
            home.account,
            home.workspace,
            home.account.hex,
        )
        return home

    async def posts(self, count: int, published_at: datetime = NOON) -> list[UUID]:
        rows = await self.conn.fetch(
            "insert into workspace_threads_posts "
            "(workspace_id, workspace_threads_account_id, threads_post_id, published_at) "
            "select $1, $2, gen_random_uuid()::text, $3 from generate_series(1, $4) returning id",
            self.workspace,
            self.account,
            published_at,
            count,
        )
        return [r["id"] for r in rows]

    async def post(self, published_at: datetime = NOON) -> UUID:
        return (await self.posts(1, published_at))[0]

    async def write(self, at: datetime, *observations: PostObservation, correct: bool = False) -> Written:
        async with self.conn.transaction():
            return await write_post_metrics(self.conn, [self.snapshots_at(at, *observations)], correct=correct)

    def snapshots_at(self, at: datetime, *observations: PostObservation) -> PostSnapshots:
        return PostSnapshots(workspace_id=self.workspace, account_id=self.account, slot=at, observations=observations)

    def snapshot_at(self, at: datetime, insights: AccountObservation) -> AccountSnapshot:
        return AccountSnapshot(workspace_id=self.workspace, account_id=self.account, slot=at, insights=insights)

    async def deltas(self, post: UUID) -> dict[datetime, tuple[object, ...]]:
        """Layer 2 by slot: start, end, the six deltas, baseline."""
        rows = await self.conn.fetch(
            "select sync_batch_at, period_start, period_end, views_delta, likes_delta, replies_delta, reposts_delta, "
            "quotes_delta, shares_delta, is_baseline from workspace_threads_post_metrics_deltas "
            "where workspace_threads_post_id = $1",
            post,
        )
        return {r[0]: tuple(r)[1:] for r in rows}

    async def recalculated(self, post: UUID) -> set[datetime]:
        rows = await self.conn.fetch(
            "select sync_batch_at from workspace_threads_post_metrics_deltas "
            "where workspace_threads_post_id = $1 and is_recalculated",
            post,
        )
        return {r[0] for r in rows}

    async def snapshots(self, post: UUID) -> dict[datetime, tuple[int | None, ...]]:
        """Layer 1 as it counts, by slot."""
        rows = await self.conn.fetch(
            "select sync_batch_at, views, likes, replies, reposts, quotes, shares "
            "from workspace_threads_post_metrics_live where workspace_threads_post_id = $1",
            post,
        )
        return {r[0]: tuple(r)[1:] for r in rows}

    async def current(self, post: UUID) -> tuple[object, ...]:
        """Layer 3: six values, six slots, the newest slot."""
        row = await self.conn.fetchrow(
            "select current_views, current_likes, current_replies, current_reposts, current_quotes, current_shares, "
            "current_views_at, current_likes_at, current_replies_at, current_reposts_at, current_quotes_at, "
            "current_shares_at, last_sync_batch_at from workspace_threads_posts where id = $1",
            post,
        )
        assert row is not None
        return tuple(row)

    async def gauges(self) -> dict[datetime, tuple[int | None, ...]]:
        """Layer 1 of the account as it counts, by slot."""
        rows = await self.conn.fetch(
            "select sync_batch_at, followers_count, profile_views, likes_count_7d, views_count_7d "
            "from workspace_threads_account_insights_live where workspace_threads_account_id = $1",
            self.account,
        )
        return {r[0]: tuple(r)[1:] for r in rows}

    async def gauge_deltas(self) -> dict[datetime, tuple[object, ...]]:
        """Layer 2 of the account by slot: start, end, the four deltas."""
        rows = await self.conn.fetch(
            "select sync_batch_at, period_start, period_end, followers_delta, profile_views_delta, "
            "likes_count_7d_delta, views_count_7d_delta from workspace_threads_account_insights_deltas "
            "where workspace_threads_account_id = $1",
            self.account,
        )
        return {r[0]: tuple(r)[1:] for r in rows}

    async def current_gauges(self) -> tuple[object, ...]:
        """Layer 3 of the account: four values, four slots, the newest slot."""
        row = await self.conn.fetchrow(
            "select current_followers_count, current_profile_views, current_likes_count_7d, current_views_count_7d, "
            "current_followers_count_at, current_profile_views_at, current_likes_count_7d_at, "
            "current_views_count_7d_at, last_sync_batch_at from workspace_threads_accounts where id = $1",
            self.account,
        )
        assert row is not None
        return tuple(row)

    async def days(self) -> dict[datetime, tuple[datetime, int]]:
        """The account's days of views: slot of the observation that counts, views."""
        rows = await self.conn.fetch(
            "select end_time, sync_batch_at, views from workspace_threads_account_views_days "
            "where workspace_threads_account_id = $1",
            self.account,
        )
        return {r[0]: (r[1], r[2]) for r in rows}
