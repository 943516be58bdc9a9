"""An application on a port."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from tidemill.errors import ConfigurationError

__all__ = ["serving"]

GRACE_S = 10.0
"""What requests in flight get to end when the server stops."""
_IDLE_S = 75.0
_LINGER_S = 2.0


@asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncGenerator[str]:
    """Serve ``app`` inside the context; gives its URL. Leaving it stops gracefully.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    # Requests are logged by our own middleware, without their query strings.
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=GRACE_S, keepalive_timeout=_IDLE_S, lingering_time=_LINGER_S
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
        bound_host, bound_port = runner.addresses[0][:2]
        yield f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"
    finally:
        await runner.cleanup()
