"""When something fires: cron, every so often, RFC 5545 rules, once, by hand; in any time zone."""

from __future__ import annotations

from tidemill.engine.recurrence.cron import Cron
from tidemill.engine.recurrence.plan import Plan, Recurrence
from tidemill.engine.recurrence.spec import recurrence
from tidemill.engine.recurrence.wallclock import read_instant, read_zone

__all__ = ["Cron", "Plan", "Recurrence", "read_instant", "read_zone", "recurrence"]
