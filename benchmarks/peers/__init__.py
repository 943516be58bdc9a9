"""The queues that Tidemill's engine is measured against: which versions, how each is set, when one has no work left.

Settings are those that a peer's own documentation recommends for throughput. Each gets an environment of its own in a
cache folder outside of the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent


class CannotRun(Exception):
    """A contender cannot be installed or fails at what it is asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A contender.

    Attributes:
        name: as printed and as ``--only`` takes it.
        program: module or ``.mjs`` file to run.
        packages: with versions; the first is the peer. None: it runs where the benchmark runs.
        settings: of the worker, in words.
        busy: a query that is true as long as a job waits or runs.
        hold: a statement that enqueues a job, for a transaction that is left open; empty: it is not measured.
        most: jobs in a drain at most. Its rate is the same with more; the run would only be longer.
    """

    name: str
    program: str
    packages: tuple[str, ...]
    settings: str
    busy: str
    most: int = 1_000_000
    hold: str = ""

    @property
    def version(self) -> str:
        """The peer's pinned version; empty for what stands in this checkout."""
        return self.packages[0].replace("==", "@").partition("@")[2] if self.packages else ""

    def prepare(self) -> tuple[list[str], Path]:
        """The command to which verbs are appended, and the folder to run it in; installs what is missing.

        Raises:
            CannotRun: there is no Node, or the installer failed; then with its last line.
        """
        if not self.packages:
            return [sys.executable, "-m", self.program], CHECKOUT
        place = _cache() / f"{self.name}-{self.version}"
        done = place / ".installed"
        is_node = self.program.endswith(".mjs")
        if is_node and not shutil.which("node"):
            raise CannotRun("there is no node on this machine")
        if not done.exists() or done.read_text() != "\n".join(self.packages):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            if is_node:
                # Without a prefix npm looks for a project in the folders above.
                _install(["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", *self.packages], place)
            else:
                _install([sys.executable, "-m", "venv", str(place)], place)
                _install([str(place / "bin/python"), "-m", "pip", "install", "--quiet", *self.packages], place)
            done.write_text("\n".join(self.packages))
        if is_node:
            return ["node", str(HERE / self.program)], place
        return [str(place / "bin/python"), "-m", self.program], CHECKOUT


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemill-bench"


def _install(command: list[str], place: Path) -> None:
    try:
        subprocess.run(
            command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=True
        )
    except FileNotFoundError:
        raise CannotRun(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{command[0]} took more than 600 s to install it") from None
    except subprocess.CalledProcessError as e:
        raise CannotRun(f"not installed: {(e.stdout.strip() or str(e)).splitlines()[-1]}") from None


UVLOOP, PSYCOPG = "uvloop==0.23.0", "psycopg-binary==3.3.9"

_OUR_JOBS = "select exists (select from tidemill.job_ready) or exists (select from tidemill.job_lease)"

OURS = (
    Peer(
        "tidemill",
        "benchmarks.engine_tidemill",
        (),
        "one queue, 1,000 jobs side by side",
        _OUR_JOBS,
        hold="select tidemill.enqueue('noop', '{\"number\": 0}')",
    ),
    Peer(
        "tidemill-100",
        "benchmarks.engine_tenants",
        (),
        "the same with jobs of 100 tenants; its drains alone",
        _OUR_JOBS,
    ),
    Peer(
        "thin",
        "benchmarks.engine_thin",
        (),
        "claims of 500, completion on a second connection meanwhile; no leases, retries or history",
        "select exists (select from thin_job)",
    ),
)

PEERS = (
    Peer(
        "graphile-worker",
        "graphile.mjs",
        ("graphile-worker@0.17.3",),
        "24 jobs side by side, local queue 500, completeJobBatchDelay 0, pool 10",
        "select exists (select from graphile_worker._private_jobs)",
    ),
    Peer(
        "pg-boss",
        "pgboss.mjs",
        ("pg-boss@10.4.2",),
        "four pollers of 1,000 jobs every 0.5 s (its minimum), pool 10",
        "select exists (select from pgboss.job where name = 'noop' and state < 'completed')",
    ),
    Peer(
        "pgqueuer",
        "benchmarks.peers.pgqueuer",
        ("pgqueuer==1.6.0", "asyncpg==0.32.0", UVLOOP),
        "batches of 100, asyncpg pool 2 to 10",
        "select exists (select from pgqueuer)",
    ),
    Peer(
        "awa",
        "benchmarks.peers.awa",
        ("awa-pg==0.6.9", UVLOOP),
        "queue storage, 500 workers, pool 10",
        # Its view awa.jobs takes seconds where a thousand jobs are completed.
        "select (select count(*) from awa.ready_entries) > (select count(*) from awa.done_entries)"
        " + (select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches)",
    ),
    Peer(
        "chancy",
        "benchmarks.peers.chancy",
        ("chancy==0.26.0", PSYCOPG, UVLOOP),
        "asyncio executor, 200 jobs side by side, notifications, eager polling",
        "select exists (select from chancy_jobs where state in ('pending', 'running', 'retrying'))",
        most=6000,
    ),
    Peer(
        "procrastinate",
        "benchmarks.peers.procrastinate",
        ("procrastinate==3.10.0", PSYCOPG, UVLOOP),
        "50 jobs side by side, pool 4 to 20, LISTEN, polling every 5 s",
        "select exists (select from procrastinate_jobs where status in ('todo', 'doing'))",
        most=3000,
    ),
    Peer(
        "dbos",
        "benchmarks.peers.dbos",
        ("dbos==3.4.0", PSYCOPG, UVLOOP),
        "one queue polled every 0.1 s, 500 workflows side by side, pool 20",
        "select exists (select from dbos.workflow_status where status in ('ENQUEUED', 'PENDING'))",
        most=3000,
    ),
)
