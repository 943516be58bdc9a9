"""The fleet's figures, read from the database. None carries anything of a tenant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from tidemill.engine.overview import MOST_COUNTED, MOST_LISTED, Overview, overview
from tidemill.postgres import Database

__all__ = ["FleetFigures"]

FRESH_S = 5.0
"""How long an answer is good for, so that scrapes, however many, cost the database one look in this time."""


class FleetFigures:
    """A source of :class:`~tidemill.web.metrics.endpoint.Metrics`, at most five seconds old.

    Raises:
        DatabaseUnavailable: from :meth:`read`; there is no telling of old figures as if they were new.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._looking = asyncio.Lock()
        self._read_at: float | None = None
        self._families: Sequence[Metric] = ()

    async def read(self) -> Sequence[Metric]:
        """The figures."""
        async with self._looking:
            if self._read_at is None or time.monotonic() - self._read_at >= FRESH_S:
                self._families = _families(await overview(self._db))
                self._read_at = time.monotonic()
            return self._families


def _families(seen: Overview) -> list[Metric]:
    return [*_queues(seen), *_processes(seen), *_schedules(seen), _partitions(seen)]


def _queues(seen: Overview) -> list[Metric]:
    latency = GaugeMetricFamily(
        "tidemill_queue_latency_seconds",
        "For how long the ready job that waits longest could have been started; 0 when none could.",
        labels=["queue"],
    )
    jobs = GaugeMetricFamily(
        "tidemill_jobs",
        f"Jobs by state: ready, running, delayed (never tried), retrying. Counting stops at {MOST_COUNTED}.",
        labels=["queue", "state"],
    )
    dead = GaugeMetricFamily(
        "tidemill_jobs_dead",
        f"Jobs that were given up. Counting stops at {MOST_COUNTED}.",
        labels=["queue"],
    )
    paused = GaugeMetricFamily("tidemill_queue_paused", "1 while nothing of the queue is given out.", labels=["queue"])
    for queue in seen.queues:
        latency.add_metric([queue.name], max(queue.oldest_s or 0.0, 0.0))
        for state in ("ready", "running", "delayed", "retrying"):
            jobs.add_metric([queue.name, state], getattr(queue, state))
        dead.add_metric([queue.name], queue.dead)
        paused.add_metric([queue.name], queue.paused_at is not None)
    return [latency, jobs, dead, paused]


def _processes(seen: Overview) -> list[Metric]:
    nodes = GaugeMetricFamily(
        "tidemill_nodes", "Worker processes: alive, or gone without a goodbye within the last hour.", labels=["state"]
    )
    alive = sum(node.is_alive for node in seen.nodes)
    nodes.add_metric(["alive"], alive)
    nodes.add_metric(["gone"], len(seen.nodes) - alive)
    orphans = sum(node.jobs for node in seen.nodes if not node.is_alive)
    return [
        nodes,
        GaugeMetricFamily("tidemill_jobs_orphaned", "Jobs in the hands of processes that are gone.", value=orphans),
        GaugeMetricFamily("tidemill_locks_held", "Named locks that are held.", value=len(seen.locks)),
        GaugeMetricFamily(
            "tidemill_scopes_blocked", "Outside scopes that may not be called for now.", value=len(seen.scopes)
        ),
    ]


def _schedules(seen: Overview) -> list[Metric]:
    return [
        GaugeMetricFamily(
            f"tidemill_schedules_{state}",
            f"Schedules that {what}. Counting stops at {MOST_LISTED}.",
            value=sum(schedule.state == state for schedule in seen.schedules),
        )
        for state, what in (
            ("broken", "cannot be planned"),
            ("late", "were due a minute ago and have not fired"),
            ("paused", "are paused"),
        )
    ]


def _partitions(seen: Overview) -> Metric:
    ahead = GaugeMetricFamily(
        "tidemill_partitions_ahead_seconds",
        "How far from now a table's partitions reach; at 0 its rows go to the DEFAULT partition.",
        labels=["table"],
    )
    for table, ahead_s in sorted(seen.partitions.items()):
        ahead.add_metric([table], ahead_s)
    return ahead
