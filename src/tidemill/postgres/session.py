"""A tenant's view of the database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import msgspec

from tidemill.postgres.connection import Connection
from tidemill.postgres.pool import Database
from tidemill.postgres.statements import Statements

_sql = Statements("tidemill.postgres.sql")


@asynccontextmanager
async def tenant_session(
    db: Database, claims: Mapping[str, object], *, settings: Mapping[str, str] = MappingProxyType({})
) -> AsyncGenerator[Connection]:
    """One transaction as ``authenticated`` with these JWT claims: row-level security decides what it sees.

    Role, claims and settings end with the transaction, so the next user of the connection has none. The login role must
    be a member of ``authenticated``.

    Args:
        db: a pool whose login is the owner or the engine.
        claims: verified claims of a JWT (``sub``, ``role``, …), as ``auth.jwt()`` gives them to policies. Verifying is
            the caller's part.
        settings: of this transaction, by Postgres' names; such as a user may set.

    Raises:
        DatabaseUnavailable: as :meth:`Database.transaction`.
    """
    async with db.transaction() as conn:
        await conn.execute(_sql.become_tenant, msgspec.json.encode(claims).decode(), dict(settings))
        yield conn
