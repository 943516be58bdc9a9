"""Tenants' own sync jobs: rows that anybody writes, planned by ticks, run as jobs of the engine."""

from __future__ import annotations

from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.run import Run

__all__ = ["JobType", "Run"]
