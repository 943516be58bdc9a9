"""The SQL of ``tidemill cron``."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.cli.cron.sql")
