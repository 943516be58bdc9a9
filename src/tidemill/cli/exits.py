"""Exit codes, and the one place where a failure becomes one."""

from __future__ import annotations

from enum import IntEnum

from tidemill.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    SchemaOutOfDate,
    TidemillError,
)


class Exit(IntEnum):
    """What the exit codes of every command mean."""

    OK = 0
    NOT_WELL = 1
    USAGE = 2
    NOT_FOUND = 3
    DATABASE_UNREACHABLE = 4
    SCHEMA_OUT_OF_DATE = 5
    INTERRUPTED = 130


class NotWell(TidemillError):
    """What was checked or started did not come out well. The message may be empty: then all has been said."""


class NotFound(TidemillError):
    """What the command was asked about is not there. The message says what to do next."""


_CODES: tuple[tuple[type[TidemillError], Exit], ...] = (
    (NotFound, Exit.NOT_FOUND),
    (ConfigurationError, Exit.USAGE),
    (InvalidInput, Exit.USAGE),
    (DatabaseUnavailable, Exit.DATABASE_UNREACHABLE),
    (SchemaOutOfDate, Exit.SCHEMA_OUT_OF_DATE),
)


def exit_code(error: TidemillError) -> Exit:
    """The exit code of a failure; 1 for those without a code of their own."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.NOT_WELL)
