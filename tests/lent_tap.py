"""The demo's tap, installed once for all tests, into .venv/taps, and lent to the folders that demos run in."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import run_apart
from tidemill.cli.demo.tap import Tap
from tidemill.cli.exits import NotWell

PLACE = Path(__file__).parents[1] / ".venv" / "taps" / "demo"


@cache
def installed() -> Tap:
    """It, in the tests' own place."""
    tap = Tap(PLACE)

    async def install() -> None:
        await asyncio.wait_for(tap.install(), 900)

    try:
        run_apart(install())
    except NotWell as e:
        pytest.fail(str(e))
    return tap


def lend_tap(folder: Path) -> Path:
    """Have a demo that runs in ``folder`` find it installed; the link that says so."""
    data = folder / ".tidemill" / "demo"
    data.mkdir(parents=True, exist_ok=True)
    for each in (data, data.parent):
        each.chmod(0o711)  # the account that the server runs as must pass
    link = data / "taps"
    link.symlink_to(installed().folder, target_is_directory=True)
    return link
