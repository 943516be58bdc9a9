"""Contender: Tidemill's engine again, with the jobs of 100 tenants in its queue, which is fair between them."""

from __future__ import annotations

from benchmarks.engine_tidemill import TidemillEngine
from benchmarks.peers.protocol import main


class TidemillTenants(TidemillEngine):
    tenants = 100


if __name__ == "__main__":
    main(TidemillTenants)
