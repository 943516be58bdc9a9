"""A pytest plugin: of what is collected, only tests that talk to the server."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what asks for no database, directly or through another fixture: it would do the same on any server."""
    apart = [item for item in items if "server_url" not in getattr(item, "fixturenames", ())]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in set(apart)]
