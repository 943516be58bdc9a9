"""A connector's secrets: sealed by the vault, a version each time they are set; the newest counts."""

from __future__ import annotations

from uuid import UUID

import msgspec

from tidemill.postgres import Connection
from tidemill.sync.jobs.statements import SQL
from tidemill.vault import Aad, Secret, Vault


async def newest(conn: Connection, vault: Vault, company: UUID, connector: UUID) -> dict[str, Secret]:
    """The secrets of a connector's newest version by name; none where none were ever set.

    Raises:
        VaultError: they cannot be opened: damaged, or sealed with a key that is not on the ring.
    """
    row = await conn.fetchrow(SQL.newest_credentials, company, connector)
    if row is None:
        return {}
    aad = Aad(str(company), "connector_credentials", str(connector), "secret")
    plain = msgspec.json.decode(vault.open(row["sealed"].decode("ascii"), aad), type=dict[str, str])
    return {name: Secret(text) for name, text in plain.items()}
