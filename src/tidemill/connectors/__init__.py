"""The outside world: one package per provider, behind one protocol."""

from __future__ import annotations

from tidemill.connectors.context import Context
from tidemill.connectors.errors import FATAL, ErrorKind, ProviderError, TimeBudgetSpent
from tidemill.connectors.gate import Gate, MemoryGate, Scopes, Usage
from tidemill.connectors.http import HttpClient, Limits, Tally
from tidemill.connectors.protocol import Batch, Connector, MetricKind, Miss, Spec, Stream, Window
from tidemill.connectors.redact import Redactor
from tidemill.connectors.shared_gate import SharedGate

__all__ = [
    "FATAL",
    "Batch",
    "Connector",
    "Context",
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
    "Stream",
    "Tally",
    "TimeBudgetSpent",
    "Usage",
    "Window",
]
