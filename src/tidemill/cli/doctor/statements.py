"""The doctor's SQL; read-only, all of it."""

from __future__ import annotations

from tidemill.postgres import Statements

SQL = Statements("tidemill.cli.doctor.sql")
