"""An overview as sections: tables on a terminal, lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from tidemill.cli.console import print_rows, say, seconds, table_of, utc
from tidemill.engine.overview import MOST_LISTED, NodeLine, Overview, QueueState, RecentRuns, ScheduleLine

MOST_ROWS = 10
"""Of schedules, locks and scopes each: one screen."""
MOST_TROUBLES = 10


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and rows below it."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[object]]
    right: Sequence[str] = ()


def sections(seen: Overview, runs: RecentRuns) -> list[Section]:
    """What there is to see; nothing of what there is not."""
    found = [
        Section(
            f"Workers: {sum(node.is_alive for node in seen.nodes)} alive",
            ("host", "pid", "version", "state", "since", "last beat", "jobs"),
            [_node(node, seen.at) for node in seen.nodes],
            ("pid", "last beat", "jobs"),
        ),
        Section(
            "Queues",
            ("queue", "ready", "oldest", "running", "delayed", "retrying", "dead", "paused by", "since"),
            [_queue(queue) for queue in seen.queues],
            ("ready", "oldest", "running", "delayed", "retrying", "dead"),
        ),
        Section(
            "Paused kinds",
            ("kind", "paused by", "since"),
            [(kind.name, kind.paused_by, kind.paused_at) for kind in seen.paused_kinds],
        ),
        Section(
            f"Attempts ended since {utc(runs.since)}",
            ("outcome", "attempts"),
            [(outcome, f"{count:,}") for outcome, count in runs.outcomes.items()],
            ("attempts",),
        ),
        Section(
            f"Schedules: {_by_state(seen.schedules)}",
            ("schedule", "state", "next", "note"),
            [(s.name, s.state, s.next_at, s.note) for s in seen.schedules],
        ),
        Section(
            "Locks held",
            ("lock", "owner", "until"),
            [(lock.name, lock.owner, lock.locked_until) for lock in seen.locks],
        ),
        Section(
            "Blocked scopes",
            ("scope", "until", "reason"),
            [(scope.name, scope.blocked_until, scope.reason) for scope in seen.scopes],
        ),
    ]
    return [_short(section) for section in found if section.rows]


def render(troubles: Sequence[str], shown: Iterable[Section], at: datetime) -> RenderableType:
    """For a terminal."""
    parts: list[RenderableType] = [Text(_verdict(troubles, at), style="bold red" if troubles else "green")]
    parts += [Text(text, style="red") for text in _told(troubles)]
    for section in shown:
        parts += [Text(), Text(section.title, style="bold underline")]
        parts.append(table_of(section.headings, section.rows, right=section.right))
    return Group(*parts)


def write(troubles: Sequence[str], shown: Iterable[Section], at: datetime) -> None:
    """For a pipe."""
    say(_verdict(troubles, at))
    for text in _told(troubles):
        say(text)
    for section in shown:
        say(f"\n{section.title}")
        print_rows(section.headings, section.rows)


def _verdict(troubles: Sequence[str], at: datetime) -> str:
    if not troubles:
        return f"{utc(at)}  All is well."
    return f"{utc(at)}  {len(troubles)} {'thing is' if len(troubles) == 1 else 'things are'} not well:"


def _told(troubles: Sequence[str]) -> list[str]:
    told = list(troubles[:MOST_TROUBLES])
    return told if len(told) == len(troubles) else [*told, f"… and {len(troubles) - len(told)} more"]


def _node(node: NodeLine, now: datetime) -> Sequence[object]:
    state = "alive" if node.is_alive else "gone"
    return (node.host, node.pid, node.version, state, node.started_at, _ago(now, node.beat_at), node.jobs)


def _queue(queue: QueueState) -> Sequence[object]:
    def count(name: str) -> str:
        return f"{getattr(queue, name):,}" + ("+" if name in queue.more else "")

    oldest = None if queue.oldest_s is None else seconds(queue.oldest_s)
    states = [count(name) for name in ("running", "delayed", "retrying", "dead")]
    return (queue.name, count("ready"), oldest, *states, queue.paused_by, queue.paused_at)


def _ago(now: datetime, at: datetime | None) -> str | None:
    return None if at is None else f"{seconds((now - at).total_seconds())} ago"


def _by_state(schedules: Iterable[ScheduleLine]) -> str:
    counts: dict[str, int] = {}
    for schedule in schedules:
        counts[schedule.state] = counts.get(schedule.state, 0) + 1
    return ", ".join(f"{n}{'+' * (n == MOST_LISTED)} {state}" for state, n in counts.items())


def _short(section: Section) -> Section:
    if len(section.rows) <= MOST_ROWS or section.title == "Queues":
        return section
    title = f"{section.title} (the first {MOST_ROWS} of {len(section.rows)})"
    return Section(title, section.headings, section.rows[:MOST_ROWS], section.right)
