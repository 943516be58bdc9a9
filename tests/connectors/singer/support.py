"""Taps that do as they are told, and a store that keeps to the commit rule."""

from __future__ import annotations

import json
import stat
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import structlog

from tidemill.connectors import Batch, Context, HttpClient, ProviderError, Scopes, Stream, TimeBudgetSpent, Window
from tidemill.connectors.singer import Bounds, SingerConnector
from tidemill.vault import Secret

FAKE = Path(__file__).with_name("fake_tap.py")
SECONDS = 120.0
SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": ["null", "string"]}}}
SAY_SCHEMA = {"say": {"type": "SCHEMA", "stream": "items", "schema": SCHEMA, "key_properties": ["id"]}}
CATALOG = {"streams": [{"tap_stream_id": "items", "stream": "items", "key_properties": ["id"], "schema": SCHEMA}]}


def record(number: int, **more: Any) -> dict[str, Any]:
    """A step: one record."""
    return {"say": {"type": "RECORD", "stream": "items", "record": {"id": number, "name": f"item {number}"}, **more}}


def state(value: object) -> dict[str, Any]:
    """A step: a STATE."""
    return {"say": {"type": "STATE", "value": value}}


def install_fake(folder: Path) -> Path:
    """The fake tap as a program."""
    program = folder / "tap-fake"
    program.write_text(f"#!{sys.executable} -IS\n{FAKE.read_text()}")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def context(
    config: Mapping[str, Any], *, secrets: Mapping[str, str] | None = None, seconds: float = SECONDS, log: Any = None
) -> Context:
    """What a connector is given. A tap makes no call of ours, so there is no client."""
    return Context(
        http=cast("HttpClient", None),
        token=Secret((secrets or {}).get("token", "")),
        scopes=Scopes.of("singer", "-"),
        clock=lambda: datetime.now(UTC),
        deadline=time.monotonic() + seconds,
        log=log or structlog.get_logger(),
        config=config,
        secrets={name: Secret(text) for name, text in (secrets or {}).items()},
    )


@dataclass
class Store:
    """Keeps records and cursor together, or neither; a stream without a key has its records wait for a cursor."""

    stream: Stream
    records: dict[str, Any] = field(default_factory=dict[str, Any])
    versions: dict[str, int | None] = field(default_factory=dict[str, int | None])
    cursor: str | None = None
    staged: list[Any] = field(default_factory=list[Any])
    keyless: list[Any] = field(default_factory=list[Any])

    def begin(self) -> None:
        """A new attempt."""
        self.staged.clear()

    def commit(self, batch: Batch) -> None:
        for row in batch.records:
            if not self.stream.key:
                self.staged.append(row)
                continue
            key = json.dumps([row[name] for name in self.stream.key])
            self.records[key] = row
            self.versions[key] = batch.version
        if batch.cursor_after is not None:
            self.cursor = batch.cursor_after
            self.publish()
        if batch.activate is not None:
            for key in [key for key, version in self.versions.items() if version != batch.activate]:
                del self.records[key], self.versions[key]

    def publish(self) -> None:
        """What was staged is valid."""
        self.keyless += self.staged
        self.staged.clear()


@dataclass
class Fake:
    """The connector with the fake tap allowed, and runs of it."""

    connector: SingerConnector
    folder: Path

    def config(self, *script: Mapping[str, Any], catalog: Any = None, **more: Any) -> dict[str, Any]:
        """A connector's configuration with this script."""
        tap = {"script": list(script), "catalog": catalog or CATALOG, **more.pop("tap", {})}
        return {"executable": "tap-fake", "config": tap, **more}

    def read(
        self,
        *script: Mapping[str, Any],
        cursor: str | None = None,
        seconds: float = SECONDS,
        secrets: Mapping[str, str] | None = None,
        log: Any = None,
        stream: str = "items",
        **more: Any,
    ) -> AsyncGenerator[Batch]:
        """Run the script."""
        ctx = context(self.config(*script, **more), seconds=seconds, secrets=secrets, log=log)
        return self.connector.read(ctx, stream, cursor, Window())

    async def drain(self, *script: Mapping[str, Any], **more: Any) -> Drained:
        """Run the script to its end; bounded time is all the run's, for the catalogue is known by then."""
        if "seconds" in more:
            with_catalog = {name: value for name, value in more.items() if name in ("catalog", "tap", "streams")}
            await self.connector.streams(context(self.config(*script, **with_catalog)))
        return await drain(self.read(*script, **more))


@dataclass
class Drained:
    batches: list[Batch]
    failure: ProviderError | TimeBudgetSpent | None

    @property
    def ids(self) -> list[int]:
        return [row["id"] for batch in self.batches for row in batch.records]

    @property
    def cursor(self) -> Any:
        """The last one, decoded."""
        cursors = [batch.cursor_after for batch in self.batches if batch.cursor_after is not None]
        return json.loads(cursors[-1]) if cursors else None

    @property
    def misses(self) -> list[str]:
        return [miss.error.message for batch in self.batches for miss in batch.misses]


async def drain(batches: AsyncGenerator[Batch]) -> Drained:
    """All that was yielded, and what was raised after it."""
    drained = Drained([], None)
    try:
        async with aclosing(batches):
            async for batch in batches:
                drained.batches.append(batch)
    except (ProviderError, TimeBudgetSpent) as e:
        drained.failure = e
    return drained


def lives(pid: int) -> bool:
    """Whether there is such a process that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started."""
    try:
        tasks = [task.joinpath("children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for task in tasks for child in task.split()]


async def until(holds: Any, seconds: float = 60.0) -> None:
    """Wait for another process to do something that gives no other sign."""
    import asyncio

    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not come to be"
        await asyncio.sleep(0.005)


def fake(folder: Path, **bounds: Any) -> Fake:
    """A host in ``folder``."""
    folder.mkdir(exist_ok=True, parents=True)
    program = folder / "tap-fake"
    if not program.exists():
        install_fake(folder)
    connector = SingerConnector({"tap-fake": program}, bounds=Bounds(**bounds), folder=folder / "private")
    return Fake(connector, folder)
