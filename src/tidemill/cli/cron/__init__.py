"""``tidemill cron``: hands the schedule over to pg_cron."""

from __future__ import annotations

from tidemill.cli.cron.command import cron

__all__ = ["cron"]
