"""A server whose clock can be moved: an embedded cluster under Debian's libfaketime."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tidemill.postgres.cluster import USER, Cluster
from tidemill.postgres.home import Home

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
PATIENCE = 30.0


class FakedServer:
    """Runs while its block does.

    Attributes:
        url: superuser's URL.
    """

    def __init__(self, url: str, offset: Path) -> None:
        self.url = url
        self._offset = offset

    def jump(self, by: timedelta) -> None:
        """Have the server's clock differ from the real one by this, from its next look at it on."""
        scratch = self._offset.with_suffix(".new")
        scratch.write_text(f"{by.total_seconds():+.0f}\n")
        scratch.chmod(0o644)
        scratch.replace(self._offset)


@contextmanager
def faked_server() -> Iterator[FakedServer]:
    """A fresh cluster. Its monotonic clock stays the real one, as it does when a real clock is set."""
    assert LIBRARY is not None, "libfaketime is not installed: scripts/debian-packages"
    with tempfile.TemporaryDirectory(prefix="tidemill-faketime-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o711)  # the account that the server runs as when root runs the tests must reach it
        offset = Path(directory) / "offset"
        faked = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        cluster = Cluster(Home.make(Path(directory) / ".tidemill"), durable=False)
        url = f"postgresql://{USER}:{cluster.record.password}@127.0.0.1:{cluster.record.port}/postgres"
        server = FakedServer(url, offset)
        server.jump(timedelta(0))
        before = os.environ.copy()
        os.environ.update(faked)
        try:
            process = cluster.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        try:
            give_up = time.monotonic() + PATIENCE
            while not cluster.is_ready(process):
                assert process.poll() is None, cluster.log.read_text()
                assert time.monotonic() < give_up, cluster.log.read_text()
                time.sleep(0.02)
            yield server
        finally:
            cluster.stop(process)
