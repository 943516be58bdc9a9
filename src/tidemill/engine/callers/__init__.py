"""Enqueues on connections of the application's own, so that jobs commit or roll back with its data.

What they are is told by their types' names: no library is imported for it, and none is needed that the application does
not use.
"""

from __future__ import annotations

from tidemill.engine.callers.asynchronous import fetch_on
from tidemill.engine.callers.batch import Conversation, begin_batch, hold_with, hold_with_sync
from tidemill.engine.callers.enqueue import enqueue_with, enqueue_with_sync
from tidemill.engine.callers.refusal import EnqueueBlocked
from tidemill.engine.callers.synchronous import fetch_on_sync

__all__ = [
    "Conversation",
    "EnqueueBlocked",
    "begin_batch",
    "enqueue_with",
    "enqueue_with_sync",
    "fetch_on",
    "fetch_on_sync",
    "hold_with",
    "hold_with_sync",
]
