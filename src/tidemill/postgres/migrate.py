"""Migrations: plain, ordered SQL files shipped in the package, and the ledger of those applied.

Every file's last statement records the file in ``tidemill.schema_migrations``, so files applied by psql or by
``supabase db push`` are known here too; the runner adds the checksum that only it computes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import asyncpg

from tidemill.errors import InvalidInput, TidemillError
from tidemill.postgres.connection import Connection, connect, is_connection_failure, naming_failures
from tidemill.postgres.statements import Statements

_PACKAGE = "tidemill.postgres.migrations"
_sql = Statements("tidemill.postgres.sql")
_ALONE = "-- tidemill: no-transaction"
_RECORD = "insert into tidemill.schema_migrations"
_ADVISORY_LOCK = 0x7469_6465_6D69_6C6C  # "tidemill"
_PEER_TIMEOUT_S = 120
_LOCK_TIMEOUT_S = 5
_MIGRATION_TIMEOUT_S = 3600.0
_CLOSE_TIMEOUT_S = 10.0


class MigrationFailed(TidemillError):
    """A migration could not be applied; nothing of it was kept, and the ones before it stand."""


@dataclass(frozen=True)
class Migration:
    """One migration file. ``version`` is its 14 digits, ``sha256`` the hex digest of its bytes."""

    version: str
    name: str
    sql: str
    sha256: str

    @property
    def filename(self) -> str:
        """The file's name, the way Supabase names migrations."""
        return f"{self.version}_{self.name}.sql"

    @property
    def is_transactional(self) -> bool:
        """Whether the file runs in one transaction, as all do but those that say otherwise in their first line."""
        return not self.sql.startswith(_ALONE)


