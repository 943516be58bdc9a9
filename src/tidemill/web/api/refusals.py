"""What Postgres refuses, as the caller's problem: it decides who may do what, and these are its words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import asyncpg

from tidemill.web.api.codes import invalid, problem
from tidemill.web.problems import Problem

__all__ = ["NOT_FOUND", "column_of", "forbidden", "not_found", "refusal"]

NOT_FOUND = "There is none that you can see."
_UNIQUE: Mapping[str, str] = MappingProxyType({"idx_integration_connectors_name": "name", "idx_sync_jobs_name": "name"})
_LATER = "It was changed by somebody else in this moment; try again."


def not_found() -> Problem:
    """The one 404: another company's looks like one that is not there."""
    return problem("NOT_FOUND", NOT_FOUND)


def forbidden() -> Problem:
    """The one 403: it is visible, and row security let it be read only."""
    return problem("FORBIDDEN", "Only an admin of the company may do that.")


def refusal(error: Exception) -> Problem | None:
    """The problem that an error of Postgres means to the caller; None when it is a failure of ours."""
    given: Any = error
    state: str | None = getattr(error, "sqlstate", None)
    match state:
        case "42501":  # row security, or a column that is not the tenants'
            return forbidden()
        case "TM004":
            return not_found()
        case "TM003":
            return invalid(given.column_name or "body", _without_field(str(error)))
        case "TM002":
            return problem("CONFLICT", str(error), field=given.column_name or "key")
        case "23505":
            field = _UNIQUE.get(given.constraint_name or "", "id")
            return problem("CONFLICT", f"{field}: is taken in this company", field=field, message="is taken")
        case "23503":
            if str(given.constraint_name).endswith("_company_id_fkey"):
                return problem("FORBIDDEN", "The company of your token is not there.")
            return invalid("connector_id", "there is no such connector")
        case "23514" | "23502":
            return invalid(column_of(given), "is not one of the values that the table takes, or is too long")
        case "57014":  # by a time limit of the database's own, or an operator's hand
            return problem("UNAVAILABLE", "The database cancelled it; try again.", headers={"Retry-After": "1"})
        case "55P03" | "40001" | "40P01":
            return problem("UNAVAILABLE", _LATER, headers={"Retry-After": "1"})
        case _:
            # What the doors let through and Postgres cannot hold. The message may quote the value, so it stays here.
            if isinstance(error, asyncpg.DataError):
                return problem("INVALID_FIELD", "A value cannot be stored; it is too large, or no valid text.")
            return None


def _without_field(message: str) -> str:
    return message.partition(": ")[2] or message


def column_of(error: Any) -> str:
    """The column that a check is about, by the name that Postgres gave it: table_column_check."""
    if error.column_name:
        return error.column_name
    return str(error.constraint_name).removeprefix(f"{error.table_name}_").rpartition("_check")[0].rstrip("0123456789")
