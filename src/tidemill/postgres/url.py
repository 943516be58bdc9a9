"""Which database: the one that the settings name, or the embedded one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tidemill.postgres import embedded
from tidemill.settings import Settings


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncGenerator[str]:
    """The database of the settings, or the embedded one, kept for the length of the block."""
    if settings.database_url:
        yield settings.database_url
        return
    server = await asyncio.to_thread(embedded.attach, settings.data_dir)
    try:
        yield server.url
    finally:
        server.release()
