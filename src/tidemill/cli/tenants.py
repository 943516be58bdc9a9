"""What the commands about tenants' own syncs share: finding a company, its connectors and its jobs; reading JSON."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import click
import msgspec

from tidemill.cli.exits import NotFound
from tidemill.cli.statements import SQL
from tidemill.errors import InvalidInput
from tidemill.postgres import Database, Record
from tidemill.web.api.refusals import column_of

company_option = click.option("--company", metavar="CODE|ID", help="Whose; needed where several have one of that name.")


async def company_of(db: Database, company: str | None) -> UUID | None:
    """The id of the company with this code or id; None for none.

    Raises:
        NotFound: there is no such company.
    """
    if company is None:
        return None
    found: UUID | None = await db.fetchval(SQL.company_named, company, as_uuid(company))
    if found is None:
        raise NotFound(f"There is no company {company!r}")
    return found


async def the_company(db: Database, company: str | None) -> UUID:
    """Likewise, where something new must belong to one.

    Raises:
        InvalidInput: none was named.
    """
    found = await company_of(db, company)
    if found is None:
        raise InvalidInput("--company", "say whose it is, by the company's code or id")
    return found


async def find_connector(db: Database, name: str, company: str | None) -> Record:
    """The connector with this name or id.

    Raises:
        NotFound: there is none.
        InvalidInput: several companies have one of that name.
    """
    rows = await db.fetch(SQL.connector_named, await company_of(db, company), as_uuid(name), name)
    return _the_one(rows, "connector", name, "tidemill connectors list")


async def find_job(db: Database, name: str, company: str | None) -> Record:
    """The sync job with this name or id.

    Raises:
        NotFound: there is none.
        InvalidInput: several companies have one of that name.
    """
    rows = await db.fetch(SQL.sync_job_named, await company_of(db, company), as_uuid(name), name)
    return _the_one(rows, "sync job", name, "tidemill sync-jobs list")


def read_object(option: str, given: str | None) -> dict[str, Any] | None:
    """A JSON object given as text, or as @ and the name of a file that holds it; None where nothing was given.

    Raises:
        InvalidInput: naming the option.
    """
    if given is None:
        return None
    text = given.encode()
    if given.startswith("@"):
        text = read_file(option, Path(given[1:]))
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        reason = "not valid JSON" if not isinstance(error, msgspec.ValidationError) else "not a JSON object"
        raise InvalidInput(option, f"this is {reason}; write it as {{…}}, or @file") from None


def read_file(option: str, path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InvalidInput: naming the option, when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(option, f"{path}: {error.strerror}") from None


@contextmanager
def refusals(what: str) -> Generator[None]:
    """Turns what the tables refuse into an :class:`InvalidInput` that names the column."""
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise InvalidInput("--name", f"the company has a {what} of that name already") from None
    except asyncpg.CheckViolationError as error:
        raise InvalidInput(column_of(error), "is not one of the values that the table takes, or is too long") from None
    except asyncpg.DataError as error:
        raise InvalidInput(what, f"a value cannot be stored: {error}") from None


def as_uuid(text: str) -> UUID | None:
    """The text as an id, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _the_one(rows: list[Record], what: str, name: str, listing: str) -> Record:
    if not rows:
        raise NotFound(f"There is no {what} {name!r}. List them with: {listing}")
    if len(rows) > 1:
        companies = ", ".join(sorted(row["company"] for row in rows))
        raise InvalidInput("--company", f"several have a {what} {name!r}; name one of {companies}")
    return rows[0]
