"""Is somebody at work, and does nothing lie about that nobody will finish?"""

from __future__ import annotations

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.cli.status.troubles import unserved
from tidemill.engine.overview import Overview, ScheduleLine
from tidemill.errors import DatabaseUnavailable
from tidemill.postgres import Database, Record
from tidemill.sync.jobs.knowing import FORGOTTEN_S

OVERLONG_S = 60.0
"""What a job gets beyond twice its time-out: its own end has to be written, its handler may clean up."""
KEYS_S = 30.0
"""What looking through the unique keys may take."""
MOST_KEYS = 1000
MOST_UNKNOWN = 1000
"""Sync jobs of one type that are counted."""
MOST_PLANNED = 10
"""Schedules in order that are told of: the next to fire."""

_START = "start one: tidemill up, or tidemill worker"


async def examine(db: Database, seen: Overview, *, overlong_s: float = OVERLONG_S) -> list[Finding]:
    """Workers, queues, leases, keys, batches, logs and the schedule."""
    row = await db.fetchrow(SQL.work)
    assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
    return [
        _workers(row),
        _queues(seen),
        _paused(seen),
        _leases(row),
        await _overlong(db, overlong_s),
        await _keys(db),
        _batches(row),
        _dead_jobs(row),
        await _open_logs(db),
        *([await _sync_jobs(db)] if row["alive"] else []),
        *await _schedules(db, seen),
    ]


def _workers(row: Record) -> Finding:
    alive, gone, waiting = row["alive"], row["expired"], row["waiting"]
    if not alive and waiting:
        return error("workers", f"none is alive, and {waiting} jobs wait", _START)
    if not alive:
        return warn("workers", "none is alive; nothing waits for one", _START)
    if gone:
        text = f"{alive} alive; {gone} ended without a goodbye"
        return warn("workers", text, "nothing to do: what they held is given to others")
    return ok("workers", f"{alive} alive")


def _leases(row: Record) -> Finding:
    if row["orphans"]:
        text = f"{row['orphans']} jobs are held by processes that are gone"
        return error("leases", text, "any worker gives them back within seconds; " + _START)
    return ok("leases", "every running job has a living holder")


def _queues(seen: Overview) -> Finding:
    bare = unserved(seen)
    if bare:
        text = f"jobs wait in {', '.join(bare)}, which no living worker serves"
        return error("queues", text, "start a worker with the --app that declares its jobs, or add it to --queue")
    return ok("queues", "every queue in which jobs wait is served")


def _paused(seen: Overview) -> Finding:
    queues = [(f"queue {q.name}", q.paused_by, q.paused_at, q.name) for q in seen.queues if q.paused_at is not None]
    kinds = [(f"kind {k.name}", k.paused_by, k.paused_at, f"{k.name} --kind") for k in seen.paused_kinds]
    paused = [*queues, *kinds]
    if paused:
        what = ", ".join(f"{name} by {by} since {at:%Y-%m-%d %H:%M:%SZ}" for name, by, at, _ in paused)
        return warn("paused", f"{what}: its jobs wait until it is resumed", f"tidemill queues resume {paused[0][3]}")
    return ok("paused", "nothing is")


async def _overlong(db: Database, grace_s: float) -> Finding:
    rows = await db.fetch(SQL.overlong, grace_s)
    if rows:
        job = rows[0]
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        text = (
            f"job {job['id']} ({job['kind']}) on {job['host']}, process {job['pid']}, runs for {job['held']}, "
            f"its time-out is {job['timeout']}{more}: a plain function that nothing can interrupt, "
            "or an event loop that is blocked"
        )
        return warn("stuck jobs", text, f"tidemill jobs show {job['id']}; to take it away: kill -9 {job['pid']} there")
    return ok("stuck jobs", "none runs for much longer than it may")


async def _keys(db: Database) -> Finding:
    try:
        rows = await db.fetch(SQL.orphan_keys, MOST_KEYS, timeout=KEYS_S)
    except DatabaseUnavailable:
        text = f"they could not be looked through within {KEYS_S:g} s"
        return warn("unique keys", text, "run doctor again when less waits")
    if rows:
        key = rows[0]
        more = "at least " if len(rows) == MOST_KEYS else ""
        text = (
            f"{more}{len(rows)} are held by jobs that are nowhere, the first by job {key['job']} ({key['name']}): "
            "no job can be enqueued under them"
        )
        return error("unique keys", text, f"{key['fix']}; and report it as a bug")
    return ok("unique keys", "each is held by a job that lives")


def _batches(row: Record) -> Finding:
    if row["overdue"]:
        text = f"{row['overdue']} are past their deadline and still open"
        return error("batches", text, "any worker closes them within seconds; " + _START)
    return ok("batches", "none is overdue")


def _dead_jobs(row: Record) -> Finding:
    if row["dead"]:
        more = "more than " if row["dead"] > row["counted"] else ""
        text = f"{more}{min(row['dead'], row['counted'])} jobs were given up"
        return warn("dead jobs", text, "see why: select kind, reason, args from tidemill.job_dead")
    return ok("dead jobs", "none")


async def _open_logs(db: Database) -> Finding:
    stuck = await db.fetch(SQL.stuck_logs)
    if stuck:
        text = (
            f"{len(stuck)} runs are logged as under way, but nothing works on them; the first is {stuck[0]['run_id']}"
        )
        return error("logs", text, f"see it: tidemill logs --run {stuck[0]['run_id']}, and report it as a bug")
    return ok("logs", "no row is open that nobody works on")


async def _sync_jobs(db: Database) -> Finding:
    rows = await db.fetch(SQL.unknown_types, FORGOTTEN_S, MOST_UNKNOWN)
    if rows:
        what = ", ".join(f"{row['job_type']!r} ({row['jobs']})" for row in rows)
        text = f"no worker knows job type {what}: such jobs are not planned"
        fix = "start a worker with the package that brings it; or see them: tidemill sync-jobs list --status error"
        return warn("sync jobs", text, fix)
    return ok("sync jobs", "a worker knows the type of each")


async def _schedules(db: Database, seen: Overview) -> list[Finding]:
    alive = any(node.is_alive for node in seen.nodes)
    findings = [_schedule(schedule, alive) for schedule in seen.schedules if schedule.state != "planned"]
    planned = [schedule for schedule in seen.schedules if schedule.state == "planned"]
    findings += [_schedule(schedule, alive) for schedule in planned[:MOST_PLANNED]]
    if findings:
        return findings
    if await db.fetchval(SQL.schedules):
        return [ok("schedule", "none fires by itself")]
    return [warn("schedule", "no schedule is declared yet", "the first worker declares it: tidemill up")]


def _schedule(schedule: ScheduleLine, alive: bool) -> Finding:
    name = f"schedule {schedule.name}"
    match schedule.state:
        case "broken":
            return error(name, schedule.note or "", "correct its spec and restart the workers")
        case "late":
            fix = "look at the workers' logs" if alive else _START
            return error(name, f"was due at {schedule.next_at:%Y-%m-%d %H:%M:%SZ} and has not fired", fix)
        case "paused":
            return ok(name, f"stands aside for {schedule.note}")
        case "planned":
            return ok(name, f"fires next at {schedule.next_at:%Y-%m-%d %H:%M:%SZ}")
