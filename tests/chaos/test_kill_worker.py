"""A worker is killed in the middle of a run; another one brings it to the end that it would have had."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.chaos.moments import MOMENTS, Held
from tests.chaos.world import SLOT, History, World, trigger
from tidemill.postgres import Database

BY_CHANCE = "by chance"
FEW = [BY_CHANCE, "fanning out", BY_CHANCE, "writing snapshots", "finishing an account", "closing"]
ALL = [*MOMENTS, *MOMENTS, *[BY_CHANCE] * (50 - 2 * len(MOMENTS))]

KILLS = [
    *(pytest.param(n, moment, id=f"{n} {moment}") for n, moment in enumerate(FEW)),
    *(pytest.param(n, moment, id=f"{n} {moment} (full)", marks=pytest.mark.chaos) for n, moment in enumerate(ALL)),
]


@pytest.mark.parametrize(("n", "moment"), KILLS)
async def test_a_run_whose_worker_is_killed_ends_as_an_undisturbed_one(
    world: World, seed: int, n: int, moment: str
) -> None:
    rng = random.Random(f"{seed}:{n}:{moment}")
    history: History = "known" if "known" in moment or rng.random() < 0.5 else "new"
    async with world.database(history) as db:
        with world.worker(db.url, f"victim-{n}") as victim:
            await victim.until_said("ready")
            told = f"TIDEMILL_CHAOS_SEED={seed}, {history} accounts"
            if moment == BY_CHANCE:
                await trigger(db, SLOT)
                after = rng.uniform(0, world.seconds[history])
                told += f", killed after {after:.3f} s"
                await asyncio.sleep(after)
                victim.kill()
            else:
                async with Held(db, moment, rng) as held:
                    await trigger(db, SLOT)
                    await held.reached()
                    victim.kill()
        try:
            with world.worker(db.url, f"heir-{n}"):
                await world.closed(db)
            await world.verify(db, history)
        except AssertionError as e:
            e.add_note(f"{told}\n{await _story(db)}")
            raise


async def _story(db: Database) -> str:
    rows = await db.fetch(
        "select k.name, r.outcome, r.reason, count(*) from tidemill.job_run r join tidemill.kind k on k.id = r.kind"
        " group by 1, 2, 3 order by 1, 2, 3"
    )
    return "\n".join(str(tuple(row)) for row in rows)
