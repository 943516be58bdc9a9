"""The room's SQL, by file name."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.sync.records.sql")
"""SQL files as attributes."""
