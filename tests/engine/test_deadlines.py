from __future__ import annotations

import asyncio

from tidemill.engine.deadlines import Deadlines

LONG = 3600.0


async def test_each_task_is_cancelled_at_its_own_limit_and_no_other_is() -> None:
    deadlines, ended = Deadlines(), list[str]()

    async def work(name: str, limit: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        deadlines.begin(task, limit)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(name)
            assert deadlines.end(task, limit) == (name != "long")

    async with asyncio.timeout(30):
        long = asyncio.create_task(work("long", LONG))
        await asyncio.gather(work("second", 1.0), work("first", 0.01), work("third", 1.0))
        assert ended == ["first", "second", "third"]
        long.cancel()
        await long


async def test_a_task_that_ends_in_time_is_forgotten() -> None:
    deadlines = Deadlines()
    task = asyncio.current_task()
    assert task is not None
    for _ in range(1000):
        deadlines.begin(task, 0.01)
        assert not deadlines.end(task, 0.01)
    await asyncio.sleep(0.05)
    assert not task.cancelling()
    assert not any(deadlines._running.values())
