"""Companies with connectors, sync jobs, runs and records: what a tenant of seed 000 has."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from tests.schema.conftest import user
from tidemill.postgres import Connection

ADMIN = "Vibot.admin"


@dataclass(frozen=True)
class Company:
    """A company with a row in every table that is led by one."""

    id: UUID
    connector: UUID
    job: UUID
    run: UUID
    user: UUID

    @property
    def member(self) -> dict[str, object]:
        """The claims of one of its users."""
        return user(self.user, company_id=str(self.id), app_metadata={"role_keys": ["Vibot.employee"]})

    @property
    def admin(self) -> dict[str, object]:
        """The claims of one of its admins."""
        return user(self.user, company_id=str(self.id), app_metadata={"role_keys": ["Vibot.employee", ADMIN]})


async def make_company(conn: Connection, code: str, *, of: UUID | None = None) -> Company:
    """A company; ``of`` is the user that its claims name."""
    c = Company(uuid4(), uuid4(), uuid4(), uuid4(), of or uuid4())
    rows: list[tuple[str, *tuple[object, ...]]] = [
        ("insert into public.companies (id, code, name, timezone) values ($1, $2, $2, 'Asia/Taipei')", c.id, code),
        (
            "insert into public.integration_connectors (company_id, id, provider, name) "
            "values ($1, $2, 'http', 'orders')",
            c.id,
            c.connector,
        ),
        (
            "insert into public.connector_credentials (company_id, connector_id, version, secret_ciphertext, checksum) "
            "values ($1, $2, 1, 'sealed', 'c0ffee')",
            c.id,
            c.connector,
        ),
        (
            "insert into public.sync_jobs (company_id, connector_id, id, job_type, schedule, name) "
            "values ($1, $2, $3, 'sync', '{\"every\": \"15m\"}', 'orders')",
            c.id,
            c.connector,
            c.job,
        ),
        (
            "insert into public.sync_run_logs "
            "(company_id, connector_id, job_id, id, job_type, status, finished_at, trigger) "
            "values ($1, $2, $3, $4, 'sync', 'completed', now(), 'schedule')",
            c.id,
            c.connector,
            c.job,
            c.run,
        ),
        (
            "insert into public.synced_records "
            "(company_id, connector_id, stream, key, data, hash, first_seen_at, last_seen_at, changed_at) "
            "values ($1, $2, 'orders', '[1]', '{\"id\": 1}', 'hash', now(), now(), now())",
            c.id,
            c.connector,
        ),
        (
            "insert into public.connector_state (company_id, connector_id, stream, cursor) "
            "values ($1, $2, 'orders', 'c1')",
            c.id,
            c.connector,
        ),
        (
            "insert into tidemill.staged_record (run, stream, ordinal, data, hash) values ($1, 's', 1, '{}', 'h')",
            c.run,
        ),
        (
            "insert into public.sync_notifications (company_id, job_id, run_id, kind, message) "
            "values ($1, $2, $3, 'job_disabled', 'ten runs have failed')",
            c.id,
            c.job,
            c.run,
        ),
    ]
    for row in rows:
        await conn.execute(*row)
    return c
