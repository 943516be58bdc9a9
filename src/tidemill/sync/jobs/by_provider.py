"""One name, different work: a job type whose runs depend on the connector's provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.engine import Fail, Outcome
from tidemill.errors import InvalidInput
from tidemill.sync.jobs.job_type import JobType
from tidemill.sync.jobs.run import Run
from tidemill.sync.jobs.written import below


class ByProvider:
    """Hands a run to the type for its provider, or to the one for all ``others``. They share a name."""

    def __init__(self, others: JobType, **of: JobType) -> None:
        self._others = others
        self._of = of

    @property
    def name(self) -> str:
        """What ``sync_jobs.job_type`` says."""
        return self._others.name

    def check(self, payload: Mapping[str, Any]) -> None:
        """Take what any of them takes: which one it will be is seen when the run begins."""
        refusal: InvalidInput | None = None
        for job_type in (self._others, *self._of.values()):
            try:
                return job_type.check(payload)
            except InvalidInput as e:
                refusal = refusal or e
        if refusal:
            raise refusal
        return None

    async def run(self, run: Run) -> Outcome:
        """Have it done by the one whose run it is."""
        job_type = self._of.get(run.provider, self._others)
        try:
            job_type.check(run.payload)
        except InvalidInput as e:
            return Fail("bad_payload", {"error": str(below("payload", e))})
        return await job_type.run(run)
