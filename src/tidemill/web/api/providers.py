"""What the API must know of connectors and job types to refuse a bad one by name. Neither says who may do what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from tidemill.connectors import Connector
from tidemill.errors import InvalidInput
from tidemill.sync.jobs import JobType
from tidemill.web.api.call import in_field

__all__ = ["Providers", "check_payload"]


class Providers(Protocol):
    """The connectors of this process, by provider."""

    def __getitem__(self, provider: str, /) -> Connector:
        """The provider's connector.

        Raises:
            InvalidInput: naming provider, when there is none.
        """
        ...

    def __iter__(self) -> Any:
        """Names of the providers."""
        ...

    def check_config(self, provider: str, config: Mapping[str, Any]) -> None:
        """Whether the provider can be told this.

        Raises:
            InvalidInput: naming provider, or the field ``config.…``.
        """
        ...

    def check_secrets(self, provider: str, names: Iterable[str]) -> None:
        """Whether the provider takes secrets of these names.

        Raises:
            InvalidInput: naming provider, or the secret ``secrets.…``.
        """
        ...

    def schema(self, provider: str) -> dict[str, Any]:
        """JSON Schema of the provider's config."""
        ...


def check_payload(job_types: Mapping[str, JobType], job_type: str, payload: Mapping[str, Any]) -> None:
    """Whether a job of this type can be told this. A type that is not known here is left for workers that know it.

    Raises:
        InvalidInput: naming the field ``payload.…``.
    """
    known = job_types.get(job_type)
    if known is None:
        return
    try:
        known.check(payload)
    except InvalidInput as error:
        raise in_field("payload", error) from None
