"""A worker for the ledger, behind three doors that may fail apart: ``python -m tests.chaos.ledger_process``."""

from __future__ import annotations

import asyncio
import os
import signal

import structlog

from tests.chaos.ledger import registry
from tidemill import logging
from tidemill.engine import Engine, Worker
from tidemill.engine.control import open_control
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, Listener

LEASE_S = 2.0
ANSWER_S = 4.0
"""For any statement: the product waits longer, and the test has not the time."""

_log = structlog.get_logger("tests")


async def work() -> None:
    engine_url, control_url, listen_url = (os.environ[f"CHAOS_{door}_URL"] for door in ("ENGINE", "CONTROL", "LISTEN"))
    async with (
        await Database.open(engine_url, command_timeout=ANSWER_S) as db,
        await open_control(control_url, answer_s=ANSWER_S) as control,
    ):
        listener = Listener(listen_url, deadline=2.0)
        worker = Worker(Engine(db, registry()), control, queues={"default": 8}, listener=listener, lease_ttl=LEASE_S)

        def tell() -> None:
            _log.info("state", hears=listener.healthy, node=worker.node.id, lost=worker.lost)

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
        running = asyncio.create_task(worker.run())
        started = asyncio.create_task(worker.started.wait())
        await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if running.done():
            return await running
        _log.info("ready", pid=os.getpid())
        try:
            await running
        except DatabaseUnavailable as e:
            raise RuntimeError("an outage ended the worker") from e


async def supervised() -> None:
    """Try again when the database is away at the start, as any supervisor would; once begun, nothing may end it."""
    while True:
        try:
            await work()
        except DatabaseUnavailable as e:
            _log.info("no_start", error=str(e))
            await asyncio.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    logging.configure("json")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until there is a worker to tell of
    asyncio.run(supervised())
