"""Contender: a bare loop on aiohttp that makes the same calls, 100 in flight, and drops the answers."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import aiohttp
import uvloop

from benchmarks.world import POST_FIELDS, POST_METRICS, WINDOW_METRICS, World

IN_FLIGHT = 100


async def run(world: World, accounts: int) -> dict[str, Any]:
    """All accounts: one page of posts, the insights of each post, two calls for the account's own."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        users = [account["id"] for account in await world.accounts(http)][:accounts]
        tokens = {user: await world.token(http, user) for user in users}
        await world.advance(http)
        async with http.get(f"{world.simulator_url}/_sim/clock") as answer:
            now = (await answer.json())["now"]
        since, until = world.week(datetime.fromisoformat(now))
        calls = 0
        slots = asyncio.Semaphore(IN_FLIGHT)

        async def get(user: str, path: str) -> bytes:
            nonlocal calls
            calls += 1
            async with (
                slots,
                http.get(
                    f"{world.simulator_url}/v1.0/{path}", headers={"Authorization": f"Bearer {tokens[user]}"}
                ) as answer,
            ):
                body = await answer.read()
                assert answer.status == 200, body
                return body

        async def account(user: str) -> None:
            page = json.loads(await get(user, f"me/threads?fields={POST_FIELDS}&limit=100"))
            # The documented examples leave out `next` even where more follows, so a reader must ask once more.
            after = page["paging"]["cursors"]["after"]
            await get(user, f"me/threads?fields={POST_FIELDS}&limit=100&after={after}")
            rest: list[Coroutine[Any, Any, bytes]] = [
                get(user, f"{post['id']}/insights?metric={POST_METRICS}") for post in page["data"]
            ]
            rest.append(get(user, "me/threads_insights?metric=followers_count"))
            rest.append(get(user, f"me/threads_insights?metric={WINDOW_METRICS}&since={since}&until={until}"))
            await asyncio.gather(*rest)

        started = time.perf_counter()
        queue = iter(users)

        async def worker() -> None:
            for user in queue:
                await account(user)

        await asyncio.gather(*(worker() for _ in range(20)))
        seconds = time.perf_counter() - started
    return {
        "seconds": round(seconds, 3),
        "calls": calls,
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(World.from_json(sys.argv[1]), int(sys.argv[2])))))
