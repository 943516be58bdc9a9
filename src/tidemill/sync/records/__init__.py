"""Job types over streams of records, whatever connector they come from: ``sync``, ``replay``, ``repair``.

A connector yields batches; each is one fenced transaction: its records, what was deleted, and its cursor, or nothing of
it. So a run that is cut off anywhere goes on from its last committed cursor, and what comes twice is written once.
"""

from __future__ import annotations

from tidemill.sync.records.repair import RepairRecords
from tidemill.sync.records.replay import ReplayRecords
from tidemill.sync.records.sync import SyncRecords

__all__ = ["RepairRecords", "ReplayRecords", "SyncRecords"]
