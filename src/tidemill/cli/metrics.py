"""``--metrics HOST:PORT``: where a worker's figures can be read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click
import structlog

from tidemill.engine import Worker
from tidemill.settings import Settings
from tidemill.web.metrics import serve_worker

_log = structlog.get_logger("tidemill.cli")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def of(self, number: int) -> Address:
        """The address of the ``number``-th process: the ports follow one another; 0 stays 0, any free one."""
        return Address(self.host, self.port + number if self.port else 0)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _read(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(f"{value!r} is not HOST:PORT with a port from 0 to 65535, e.g. 127.0.0.1:9464")
    return Address(host, int(port))


metrics_option = click.option(
    "--metrics",
    callback=_read,
    metavar="HOST:PORT",
    help="Serve Prometheus figures of this worker at /metrics there; further processes take the ports that follow.",
)


@asynccontextmanager
async def metrics_served(worker: Worker, settings: Settings, address: Address | None) -> AsyncGenerator[None]:
    """The worker's ``/metrics`` inside the context, if there is an address for it."""
    if address is None:
        yield
        return
    async with serve_worker(worker, settings, host=address.host, port=address.port) as url:
        _log.info("metrics_served", url=url)
        yield
