"""The provider as the suite needs it: known, changeable, and able to misbehave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from tidemill.connectors import Window


class Trouble(StrEnum):
    """How a provider can misbehave."""

    BAD_TOKEN = "bad_token"  # noqa: S105
    """It refuses the secret, and repeats it in its answer."""
    BAD_ROWS = "bad_rows"
    """Some records cannot be used: no object, or without their key. The others are as they were."""
    DOWN = "down"
    """It fails amid a read: the first page comes, a later one does not."""
    SLOW = "slow"
    """It takes calls and does not answer within a minute; best after the first page."""
    WRONG_TYPES = "wrong_types"
    """It answers well-formed, with something other than was asked for."""
    ENDLESS = "endless"
    """There is always a next page."""
    DUPLICATES = "duplicates"
    """Records come more than once: within a page, and on two pages."""


class World(ABC):
    """A provider for one test, with its accounts and its records. Made anew for each test.

    What a world cannot do it answers with False, and the test is skipped; so start with the first three.
    Have at least one stream that takes three batches or more.
    """

    @property
    @abstractmethod
    def config(self) -> Mapping[str, Any]:
        """What a company would say of its connector."""

    @property
    @abstractmethod
    def secrets(self) -> Mapping[str, str]:
        """The secrets by name; each at least eight characters, and found nowhere else in the world."""

    @abstractmethod
    def truth(self, stream: str, window: Window | None = None) -> Sequence[Mapping[str, Any]]:
        """The records that the provider has now (within ``window``), as the connector should give them."""

    def windows(self, stream: str) -> Sequence[Window]:
        """Parts of the past to ask for, of a stream that declares ``window``. At least one must leave something out."""
        return ()

    async def change(self, stream: str) -> bool:
        """Add a record and change another, as the provider would: later than all that was there."""
        return False

    async def delete(self, stream: str) -> bool:
        """Delete a record so that the next read tells."""
        return False

    async def trouble(self, kind: Trouble | None) -> bool:
        """Misbehave from now on; None: behave again."""
        return False
