"""Turns a tap's messages into batches, so that no STATE is committed before the records it speaks of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tidemill.connectors.errors import ErrorKind, ProviderError
from tidemill.connectors.protocol import Miss, Stream
from tidemill.connectors.redact import Redactor
from tidemill.connectors.singer.bookmark import has_bookmark
from tidemill.connectors.singer.bounds import Bounds
from tidemill.connectors.singer.messages import Message, NotStorable, decode
from tidemill.connectors.singer.rows import RowCheck

_WORTH_A_COMMIT = 500
"""Records from which a batch is closed by the first STATE that comes."""


class Cut(NamedTuple):
    """A batch, but for when it was observed."""

    records: list[dict[str, Any]]
    misses: list[Miss]
    cursor: str | None = None
    version: int | None = None
    activate: int | None = None
    caught_up: bool = False


class _Rows:
    """Records, and what was wrong with others."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.misses: list[Miss] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.records) + len(self.misses)

    def add(self, more: _Rows) -> None:
        self.records += more.records
        self.misses += more.misses
        self.bytes += more.bytes


class Batcher:
    """One run of one stream.

    ``names`` are the stream's own in messages, ``others`` those of other streams. A tap that calls the stream by a
    name its catalogue does not have is understood by its first SCHEMA. Where there ``may_be_no_news``, a run that had a
    bookmark of the stream, has one at its end and brings nothing, has told that there is nothing new.
    """

    def __init__(
        self,
        stream: Stream,
        names: frozenset[str],
        others: frozenset[str],
        *,
        cursor: str | None,
        may_be_no_news: bool = False,
        bounds: Bounds,
        redactor: Redactor,
        log: Any,
    ) -> None:
        self._stream = stream
        self._names = names
        self._others = others
        self._bounds = bounds
        self._redactor = redactor
        self._log = log
        self._check: RowCheck | None = None
        self._closed = _Rows()  # what lies before the newest STATE
        self._loose = _Rows()  # what came after it
        self._cursor: str | None = None
        self._told = cursor
        self._caught_up = may_be_no_news and has_bookmark(cursor, names)
        self._version: int | None = None
        self._activate: int | None = None
        self._came = 0
        self._refused = False
        self._unknown: set[str] = set()
        self._last_cut = time.monotonic()

    @property
    def due(self) -> float | None:
        """When (:func:`time.monotonic`) a STATE has waited long enough for company; None when none waits."""
        return None if self._cursor is None else self._last_cut + self._bounds.state_every_s

    def take(self, lines: Iterable[bytes]) -> Iterator[Cut]:
        """Read lines.

        Raises:
            ProviderError: ``PERMANENT``; what the tap writes cannot be followed.
        """
        for line in lines:
            if not line or line.isspace():
                continue
            message = decode(line, self._redactor)
            match message.type:
                case "RECORD":
                    yield from self._record(message, len(line))
                case "STATE":
                    yield from self._state(message)
                case "SCHEMA":
                    self._schema(message)
                case "ACTIVATE_VERSION":
                    yield from self._activate_version(message)
                case "BATCH":
                    raise _permanent("the tap sends BATCH messages, which are not supported; remove its batch_config")
                case unknown:
                    self._warn_once(f"message of type {unknown[:50]!r}")

    def flush(self) -> Iterator[Cut]:
        """All that is held back, as far as a STATE covers it with that STATE."""
        yield from self.settle()
        if len(self._loose):
            yield self._cut(self._loose, None)
            self._loose = _Rows()

    def settle(self) -> Iterator[Cut]:
        """Hand out what waits for company."""
        if self._cursor is not None:
            yield self._cut(self._closed, self._cursor)
            self._closed, self._cursor = _Rows(), None

    def end(self) -> Iterator[Cut]:
        """The rest of a run that ended well."""
        yield from self.flush()
        if self._activate is not None:
            yield from self._activated(self._activate)
        if self._caught_up and not self._came and has_bookmark(self._told, self._names):
            yield Cut([], [], caught_up=True)

    def _activated(self, version: int) -> Iterator[Cut]:
        """The end of a full load, after which what it did not bring is deleted: if it has brought all there is."""
        if self._refused:
            trouble = "records were refused"
        elif version != self._version and (self._came or self._stream.never_empty):
            trouble = "no record came with it"  # perhaps the tap has not found its source
        else:
            yield Cut([], [], version=version, activate=version)
            return
        self._log.warning("tap_version_not_activated", stream=self._stream.name, version=version, why=trouble)

    def _record(self, message: Message, size: int) -> Iterator[Cut]:
        if message.stream not in self._names:
            self._warn_once(f"records of the stream {message.stream[:100]!r}")
            return
        if self._check is None:
            raise _permanent("the tap wrote a RECORD before its SCHEMA")
        if message.version != self._version:
            yield from self.flush()
            self._version = message.version
        elif self._is_full():  # not before: the next message may be the STATE that closes the batch
            yield from self.settle()
            if self._is_full():  # nothing, or little, was covered by a STATE
                yield from self.flush()
        self._came += 1
        fault = self._check.fault(message.record)
        if fault is None:
            self._loose.records.append(message.record)
        else:
            if isinstance(message.record, NotStorable):
                fault = "a value is not JSON (NaN, Infinity or half a character)"
            self._refused = True
            entity = f"{self._stream.name}#{self._came}"
            self._loose.misses.append(Miss(entity, _permanent(fault)))
        self._loose.bytes += size

    def _is_full(self) -> bool:
        bounds = self._bounds
        return (
            len(self._closed) + len(self._loose) >= bounds.records
            or self._closed.bytes + self._loose.bytes >= bounds.batch_bytes
        )

    def _state(self, message: Message) -> Iterator[Cut]:
        if len(value := bytes(message.value)) > self._bounds.state_bytes:
            raise _permanent(f"the tap's STATE has {len(value)} bytes; {self._bounds.state_bytes} are allowed")
        text = value.decode()
        if text == "null" or (text == self._told and not len(self._closed) and not len(self._loose)):
            return
        self._closed.add(self._loose)
        self._loose = _Rows()
        self._cursor = text
        if len(self._closed) >= _WORTH_A_COMMIT or time.monotonic() >= self._last_cut + self._bounds.state_every_s:
            yield from self.settle()

    def _schema(self, message: Message) -> None:
        if message.stream not in self._names:
            if self._check is not None or message.stream in self._others:
                return
            self._names |= {message.stream}
        if message.schema is None:
            raise _permanent("the tap wrote a SCHEMA without a schema")
        said, key = message.key_properties or [], self._stream.key
        if said and set(said) != set(key):
            ours = ", ".join(key) or "none"
            raise _permanent(
                f"by its SCHEMA the stream's key is {', '.join(said)}, by its catalogue {ours}; "
                f"set key_properties of config.streams.{self._stream.name}"
            )
        self._check = RowCheck(message.schema, key)

    def _activate_version(self, message: Message) -> Iterator[Cut]:
        if message.stream not in self._names or message.version is None:
            return
        if message.version != self._version:
            # Said before the first record, as Meltano's SDK does. Obeyed at once, it would delete all that is there on
            # the word of a run that may fail.
            self._activate = message.version
            return
        yield from self.flush()
        self._activate = None
        yield from self._activated(message.version)

    def _cut(self, rows: _Rows, cursor: str | None) -> Cut:
        self._last_cut = time.monotonic()
        self._told = cursor or self._told
        return Cut(rows.records, rows.misses, cursor, self._version)

    def _warn_once(self, what: str) -> None:
        if len(self._unknown) < 20 and what not in self._unknown:
            self._unknown.add(what)
            self._log.warning("tap_message_ignored", stream=self._stream.name, what=what)


def _permanent(message: str) -> ProviderError:
    return ProviderError(ErrorKind.PERMANENT, message)
