"""The SQL of tests, by file name."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.testing.sql")
