"""Environment → typed settings. Order of precedence: flag, environment, ``tidemill.toml``, default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

import msgspec

from tidemill.errors import ConfigurationError

Environment = Literal["development", "test", "production"]

Count = Annotated[int, msgspec.Meta(ge=0)]
Taps = dict[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][\w.-]{0,99}$")], Path]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


def _setting(*names: str, default: Any = None, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"names": names})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything Tidemill can be told from outside. Secrets never show in ``repr``.

    Raises:
        ConfigurationError: from :meth:`load`, naming the setting, when a value cannot be read.
    """

    database_url: str | None = _setting("TIDEMILL_DATABASE_URL", secret=True)
    """Postgres to use; unset means the embedded server below ``data_dir``."""
    listen_url: str | None = _setting("TIDEMILL_LISTEN_URL", secret=True)
    """A direct (session) URL for LISTEN and migrations when ``database_url`` is a transaction pooler."""
    pooled: bool = _setting("TIDEMILL_POOLED", default=False)
    """Whether ``database_url`` is a transaction pooler: no prepared statement outlives a transaction."""
    env: Environment = _setting("TIDEMILL_ENV", default="development")
    data_dir: Path = _setting("TIDEMILL_DATA_DIR", default=Path(".tidemill"))
    """Where the embedded server and the generated keys live."""

    cron_secret: str | None = _setting("CRON_SECRET", "TIDEMILL_CRON_SECRET", secret=True)
    jwt_secret: str | None = _setting("TIDEMILL_JWT_SECRET", secret=True)
    jwks_url: str | None = _setting("TIDEMILL_JWKS_URL")
    jwt_audience: str = _setting("TIDEMILL_JWT_AUDIENCE", default="authenticated")
    cors_origins: tuple[str, ...] = _setting("TIDEMILL_CORS_ORIGINS", default=())
    metrics_token: str | None = _setting("TIDEMILL_METRICS_TOKEN", secret=True)
    """What scrapers of ``/metrics`` have to show; unset lets anybody read it."""
    vault_keys: str | None = _setting("TIDEMILL_VAULT_KEYS", secret=True)
    """``id:base64key[,id:base64key…]``; the first seals, any opens."""

    threads_base_url: str = _setting("TIDEMILL_THREADS_BASE_URL", default="https://graph.threads.net")
    threads_app_id: str | None = _setting("TIDEMILL_THREADS_APP_ID")
    threads_app_secret: str | None = _setting("TIDEMILL_THREADS_APP_SECRET", secret=True)
    threads_redirect_uri: str | None = _setting("TIDEMILL_THREADS_REDIRECT_URI")

    egress_allow: tuple[str, ...] = _setting("TIDEMILL_EGRESS_ALLOW", default=())
    """Networks and names of hosts that calls to addresses chosen by tenants may go to besides the public Internet."""
    singer_taps: Taps | None = _setting("TIDEMILL_SINGER_TAPS")
    """``name=/path/to/tap[,name2=/path…]``: the Singer taps that companies may run; in the file a table."""

    sync_cron: str = _setting("TIDEMILL_SYNC_CRON", default="*/15 * * * *")
    """The built-in schedule of ``scheduled_sync``; its period is also the slot's."""
    sync_accounts_at_once: Annotated[int, msgspec.Meta(ge=1)] = _setting("TIDEMILL_SYNC_ACCOUNTS_AT_ONCE", default=40)
    """Accounts that one worker process syncs side by side."""
    sync_calls_in_flight: Annotated[int, msgspec.Meta(ge=1)] = _setting("TIDEMILL_SYNC_CALLS_IN_FLIGHT", default=100)
    """Provider calls that one worker process keeps open at a time."""
    sync_account_budget_s: Seconds = _setting("TIDEMILL_SYNC_ACCOUNT_BUDGET_S", default=60.0)
    """Seconds an account's job may take before it ends ``partial``, reason ``time_budget`` (seed 003's limit)."""
    sync_jobs_at_once: Annotated[int, msgspec.Meta(ge=1)] = _setting("TIDEMILL_SYNC_JOBS_AT_ONCE", default=20)
    """Runs of tenants' sync jobs that one worker process has side by side, those of taps apart."""
    taps: Annotated[int, msgspec.Meta(ge=1)] = _setting("TIDEMILL_TAPS", default=4)
    """Runs of Singer taps, each a process of its own, that one worker process has side by side."""
    sync_job_budget_s: Seconds = _setting("TIDEMILL_SYNC_JOB_BUDGET_S", default=900.0)
    """Seconds a run of a sync job may take before it ends ``partial``, reason ``time_budget``; the next one goes on."""
    sync_job_most_failures: Annotated[int, msgspec.Meta(ge=1)] = _setting("TIDEMILL_SYNC_JOB_MOST_FAILURES", default=10)
    """Runs failed in a row after which a sync job is disabled."""
    sync_job_rest_s: Seconds = _setting("TIDEMILL_SYNC_JOB_REST_S", default=60.0)
    """Seconds a sync job rests after a run that failed; doubled by each further one, up to a day."""
    batch_size: Count = _setting("BATCH_SIZE", default=0)
    """Seed 003's profile: accounts a group, fleet-wide, with ``batch_delay_ms`` between groups; 0 = no groups."""
    batch_delay_ms: Count = _setting("BATCH_DELAY_MS", default=2000)

    lease_ttl_s: Seconds = _setting("TIDEMILL_LEASE_TTL_S", default=15.0)
    """Seconds after its last heartbeat until a silent process loses its jobs."""
    job_history_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = _setting("TIDEMILL_JOB_HISTORY_DAYS", default=30)
    """Days that the history of attempts is kept at least; it goes a partition at a time."""
    job_dead_days: Annotated[int, msgspec.Meta(ge=0, le=36500)] = _setting("TIDEMILL_JOB_DEAD_DAYS", default=90)
    """Days that dead jobs are kept; 0 = for ever."""
    log_days: Annotated[int, msgspec.Meta(ge=1, le=36500)] = _setting("TIDEMILL_LOG_DAYS", default=30)
    """Days that the logs of runs are kept; an open row is never deleted."""
    trace_tenants: bool = _setting("TIDEMILL_TRACE_TENANTS", default=False)
    """Whether the OpenTelemetry spans of runs tell the tenant."""
    log_format: Literal["auto", "json", "text"] = _setting("TIDEMILL_LOG_FORMAT", default="auto")

    @classmethod
    def load(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        file: Path | None = None,
        **flags: object,
    ) -> Settings:
        """Read the settings; ``flags`` that are not None win over the environment, that over the file."""
        environ = os.environ if environ is None else environ
        from_file = _read_file(file)
        kinds = get_type_hints(cls, include_extras=True)
        if unknown := sorted(set(from_file) - set(kinds)):
            raise ConfigurationError(
                f"tidemill.toml: unknown setting {unknown[0]!r}; known: {', '.join(sorted(kinds))}"
            )
        values: dict[str, Any] = {}
        for f in fields(cls):
            names = cast(tuple[str, ...], f.metadata["names"])
            variable = next((name for name in names if environ.get(name)), None)
            if flags.get(f.name) is not None:
                values[f.name] = _convert(f"--{f.name.replace('_', '-')}", kinds[f.name], flags[f.name])
            elif variable:
                values[f.name] = _convert(variable, kinds[f.name], environ[variable].strip())
            elif f.name in from_file:
                values[f.name] = _convert(f"tidemill.toml: {f.name}", kinds[f.name], from_file[f.name])
        return cls(**values)


def _read_file(file: Path | None) -> dict[str, object]:
    path = file or Path("tidemill.toml")
    if not path.is_file():
        if file is not None:
            raise ConfigurationError(f"{file}: there is no such settings file")
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigurationError(f"{path}: not valid TOML: {e}") from e


def _convert(origin: str, kind: Any, raw: object) -> object:
    """Turn a raw value into the annotated type, or say which setting is wrong and what it takes."""
    if kind == tuple[str, ...] and isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if kind == Taps | None and isinstance(raw, str):
        raw = _pairs(origin, raw)
    try:
        return msgspec.convert(raw, kind, strict=False, dec_hook=_path)
    except msgspec.ValidationError as e:
        raise ConfigurationError(f"{origin}: {e}") from None


def _pairs(origin: str, raw: str) -> dict[str, str]:
    parts = [part.partition("=") for part in raw.split(",") if part.strip()]
    if wrong := [name for name, equals, value in parts if not (equals and value.strip())]:
        raise ConfigurationError(f"{origin}: expected name=/path, separated by commas; got {wrong[0].strip()!r}")
    return {name.strip(): value.strip() for name, _, value in parts}


def _path(kind: type, raw: object) -> object:
    return kind(raw)
