"""Structured logs: one line an event, JSON for machines or text for a terminal, secrets taken out on the way.

Write them with :func:`structlog.get_logger`; :func:`bound` puts run, job or request ids on every line written inside
it, across ``await``. What other libraries send to :mod:`logging` goes down the same way and is redacted too.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, TextIO, cast
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars as bound
from structlog.typing import EventDict, Processor

__all__ = ["bound", "configure", "redact"]

HIDDEN = "[redacted]"

_MAX_DEPTH = 8
_MAX_TEXT = 16_384
_WORDS = (
    r"(?:authorization|cookie|password|passwd|passphrase|secret|token|jwt|api[_-]?key|private[_-]?key|vault_keys|dsn)"
)
_HIDDEN_KEY = re.compile(rf"(?:{_WORDS}|credentials?|database_url|listen_url)(?:_encrypted)?$", re.IGNORECASE)
_HIDDEN_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(bearer)\s+\S+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(rf"({_WORDS}=[\"']?)[^\s&\"',;)]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(rf"({_WORDS}[\"']\s*:\s*)(?:\"(?:[^\"\\]|\\++.)*+\"?|'(?:[^'\\]|\\++.)*+'?)", re.IGNORECASE),
        rf'\1"{HIDDEN}"',
    ),
    (re.compile(r"([?&](?:code|state|signature)=)[^\s&\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\b[a-z][a-z0-9+]{1,20}://[^\s:/@]{0,128}:)[^\s@/]{1,512}@", re.IGNORECASE), rf"\1{HIDDEN}@"),
)
_PLAIN = (int, float, bool, type(None))
_READABLE = (UUID, datetime, date, time, timedelta)


def redact(value: object) -> object:
    """The value as it may be logged: secrets hidden by the name of their key and by their look, size and depth bounded.

    Looks that are known: ``Bearer …``, JSON web tokens, ``…token=…`` and its kin in URLs, forms and reprs, OAuth codes
    in URLs, passwords in connection URLs. Objects become their ``repr`` first, so that none carries a secret past this.
    """
    return _redact(value, 0)


def _redact(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _READABLE):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): _redact_item(str(key), item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth + 1) for item in cast("Iterable[object]", value)]
    return _redact_text(repr(value))


def _redact_item(key: str, value: object, depth: int) -> object:
    # A number or a flag below such a name is a fence or a count, never a secret.
    if not isinstance(value, _PLAIN) and _HIDDEN_KEY.search(key):
        return HIDDEN
    return _redact(value, depth)


def _redact_text(text: str) -> str:
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}… ({len(text)} characters)"
    for pattern, replacement in _HIDDEN_TEXT:
        text = pattern.sub(replacement, text)
    return text


def configure(
    log_format: Literal["auto", "json", "text"] = "auto", *, level: str = "info", stream: TextIO | None = None
) -> None:
    """Set up logging for this process; call it once, at its start.

    Args:
        log_format: ``Settings.log_format``; ``auto`` is text on a terminal and JSON elsewhere.
        level: the lowest level that is written.
        stream: where lines go; standard error by default.
    """
    out = stream or sys.stderr
    on_terminal = out.isatty()
    text = log_format == "text" or (log_format == "auto" and on_terminal)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            _text_renderer(colors=on_terminal) if text else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Outlet(out))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    root.setLevel(max(lowest, logging.INFO))


def _redact_event(logger: Any, method: str, event: EventDict) -> EventDict:
    return {key: _redact_item(key, value, 0) for key, value in event.items()}


def _text_renderer(*, colors: bool) -> Processor:
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)


class _Outlet:
    """Where lines go. One that cannot be written is lost: the work that logs must not fail with its log's reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class _ToStructlog(logging.Handler):
    """Sends what libraries log by :mod:`logging` through our one pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
