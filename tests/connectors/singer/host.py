"""A host in a process of its own: ``python -m tests.connectors.singer.host JOB``, to be killed.

Its store is a file: one line a commit, records and cursor in it together. A line that a kill cut short is no commit.
Exit codes: 0 the stream is through, 3 it is not but what came was committed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.connectors.singer.support import Store, context
from tidemill.connectors import Batch, ProviderError, TimeBudgetSpent, Window
from tidemill.connectors.singer import Bounds, SingerConnector

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""A store does not ask when its records were read."""


@dataclass
class Job:
    """What a host is to do."""

    taps: dict[str, str]
    config: dict[str, Any]
    stream: str
    commits: str
    folder: str
    secrets: dict[str, str]
    seconds: float = 120.0
    bounds: dict[str, Any] | None = None


def committed(job: Job, store: Store) -> Store:
    """The store as the commits in the file have left it."""
    file = Path(job.commits)
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            commit = json.loads(line)
        except ValueError:
            continue
        if commit == "begin":
            store.begin()
        elif commit == "end":
            store.publish()
        else:
            store.commit(Batch(observed_at=_ANY_TIME, **commit))
    return store


async def run(job: Job) -> int:
    """Read the stream on from the last commit's cursor."""
    connector = SingerConnector(
        {name: Path(path) for name, path in job.taps.items()},
        bounds=Bounds(**(job.bounds or {})),
        folder=Path(job.folder),
    )
    ctx = context(job.config, secrets=job.secrets, seconds=job.seconds)
    [stream] = [each for each in await connector.streams(ctx) if each.name == job.stream]
    cursor = committed(job, Store(stream)).cursor
    with Path(job.commits).open("a") as commits:  # noqa: ASYNC230 - a commit is done when its write is
        commits.write('\n"begin"\n')  # the first end of line is for a line cut short
        try:
            async with aclosing(connector.read(ctx, job.stream, cursor, Window())) as batches:
                async for batch in batches:
                    commit = {
                        "records": batch.records,
                        "cursor_after": batch.cursor_after,
                        "version": batch.version,
                        "activate": batch.activate,
                    }
                    commits.write(json.dumps(commit) + "\n")
                    commits.flush()
        except (ProviderError, TimeBudgetSpent) as e:
            print(e, file=sys.stderr)  # noqa: T201
            return 3
        commits.write('"end"\n')
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(run(Job(**json.loads(Path(sys.argv[1]).read_text())))))
