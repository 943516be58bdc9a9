"""What a sync job can be of: ``sync``, ``replay``, ``repair``, and whatever packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.engine import Outcome

if TYPE_CHECKING:
    from tidemill.sync.jobs.run import Run


class JobType(Protocol):
    """A type of sync job. One object serves all companies, so it keeps nothing of any."""

    @property
    def name(self) -> str:
        """What ``sync_jobs.job_type`` says."""
        ...

    def check(self, payload: Mapping[str, Any]) -> None:
        """Whether a job's payload can be run, by its look alone: nothing is asked of anybody.

        Raises:
            InvalidInput: naming the field of the payload that cannot be taken.
        """
        ...

    async def run(self, run: Run) -> Outcome:
        """Do the work, every write in :meth:`Run.transaction`.

        Answers ``Done(metrics)``, ``Partial(reason, metrics)``, ``Skip(reason, metrics)`` or
        ``Fail(reason, {"error": text, …})``: they end the run. ``Snooze`` puts it off and spends no attempt. What is
        raised fails the attempt: one that has committed something goes on at once, any other backs off and counts.
        """
        ...
