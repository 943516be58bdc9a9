"""Claims and role live in one transaction and nowhere else."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from tidemill.postgres import Database, tenant_session

WHO = "select current_user::text as role, auth.uid() as uid, current_setting('request.jwt.claims', true) as claims"


async def test_a_session_has_its_role_and_its_claims(db: Database):
    user = uuid4()
    async with tenant_session(db, {"sub": str(user), "role": "authenticated"}) as conn:
        row = await conn.fetchrow(WHO)
        assert row is not None
        assert (row["role"], row["uid"]) == ("authenticated", user)


async def test_claims_never_reach_the_next_transaction_or_a_neighbour(database_url: str):
    async with await Database.open(database_url, max_size=2) as db:
        login = await db.fetchval("select current_user::text")
        leaks: list[object] = []
        seen: list[tuple[UUID, UUID]] = []

        async def as_tenant() -> None:
            for _ in range(20):
                user = uuid4()
                async with tenant_session(db, {"sub": str(user)}) as conn:
                    await asyncio.sleep(0)
                    seen.append((user, await conn.fetchval("select auth.uid()")))

        async def as_engine() -> None:
            for _ in range(20):
                row = await db.fetchrow(WHO)
                assert row is not None
                if row["role"] != login or row["uid"] is not None or row["claims"]:
                    leaks.append(dict(row))

        await asyncio.gather(as_tenant(), as_tenant(), as_engine(), as_engine())
        assert leaks == []
        assert len(seen) == 40
        assert all(claimed == found for claimed, found in seen)


async def test_claims_end_also_when_the_session_fails(database_url: str):
    async with await Database.open(database_url, max_size=1) as db:
        for error in (ValueError("mine"), asyncio.CancelledError()):
            try:
                async with tenant_session(db, {"sub": str(uuid4())}):
                    raise error
            except (ValueError, asyncio.CancelledError):
                pass
            row = await db.fetchrow(WHO)
            assert row is not None
            assert row["role"] != "authenticated"
            assert not row["claims"]
