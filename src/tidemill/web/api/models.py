"""What the API takes and gives; the OpenAPI document is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from tidemill.sync.jobs.checks import Reason

__all__ = [
    "Check",
    "Connector",
    "ConnectorChange",
    "ConnectorNew",
    "Control",
    "CredentialState",
    "Credentials",
    "Fires",
    "Notification",
    "Page",
    "Preview",
    "Provider",
    "Run",
    "SyncJob",
    "SyncJobChange",
    "SyncJobNew",
    "SyncedRecord",
]

T = TypeVar("T")

# Neither varchar nor text takes a NUL, so it is refused here by the name of the field.
Name = Annotated[str, Meta(min_length=1, max_length=150, pattern=r"^[^\x00]*$", description="Unique in the company.")]
Word = r"^[a-z][a-z0-9_.-]*$"
ProviderName = Annotated[str, Meta(max_length=50, pattern=Word, description="One of GET /providers.")]
ConnectorKind = Annotated[str, Meta(max_length=30, pattern=r"^[^\x00]*$", description="api, webhook, database, file.")]
JobType = Annotated[str, Meta(max_length=30, pattern=Word, description="sync, replay, repair, or one of your own.")]
Priority = Annotated[int, Meta(ge=-1000, le=1000, description="Higher goes first.")]
Config = Annotated[dict[str, Any], Meta(description="Settings without secrets, as the provider's schema has them.")]
Schedule = Annotated[
    dict[str, Any],
    Meta(
        description="{} is by hand; or cron, every, rrule, at; with timezone, jitter, misfire, overlap, from, until.",
        examples=[{"cron": "0 9 * * mon-fri", "timezone": "Asia/Taipei"}],
    ),
]
Payload = Annotated[dict[str, Any], Meta(description="What the job type is told.")]

# Read as text and passed on as it is: nothing that the database can hold is too odd to be shown.
JsonObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
JsonArray = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "array"})]
JsonValue = Annotated[msgspec.Raw, Meta(description="Any JSON.")]


class Connector(Struct):
    """A company's way to a provider."""

    id: UUID
    company_id: UUID
    provider: str
    connector_type: str
    name: str | None
    status: Literal["active", "inactive"]
    config: JsonObject
    version: int
    last_synced_at: datetime | None
    created_at: datetime
    updated_at: datetime


class ConnectorNew(Struct, forbid_unknown_fields=True):
    """A connector to be made."""

    provider: ProviderName
    name: Name | None = None
    connector_type: ConnectorKind = "api"
    status: Literal["active", "inactive"] = "active"
    config: Config = msgspec.field(default_factory=dict[str, Any])


class ConnectorChange(Struct, forbid_unknown_fields=True):
    """Fields of a connector to be replaced, each as a whole; what is not given stays."""

    provider: ProviderName | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    connector_type: ConnectorKind | UnsetType = UNSET
    status: Literal["active", "inactive"] | UnsetType = UNSET
    config: Config | UnsetType = UNSET


class Credentials(Struct, forbid_unknown_fields=True):
    """All secrets of a connector; they replace what was there."""

    secrets: Annotated[dict[str, str], Meta(min_length=1, description="Name → text, as the provider names them.")]

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self.secrets)})"


class CredentialState(Struct):
    """What may be known of a connector's secrets."""

    version: int
    checksum: Annotated[str, Meta(description="SHA-256 of the ciphertext.")]
    rotated_at: datetime
    rotated_by: UUID | None


class Check(Struct):
    """What a check of a connector found."""

    ok: Annotated[bool, Meta(description="Whether the provider lets it in and answers as its config says.")]
    reason: Annotated[Reason | None, Meta(description="Why not.")]
    message: Annotated[str | None, Meta(description="Likewise in words.")]
    field: Annotated[str | None, Meta(description="Which part of the connector has to be mended, where that is known.")]
    seconds: float


class SyncJob(Struct):
    """What a connector is to do, and when."""

    id: UUID
    company_id: UUID
    connector_id: UUID
    name: str | None
    job_type: str
    payload: JsonValue
    schedule: JsonValue
    priority: int
    status: Literal["idle", "queued", "running", "paused", "disabled", "error"]
    version: int
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_run_status: str | None
    last_error: str | None
    failures: int
    plan_error: str | None
    paused_at: datetime | None
    suspended_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


class SyncJobNew(Struct, forbid_unknown_fields=True):
    """A sync job to be made."""

    connector_id: UUID
    job_type: JobType
    name: Name | None = None
    payload: Payload = msgspec.field(default_factory=dict[str, Any])
    schedule: Schedule = msgspec.field(default_factory=dict[str, Any])
    priority: Priority = 0


class SyncJobChange(Struct, forbid_unknown_fields=True):
    """Fields of a sync job to be replaced, each as a whole; what is not given stays."""

    connector_id: UUID | UnsetType = UNSET
    job_type: JobType | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    payload: Payload | UnsetType = UNSET
    schedule: Schedule | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET


class Control(Struct):
    """What became of run, pause, resume or cancel."""

    status: str
    run_id: Annotated[UUID | None, Meta(description="The run, where one was asked for.")]
    already: Annotated[bool, Meta(description="Whether it was so before: a run that is open, a pause that holds.")]


class Run(Struct):
    """One run of a sync job."""

    id: UUID
    company_id: UUID
    job_id: UUID
    connector_id: UUID
    job_type: str
    payload: JsonValue
    trigger: str
    requested_by: UUID | None
    fire_at: datetime | None
    status: Literal["pending", "running", "completed", "partial", "failed", "skipped"]
    reason: str | None
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    metrics: JsonValue
    error_detail: str | None
    applied_actions: JsonArray


class SyncedRecord(Struct):
    """The newest state of a record that a connector has brought."""

    connector_id: UUID
    stream: str
    key: str
    data: JsonValue
    version: int | None
    first_seen_at: datetime
    last_seen_at: datetime
    changed_at: datetime
    deleted_at: datetime | None


class Notification(Struct):
    """What a company should know without having to look."""

    id: UUID
    company_id: UUID
    job_id: UUID | None
    run_id: UUID | None
    kind: str
    message: str
    created_at: datetime
    read_at: datetime | None


class Preview(Struct, forbid_unknown_fields=True):
    """A schedule to be told of."""

    schedule: Schedule
    timezone: Annotated[str, Meta(max_length=64)] | None = None
    """Where the schedule names none; the company's, else UTC."""
    count: Annotated[int, Meta(ge=1, le=100)] = 5
    after: datetime | None = None


class Fires(Struct):
    """When a schedule fires."""

    words: str
    timezone: str
    fires: Annotated[list[datetime], Meta(description="With the zone's offset at each; fewer when no more follow.")]


class Provider(Struct):
    """A kind of source that this server knows."""

    name: str
    title: str
    config: Annotated[dict[str, Any], Meta(description="JSON Schema of a connector's config.")]
    secrets: Annotated[list[str], Meta(description="Names of the secrets that it takes.")]


class Page(Struct, Generic[T]):
    """One page of a list."""

    items: list[T]
    next: Annotated[str | None, Meta(description="Give it as after to get the next page; null on the last.")]
