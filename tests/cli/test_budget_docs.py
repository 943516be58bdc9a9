"""The page about rate limits, run as it is written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.cli.conftest import Run
from tests.engine.api_running import running
from tests.engine.support import quiet, until
from tidemill import Settings, Tidemill
from tidemill.postgres import Database

PAGE = (Path(__file__).parents[2] / "docs/how-to/keep-to-rate-limits.md").read_text()


async def test_the_pages_code_pauses_everybody_when_the_provider_says_no(database_url: str, db: Database) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    called: list[str] = []

    async def call_stripe(card: str) -> Any:
        called.append(card)
        return SimpleNamespace(status=429, headers={"Retry-After": "600"})

    names: dict[str, Any] = {"__name__": "shop", "call_stripe": call_stripe, "count_stock": called.append}
    exec(code, names)  # the page's own words
    app: Tidemill = names["app"]
    app.settings = Settings(database_url=database_url, env="test")
    async with running(app):
        await app.enqueue(names["stock"], {"shop": "ada"})
        await quiet(db)
        await app.enqueue(names["charge"], {"card": "1"})
        await until(lambda: db.fetchval("select count(*) = 1 from tidemill.job_delayed"), what="it to be put off")
        await app.enqueue(names["charge"], {"card": "2"})
        await until(lambda: db.fetchval("select count(*) = 2 from tidemill.job_delayed"), what="the other as well")
    assert called == ["ada", "1"]


def test_the_pages_commands_run_in_order(database_url: str, run: Run) -> None:
    commands = re.findall(r"^\$ (tidemill budgets .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 8
    for command in [*commands[:-1], "tidemill budgets set 'threads:*'", commands[-1]]:  # as workers of syncs declare it
        code, out, err = run("--database-url", database_url, *shlex.split(command)[1:])
        assert code == 0, (command, out, err)
