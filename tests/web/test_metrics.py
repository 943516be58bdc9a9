"""/metrics: what Prometheus reads is what is so, in its own format, and tells nothing of tenants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.engine.support import until, working
from tests.web.support import UntouchableDatabase, finished_door, functions, settings_of
from tidemill.engine import Backoff, Context, Done, Fail, Kind
from tidemill.engine.measures import Histogram, Measures
from tidemill.engine.statements import SQL
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database
from tidemill.web.metrics import fleet, serve_worker, worker_figures

PLANT = """\
with q as (insert into tidemill.queue (name, paused_at) values ('mail', null), ('idle', now()) returning id, name),
k as (insert into tidemill.kind (name) values ('letter') returning id),
job as (
  select 1 as id, q.id as queue, 0 as rank, k.id as kind, 1::smallint as max_attempts, $1::uuid as tenant,
    '{}'::jsonb as args
  from q, k where q.name = 'mail'),
ready as (
  insert into tidemill.job_ready (id, queue, rank, kind, max_attempts, tenant, args, enqueued_at)
  select *, clock_timestamp() - interval '2 minutes' from job),
orphan as (
  insert into tidemill.job_lease
    (id, queue, rank, kind, max_attempts, tenant, args, enqueued_at, token, node, claimed_at)
  select *, now(), 1, 99, now() from job),
node as (insert into tidemill.node (name, pid, expires_at) values ('h', 1, now() - interval '1 minute') returning id),
schedule as (
  insert into tidemill.schedule (name, kind, spec, next_at, error)
  values ('a', 'x', '{}', now(), 'no zone'), ('b', 'x', '{}', now() - interval '1 hour', null))
insert into tidemill.job_dead (id, queue, kind, priority, attempt, crashes, max_attempts, tenant, args, died_at)
select id, queue, kind, 0, 1, 0, 1, tenant, args, now() from job
"""


def samples(families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """(name, label values…) → value."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


async def scraped(client: aiohttp.ClientSession, path: str = "/metrics") -> dict[tuple[str, ...], float]:
    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        return samples(parse(await response.text()))


async def test_the_fleets_figures_are_what_the_database_holds(db: Database) -> None:
    tenant = uuid4()
    await db.execute(PLANT, tenant)
    await db.execute("update tidemill.job_lease set node = (select id from tidemill.node)")
    async with functions(db, finished_door()) as client:
        found = await scraped(client)
        async with client.get("/metrics") as response:
            assert str(tenant) not in await response.text()
    assert 120 <= found.pop(("tidemill_queue_latency_seconds", "mail")) < 1200
    ahead = [value for name, value in found.items() if name[0] == "tidemill_partitions_ahead_seconds"]
    assert len(ahead) == 3
    assert min(ahead) > 86_400
    expected = {
        ("tidemill_queue_latency_seconds", "idle"): 0,
        ("tidemill_jobs", "mail", "ready"): 1,
        ("tidemill_jobs", "mail", "running"): 1,
        ("tidemill_jobs", "mail", "delayed"): 0,
        ("tidemill_jobs", "idle", "ready"): 0,
        ("tidemill_jobs_dead", "mail"): 1,
        ("tidemill_queue_paused", "mail"): 0,
        ("tidemill_queue_paused", "idle"): 1,
        ("tidemill_nodes", "alive"): 0,
        ("tidemill_nodes", "gone"): 1,
        ("tidemill_jobs_orphaned",): 1,
        ("tidemill_schedules_broken",): 1,
        ("tidemill_schedules_late",): 1,
        ("tidemill_schedules_paused",): 0,
        ("tidemill_locks_held",): 0,
        ("tidemill_scopes_blocked",): 0,
    }
    assert {name: found[name] for name in expected} == expected


