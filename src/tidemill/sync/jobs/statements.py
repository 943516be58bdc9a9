"""The SQL of sync jobs, by file name."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.sync.jobs.sql")
