"""Any Singer tap as a connector: a program that writes messages, one a line, run in a process of its own."""

from __future__ import annotations

from tidemill.connectors.singer.bounds import Bounds
from tidemill.connectors.singer.config import SingerConfig, StreamChoice
from tidemill.connectors.singer.connector import SingerConnector

__all__ = ["Bounds", "SingerConfig", "SingerConnector", "StreamChoice"]
