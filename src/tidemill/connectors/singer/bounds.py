"""What a tap may take of time and room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of one run. Times in seconds, sizes in bytes."""

    records: int = 5_000
    """Records of a batch."""
    batch_bytes: int = 8 * 1024 * 1024
    """Lines that a batch is made of; it ends with the line that reaches this."""
    line_bytes: int = 16 * 1024 * 1024
    """A longer line ends the run; no more of it than this is ever held."""
    state_bytes: int = 1024 * 1024
    catalog_bytes: int = 32 * 1024 * 1024
    idle_s: float = 300.0
    """A tap that has said nothing for so long, while it was listened to, hangs."""
    discovery_s: float = 120.0
    grace_s: float = 5.0
    """What a tap gets to end after SIGTERM, before SIGKILL."""
    state_every_s: float = 1.0
    """A STATE that closes a small batch waits so long for company: taps there are that send one after each record."""
    catalog_ttl_s: float = 600.0
    """How long a catalogue is used again for the same configuration."""
