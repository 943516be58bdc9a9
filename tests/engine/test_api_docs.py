"""The pages about jobs, run as they are written; and the worker's ``--app``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import environ, events, query, started, tidemill, until
from tidemill import InvalidInput, Settings, Tidemill, blocking
from tidemill.postgres import Database

from .api_running import running
from .support import quiet

DOCS = Path(__file__).parents[2] / "docs"
ENDED = """\
select k.name, r.outcome, r.reason, r.result from tidemill.job_run r join tidemill.kind k on k.id = r.kind
where k.name like 'shop.%' order by k.name, r.outcome
"""


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_the_first_job_runs_as_its_page_says(processes: str, database_url: str, tmp_path: Path) -> None:
    env = environ(TIDEMILL_DATABASE_URL=database_url)
    shop, order = blocks("tutorial/first-job.md")
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "order.py").write_text(order)
    subprocess.run([sys.executable, "order.py"], cwd=tmp_path, env=env, check=True, timeout=120)
    options = ("--app", "shop:app", "--no-syncs", "--queues", "mail=5,default=2", "--processes", processes)
    with started("worker", *options, folder=tmp_path, env=env) as (process, output):
        until(lambda: events(output, "worker_started"), "the worker starts")
        ended: list[Any] = until(lambda: len(query(database_url, ENDED)) == 3 and query(database_url, ENDED), "all end")
        process.terminate()
        assert process.wait(timeout=120) == 0
    assert [(row["name"], row["outcome"], row["reason"]) for row in ended] == [
        ("shop.confirm", "done", None),
        ("shop.confirm", "skipped", "no address"),
        ("shop.fingerprint", "done", None),
    ]
    assert ended[0]["result"] == {"sent": "order 1 to ada@example.com"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--app", "nowhere:app"), "there is no module 'nowhere' here"),
        (("--app", "shop:nothing"), "names nothing"),
        (("--app", "shop:other"), "is a int, not a Tidemill"),
        (("--app", ":app"), "names nothing"),
        (("--app", "shop:app", "--queue", "default"), "'default' is not NAME=N"),
        (("--app", "shop:app", "--queues", "mail=5,default=0"), "'default=0' is not NAME=N"),
        (("--app", "shop:app", "--queues", "mail=5,"), "'' is not NAME=N"),
        (("--app", "shop:app", "--queues", "mail=5", "--queue", "mail=6"), "'mail=6' names 'mail' a second time"),
    ],
    ids=" ".join,
)
def test_an_application_that_is_not_there_is_wrong_usage(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("from tidemill import Tidemill\napp, other = Tidemill(), 7\n")
    ran = tidemill(
        "worker", *options, folder=tmp_path, env=environ(TIDEMILL_DATABASE_URL="postgresql://x@127.0.0.1:1/x")
    )
    assert ran.returncode == 2
    assert told in ran.stderr


async def test_the_reference_pages_code_runs(database_url: str, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_DATABASE_URL", database_url)
    declared, enqueueing, plain, batches, schedule = blocks("reference/jobs.md")
    names: dict[str, Any] = {"__name__": "page"}
    exec(declared, names)  # the page's own words
    exec(batches, names)
    exec(schedule, names)
    app: Tidemill = names["app"]
    app.settings = Settings(database_url=database_url, env="test")
    awaiting = compile(enqueueing, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(awaiting, names)
    assert len(names["ids"]) == 2
    client = blocking.Client(app)
    client.close()
    async with running(app):
        import asyncio

        await asyncio.to_thread(exec, plain, names)
        await names["all_of"](["x", "y"])
        await names["one_after_another"]()
        await db.execute("update tidemill.job_delayed set run_at = tidemill.now()")
        await quiet(db)
    kinds = await db.fetch(
        "select k.name, r.outcome, count(*) as n from tidemill.job_run r join tidemill.kind k on k.id = r.kind"
        " group by 1, 2 order by 1, 2"
    )
    assert [tuple(row) for row in kinds] == [
        ("page.report", "done", 2),
        ("page.send", "done", 9),
        ("tidemill.batch", "done", 3),
    ]
    with pytest.raises(InvalidInput):
        app.prepare("page.nobody")
