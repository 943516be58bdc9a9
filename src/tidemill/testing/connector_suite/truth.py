"""What stands in a store, held against what is in the world."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tidemill.connectors import Batch, Stream, Window
from tidemill.testing.connector_suite.bench import Bench
from tidemill.testing.connector_suite.store import Store, canonical


def check_same(bench: Bench, stream: Stream, store: Store, when: str = "", window: Window | None = None) -> None:
    """The store has what the world has, no more and no less."""
    there, wanted = _by_key(stream, store), _wanted(bench, stream, window)
    lost = sorted(wanted.keys() - there.keys())
    more = sorted(there.keys() - wanted.keys())
    other = sorted(key for key in wanted.keys() & there.keys() if wanted[key] != there[key])
    assert (lost[:5], more[:5], other[:5]) == ([], [], []), f"{stream.name} {when}: (lost, too many, different)"


def check_holds(bench: Bench, stream: Stream, store: Store, when: str) -> None:
    """The store has all that the world has; what the world has no more may stand there too."""
    there, wanted = _by_key(stream, store), _wanted(bench, stream, None)
    lost = sorted(key for key in wanted if there.get(key) != wanted[key])
    assert lost[:5] == [], f"{stream.name} {when}: lost"


def _by_key(stream: Stream, store: Store) -> Mapping[str, str]:
    return {key: canonical(record) for key, record in store.records(stream).items()}


def _wanted(bench: Bench, stream: Stream, window: Window | None) -> Mapping[str, str]:
    records: list[Any] = list(bench.world.truth(stream.name, window))
    whole = Store()
    whole.commit(stream, Batch(records=records, observed_at=datetime.now(UTC)))
    whole.ended(stream)
    return _by_key(stream, whole)
