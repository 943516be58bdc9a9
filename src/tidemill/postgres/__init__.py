"""Everything between Python and Postgres: pool, migrations, tenant sessions, notifications, embedded server."""

from __future__ import annotations

from tidemill.postgres.connection import Connection, Record, connect, naming_failures
from tidemill.postgres.listener import Listener
from tidemill.postgres.migrate import Migration, MigrationFailed, MigrationState, check, export, migrate, plan
from tidemill.postgres.pool import Database
from tidemill.postgres.session import tenant_session
from tidemill.postgres.statements import Statements
from tidemill.postgres.url import database_url

__all__ = [
    "Connection",
    "Database",
    "Listener",
    "Migration",
    "MigrationFailed",
    "MigrationState",
    "Record",
    "Statements",
    "check",
    "connect",
    "database_url",
    "export",
    "migrate",
    "naming_failures",
    "plan",
    "tenant_session",
]
