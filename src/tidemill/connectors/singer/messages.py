"""The messages of a tap, one a line."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.redact import Redactor

_READ = 8_192
"""Bytes of it that are looked at: far more, so that no secret is cut in two and then not known any more."""
_SHOWN = 80
"""Characters of a line that could not be read which its error tells."""


class Message(msgspec.Struct):
    """Any message. Of each type only some fields are there."""

    type: str
    stream: str = ""
    record: Any = None
    version: int | None = None
    schema: dict[str, Any] | None = None
    key_properties: list[str] | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")


class NotStorable:
    """Stands for a record with a value that JSON, and so the database, does not have."""


_decode = msgspec.json.Decoder(Message).decode


def decode(line: bytes, redactor: Redactor) -> Message:
    """Read a line.

    ``NaN`` and lone surrogates, which many taps write though JSON knows neither, make a bad record, not a bad tap.

    Raises:
        ProviderError: ``PERMANENT``; it is not a message.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, RecursionError) as e:
        trouble = str(e)
    try:
        loose = json.loads(line)
        if loose["type"] == "RECORD" and isinstance(loose["record"], dict):
            return Message(type="RECORD", stream=str(loose.get("stream", "")), record=NotStorable())
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    shown = redactor.text(line[:_READ].decode(errors="replace"), _SHOWN)
    raise ProviderError(ErrorKind.PERMANENT, f"the tap wrote a line that is no message ({trouble}): {shown}")
