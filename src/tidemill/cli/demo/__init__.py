"""``tidemill demo``: the whole of it on one machine, against a simulated provider, in under a minute."""

from __future__ import annotations

from tidemill.cli.demo.command import demo

__all__ = ["demo"]
