"""Which of the engine's kinds runs a sync job: a queue apart bounds how many processes of connectors a worker has."""

from __future__ import annotations

from collections.abc import Mapping

from tidemill.connectors import Connector

KIND = "sync_job"
QUEUE = "sync_jobs"
TAP_KIND = "sync_tap"
TAP_QUEUE = "taps"


def kind_of(provider: str | None, connectors: Mapping[str, Connector]) -> str:
    """The kind for runs of this provider's connector; what is not known here fails in the ordinary one."""
    if provider is not None and provider in connectors and connectors[provider].spec.process:
        return TAP_KIND
    return KIND
