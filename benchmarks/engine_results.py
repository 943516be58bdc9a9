"""What the engine benchmark found: which rounds count, the table, the bars."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.engine_measures import Drain, Idle, Pickup
from benchmarks.peers import Peer

LEAD = 2.3
"""Thin engine against graphile-worker where nothing disturbs them. Below it, a round measures other work."""

LOW, HIGH = "at most", "at least"
BARS = {
    "drain, of the thin engine's": (HIGH, 0.5),
    "drain over 100 tenants, of one's": (HIGH, 0.8),
    "drain over 100 tenants, of the thin engine's": (HIGH, 0.4),
    "drain, of graphile-worker's": (HIGH, 1.2),
    "drain, of pgqueuer's": (HIGH, 2.0),
    "commits a job": (LOW, 0.05),
    "WAL a job, kB": (LOW, 1.5),
    "bulk enqueue, of the best peer's": (HIGH, 1.3),
    "single enqueue, of the best Python peer's": (HIGH, 1.2),
    "single enqueue beside a running worker, of the best Python peer's": (HIGH, 1.2),
    "single enqueue beside an open transaction too, of without": (HIGH, 0.9),
    "pickup p50, of the best peer's": (LOW, 0.65),
    "pickup p95, of the best peer's": (LOW, 0.7),
    "pickup p99, of the best peer's": (LOW, 1.0),
    "idle, statements a second": (LOW, 2.0),
}

US, TENANTS, THIN, GRAPHILE, PGQUEUER = "tidemill", "tidemill-100", "thin", "graphile-worker", "pgqueuer"


@dataclass
class Results:
    """Figures by round and contender.

    Attributes:
        drains: the rounds that count.
        disturbed: those that do not.
        not_run: contender → why not, or why no further.
    """

    peers: list[Peer]
    drains: list[dict[str, Drain]] = field(default_factory=list[dict[str, Drain]])
    disturbed: list[dict[str, Drain]] = field(default_factory=list[dict[str, Drain]])
    idles: list[dict[str, Idle]] = field(default_factory=list[dict[str, Idle]])
    pickups: list[dict[str, Pickup]] = field(default_factory=list[dict[str, Pickup]])
    not_run: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, drains: dict[str, Drain]) -> None:
        """Take a round of drains."""
        counts = not {THIN, GRAPHILE} <= drains.keys() or drains[THIN].jobs_s >= LEAD * drains[GRAPHILE].jobs_s
        (self.drains if counts else self.disturbed).append(drains)

    @property
    def missed(self) -> list[str]:
        """The bars that are missed."""
        return [name for name, ratio in self.ratios().items() if ratio is not None and not _ok(name, ratio)]

    def ratios(self) -> dict[str, float | None]:
        """By the names of :data:`BARS`; None where a contender did not run or no round counts."""
        rivals = [peer for peer in self.peers if peer.name not in (US, TENANTS, THIN)]
        pythons = [peer for peer in rivals if not peer.program.endswith(".mjs")]
        figures = {
            "drain, of the thin engine's": self._ratio("jobs_s", THIN),
            "drain over 100 tenants, of one's": self._paired("jobs_s", TENANTS, US),
            "drain over 100 tenants, of the thin engine's": self._paired("jobs_s", TENANTS, THIN)
            if self.drains
            else None,
            "drain, of graphile-worker's": self._ratio("jobs_s", GRAPHILE),
            "drain, of pgqueuer's": self._ratio("jobs_s", PGQUEUER),
            "commits a job": self._median(US, "commits"),
            "WAL a job, kB": _scaled(self._median(US, "wal_bytes"), 1e-3),
            "bulk enqueue, of the best peer's": self._ratio("bulk_s", self._best("bulk_s", rivals)),
            "single enqueue, of the best Python peer's": self._ratio("single_s", self._best("single_s", pythons)),
            "single enqueue beside a running worker, of the best Python peer's": self._beside(pythons),
            "single enqueue beside an open transaction too, of without": self._held(),
            "idle, statements a second": self._statements(US),
        }
        for share in (50, 95, 99):
            ours, best = self._pickup(US, share), [self._pickup(peer.name, share) for peer in rivals]
            known = [value for value in best if value is not None]
            figures[f"pickup p{share}, of the best peer's"] = ours / min(known) if ours and known else None
        return {name: figures[name] for name in BARS}

    def table(self) -> Iterator[str]:
        """Markdown: a line for each contender, then how each was set and why one did not run."""
        if self.disturbed:
            yield (
                f"Rounds of drains that count: {len(self.drains)} of {len(self.drains) + len(self.disturbed)}; in the "
                f"others the thin engine was less than {LEAD} times graphile-worker."
            )
            yield ""
        yield (
            "| | jobs/s (min–max) | of thin | CPU µs/job, client + server | commits/job | WAL B/job | bulk/s | single/s"
            " | single/s beside a worker | pickup ms p50 / p95 / p99 | idle statements/s |"
        )
        yield "|---" * 11 + "|"
        for peer in self.peers:
            if any(peer.name in drains for drains in self._rounds()):
                yield self._line(peer.name)
        yield ""
        for peer in self.peers:
            most = f"; {peer.most} jobs at most" if peer.most < 60_000 else ""
            yield f"- {peer.name} {peer.version}".rstrip() + f": {peer.settings}{most}"
        for name, reason in self.not_run.items():
            yield f"- {name} not run: {reason}"

    def judged(self) -> Iterator[str]:
        """A line for each bar."""
        for name, ratio in self.ratios().items():
            word, bar = BARS[name]
            if ratio is None:
                yield f"       –  {word} {bar:<5} not measured  {name}"
            else:
                yield f"{ratio:8.3f}  {word} {bar:<5} {'ok' if _ok(name, ratio) else 'MISSED'}  {name}"

    def _line(self, name: str) -> str:
        rates = [drains[name].jobs_s for drains in self._rounds() if name in drains]
        of_thin = self._paired("jobs_s", name, THIN)
        cells = [
            name,
            f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
            _cell(of_thin, ".2f"),
            f"{_cell(self._median(name, 'client_us'), '.1f')} + {_cell(self._median(name, 'server_us'), '.1f')}",
            _cell(self._median(name, "commits"), ".4f"),
            _cell(self._median(name, "wal_bytes"), ",.0f"),
            _cell(self._median(name, "bulk_s"), ",.0f"),
            _cell(self._median(name, "single_s"), ",.0f"),
            _cell(self._beside_s(name), ",.0f"),
            " / ".join(_cell(_scaled(self._pickup(name, share), 1000), ".2f") for share in (50, 95, 99)),
            _cell(self._statements(name), ".2f"),
        ]
        return f"| {' | '.join(cells)} |"

    def _rounds(self) -> list[dict[str, Drain]]:
        """Where no round counts the table still shows what was seen; bars between contenders stay open."""
        return self.drains or self.disturbed

    def _median(self, name: str, figure: str) -> float | None:
        return _median([getattr(drains[name], figure) for drains in self._rounds() if name in drains])

    def _ratio(self, figure: str, other: str | None) -> float | None:
        return self._paired(figure, US, other) if self.drains else None

    def _paired(self, figure: str, name: str, other: str | None) -> float | None:
        """Median of the rounds' ratios."""
        both = [drains for drains in self._rounds() if name in drains and other in drains]
        return _median([getattr(d[name], figure) / getattr(d[other], figure) for d in both if other])

    def _best(self, figure: str, peers: list[Peer]) -> str | None:
        medians = {peer.name: value for peer in peers if (value := self._median(peer.name, figure)) is not None}
        return max(medians, key=medians.__getitem__, default=None)

    def _pickup(self, name: str, share: int) -> float | None:
        """Percentile over all rounds' samples, seconds."""
        samples = sorted(sample for pickups in self.pickups if name in pickups for sample in pickups[name].samples)
        return samples[min(len(samples) - 1, len(samples) * share // 100)] if samples else None

    def _beside(self, peers: list[Peer]) -> float | None:
        medians = {peer.name: self._beside_s(peer.name) for peer in peers}
        best = max(((value, name) for name, value in medians.items() if value is not None), default=None)
        if best is None:
            return None
        return _median([i[US].beside_s / i[best[1]].beside_s for i in self.idles if US in i and best[1] in i])

    def _beside_s(self, name: str) -> float | None:
        return _median([idles[name].beside_s for idles in self.idles if name in idles])

    def _held(self) -> float | None:
        ours = [idles[US] for idles in self.idles if US in idles]
        return _median([idle.held_s / idle.beside_s for idle in ours if idle.held_s is not None])

    def _statements(self, name: str) -> float | None:
        return _median([idles[name].statements_s for idles in self.idles if name in idles])


def _ok(name: str, ratio: float) -> bool:
    word, bar = BARS[name]
    return ratio <= bar if word == LOW else ratio >= bar


def _median(values: list[Any]) -> float | None:
    return statistics.median(values) if values else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _cell(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)
