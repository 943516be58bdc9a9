"""A worker in an interpreter of its own, to be killed: ``python -m tests.chaos.worker_process``, told by environment.

It commits in small batches and reads short pages, so that one account's sync has many moments to die in.
"""

from __future__ import annotations

import asyncio
import os
import signal

import structlog
import uvloop

from tidemill import logging
from tidemill.app import Rooms
from tidemill.connectors.threads import connector
from tidemill.connectors.threads.client import ThreadsClient
from tidemill.settings import Settings

POSTS_A_COMMIT = 5
POSTS_A_PAGE = 8


async def work() -> None:
    connector.BATCH_SIZE = POSTS_A_COMMIT
    ThreadsClient.pages.__kwdefaults__["page_size"] = POSTS_A_PAGE
    async with Rooms.open(Settings.load(), name="chaos") as app, app.worker() as worker:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        running = asyncio.create_task(worker.run())
        started = asyncio.create_task(worker.started.wait())
        await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            structlog.get_logger("tests").info("ready", pid=os.getpid(), node=worker.node.id)
        await running


if __name__ == "__main__":
    logging.configure("json")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
