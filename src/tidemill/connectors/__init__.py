"""The outside world: one package per provider, behind one protocol."""

from __future__ import annotations

from tidemill.connectors.config import read_config
from tidemill.connectors.context import Context
from tidemill.connectors.egress import Egress
from tidemill.connectors.errors import FATAL, ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.gate import Gate, MemoryGate, Scopes, Usage
from tidemill.connectors.http import Dialect, HttpClient, Limits, Tally
from tidemill.connectors.keys import record_key
from tidemill.connectors.protocol import Batch, Connector, MetricKind, Miss, Spec, Stream, Window
from tidemill.connectors.redact import Redactor
from tidemill.connectors.shared_gate import SharedGate
from tidemill.connectors.status_dialect import StatusDialect

__all__ = [
    "FATAL",
    "Batch",
    "Connector",
    "Context",
    "Dialect",
    "Egress",
    "ErrorKind",
    "Gate",
    "HttpClient",
    "Limits",
    "MemoryGate",
    "MetricKind",
    "Miss",
    "ProviderError",
    "Redactor",
    "Scopes",
    "SharedGate",
    "Spec",
    "StatusDialect",
    "Stream",
    "Tally",
    "TimeBudgetSpent",
    "Usage",
    "Window",
    "read_config",
    "record_key",
]
