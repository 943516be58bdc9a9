"""Idempotency keys: a request that is made again gets the answer it got, and nothing is done twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from tidemill.postgres import Connection, Statements
from tidemill.web.api.codes import problem
from tidemill.web.api.roles import as_engine

__all__ = ["Kept", "begin", "digest", "keep"]

_SQL = Statements("tidemill.web.api.sql")


@dataclass(frozen=True)
class Kept:
    """An answer that was given before."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def digest(method: str, path: str, body: bytes) -> bytes:
    """What a request is known by: the same key must come with the same."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode("utf-8", "surrogateescape"), body))).digest()


async def begin(conn: Connection, user: UUID, key: str, request: bytes) -> Kept | None:
    """Take the key for this transaction; or the answer that was given to the same request.

    Two requests of one key at a time: the second waits for the first to commit, and a while at most.

    Args:
        conn: a tenant's session.
        user: the caller.
        key: his.
        request: its :func:`digest`.

    Raises:
        Problem: 422 when the key came before with another request, 409 while that is being carried out.
    """
    async with as_engine(conn):
        try:
            taken = await conn.fetchval(_SQL.take_key, user, key, request)
        except asyncpg.LockNotAvailableError:
            raise problem(
                "IDEMPOTENCY_KEY_BUSY", "A request with this key is being carried out.", headers={"Retry-After": "1"}
            ) from None
        if taken:
            return None
        row = await conn.fetchrow(_SQL.kept_answer, user, key)
    if row is None or row["request"] != request:
        raise problem(
            "IDEMPOTENCY_KEY_REUSED",
            "Idempotency-Key: it came before with another request; take a new key for a new request.",
            field="Idempotency-Key",
            message="came before with another request",
        )
    return Kept(row["status"], row["headers"], row["body"])


async def keep(conn: Connection, user: UUID, key: str, answer: Kept) -> None:
    """Write down the answer, in the transaction that did what it tells of."""
    async with as_engine(conn):
        await conn.execute(_SQL.keep_answer, user, key, answer.status, dict(answer.headers), answer.body)
