"""The page on Prometheus names the figures there are, and its rules use no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric

from tests.engine.support import until, working
from tidemill.engine import Context, Kind
from tidemill.engine.measures import Measures
from tidemill.postgres import Database
from tidemill.web.metrics import FleetFigures, worker_figures

PAGE = (Path(__file__).parents[1] / "docs/how-to/watch-with-prometheus.md").read_text()
FIGURE = re.compile(r"tidemill_[a-z_]+")


async def families(db: Database) -> list[Metric]:
    """All there are, after a job of each sort that leaves a label behind."""

    async def work(ctx: Context, args: dict[str, Any]) -> None: ...

    async with working(db, Kind("work", work), measures=Measures()) as (engine, worker):
        await engine.enqueue("work", {})
        await until(lambda: db.fetchval("select exists (select from tidemill.job_run)"), what="its end")
        found = [*worker_figures(worker), *await FleetFigures(db).read()]
    return [family for family in found if family.name.startswith("tidemill_")]


async def test_the_page_lists_every_figure_with_its_labels_and_no_other(db: Database) -> None:
    rows = re.findall(r"^\| `(tidemill_[a-z_]+)` \| (.+?) \|", PAGE, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    exported: dict[str, set[str]] = {}
    for family in await families(db):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[family.name + suffix] = labels
    assert listed == exported


async def test_the_rules_use_only_samples_that_are_exported_under_labels_that_they_have(db: Database) -> None:
    [rules] = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("groups:")]
    expressions = "\n".join(line for line in rules.splitlines() if "alert:" not in line)
    samples = {s.name: s.labels for family in await families(db) for s in family.samples}
    used = set(FIGURE.findall(expressions)) - {"tidemill"}
    assert len(used) > 10
    assert used <= samples.keys()
    for name, chosen in re.findall(r"(tidemill_[a-z_]+)\{(\w+)=", expressions):
        assert chosen in samples[name]
    for by, name in re.findall(r"by \(([\w, ]+)\) \((?:\w+\()?(tidemill_[a-z_]+)", expressions):
        assert set(by.split(", ")) <= samples[name].keys()
