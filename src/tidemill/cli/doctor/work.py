"""Is somebody at work, and does nothing lie about that nobody will finish?"""

from __future__ import annotations

from tidemill.cli.doctor.finding import Finding, error, ok, warn
from tidemill.cli.doctor.statements import SQL
from tidemill.postgres import Database, Record

_START = "start one: tidemill up, or tidemill worker"


async def examine(db: Database) -> list[Finding]:
    """Workers, leases, batches, logs and the schedule."""
    row = await db.fetchrow(SQL.work)
    assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
    return [
        _workers(row),
        _leases(row),
        _batches(row),
        _dead_jobs(row),
        await _open_logs(db),
        *await _schedules(db, row["alive"]),
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


async def _schedules(db: Database, alive: int) -> list[Finding]:
    findings: list[Finding] = []
    for row in await db.fetch(SQL.schedules):
        name = f"schedule {row['name']}"
        if row["error"]:
            findings.append(error(name, row["error"], "correct its spec and restart the workers"))
        elif row["paused_by"]:
            findings.append(ok(name, f"stands aside for {row['paused_by']}"))
        elif row["late"]:
            fix = "look at the workers' logs" if alive else _START
            findings.append(error(name, f"was due at {row['next_at']:%Y-%m-%d %H:%M:%SZ} and has not fired", fix))
        elif row["next_at"] is None:
            findings.append(ok(name, "fires no more by itself"))
        else:
            findings.append(ok(name, f"fires next at {row['next_at']:%Y-%m-%d %H:%M:%SZ}"))
    if not findings:
        findings.append(warn("schedule", "no schedule is declared yet", "the first worker declares it: tidemill up"))
    return findings
