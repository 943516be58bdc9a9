"""Tenants' own sync jobs: rows that anybody writes, planned by ticks, run as jobs of the engine."""

from __future__ import annotations

from tidemill.sync.jobs.by_provider import ByProvider
from tidemill.sync.jobs.checks import Checks
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.lane import QUEUE, TAP_QUEUE
from tidemill.sync.jobs.run import Run, RunGone
from tidemill.sync.jobs.service import SyncJobs
from tidemill.sync.jobs.types import load_types

__all__ = ["QUEUE", "TAP_QUEUE", "ByProvider", "Checks", "JobType", "Run", "RunGone", "SyncJobs", "load_types"]
