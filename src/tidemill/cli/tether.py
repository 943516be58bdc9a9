"""A child that must not outlive its parent: it holds a pipe of it as standard input, and stops when that ends."""

from __future__ import annotations

import os
import signal
import threading


def tether() -> None:
    """From now on end of standard input means SIGTERM to this process. However the parent dies, the pipe ends."""
    threading.Thread(target=_watch, name="tether", daemon=True).start()


def _watch() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