async def test_many_scrapes_cost_one_look_and_then_figures_are_fresh(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = fleet.FleetFigures(db)
    first = samples(await figures.read())
    await db.execute("insert into tidemill.queue (name) values ('late')")
    assert samples(await figures.read()) == first
    monkeypatch.setattr(fleet, "FRESH_S", 0.0)
    assert ("tidemill_queue_paused", "late") in samples(await figures.read())


async def test_with_a_token_only_those_who_show_it_may_read_and_the_others_touch_no_database() -> None:
    settings = settings_of(metrics_token="a-token")
    async with functions(UntouchableDatabase(), finished_door(), settings) as client:
        for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "a-token"}):
            async with client.get("/metrics", headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_the_token_opens_and_a_database_that_is_away_is_a_503(db: Database) -> None:
    settings = settings_of(metrics_token="a-token")
    bearer = {"Authorization": "Bearer a-token"}
    async with functions(db, finished_door(), settings) as client, client.get("/metrics", headers=bearer) as response:
        assert response.status == 200
    away: Any = Away()
    async with functions(away, finished_door()) as client, client.get("/metrics") as response:
        assert response.status == 503


class Away:
    async def fetchrow(self, *_: object) -> None:
        raise DatabaseUnavailable("postgresql://boss:hunter2@db")


async def test_a_workers_figures_are_what_it_did(db: Database) -> None:
    async def letter(ctx: Context, args: dict[str, Any]) -> Done | Fail | None:
        if args["n"] == 0:
            raise ValueError("no stamp")
        return Fail("no address") if args["n"] == 1 else None

    measures = Measures()
    kind = Kind("letter", letter, queue="mail", backoff=Backoff(base=0.0), max_attempts=2)
    async with working(db, kind, measures=measures) as (engine, worker):
        for n in range(20):
            await engine.enqueue("letter", {"n": n})
        ended = "select count(*) = 21 from tidemill.job_run"
        await until(lambda: db.fetchval(ended), what="21 attempts")
        await until(answered(measures, 21), what="the answers to their endings")
        await until(heard(worker), what="a listener that hears")
        async with (
            serve_worker(worker, settings_of(), host="127.0.0.1", port=0) as url,
            aiohttp.ClientSession() as client,
        ):
            found = await scraped(client, url)
            accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
            async with client.get(url, headers=accept) as response:
                assert response.headers["Content-Type"].startswith("application/openmetrics-text")
                assert samples(parse_openmetrics(await response.text())).keys() >= found.keys() - {
                    name for name in found if name[0].startswith(("process_", "python_"))
                }
    runs = {name[1:]: value for name, value in found.items() if name[0] == "tidemill_job_run_seconds_count"}
    assert runs == {("letter", "done"): 18, ("letter", "failed"): 1, ("letter", "retry"): 1, ("letter", "dead"): 1}
    assert found["tidemill_job_wait_seconds_count", "mail"] == 21
    assert found["tidemill_job_wait_seconds_bucket", "+Inf", "mail"] == 21
    assert found["tidemill_claim_seconds_count",] > 0
    assert found["tidemill_finish_batch_size_sum",] == 21
    assert found["tidemill_jobs_running", "mail"] == 0
    assert found["tidemill_leases_lost_total",] == 0
    assert found["tidemill_listener_healthy",] == 1
    assert 0 < found["tidemill_node_lease_safe_seconds",] <= 15
    assert found["process_resident_memory_bytes",] > 1_000_000


def answered(measures: Measures, endings: int) -> Any:
    async def all_told() -> bool:
        return measures.flush.total == endings

    return all_told


def heard(worker: Any) -> Any:
    async def hears() -> bool:
        return worker.hears

    return hears


async def test_a_worker_that_was_not_asked_to_measure_asks_the_database_for_nothing_more(db: Database) -> None:
    async def letter(ctx: Context, args: dict[str, Any]) -> None: ...

    async with working(db, Kind("letter", letter, queue="mail")) as (engine, worker):
        assert worker.measures is None
        with pytest.raises(ValueError, match="measures"):
            worker_figures(worker)
        worker.stop()
        await engine.enqueue("letter", {})
        node = await db.fetchval(SQL.node_register, "h", 1, 60.0, "0", [])
        queue = engine.names.queue("mail")
        [row] = [row for row in await db.fetch(SQL.claim, queue, node, 1, 64, -1, 0, False) if row["id"]]
        assert row["waited_s"] is None


def test_a_histogram_counts_each_observation_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.total) == ([2, 1, 1], 10.0)


def test_a_wait_before_its_enqueue_is_none() -> None:
    measures = Measures()
    measures.claimed("mail", [-3600.0], 0.1)
    assert measures.wait["mail"].total == 0.0


async def test_names_follow_the_conventions(db: Database) -> None:
    async def letter(ctx: Context, args: dict[str, Any]) -> None: ...

    async with working(db, Kind("letter", letter), measures=Measures()) as (_, worker):
        families = [*worker_figures(worker), *await fleet.FleetFigures(db).read()]
    ours = [family for family in families if family.name.startswith("tidemill_")]
    assert len(ours) == len({family.name for family in ours}) > 20
    for family in ours:
        assert re.fullmatch(r"tidemill_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|minutes|kb|percent|count|sum)$", family.name)
