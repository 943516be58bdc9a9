"""One pgbouncer as an ordinary process, with its defaults but for the transaction mode."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.ports import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
PATIENCE = 30.0
ACCOUNT = "postgres" if os.geteuid() == 0 else None
"""pgbouncer refuses to run as root."""


@contextmanager
def pgbouncer(url: str, size: int) -> Iterator[str]:
    """Before the server of ``url``, with ``size`` connections to it; gives the same URL through it."""
    assert PROGRAM is not None, "pgbouncer is not installed: scripts/debian-packages"
    parts = urlsplit(url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tidemill-pgbouncer-") as directory:
        folder = Path(directory)
        users, config, log = folder / "users.txt", folder / "pgbouncer.ini", folder / "log"
        users.write_text(f'"{unquote(parts.username or "")}" "{unquote(parts.password or "")}"\n')
        config.write_text(
            f"[databases]\n* = host={parts.hostname} port={parts.port or 5432}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\n"
        )
        if ACCOUNT:
            for path in (folder, users, config):
                shutil.chown(path, ACCOUNT)
        with (
            log.open("wb") as output,
            subprocess.Popen([PROGRAM, config], stdout=output, stderr=output, cwd=folder, user=ACCOUNT) as process,
        ):
            try:
                _wait(process, port, log)
                yield urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"))
            finally:
                process.terminate()  # at once, whoever is connected


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < give_up:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"pgbouncer did not start:\n{log.read_text()}")
