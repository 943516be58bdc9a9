"""Triggers the scheduled sync once per line of input, and answers each with a line of JSON: one of several doors."""

from __future__ import annotations

import asyncio
import json
import sys

from tidemill import logging
from tidemill.app import Rooms
from tidemill.settings import Settings


async def tick() -> None:
    async with Rooms.open(Settings.load(), name="chaos tick") as app:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while request_key := (await asyncio.to_thread(sys.stdin.readline)).strip():
            answer = await app.sync.trigger_scheduled(trigger="cli", request_key=request_key)
            said = {"run": str(answer.run_id), "skipped": answer.skipped, "reason": answer.reason}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    logging.configure("json")
    asyncio.run(tick())
