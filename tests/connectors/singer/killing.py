"""Runs that are killed at random, host or tap, and resumed until the stream is through."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tests.connectors.singer.host import Job, committed
from tests.connectors.singer.support import Store, children, context, drain, until
from tidemill.connectors import Stream, Window
from tidemill.connectors.singer import Bounds, SingerConnector

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120.0


_hosts: dict[str, SingerConnector] = {}


def host_of(job: Job) -> SingerConnector:
    """The host of the job's folder in this process: it knows the catalogue after the first time."""
    taps = {name: Path(path) for name, path in job.taps.items()}
    made = SingerConnector(taps, bounds=Bounds(**(job.bounds or {})), folder=Path(job.folder))
    return _hosts.setdefault(job.folder, made)


async def stream_of(job: Job) -> Stream:
    """The job's stream."""
    streams = await host_of(job).streams(context(job.config, secrets=job.secrets))
    return next(stream for stream in streams if stream.name == job.stream)


async def undisturbed(job: Job) -> Store:
    """One run from the beginning to a good end."""
    store = Store(await stream_of(job))
    ctx = context(job.config, secrets=job.secrets)
    got = await drain(host_of(job).read(ctx, job.stream, None, Window()))
    assert (got.failure, got.misses) == (None, [])
    for batch in got.batches:
        store.commit(batch)
    store.publish()
    return store


def size_of(store: Store) -> int:
    """Bytes of the commits that would bring these records."""
    return len(json.dumps([*store.records.values(), *store.keyless]))


async def disturbed(job: Job, rng: random.Random, times: int, *, step: int) -> Store:
    """Read until done, ``times`` times disturbed after at most ``step`` further bytes of commits."""
    file = Path(job.commits)
    file.touch()
    description = file.with_name("job.json")
    description.write_text(json.dumps(asdict(job)))
    for turn in range(times + 1):
        host = _start(description)
        try:
            if turn < times:
                disturb = rng.choice((_kill_host, _kill_tap, _end_tap))
                await _after(file, file.stat().st_size + rng.randrange(1, step), host)
                disturb(host)
            ended = await asyncio.to_thread(host.wait, PATIENCE_S)
        finally:
            host.kill()
        if turn < times and ended == 0:
            break  # it was through before it was disturbed
    assert ended == 0
    return committed(job, Store(await stream_of(job)))


def _start(description: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.connectors.singer.host", description]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


async def _after(file: Path, size: int, host: subprocess.Popen[bytes]) -> None:
    def is_time() -> bool:
        return file.stat().st_size >= size or host.poll() is not None

    await until(is_time, PATIENCE_S)


def _kill_host(host: subprocess.Popen[bytes]) -> None:
    host.kill()


def _kill_tap(host: subprocess.Popen[bytes]) -> None:
    _to_tap(host, signal.SIGKILL)


def _end_tap(host: subprocess.Popen[bytes]) -> None:
    _to_tap(host, signal.SIGTERM)


def _to_tap(host: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if host.poll() is None:
        for tap in children(host.pid):
            with suppress(ProcessLookupError):
                os.kill(tap, number)
