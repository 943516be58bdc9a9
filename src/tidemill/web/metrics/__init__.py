"""Figures for Prometheus: of the fleet, from the database; and of one worker, from its process."""

from __future__ import annotations

from tidemill.web.metrics.endpoint import Metrics
from tidemill.web.metrics.fleet import FleetFigures
from tidemill.web.metrics.worker import serve_worker, worker_figures

__all__ = ["FleetFigures", "Metrics", "serve_worker", "worker_figures"]
