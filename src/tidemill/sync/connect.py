"""Connecting an account: code → short token → long token → profile, then one transaction that stores it sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from tidemill.connectors.threads import LongToken, Profile
from tidemill.postgres import Connection, Database
from tidemill.sync.account import token_aad
from tidemill.sync.statements import SQL
from tidemill.vault import Vault


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected account."""

    account_id: UUID
    username: str


async def connect_account(
    db: Database, vault: Vault, *, workspace: UUID, user: UUID, profile: Profile, token: LongToken
) -> Connected:
    """Store an authorised account: it becomes active, its former primary token is demoted, its troubles are forgotten.

    The HTTP calls came before: no transaction is open while a provider is asked.
    """

    async def work(conn: Connection) -> Connected:
        row = await conn.fetchrow(
            SQL.connect_account,
            workspace,
            profile.id,
            profile.username or profile.id,
            profile.name,
            profile.biography,
            profile.picture_url,
            bool(profile.is_verified),
            timedelta(seconds=token.expires_in),
        )
        assert row is not None  # noqa: S101 - an upsert that always writes
        await conn.execute(SQL.demote_tokens, row["id"])
        token_id = uuid4()
        sealed = vault.seal(token.token.reveal(), token_aad(workspace, token_id))
        await conn.execute(SQL.insert_token, token_id, row["id"], user, sealed, timedelta(seconds=token.expires_in))
        return Connected(row["id"], row["username"])

    return await db.retrying(work)
