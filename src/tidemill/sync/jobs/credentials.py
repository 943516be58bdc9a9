"""A connector's secrets: sealed by the vault, a version each time they are set; the newest counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

import msgspec

from tidemill.errors import InvalidInput
from tidemill.postgres import Connection
from tidemill.sync.jobs.statements import SQL
from tidemill.vault import Aad, Secret, Vault, VaultError

__all__ = ["MAX_BYTES", "check_secrets", "newest", "rotate", "store"]

MAX_BYTES = 32 * 1024
"""What all secrets of one connector may take as JSON."""


def check_secrets(secrets: Mapping[str, object]) -> dict[str, Secret]:
    """Secrets as callers give them: an object of non-empty texts.

    Raises:
        InvalidInput: naming the secret, never its text.
    """
    if not isinstance(cast(object, secrets), Mapping) or not secrets:
        raise InvalidInput("secrets", 'must be an object of texts with at least one, such as {"token": "…"}')
    for name, text in secrets.items():
        if not isinstance(text, str) or not text:
            raise InvalidInput(f"secrets.{name[:50]}", "must be a text, and not empty")
    if len(msgspec.json.encode(secrets)) > MAX_BYTES:
        raise InvalidInput("secrets", f"are longer than {MAX_BYTES} bytes together")
    return {name: Secret(cast(str, text)) for name, text in secrets.items()}


async def store(
    conn: Connection, vault: Vault, company: UUID, connector: UUID, secrets: Mapping[str, Secret], by: UUID | None
) -> tuple[int, str]:
    """Seal a connector's secrets as its next version; that version and the checksum of the ciphertext.

    They replace all that were there: nothing of an older version is carried over.

    Args:
        conn: a connection of the engine's role inside a transaction that has locked the connector's row, so that two
            callers cannot take the same version.
        vault: seals them.
        company: the connector's.
        connector: whose they are.
        secrets: name → text.
        by: the user who set them; None for an operator, or a user whom ``auth.users`` does not know.

    Raises:
        InvalidInput: they are no valid Unicode.
    """
    text = _text(secrets)
    try:
        sealed = vault.seal(text, _aad(company, connector)).encode("ascii")
    except VaultError as error:
        raise InvalidInput("secrets", str(error)) from None
    checksum = hashlib.sha256(sealed).hexdigest()
    version = await conn.fetchval(SQL.store_credentials, company, connector, sealed, checksum, by)
    return version, checksum


async def newest(conn: Connection, vault: Vault, company: UUID, connector: UUID) -> dict[str, Secret]:
    """The secrets of a connector's newest version by name; none where none were ever set.

    Raises:
        VaultError: they cannot be opened: damaged, or sealed with a key that is not on the ring.
    """
    row = await conn.fetchrow(SQL.newest_credentials, company, connector)
    return {} if row is None else _opened(vault, row["sealed"], company, connector)


async def rotate(conn: Connection, vault: Vault, company: UUID, connector: UUID) -> bool:
    """Seal the newest version anew if it is not sealed with the keyring's first key; whether that was needed.

    The version stays, since the secrets do. Safe beside :func:`store`: a version that has just been set is sealed with
    the first key.

    Raises:
        VaultError: it cannot be opened.
    """
    row = await conn.fetchrow(SQL.newest_credentials, company, connector)
    if row is None or vault.key_of(row["sealed"].decode("ascii")) == vault.sealing_key:
        return False
    secrets = _opened(vault, row["sealed"], company, connector)
    sealed = vault.seal(_text(secrets), _aad(company, connector)).encode("ascii")
    checksum = hashlib.sha256(sealed).hexdigest()
    return bool(await conn.fetchval(SQL.reseal_credentials, row["id"], row["sealed"], sealed, checksum))


def _aad(company: UUID, connector: UUID) -> Aad:
    return Aad(str(company), "connector_credentials", str(connector), "secret")


def _text(secrets: Mapping[str, Secret]) -> str:
    plain = {name: secret.reveal() for name, secret in secrets.items()}
    try:
        return msgspec.json.encode(plain).decode()
    except UnicodeEncodeError:
        raise InvalidInput("secrets", "are not valid Unicode") from None


def _opened(vault: Vault, sealed: bytes, company: UUID, connector: UUID) -> dict[str, Secret]:
    plain: Any = msgspec.json.decode(vault.open(sealed.decode("ascii"), _aad(company, connector)), type=dict[str, str])
    return {name: Secret(text) for name, text in plain.items()}
