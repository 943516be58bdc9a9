"""The command line's SQL."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.cli.sql")