@dataclass(frozen=True)
class MigrationState:
    """How a database stands to this version of Tidemill.

    Attributes:
        applied: versions known here and recorded there.
        pending: migrations not yet applied, in order.
        drifted: versions whose recorded checksum is not that of the file shipped here.
        unknown: versions recorded there but not shipped here: a newer Tidemill was at work.
    """

    applied: tuple[str, ...]
    pending: tuple[Migration, ...]
    drifted: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Nothing is pending and nothing has drifted."""
        return not self.pending and not self.drifted


def migrations() -> tuple[Migration, ...]:
    """Every migration shipped, in order."""
    found: list[Migration] = []
    for file in resources.files(_PACKAGE).iterdir():
        if not file.name.endswith(".sql"):
            continue
        version, _, name = file.name.removesuffix(".sql").partition("_")
        raw = file.read_bytes()
        found.append(Migration(version, name, raw.decode(), hashlib.sha256(raw).hexdigest()))
    return tuple(sorted(found, key=lambda m: m.version))


async def check(url: str) -> MigrationState:
    """Compare the database's ledger with the files shipped; changes nothing. ``url`` may be a pooler's.

    Raises:
        DatabaseUnavailable: when the database cannot be reached.
    """
    async with _connected(url, pooled=True) as conn:  # it reads only, so that a pooler may stand between
        return await _state(conn)


async def plan(url: str) -> list[Migration]:
    """The migrations that :func:`migrate` would apply, in order; changes nothing."""
    return list((await check(url)).pending)


async def migrate(url: str, *, until: str | None = None) -> list[Migration]:
    """Apply what is pending, each file in a transaction of its own; returns those applied now.

    One runner works at a time; others wait for it (two minutes at most) and then find nothing to do. ``url`` must be
    a direct connection, not a transaction pooler.

    Args:
        url: the database, as a role that may create schemas (and roles, where Supabase's are missing).
        until: the last version to apply; all when None.

    Raises:
        MigrationFailed: a file failed, waited more than 5 s for a lock, or was changed after it had been applied.
        DatabaseUnavailable: the database cannot be reached or was lost on the way.
        InvalidInput: ``until`` names no version shipped.
    """
    if until is not None and until not in {m.version for m in migrations()}:
        raise InvalidInput("until", f"there is no migration {until}")
    async with _connected(url) as conn:
        await _wait_for_other_runners(conn)
        state = await _state(conn)
        if state.drifted:
            raise MigrationFailed(
                f"migration {state.drifted[0]} is not the file that was applied to this database. Restore the file, "
                "or, if the difference is harmless, set sha256 to null in its row of tidemill.schema_migrations"
            )
        applied: list[Migration] = []
        for migration in state.pending:
            if until is not None and migration.version > until:
                break
            await _apply(conn, migration)
            applied.append(migration)
        await _fill_in_checksums(conn)
        return applied


def export(directory: Path) -> list[Path]:
    """Copy the migrations into ``directory`` (``supabase/migrations``, say); returns the files written now.

    Raises:
        InvalidInput: a file of the same name with other content is there. Nothing is written then.
    """
    wanted = {directory / m.filename: m.sql.encode() for m in migrations()}
    for path, content in wanted.items():
        if path.exists() and path.read_bytes() != content:
            raise InvalidInput("directory", f"{path} exists with other content; move it away first")
    directory.mkdir(parents=True, exist_ok=True)
    missing = [path for path in wanted if not path.exists()]
    for path in missing:
        path.write_bytes(wanted[path])
    return missing


@asynccontextmanager
async def _connected(url: str, *, pooled: bool = False) -> AsyncGenerator[Connection]:
    conn = await connect(url, name="tidemill migrate", pooled=pooled)
    try:
        with naming_failures:
            yield conn
            await conn.close(timeout=_CLOSE_TIMEOUT_S)  # politely, so that the advisory lock is free when this returns
    finally:
        conn.terminate()


async def _state(conn: Connection) -> MigrationState:
    shipped = {m.version: m for m in migrations()}
    recorded: dict[str, str | None] = {}
    if await conn.fetchval(_sql.ledger_exists):
        recorded = {row["version"]: row["sha256"] for row in await conn.fetch(_sql.read_ledger)}
    return MigrationState(
        applied=tuple(v for v in recorded if v in shipped),
        pending=tuple(m for v, m in shipped.items() if v not in recorded),
        drifted=tuple(v for v, sha in recorded.items() if v in shipped and sha not in (None, shipped[v].sha256)),
        unknown=tuple(v for v in recorded if v not in shipped),
    )


async def _wait_for_other_runners(conn: Connection) -> None:
    try:
        await conn.execute(_sql.set_lock_timeout, f"{_PEER_TIMEOUT_S}s")
        await conn.execute(_sql.lock_runners, _ADVISORY_LOCK, timeout=_PEER_TIMEOUT_S + 10.0)
        await conn.execute(_sql.set_lock_timeout, f"{_LOCK_TIMEOUT_S}s")
    except asyncpg.LockNotAvailableError as e:
        raise MigrationFailed(f"another runner has been migrating this database for {_PEER_TIMEOUT_S} s") from e


async def _apply(conn: Connection, migration: Migration) -> None:
    try:
        if migration.is_transactional:
            async with conn.transaction():
                await conn.execute(migration.sql, timeout=_MIGRATION_TIMEOUT_S)
                await _require_record(conn, migration)
        else:
            # A statement such as CREATE INDEX CONCURRENTLY runs in no transaction, so not even beside the record.
            statement, _, _ = migration.sql.rpartition(_RECORD)
            await conn.execute(statement, timeout=_MIGRATION_TIMEOUT_S)
            await conn.execute(migration.sql[len(statement) :])
            await _require_record(conn, migration)
    except asyncpg.LockNotAvailableError as e:
        raise MigrationFailed(
            f"{migration.filename} waited {_LOCK_TIMEOUT_S} s for a lock that another connection holds, and was rolled "
            "back; find the holder in pg_stat_activity (a long transaction) and run it again"
        ) from e
    except asyncpg.PostgresError as e:
        if is_connection_failure(e):
            raise
        raise MigrationFailed(f"{migration.filename} failed: {e}{_place(migration.sql, e)}") from e


async def _require_record(conn: Connection, migration: Migration) -> None:
    if not await conn.fetchval(_sql.record_checksum, migration.version, migration.sha256):
        raise MigrationFailed(f"{migration.filename} does not end by recording itself in tidemill.schema_migrations")


async def _fill_in_checksums(conn: Connection) -> None:
    """Take rows that another tool wrote, without a checksum, for applications of the file shipped here."""
    known = migrations()
    if await conn.fetchval(_sql.ledger_exists):
        await conn.execute(_sql.fill_in_checksums, [m.version for m in known], [m.sha256 for m in known])


def _place(sql: str, error: asyncpg.PostgresError) -> str:
    position = getattr(error, "position", None)
    if not position:
        return ""
    return f" (line {sql.count(chr(10), 0, int(position)) + 1})"
