"""What anybody wrote into a row: read, or refused in words for whoever wrote it."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import structlog

from tidemill.errors import InvalidInput

_LONGEST_TOLD = 1000

_log = structlog.get_logger("tidemill.sync")


def read_payload(text: str) -> dict[str, Any]:
    """A payload in JSON.

    Raises:
        InvalidInput: it is no object.
    """
    payload = decoded("payload", text)
    if not isinstance(payload, dict):
        raise InvalidInput("payload", "must be an object such as {}")
    return cast("dict[str, Any]", payload)


def decoded(field: str, text: str) -> object:
    """A field's JSON.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise InvalidInput(field, "is nested too deeply") from None
    except msgspec.DecodeError as e:
        raise InvalidInput(field, f"cannot be read: {e}") from None


def below(whole: str, e: InvalidInput) -> InvalidInput:
    """The same refusal of a part of ``whole``."""
    problem = str(e).removeprefix(f"{e.field}: ")
    if e.field == whole:
        return e
    return InvalidInput(f"{whole}.{e.field}", problem) if e.field.strip() else InvalidInput(whole, f"'' {problem}")


def told(e: Exception) -> str:
    """What to tell whoever wrote the row; what is no fault of theirs is logged too."""
    if not isinstance(e, InvalidInput):
        _log.error("sync_job_unreadable", exc_info=e)
        return f"it cannot be read ({type(e).__name__})"
    return str(e).replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:_LONGEST_TOLD]
