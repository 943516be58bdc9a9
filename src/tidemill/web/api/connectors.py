"""``/connectors``: a company's ways to its providers, and their secrets, which go in and never come out."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import asyncpg
from msgspec import UNSET

from tidemill.postgres import Connection, Statements
from tidemill.sync.jobs import credentials
from tidemill.vault import Vault
from tidemill.web.api.call import Answer, Call, etag
from tidemill.web.api.codes import problem
from tidemill.web.api.models import Connector, ConnectorChange, ConnectorNew, Credentials, CredentialState, Page
from tidemill.web.api.paging import paged, read_after
from tidemill.web.api.providers import Providers
from tidemill.web.api.queries import ConnectorQuery
from tidemill.web.api.refusals import forbidden, not_found
from tidemill.web.api.roles import as_engine
from tidemill.web.api.route import PREFIX, Route
from tidemill.web.api.rows import given, locked, stored_object, struct_of

__all__ = ["ConnectorRoutes"]

_SQL = Statements("tidemill.web.api.sql")
_BY_ID = tuple[Literal["connectors"], UUID]
_HAS_JOBS = "It has sync jobs; delete them first, or make it inactive."


class ConnectorRoutes:
    """Connectors of the caller's company. Without a vault no secrets are taken."""

    def __init__(self, providers: Providers, vault: Vault | None) -> None:
        self._providers = providers
        self._vault = vault

    async def list(self, conn: Connection, call: Call) -> Answer:
        """By id."""
        query: ConnectorQuery = call.query
        after = read_after(query.after, _BY_ID)
        rows = await conn.fetch(_SQL.connector_list, query.provider, after and after[1], query.limit + 1)
        return paged([struct_of(Connector, row) for row in rows], query.limit, lambda item: ("connectors", item.id))

    async def get(self, conn: Connection, call: Call) -> Answer:
        """One."""
        row = await conn.fetchrow(_SQL.connector_get, call.id)
        if row is None:
            raise not_found()
        return _told(struct_of(Connector, row))

    async def create(self, conn: Connection, call: Call) -> Answer:
        """A new one, of a provider that is known here."""
        new: ConnectorNew = call.body
        self._providers.check_config(new.provider, new.config)
        values = (new.provider, new.connector_type, new.name, new.status, new.config)
        row = await conn.fetchrow(_SQL.connector_insert, *values)
        if row is None:
            raise forbidden()
        made = struct_of(Connector, row)
        return Answer(made, {"Location": f"{PREFIX}/connectors/{made.id}", **etag(made.version)})

    async def change(self, conn: Connection, call: Call) -> Answer:
        """Replace what is given; the rest stays."""
        change: ConnectorChange = call.body
        before = struct_of(Connector, await locked(conn, call, lock=_SQL.connector_lock, look=_SQL.connector_get))
        call.must_match(before.version)
        provider, config = given(change.provider), given(change.config)
        if provider is not None or config is not None:
            held = config if config is not None else stored_object("config", before.config)
            self._providers.check_config(provider or before.provider, held)
        row = await conn.fetchrow(
            _SQL.connector_update,
            call.id,
            provider,
            given(change.connector_type),
            change.name is not UNSET,
            given(change.name),
            given(change.status),
            config,
        )
        if row is None:
            raise forbidden()
        return _told(struct_of(Connector, row))

    async def delete(self, conn: Connection, call: Call) -> Answer:
        """With its secrets and its records; refused while it has jobs."""
        before = await locked(conn, call, lock=_SQL.connector_lock, look=_SQL.connector_get)
        call.must_match(before["version"])
        try:
            gone = await conn.fetchval(_SQL.connector_delete, call.id)
        except asyncpg.ForeignKeyViolationError:
            raise problem("CONFLICT", _HAS_JOBS, field="id", message=_HAS_JOBS) from None
        if not gone:
            raise forbidden()
        return Answer(None)

    async def credential_state(self, conn: Connection, call: Call) -> Answer:
        """Which version of secrets it has, for admins; 404 where it has none."""
        connector = await conn.fetchrow(_SQL.connector_get, call.id)
        if connector is None:
            raise not_found()
        row = await conn.fetchrow(_SQL.credential_state, connector["company_id"], call.id)
        if row is None:
            raise not_found()
        return Answer(struct_of(CredentialState, row))

    async def set_credentials(self, conn: Connection, call: Call) -> Answer:
        """Seal new secrets in place of the old."""
        if self._vault is None:
            raise problem("NOT_CONFIGURED", "This server keeps no secrets: TIDEMILL_VAULT_KEYS is not set.")
        wanted: Credentials = call.body
        connector = await locked(conn, call, lock=_SQL.connector_lock, look=_SQL.connector_get)
        secrets = credentials.check_secrets(wanted.secrets)
        self._providers.check_secrets(connector["provider"], secrets)
        # Row security has let the caller lock the connector for an update, so he is an admin of its company; which
        # company that is, the row says. Tenants hold no right to insert ciphertext (they could put there what they have
        # from elsewhere), so this one insert is the engine's, in the same transaction and under the same lock.
        async with as_engine(conn):
            await credentials.store(conn, self._vault, connector["company_id"], call.id, secrets, call.user.id)
        row = await conn.fetchrow(_SQL.credential_state, connector["company_id"], call.id)
        if row is None:
            raise forbidden()
        return Answer(struct_of(CredentialState, row))

    def routes(self) -> list[Route]:
        """Its part of the table."""
        one = "/connectors/{id}"
        return [
            Route(
                method="GET",
                path="/connectors",
                name="listConnectors",
                summary="The company's connectors",
                handler=self.list,
                query=ConnectorQuery,
                gives=Page[Connector],
            ),
            Route(
                method="POST",
                path="/connectors",
                name="createConnector",
                summary="Make a connector (admins)",
                handler=self.create,
                takes=ConnectorNew,
                gives=Connector,
                status=201,
                keeps=True,
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            Route(
                method="GET",
                path=one,
                name="getConnector",
                summary="A connector",
                handler=self.get,
                gives=Connector,
            ),
            Route(
                method="PATCH",
                path=one,
                name="changeConnector",
                summary="Replace fields of a connector (admins)",
                handler=self.change,
                takes=ConnectorChange,
                gives=Connector,
                if_match="must",
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            Route(
                method="DELETE",
                path=one,
                name="deleteConnector",
                summary="Delete a connector without jobs, its secrets and its records (admins)",
                handler=self.delete,
                status=204,
                if_match="may",
                codes=("FORBIDDEN", "CONFLICT"),
            ),
            Route(
                method="GET",
                path=f"{one}/credentials",
                name="getCredentialState",
                summary="Which version of secrets a connector has (admins)",
                handler=self.credential_state,
                gives=CredentialState,
            ),
            Route(
                method="PUT",
                path=f"{one}/credentials",
                name="setCredentials",
                summary="Set all secrets of a connector (admins); they cannot be read again",
                handler=self.set_credentials,
                takes=Credentials,
                gives=CredentialState,
                codes=("FORBIDDEN",),
            ),
        ]


def _told(connector: Connector) -> Answer:
    return Answer(connector, etag(connector.version))
