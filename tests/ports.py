"""Ports for servers that a test starts as processes of their own."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

PORTS = range(10_000, 20_000)
"""Below those that a connection, a server on port 0 or an embedded Postgres gets."""


def free_port(in_a_row: int = 1) -> int:
    """The first of so many ports that nobody listened on a moment ago."""
    for port in random.sample(PORTS[:-in_a_row], 200):
        with ExitStack() as stack:
            try:
                for beside in range(in_a_row):
                    stack.enter_context(socket.create_server(("127.0.0.1", port + beside)))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
