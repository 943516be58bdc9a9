"""A strict, scriptable, deterministic stand-in for the Threads API, for the demo, benchmarks and anyone's tests.

`ThreadsSimulator` serves it from this process, `main` (and `python -m tidemill.simulators.threads`) from its own.
What the provider's documentation leaves open is in `Knobs`; what goes wrong is scripted with `Fault` rules.

What it does not do: publishing, replies, mentions, search, webhooks, multipart bodies on GET, `since` and `until` in
the free wording of PHP's strtotime (Unix seconds, ISO dates and `now` are understood).
"""

from __future__ import annotations

from tidemill.simulators.threads.clock import VirtualClock
from tidemill.simulators.threads.command import main
from tidemill.simulators.threads.data import Account, Post
from tidemill.simulators.threads.faults import Fault, FaultError, FaultScript
from tidemill.simulators.threads.knobs import Knobs
from tidemill.simulators.threads.server import ThreadsSimulator
from tidemill.simulators.threads.tokens import SCOPES, Token

__all__ = [
    "SCOPES",
    "Account",
    "Fault",
    "FaultError",
    "FaultScript",
    "Knobs",
    "Post",
    "ThreadsSimulator",
    "Token",
    "VirtualClock",
    "main",
]
