"""REST endpoints, described rather than programmed."""

from __future__ import annotations

from tidemill.connectors.http_json.config import HttpConfig
from tidemill.connectors.http_json.connector import HttpJsonConnector

__all__ = ["HttpConfig", "HttpJsonConnector"]
