from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.sync.layers.home import NOON, Home, slot
from tidemill.postgres import Connection, Database
from tidemill.sync.layers import AccountObservation, DayViews, PostObservation, write_account_insights
from tidemill.sync.layers.statements import SQL

L1 = ("public.workspace_threads_post_metrics", "public.workspace_threads_account_insights")
LAYERS = (
    *L1,
    "public.workspace_threads_post_metrics_live",
    "public.workspace_threads_post_metrics_deltas",
    "public.workspace_threads_account_insights_live",
    "public.workspace_threads_account_insights_deltas",
    "public.workspace_threads_account_views_days",
)


async def filled(home: Home) -> Home:
    """A home with one row in every table of the layers, and one in a DEFAULT partition."""
    post = await home.post()
    for at in (NOON, NOON.replace(year=2020)):
        await home.write(at, PostObservation(post, 1, 1, 1, 1, 1, 1))
        async with home.conn.transaction():
            insights = AccountObservation(1, 1, 1, 1, {"country": {}}, [DayViews(NOON, 1)])
            await write_account_insights(home.conn, [home.snapshot_at(at, insights)])
    return home


async def counts(home: Home) -> list[int]:
    return [
        await home.conn.fetchval(f"select count(*) from {table} where workspace_id = $1", home.workspace)
        for table in LAYERS
    ]


async def partitions_of(conn: Connection, parent: str) -> list[str]:
    rows = await conn.fetch("select inhrelid::regclass::text from pg_inherits where inhparent = $1::regclass", parent)
    return [r[0] for r in rows]


@pytest.mark.parametrize("table", L1)
async def test_what_was_observed_cannot_be_changed_by_hand(home: Home, table: str) -> None:
    await filled(home)
    before = await counts(home)
    for target in (table, *await partitions_of(home.conn, table)):
        if not await home.conn.fetchval(f"select count(*) from {target}"):
            continue
        for statement in (
            f"update {target} set captured_at = captured_at",
            f"delete from {target}",
            f"truncate {target}",
        ):
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await home.conn.execute(statement)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await home.conn.execute("truncate workspaces cascade")
    assert await counts(home) == before


@pytest.mark.parametrize("table", ["workspaces", "workspace_threads_accounts"])
async def test_history_goes_with_what_it_is_about(home: Home, table: str) -> None:
    await filled(home)
    assert all(await counts(home))
    await home.conn.execute(
        f"delete from {table} where id = $1", home.workspace if table == "workspaces" else home.account
    )
    assert not any(await counts(home))


async def test_a_deleted_post_takes_its_history_along_and_no_other(home: Home) -> None:
    await filled(home)
    kept = await home.post()
    await home.write(NOON, PostObservation(kept, 1))
    await home.conn.execute(
        "delete from workspace_threads_posts where workspace_id = $1 and id <> $2", home.workspace, kept
    )
    assert await counts(home) == [1, 2, 1, 1, 2, 2, 1]


async def test_partitions_are_made_ahead_once_and_by_one_maker(db: Database) -> None:
    await db.fetch("select * from tidemill.ensure_partitions('0')")

    async def make() -> list[Any]:
        while True:  # who waits too long for the others gives up; housekeeping, too, tries again
            with contextlib.suppress(asyncpg.LockNotAvailableError):
                return await db.fetch("select * from tidemill.ensure_partitions('4 months')")

    made = await asyncio.gather(*[make() for _ in range(3)])
    outcomes = [(r["partition"], r["outcome"]) for rows in made for r in rows]
    created = [name for name, outcome in outcomes if outcome == "created"]
    assert len(created) == len(set(created)) >= 6
    assert {outcome for _, outcome in outcomes} == {"created", "exists"}
    again = await db.fetch("select * from tidemill.ensure_partitions('4 months')")
    assert {r["outcome"] for r in again} == {"exists"}


async def test_a_month_the_default_partition_holds_rows_of_is_left_there_and_reported(db: Database) -> None:
    future = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=31 * 6)
    name = f"tidemill.workspace_threads_post_metrics_{future:%Y%m}"
    async with db.connection() as conn:
        home = await Home.make(conn)
        post = await home.post()
        await home.write(future, PostObservation(post, 1))
        made = {
            r["partition"]: r["outcome"]
            for r in await conn.fetch("select * from tidemill.ensure_partitions('8 months')")
        }
        assert made.pop(name) == "default_holds_rows"
        assert set(made.values()) == {"created", "exists"}
        assert list(await home.snapshots(post)) == [future]


async def test_writers_go_on_while_partitions_are_made(db: Database) -> None:
    async with db.connection() as conn:
        home = await Home.make(conn)
        posts = await home.posts(5)

        async def make(months: int) -> None:
            while True:  # it gives up rather than hold up writers; housekeeping, too, tries again
                with contextlib.suppress(asyncpg.LockNotAvailableError):
                    await db.fetch("select * from tidemill.ensure_partitions($1)", timedelta(days=31 * months))
                    return

        async def write() -> None:
            for n in range(40):
                await home.write(slot(n), *[PostObservation(p, n) for p in posts])

        async with asyncio.timeout(300):
            await asyncio.gather(write(), *(make(months) for months in range(1, 9)))
        assert len(await home.snapshots(posts[0])) == 40


