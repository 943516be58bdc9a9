"""What Tidemill raises. Outcomes are return values; these are failures."""

from __future__ import annotations

from typing import Any


class TidemillError(Exception):
    """Base of every error that Tidemill raises on purpose; its text is meant to be read by a person."""


class ConfigurationError(TidemillError):
    """A setting is missing or wrong. The message names the setting and the fix."""


class InvalidInput(TidemillError):
    """A value given by the caller cannot be taken.

    Attributes:
        field: the name of the offending argument, column or option.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field

    def __reduce__(self) -> Any:  # it is made of other things than its text, and so are its subclasses
        return _restored, (type(self), str(self), self.field)


def _restored(kind: type[InvalidInput], text: str, field: str) -> InvalidInput:
    error = kind.__new__(kind, text)
    error.field = field
    return error


class DatabaseUnavailable(TidemillError):
    """Postgres could not be reached, or did not answer in time."""


class SchemaOutOfDate(TidemillError):
    """The database lacks migrations that this version needs; run ``tidemill migrate``."""


class LeaseLost(TidemillError):
    """The job's lease passed to somebody else; nothing written on its behalf may commit."""
