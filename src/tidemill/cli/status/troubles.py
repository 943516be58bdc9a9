"""What of an overview is not well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tidemill.cli.console import utc
from tidemill.engine.overview import LATE_S, NodeLine, Overview

GONE_FOR = timedelta(seconds=30)
"""What other workers get to take over the jobs of one that is gone."""
MOST_NAMED = 3


def troubles(seen: Overview, *, most_wait_s: float) -> list[str]:
    """A sentence for each thing that somebody should see to.

    Args:
        seen: the fleet.
        most_wait_s: seconds that a job which could be started may wait.
    """
    return [*_nodes(seen), *_queues(seen, most_wait_s), *_schedules(seen), *_partitions(seen)]


def _nodes(seen: Overview) -> Iterator[str]:
    waiting = [queue.name for queue in seen.queues if queue.oldest_s is not None and queue.paused_at is None]
    if waiting and not any(node.is_alive for node in seen.nodes):
        yield f"No worker is alive, and jobs wait in {', '.join(waiting)}."
    for node in seen.nodes:
        if node.jobs and seen.at - node.expires_at > GONE_FOR:
            yield f"Process {node.pid} on {node.host} is gone, and nobody took over the {node.jobs} jobs it held."


def unserved(seen: Overview) -> list[str]:
    """Queues in which jobs wait for a minute while workers are alive, but none that claims from them."""
    alive = [node for node in seen.nodes if node.is_alive]
    waiting = [q.name for q in seen.queues if q.paused_at is None and q.oldest_s is not None and q.oldest_s > LATE_S]
    return [name for name in waiting if alive and not any(_serves(node, name) for node in alive)]


def _queues(seen: Overview, most_wait_s: float) -> Iterator[str]:
    bare = unserved(seen)
    for queue in seen.queues:
        if queue.name in bare:
            yield f"No living worker serves the queue {queue.name}, and jobs wait in it."
        elif queue.paused_at is None and queue.oldest_s is not None and queue.oldest_s > most_wait_s:
            yield f"In the queue {queue.name} a job waits for {queue.oldest_s:.0f} s; {most_wait_s:g} s are allowed."


def _serves(node: NodeLine, queue: str) -> bool:
    return node.queues is None or queue in node.queues


def _schedules(seen: Overview) -> Iterator[str]:
    broken = [f"{s.name} ({s.note})" for s in seen.schedules if s.state == "broken"]
    late = [f"{s.name} (due {utc(s.next_at)})" for s in seen.schedules if s.state == "late" and s.next_at is not None]
    if broken:
        yield f"Schedules that cannot be planned: {_first(broken)}."
    if late:
        yield f"Schedules that were due and have not fired: {_first(late)}."


def _first(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (" and others" if len(names) > MOST_NAMED else "")


def _partitions(seen: Overview) -> Iterator[str]:
    for table, ahead_s in seen.partitions.items():
        if ahead_s <= 0:
            yield f"{table} has no partition for now: its rows go to the DEFAULT partition. Run: tidemill doctor"
