"""Any sequence of steps in the life of jobs leaves the database as the model says, and every truth about it true."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.engine.life import JobLife
from tests.engine.model import POISON_LIMIT, TERMINAL
from tidemill.engine import rescue
from tidemill.postgres import Database

MUCH = {"done", "cancelled", "dead", "retry", "crashed", "poison", "open", "sealed", "closing"}
EVERYTHING = TERMINAL | MUCH | {"closed"}
BOUNDED = settings(
    max_examples=16,
    stateful_step_count=35,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(BOUNDED, max_examples=400, stateful_step_count=120, derandomize=False)


@pytest.mark.parametrize(
    "extent",
    [
        # A failure is made smaller, which takes minutes.
        pytest.param(BOUNDED, id="bounded", marks=pytest.mark.timeout(900)),
        pytest.param(LONG, id="long", marks=[pytest.mark.chaos, pytest.mark.timeout(1800)]),
    ],
)
def test_jobs_live_as_the_model_says(database_url: str, extent: settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue, "POISON_LIMIT", POISON_LIMIT)
    met: set[str] = set()
    with asyncio.Runner() as runner:
        db = runner.run(Database.open(database_url, max_size=2, name="tidemill tests"))
        try:
            run_state_machine_as_test(lambda: JobLife(db, runner, met), settings=extent)
        finally:
            runner.run(db.close())
    assert met >= (EVERYTHING if extent is LONG else MUCH), "the steps did not get far"
