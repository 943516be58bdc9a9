"""Tables and views as they are attacked: who reads and who writes which, by rights.py."""

from __future__ import annotations

from dataclasses import dataclass

from tests.schema import rights
from tidemill.postgres import Connection

REFUSED = "42501"
NOT_UPDATABLE = {"55000", "0A000"}
"""What Postgres says of a write to a view that joins, before it looks at rights."""
TENANTS = ("member", "admin", "other admin")
SERVERS = ("service_role", "server without BYPASSRLS")
PERSONS = ("anon", *TENANTS, *SERVERS)
LED_BY = {"companies": "id", "profiles": "id", "workspaces": "id"}
"""The column that says whose a row is, where that is neither the company nor the workspace."""


@dataclass(frozen=True)
class Table:
    """A table or view, and what can be named of it."""

    name: str
    kind: str
    columns: list[str]

    @property
    def leader(self) -> str:
        """The column that says whose a row is."""
        return LED_BY.get(self.name, "company_id" if "company_id" in self.columns else "workspace_id")

    @property
    def refusals(self) -> set[str]:
        """How a write to it may be refused."""
        return {REFUSED} | NOT_UPDATABLE if self.kind == "v" else {REFUSED}


async def all_tables(conn: Connection) -> list[Table]:
    return [Table(row["name"], row["kind"], row["columns"]) for row in await conn.fetch(rights.TABLES)]


def readable(table: Table, person: str) -> bool:
    """Whether the person may read every column of it."""
    if person in SERVERS:
        return not table.name.startswith("tidemill.") or table.name in rights.SERVER_READS_ONLY
    return person in TENANTS and table.name in rights.READ


def writable(table: Table, person: str) -> bool:
    """Whether it is a server's to write."""
    return person in SERVERS and readable(table, person) and table.name not in rights.SERVER_READS_ONLY
