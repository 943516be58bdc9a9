"""What a write to the layers answers, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tidemill.errors import InvalidInput

_LIMIT = 2**62 - 1  # the difference of any two such numbers still fits a bigint


@dataclass(frozen=True, slots=True)
class Written:
    """What a write changed.

    Attributes:
        inserted: snapshots new in layer 1, corrections included.
        recalculated: earlier rows of layer 2 that a late or corrected snapshot changed.
        unknown: observations left out because their post or account is not, or no longer, in the workspace.
    """

    inserted: int = 0
    recalculated: int = 0
    unknown: int = 0


def check_slot(slot: datetime) -> None:
    """A slot is an instant.

    Raises:
        InvalidInput: when it has no time zone, so that its instant would depend on where the code runs.
    """
    if slot.utcoffset() is None:
        raise InvalidInput("slot", "needs a time zone")


def check_counts(field: str, values: Iterable[int | None]) -> None:
    """Values of one metric must be small enough that their differences can be stored.

    Raises:
        InvalidInput: naming ``field``.
    """
    known = [v for v in values if v is not None]
    if known and not -_LIMIT <= min(known) <= max(known) <= _LIMIT:
        raise InvalidInput(field, "is not within ±2^62")
