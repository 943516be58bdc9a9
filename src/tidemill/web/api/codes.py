"""Every code that the API's problems have, with its status and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tidemill.web.problems import FieldError, Problem

__all__ = ["CODES", "Code", "invalid", "problem"]


@dataclass(frozen=True)
class Code:
    """A kind of problem."""

    status: int
    meaning: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        "INVALID_BODY": Code(400, "The body is no JSON object, or there is one where none is taken."),
        "UNAUTHORIZED": Code(401, "There is no access token, or it is not good."),
        "JWT_EXPIRED": Code(401, "The access token was good and is past its time."),
        "FORBIDDEN": Code(403, "You see it, and your role may not do that."),
        "NOT_FOUND": Code(404, "There is none that you can see."),
        "METHOD_NOT_ALLOWED": Code(405, "The path is there, but not for this method; Allow says for which."),
        "NOT_ACCEPTABLE": Code(406, "Answers are application/json, which Accept excludes."),
        "CONFLICT": Code(409, "It does not go with what is there: a name that is taken, a job that is disabled."),
        "IDEMPOTENCY_KEY_BUSY": Code(409, "A request with this Idempotency-Key is being carried out; try again."),
        "PRECONDITION_FAILED": Code(412, "It has changed since you read it: If-Match names another version."),
        "TOO_LARGE": Code(413, "The body is longer than 64 KB."),
        "UNSUPPORTED_MEDIA_TYPE": Code(415, "A body must be application/json in UTF-8, and not compressed."),
        "INVALID_FIELD": Code(422, "A field cannot be taken; errors names it and says why."),
        "IDEMPOTENCY_KEY_REUSED": Code(422, "This Idempotency-Key came before with another request."),
        "PRECONDITION_REQUIRED": Code(428, "An edit needs If-Match with the ETag of what you read."),
        "RATE_LIMITED": Code(429, "Too many calls; Retry-After says when to try again."),
        "INTERNAL": Code(500, "Something went wrong on our side; quote the id."),
        "NOT_CONFIGURED": Code(501, "This server does not accept user tokens, or keeps no secrets."),
        "UNAVAILABLE": Code(503, "The service is not ready; try again soon."),
        "TIMEOUT": Code(504, "The request took too long."),
    }
)


def problem(
    code: str, detail: str, *, field: str | None = None, message: str | None = None, headers: Mapping[str, str] = {}
) -> Problem:
    """A problem of one of :data:`CODES`; ``field`` is what it is about, ``message`` what is said of it."""
    errors = () if field is None else (FieldError(field, message or detail),)
    return Problem(CODES[code].status, code, detail, headers=headers, errors=errors)


def invalid(field: str, message: str) -> Problem:
    """A field that cannot be taken."""
    return problem("INVALID_FIELD", f"{field}: {message}", field=field, message=message)
