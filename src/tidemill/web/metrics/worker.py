"""One worker's figures, and a port of its own to read them from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import accumulate

from aiohttp import web
from prometheus_client import PROCESS_COLLECTOR
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from tidemill.engine import Worker
from tidemill.engine.measures import Histogram
from tidemill.settings import Settings
from tidemill.web.edge import edge, seal_headers
from tidemill.web.metrics.endpoint import Metrics
from tidemill.web.serving import serving

__all__ = ["serve_worker", "worker_figures"]


@asynccontextmanager
async def serve_worker(worker: Worker, settings: Settings, *, host: str, port: int) -> AsyncGenerator[str]:
    """``/metrics`` of a worker that measures, on a port of its own inside the context; gives its URL.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """

    async def figures() -> Iterable[Metric]:
        return worker_figures(worker)

    app = web.Application(middlewares=[edge])
    app.router.add_get("/metrics", Metrics(figures, settings).get)
    app.on_response_prepare.append(seal_headers)
    async with serving(app, host=host, port=port) as url:
        yield f"{url}/metrics"


def worker_figures(worker: Worker) -> list[Metric]:
    """What a worker measured since it started, how it is now, and its process's memory and CPU.

    Raises:
        ValueError: the worker was made without measures.
    """
    measures = worker.measures
    if measures is None:
        raise ValueError("this worker measures nothing: make it with measures=Measures()")
    running = GaugeMetricFamily("tidemill_jobs_running", "Jobs that run in this process.", labels=["queue"])
    for queue, jobs in worker.running.items():
        running.add_metric([queue], jobs)
    figures: list[Metric] = [
        _histogram(
            "tidemill_job_run_seconds",
            "From an attempt's start to its end, by how it ended.",
            ("kind", "outcome"),
            measures.run,
        ),
        _histogram(
            "tidemill_job_wait_seconds",
            "From when a job might have started to its claim.",
            ("queue",),
            {(queue,): histogram for queue, histogram in measures.wait.items()},
        ),
        _histogram("tidemill_claim_seconds", "One look for jobs, round trip and all.", (), {(): measures.claim}),
        _histogram("tidemill_finish_batch_size", "Ends of attempts written at once.", (), {(): measures.flush}),
        CounterMetricFamily("tidemill_leases_lost", "Jobs whose lease this process lost.", value=worker.lost),
        running,
        GaugeMetricFamily(
            "tidemill_node_lease_safe_seconds",
            "For how long this process may trust its leases; at 0 it stops its jobs.",
            value=max(worker.node.safe_s, 0.0),
        ),
    ]
    if worker.hears is not None:
        figures.append(
            GaugeMetricFamily(
                "tidemill_listener_healthy",
                "1 while notifications arrive; absent in a worker that only polls.",
                value=worker.hears,
            )
        )
    figures.append(InfoMetricFamily("tidemill_build", "What runs here.", value={"version": version("tidemill")}))
    return [*figures, *PROCESS_COLLECTOR.collect()]


def _histogram(
    name: str, what: str, labels: Sequence[str], found: Mapping[tuple[str, ...], Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, what, labels=labels)
    for values, histogram in found.items():
        bounds = [*map(str, histogram.bounds), "+Inf"]
        family.add_metric(values, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
    return family
