"""Which types of sync jobs this process knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import cast

from tidemill.errors import ConfigurationError
from tidemill.settings import Settings
from tidemill.sync.jobs.job_type import JobType

GROUP = "tidemill.job_types"
"""Entry points: each is a factory ``(Settings) -> JobType``."""

Factory = Callable[[Settings], JobType]


def load_types(settings: Settings, built_in: Iterable[JobType] = ()) -> dict[str, JobType]:
    """The built-in types, and those that installed packages bring.

    Raises:
        ConfigurationError: naming the entry point that cannot be loaded, or brings a name that is taken.
    """
    types = {job_type.name: job_type for job_type in built_in}
    for entry in entry_points(group=GROUP):
        try:
            job_type = cast(Factory, entry.load())(settings)
        except Exception as e:
            raise ConfigurationError(f"job type {entry.name!r} ({entry.value}) cannot be loaded: {e}") from e
        if job_type.name in types:
            raise ConfigurationError(f"job type {job_type.name!r} is brought twice, the second time by {entry.value}")
        types[job_type.name] = job_type
    return types
