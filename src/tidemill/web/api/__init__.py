"""The tenants' JSON API: what row security shows them, over HTTP."""

from __future__ import annotations

from tidemill.web.api.app import Api
from tidemill.web.api.providers import Providers

__all__ = ["Api", "Providers"]
