"""What every connector must hold, as tests that its author runs on it.

Subclass :class:`ConnectorSuite` in a test module, name the class ``Test…``, and give it the connector with a
:class:`World`: a provider on this machine that can be changed and can misbehave. No database is needed.
"""

from __future__ import annotations

from tidemill.testing.connector_suite.store import Store
from tidemill.testing.connector_suite.suite import ConnectorSuite
from tidemill.testing.connector_suite.world import Trouble, World

__all__ = ["ConnectorSuite", "Store", "Trouble", "World"]
