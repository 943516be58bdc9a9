"""The one place where a request acts as more than its tenant."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tidemill.postgres import Connection, Statements

__all__ = ["as_engine"]

_SQL = Statements("tidemill.web.api.sql")


@asynccontextmanager
async def as_engine(conn: Connection) -> AsyncGenerator[None]:
    """Inside it a tenant's session acts as the role that logged in; its claims stay set.

    Three things need it, and none asks it who may do what: an idempotency key stands by company and user of the
    claims in a schema that tenants do not reach; and where row security has just let the tenant lock the connector for
    an update, credentials are inserted, since tenants may not insert ciphertext of their own making, or opened for a
    check, since they may not read it.
    """
    await conn.execute(_SQL.become_engine)
    yield
    await conn.execute(_SQL.become_tenant_again)  # after a failure there is no transaction left to act in