async def test_every_partition_is_closed_by_itself(db: Database) -> None:
    await db.fetch("select * from tidemill.ensure_partitions('2 months')")
    rows = await db.fetch(
        """
        select c.oid::regclass::text as name, n.nspname, c.relrowsecurity and c.relforcerowsecurity as guarded,
               (select count(*) from pg_policy where polrelid = c.oid) as policies,
               (select count(*) from pg_trigger where tgrelid = c.oid and tgname like 'append_only%') as triggers,
               has_table_privilege('anon', c.oid, 'select')
                 or has_table_privilege('authenticated', c.oid, 'select') as open
        from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_namespace n on n.oid = c.relnamespace
        where i.inhparent = any ($1::text[]::regclass[])
        """,
        list(L1),
    )
    assert len(rows) >= 6
    for r in rows:
        assert (r["nspname"], r["guarded"], r["policies"] > 0, r["triggers"], r["open"]) == (
            "tidemill",
            True,
            True,
            2,
            False,
        ), r["name"]


async def test_members_read_the_layers_of_their_workspaces_and_write_none(home: Home) -> None:
    await filled(home)
    await filled(await Home.make(home.conn))
    user = await home.conn.fetchval("insert into auth.users (id) values (gen_random_uuid()) returning id")
    await home.conn.execute(
        "insert into workspace_members (workspace_id, user_id, role, joined_at) values ($1, $2, 'owner', now())",
        home.workspace,
        user,
    )
    expected = [
        [
            r["workspace_id"]
            for r in await home.conn.fetch(f"select workspace_id from {t} where workspace_id = $1", home.workspace)
        ]
        for t in LAYERS
    ]

    async def attempt(role: str, statement: str) -> list[Any]:
        async with home.conn.transaction():
            await home.conn.execute(f"set local role {role}")
            await home.conn.execute("select set_config('request.jwt.claims', $1, true)", json.dumps({"sub": str(user)}))
            return [r[0] for r in await home.conn.fetch(statement)]

    for table, rows in zip(LAYERS, expected, strict=True):
        assert rows
        assert await attempt("authenticated", f"select workspace_id from {table}") == rows
        for role, statement in (
            ("anon", f"select 1 from {table}"),
            ("authenticated", f"insert into {table} (workspace_id) values (null)"),
            ("authenticated", f"update {table} set workspace_id = workspace_id"),
            ("authenticated", f"delete from {table}"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attempt(role, statement)
    for parent in L1:
        for partition in await partitions_of(home.conn, parent):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attempt("authenticated", f"select 1 from {partition}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attempt("authenticated", "select tidemill.ensure_partitions()")


async def test_a_snapshot_cannot_claim_another_workspace(home: Home) -> None:
    post, other = await home.post(), await Home.make(home.conn)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await home.conn.execute(
            "insert into workspace_threads_post_metrics (workspace_id, workspace_threads_post_id, sync_batch_at) "
            "values ($1, $2, now())",
            other.workspace,
            post,
        )


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *[n for child in plan.get("Plans", []) for n in nodes(child)]]


@pytest.mark.parametrize("others", [25, 250])
async def test_a_write_reads_by_index_only_what_it_is_about(db: Database, others: int) -> None:
    async with db.connection() as conn:
        home = await Home.make(conn)
        for _ in range(40):
            await (await Home.make(conn)).posts(others)
        posts = await home.posts(25)
        await conn.execute(
            "insert into workspace_threads_post_metrics "
            "(workspace_id, workspace_threads_post_id, views, sync_batch_at) "
            "select p.workspace_id, p.id, n, $1::timestamptz + n * interval '15 minutes' "
            "from workspace_threads_posts p, generate_series(1, 60) n "
            "where p.workspace_id = $2 or p.id > 'f0000000-0000-0000-0000-000000000000'",
            NOON - timedelta(days=1),
            home.workspace,
        )
        await conn.execute("analyze workspace_threads_posts, workspace_threads_post_metrics")
        for mode in ("force_custom_plan", "force_generic_plan"):
            for name, plan in (await plans(home, posts, mode)).items():
                for node in nodes(plan):
                    where = f"{mode} {name}: {node['Node Type']} on {node.get('Relation Name')}"
                    # Linear in the posts asked for: nothing is compared with everything, no history is read.
                    assert node.get("Rows Removed by Join Filter", 0) == 0, where
                    if others == 250 and "Relation Name" in node and node["Actual Loops"]:
                        assert node["Node Type"] != "Seq Scan", where
                        assert node["Actual Rows"] * node["Actual Loops"] <= 25 * 4, where


async def plans(home: Home, posts: list[UUID], mode: str) -> dict[str, dict[str, Any]]:
    """What each statement on posts really did for a late snapshot of these posts; rolled back."""

    def array(values: Sequence[object]) -> str:
        return "'{" + ",".join(f'"{value}"' for value in values) + "}'"

    ids, at = array(posts), NOON - timedelta(hours=20)
    columns = [[home.workspace], [home.account], [at], *([5] for _ in range(6))]
    owner, account, slots, *values = (array(column * len(posts)) for column in columns)
    same = ", ".join([owner, account, slots, ids, *values])
    same_types = "uuid[], uuid[], timestamptz[], uuid[]" + ", bigint[]" * 6
    found: dict[str, dict[str, Any]] = {}
    for name, types, args in (
        ("post_metrics_write", same_types, same),
        ("post_metrics_correct", same_types, same),
        ("post_metrics_rederive", "uuid[], timestamptz", f"{ids}, '{at}'"),
    ):
        transaction: Any = home.conn.transaction()
        await transaction.start()
        try:
            await home.conn.execute(f"set local plan_cache_mode = {mode}")
            await home.conn.execute(f"prepare {name} ({types}) as {getattr(SQL, name)}")
            [explained] = await home.conn.fetchval(f"explain (analyze, format json) execute {name} ({args})")
            await home.conn.execute(f"deallocate {name}")
        finally:
            await transaction.rollback()
        found[name] = explained["Plan"]
    return found
