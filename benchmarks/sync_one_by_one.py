"""Contender: the algorithm that scheduled syncs are written in by hand.

Accounts five at a time, an account's posts one after another, one statement per row and layer; its pauses between
groups are not counted. Tables of the same shape, without row security, triggers or partitions: it pays for nothing
that it does not do.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import asyncpg
import uvloop

from benchmarks.world import POST_FIELDS, POST_METRICS, World

AT_ONCE = 5

TABLES = """
drop schema if exists one_by_one cascade;
create schema one_by_one;
create table one_by_one.posts (id bigint generated always as identity primary key, account text, post text, text text,
  published_at timestamptz, views int, likes int, replies int, reposts int, quotes int, shares int,
  synced_at timestamptz,
  unique (account, post));
create table one_by_one.metrics (id bigint generated always as identity primary key, post bigint, views int, likes int,
  replies int, reposts int, quotes int, shares int, captured_at timestamptz default now());
create index on one_by_one.metrics (post, captured_at desc);
create table one_by_one.deltas (id bigint generated always as identity primary key, post bigint, views int, likes int,
  replies int, reposts int, quotes int, shares int, at timestamptz default now());
create table one_by_one.insights (id bigint generated always as identity primary key, account text, followers int,
  views int, at timestamptz default now());
create table one_by_one.logs (id bigint generated always as identity primary key, account text, job_type text,
  status text, at timestamptz default now());
"""


async def run(world: World, accounts: int) -> dict[str, Any]:
    """One run over the first ``accounts`` accounts, posts known from an earlier one."""
    db: Any = await asyncpg.create_pool(world.database_url, min_size=AT_ONCE, max_size=AT_ONCE)
    async with aiohttp.ClientSession() as http:
        await db.execute(TABLES)
        users = [account["id"] for account in await world.accounts(http)][:accounts]
        tokens = {user: await world.token(http, user) for user in users}
        calls = 0

        async def get(user: str, path: str) -> Any:
            nonlocal calls
            calls += 1
            headers = {"Authorization": f"Bearer {tokens[user]}"}
            async with http.get(f"{world.simulator_url}/v1.0/{path}", headers=headers) as answer:
                return await answer.json()

        async def account(user: str) -> None:
            page = await get(user, f"me/threads?fields={POST_FIELDS}&limit=100")
            posts: list[tuple[int, str]] = []
            for post in page["data"]:
                post_id = await db.fetchval(
                    "insert into one_by_one.posts (account, post, text) values ($1, $2, $3)"
                    " on conflict (account, post) do update set text = excluded.text returning id",
                    user,
                    post["id"],
                    post.get("text"),
                )
                posts.append((post_id, post["id"]))
            await log(user, "sync_posts")
            for post_id, name in posts:
                answer = await get(user, f"{name}/insights?metric={POST_METRICS}")
                told = {metric["name"]: metric["values"][0]["value"] for metric in answer["data"]}
                now = [told.get(metric, 0) for metric in POST_METRICS.split(",")]
                before = await db.fetchrow(
                    "select views, likes, replies, reposts, quotes, shares from one_by_one.metrics"
                    " where post = $1 order by captured_at desc limit 1",
                    post_id,
                )
                columns = "(post, views, likes, replies, reposts, quotes, shares) values ($1, $2, $3, $4, $5, $6, $7)"
                await db.execute(f"insert into one_by_one.metrics {columns}", post_id, *now)
                delta = [n - b for n, b in zip(now, before or [0] * 6, strict=True)]
                await db.execute(f"insert into one_by_one.deltas {columns}", post_id, *delta)
                await db.execute(
                    "update one_by_one.posts set views = $2, likes = $3, replies = $4, reposts = $5, quotes = $6,"
                    " shares = $7, synced_at = now() where id = $1",
                    post_id,
                    *now,
                )
            await log(user, "sync_metrics")
            followers = await get(user, "me/threads_insights?metric=followers_count")
            await get(user, "me/threads_insights?metric=views")
            total = followers["data"][0]["total_value"]["value"] if followers["data"] else None
            await db.execute("insert into one_by_one.insights (account, followers) values ($1, $2)", user, total)
            await log(user, "sync_account_insights")

        async def log(user: str, job_type: str) -> None:
            await db.execute(
                "insert into one_by_one.logs (account, job_type, status) values ($1, $2, 'completed')", user, job_type
            )

        started = time.perf_counter()
        for group in range(0, len(users), AT_ONCE):
            await asyncio.gather(*(account(user) for user in users[group : group + AT_ONCE]))
        seconds = time.perf_counter() - started
    await db.close()
    return {"seconds": round(seconds, 3), "calls": calls}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(World.from_json(sys.argv[1]), int(sys.argv[2])))))
