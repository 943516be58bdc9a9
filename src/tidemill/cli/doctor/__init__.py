"""``tidemill doctor``: looks for what is not well and names the fix."""

from __future__ import annotations

from tidemill.cli.doctor.command import doctor

__all__ = ["doctor"]
