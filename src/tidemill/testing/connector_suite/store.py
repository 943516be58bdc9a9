"""Records and cursors in memory, under the rule of commits that the real ones are under."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

from tidemill.connectors import Batch, Stream, record_key

Record = dict[str, Any]


class Store:
    """What is committed: a batch's records, deletes and cursor together, or nothing of them.

    Records of a stream without a key wait for the next cursor or the end of the read, and go with the attempt if
    neither comes. ``bad`` counts records that cannot be stored: no JSON object, or without the stream's key.
    """

    def __init__(self) -> None:
        self.cursors: dict[str, str] = {}
        self.bad: Counter[str] = Counter()
        self._rows: dict[str, dict[str, tuple[Record, int | None]]] = {}
        self._staged: dict[str, dict[str, tuple[Record, int | None]]] = {}

    def copy(self) -> Store:
        """The same, to go on from."""
        return deepcopy(self)

    def records(self, stream: Stream) -> dict[str, Record]:
        """What is there, by key."""
        return {key: record for key, (record, _) in self._rows.get(stream.name, {}).items()}

    def commit(self, stream: Stream, batch: Batch) -> None:
        """Take a batch."""
        rows = self._rows.setdefault(stream.name, {})
        staged = self._staged.setdefault(stream.name, {})
        into = rows if stream.key else staged
        for record in batch.records:
            key = _key(stream, record, into if not stream.key else {})
            if key is None:
                self.bad[stream.name] += 1
            else:
                into[key] = (record, batch.version)
        for key in batch.deletes:
            rows.pop(key, None)
        if batch.activate is not None:
            staged_and_kept = {**rows, **staged}
            rows.clear()
            rows.update({key: row for key, row in staged_and_kept.items() if row[1] == batch.activate})
            staged.clear()
        if batch.cursor_after is not None:
            self._settle(stream)
            self.cursors[stream.name] = batch.cursor_after

    def ended(self, stream: Stream) -> None:
        """The read came to its end."""
        self._settle(stream)

    def crashed(self, stream: Stream) -> None:
        """The attempt is over without it."""
        self._staged.pop(stream.name, None)

    def _settle(self, stream: Stream) -> None:
        self._rows.setdefault(stream.name, {}).update(self._staged.pop(stream.name, {}))


def canonical(record: Mapping[str, Any]) -> str:
    """A record as one text, whatever the order of its fields.

    Raises:
        TypeError, ValueError: it is not JSON.
    """
    return json.dumps(record, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _key(stream: Stream, record: object, staged: Mapping[str, object]) -> str | None:
    """None for a record that the real store would not take either."""
    if not isinstance(record, dict):
        return None
    named = cast(Record, record)
    try:
        text = canonical(named)
    except (TypeError, ValueError):
        return None
    if stream.key:
        return record_key(named, stream.key)
    digest = hashlib.sha256(text.encode()).hexdigest()
    ordinal = 0
    while f"{digest}:{ordinal}" in staged:
        ordinal += 1
    return f"{digest}:{ordinal}"
