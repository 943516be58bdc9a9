"""Tells the database what an application declared of its kinds, for jobs that are enqueued from SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidemill.engine.kind import Kind
from tidemill.engine.statements import SQL
from tidemill.errors import ConfigurationError
from tidemill.postgres import Database


async def declare_kinds(db: Database, kinds: Iterable[Kind], *, exposed: Mapping[str, str] | None = None) -> None:
    """Write the defaults of kinds into ``tidemill.kind``, in a transaction of its own; to be called at each start.

    Args:
        db: where the jobs live.
        kinds: what the application registered.
        exposed: kinds that tenants may enqueue through ``public.tidemill_enqueue``, and the top-level claim of their
            token (a uuid, e.g. ``company_id`` or ``sub``) that is the tenant of such a job.

    Raises:
        ConfigurationError: ``exposed`` names a kind that is not among ``kinds``.
    """
    declared = sorted(kinds, key=lambda kind: kind.name)
    claims = dict(exposed or {})
    if strangers := sorted(claims.keys() - {kind.name for kind in declared}):
        raise ConfigurationError(f"job kinds are exposed that are not registered: {', '.join(strangers)}")
    await db.execute(
        SQL.kind_declare,
        [kind.name for kind in declared],
        [kind.queue for kind in declared],
        [kind.priority for kind in declared],
        [kind.max_attempts for kind in declared],
        [claims.get(kind.name) for kind in declared],
        [kind.timeout for kind in declared],
    )
