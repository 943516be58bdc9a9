"""The page about sync jobs, run as it is written; and the types that packages bring."""

from __future__ import annotations

import asyncio
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.sync.support import until
from tidemill.app import Rooms
from tidemill.errors import ConfigurationError
from tidemill.postgres import Database
from tidemill.postgres.session import tenant_session
from tidemill.settings import Settings
from tidemill.sync.jobs import types
from tidemill.sync.jobs.statements import SQL

from .support import VAULT_KEYS, Scripted, World, world

PAGE = (Path(__file__).parents[3] / "docs/reference/sync-jobs.md").read_text()
CONNECTOR = UUID("0c5a3c5e-2a53-4f0a-9d3e-5f9d1f3f7a01")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def brought(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    entries = [EntryPoint("x", value, types.GROUP) for value in values]
    monkeypatch.setattr(types, "entry_points", lambda group: entries if group == types.GROUP else [])


async def test_the_page_works_as_it_is_written(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [insert], [python], [toml] = blocks("sql"), blocks("python"), blocks("toml")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/counting.py").write_text(python)
    monkeypatch.syspath_prepend(tmp_path)
    brought(monkeypatch, re.findall('count = "(.*)"', toml)[0])
    settings = Settings(
        database_url=db.url, env="test", vault_keys=VAULT_KEYS, threads_app_id="1", threads_app_secret="s"
    )
    async with Rooms.open(settings) as rooms, world(db) as w:
        company = await w.company()
        await db.execute(
            "insert into public.integration_connectors (id, company_id, provider) values ($1, $2, 'threads')",
            CONNECTOR,
            company,
        )
        claims = {"role": "authenticated", "company_id": str(company), "app_metadata": {"role_keys": ["Vibot.admin"]}}
        async with tenant_session(db, claims) as conn:
            await conn.execute(insert)
        count = await w.job({}, connector=CONNECTOR, job_type="count", payload={"upto": 5})
        bad = await w.job({}, connector=CONNECTOR, job_type="count")
        assert rooms.sync_jobs.types.keys() == {"sync", "replay", "repair", "count"}
        async with rooms.worker(queues={"sync_jobs": 2}) as worker:
            task = asyncio.create_task(worker.run())
            await w.control(count, "run")
            [run] = await w.ended(count)
            await until(lambda: told(w, bad), "the refusal")
            worker.stop()
            await task
        assert (run["status"], run["metrics"]) == ("completed", {"records": 0})
        assert await db.fetchval("select count(*) from public.sync_jobs where planned_version is null") == 0
    sys.modules.pop("shop.counting", None)
    sys.modules.pop("shop", None)


async def told(w: World, job: UUID) -> Any:
    why = (await w.row(job))["plan_error"]
    return why == "payload.upto: needs to be a whole number"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere:type", "cannot be loaded"),
        (f"{__name__}:broken", "cannot be loaded: no"),
        (f"{__name__}:same", "twice"),
    ],
)
def test_a_type_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    brought(monkeypatch, f"{__name__}:same", value)
    with pytest.raises(ConfigurationError, match=message):
        types.load_types(Settings())


def broken(settings: Settings) -> Any:
    raise LookupError("no")


def same(settings: Settings) -> Any:
    return Scripted()


def test_every_statement_is_used() -> None:
    """Those of this room; what nobody asks is deleted."""
    source = Path(types.__file__).parent
    code = "".join(file.read_text() for file in source.glob("*.py"))
    assert [name for name in dir(SQL) if f"SQL.{name}" not in code] == []
