from __future__ import annotations

from pathlib import Path

import pytest

from tests.connectors.singer.support import Fake, fake


@pytest.fixture
def tap(tmp_path: Path) -> Fake:
    """The fake tap, and a host for it that loses patience sooner than usual."""
    return fake(tmp_path / "host", grace_s=2.0, idle_s=30.0)
