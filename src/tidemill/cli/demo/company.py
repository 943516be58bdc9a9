"""A company whose admin makes a connector and a sync job over HTTP, with a token of their own, and asks for runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import jwt
import msgspec

from tidemill.cli.demo.narrator import Narrator, Report
from tidemill.cli.demo.stage import Stage
from tidemill.cli.demo.statements import SQL
from tidemill.cli.demo.tap import NAME as TAP
from tidemill.cli.demo.weather import KEY, Weather
from tidemill.cli.exits import NotWell

NAME, CODE = "Windrose Weather", "windrose"
STREAM = "weather"
EVERY_MINUTE = {"cron": "* * * * *"}
LONGEST_S = 300.0
_TOKEN_S = 3600
_POLL_S = 0.25
_OPEN = ("pending", "running")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the job, as its own row has it."""

    id: UUID
    status: str
    reason: str | None
    trigger: str
    fire_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    records: int
    added: int
    changed: int
    error: str | None
    seconds: float

    def told(self, of: int) -> str:
        """It in words; ``of`` is how many records there are to read."""
        if self.status != "completed":
            why = ": ".join(filter(None, (self.reason, self.error)))
            return f"{self.status}{f' ({why})' if why else ''}, {self.seconds:.1f} s"
        read = f"{self.records:,} of {of:,} records read" if self.records else "no news"
        return f"{self.status}, {read}, {self.added:,} new, {self.changed:,} changed, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Company:
    """The company at work.

    Attributes:
        id, connector, job: its rows.
        weather: what its tap reads.
    """

    stage: Stage
    id: UUID
    connector: UUID
    job: UUID
    weather: Weather
    _token: str

    @classmethod
    async def make(cls, stage: Stage, weather: Weather) -> Company:
        """Sign it up, and make its connector and its job through the doors that every user has."""
        row = await stage.app.db.fetchrow(SQL.make_company, CODE, NAME, f"admin@{CODE}.demo.example")
        assert row is not None  # noqa: S101 - what is inserted is answered
        claims = {
            "sub": str(row["admin"]),
            "aud": stage.app.settings.jwt_audience,
            "exp": int(time.time()) + _TOKEN_S,
            "company_id": str(row["company"]),
            "app_metadata": {"role_keys": ["Vibot.admin"]},
        }
        token = jwt.encode(claims, stage.app.settings.jwt_secret or "", algorithm="HS256")
        files = {"path": str(weather.file), "format": "csv", "worksheet": "", "table_name": STREAM}
        config = {
            "executable": TAP,
            "config": {"files": [{**files, "primary_keys": list(KEY)}]},
            "streams": [STREAM],
        }
        connector = await _ask(stage, token, "POST", "connectors", provider="singer", name=STREAM, config=config)
        job = await _ask(
            stage,
            token,
            "POST",
            "sync-jobs",
            connector_id=connector["id"],
            job_type="sync",
            name=STREAM,
            schedule=EVERY_MINUTE,
        )
        return cls(stage, row["company"], UUID(connector["id"]), UUID(job["id"]), weather, token)

    async def run(self, narrator: Narrator) -> Run:
        """Ask for a run now, and follow it to its end.

        Raises:
            NotWell: it does not end.
        """
        rows = len(self.weather.rows)
        with narrator.progress(STREAM) as report:
            asked = await _ask(self.stage, self._token, "POST", f"sync-jobs/{self.job}/run")
            try:
                async with asyncio.timeout(LONGEST_S):
                    await self._followed(asked["run_id"], report, rows)
            except TimeoutError:
                raise NotWell(f"the run of {NAME}'s tap has not ended after {LONGEST_S:.0f} s") from None
        run = next(run for run in await self.runs() if str(run.id) == asked["run_id"])
        narrator.done(STREAM, run.told(rows))
        return run

    async def runs(self) -> Sequence[Run]:
        """All runs so far, as they began."""
        return [Run(**dict(row)) for row in await self.stage.app.db.fetch(SQL.company_runs, self.id, self.job)]

    async def _followed(self, run: str, report: Report, rows: int) -> None:
        while (state := await _ask(self.stage, self._token, "GET", f"runs/{run}"))["status"] in _OPEN:
            report(state["metrics"].get("records", 0), rows)
            await asyncio.sleep(_POLL_S)


async def _ask(stage: Stage, token: str, method: str, path: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = msgspec.json.encode(body) if body else None
    url = f"{stage.functions_url}/api/v1/{path}"
    async with stage.simulator.http.request(method, url, data=data, headers=headers) as response:
        answer = await response.json(content_type=None)
    if response.status >= 400:
        raise NotWell(f"the API answers {response.status} to {method} {path}: {answer.get('detail', answer)}")
    return answer
