"""Sync jobs in one process: the engine's kind that runs them, and the source that makes its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from tidemill.connectors import Connector, HttpClient
from tidemill.engine import Backoff, Engine, Kind
from tidemill.engine.limits import Limit
from tidemill.settings import Settings
from tidemill.sync.jobs.handler import SyncJobRuns
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.lane import KIND, QUEUE, TAP_KIND, TAP_QUEUE
from tidemill.sync.jobs.opening import Opening
from tidemill.sync.jobs.rules import Rules
from tidemill.sync.jobs.source import SyncJobSource
from tidemill.vault import Vault

MOST_ATTEMPTS = 4
HARD_STOP_S = 60.0
"""What a run gets beyond its time budget to write what it has, before its attempt is cancelled."""


class SyncJobs:
    """Wires the room. Workers that registered :meth:`kinds` run what ``source`` makes."""

    def __init__(
        self,
        engine: Engine,
        *,
        types: Mapping[str, JobType],
        connectors: Mapping[str, Connector],
        http: HttpClient,
        vault: Vault,
        settings: Settings,
    ) -> None:
        self.types = types
        self.source = SyncJobSource(engine.db, engine, types, connectors)
        self._budget_s = settings.sync_job_budget_s
        self._runs = SyncJobRuns(
            opening=Opening(types=types, connectors=connectors, http=http, vault=vault, budget_s=self._budget_s),
            rules=Rules(
                most_failures=settings.sync_job_most_failures,
                rest=timedelta(seconds=settings.sync_job_rest_s),
            ),
        )

    def kinds(self) -> list[Kind]:
        """The job kinds of this room, for the registry."""
        return [
            Kind(
                kind,
                self._runs,
                queue=queue,
                max_attempts=MOST_ATTEMPTS,
                backoff=Backoff(base=5, cap=300),
                timeout=self._budget_s + HARD_STOP_S,
                on_orphan=self._runs.on_orphan,
                # Runs of one connector wait in line with the engine; Opening sees to what stands between attempts.
                limits=(Limit("concurrency", 1, "args.connector"),),
            )
            for kind, queue in ((KIND, QUEUE), (TAP_KIND, TAP_QUEUE))
        ]
