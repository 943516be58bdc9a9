"""Does it add up? Everything that was told is counted anew, from other rows than it was told from."""

from __future__ import annotations

from tidemill.cli.demo.cast import Cast
from tidemill.cli.demo.company import Company
from tidemill.cli.demo.harvest import Harvest
from tidemill.cli.demo.statements import SQL
from tidemill.cli.demo.summary import Told
from tidemill.cli.demo.weather import digest
from tidemill.postgres import Database

HONEST = "partial"


async def problems(db: Database, told: Told, cast: Cast) -> list[str]:
    """What does not add up, or did not come out as it had to; empty when all is well."""
    found = [
        f"the run of {tick.slot:%H:%M}Z is {tick.status}, not {HONEST}" for tick in told.ticks if tick.status != HONEST
    ]
    found += await _accounts(db, told, cast)
    found += await _counts(db, told)
    return found


async def _accounts(db: Database, told: Told, cast: Cast) -> list[str]:
    """Each account in each tick against its part, and the runs' own counts against them."""
    found: list[str] = []
    for number, tick in enumerate(told.ticks):
        rows = await db.fetch(SQL.accounts_of_run, tick.run_id)
        tally = {"completed": 0, "errors": 0, "skipped": 0}
        for row in rows:
            status, reason = cast.expected(row["username"], number)
            if row["status"] != status or reason not in (None, *row["reasons"]):
                came = f"{row['status']} {' '.join(row['reasons'])}".strip()
                found.append(f"{row['username']} at {tick.slot:%H:%M}Z is {came}, not {status} {reason or ''}".strip())
            tally[row["status"] if row["status"] in tally else "errors"] += 1
        said = (tick.total_accounts, tick.success_count, tick.error_count, tick.skipped_count)
        counted = (len(rows), tally["completed"], tally["errors"], tally["skipped"])
        if said != counted or len(rows) != len(cast.usernames):
            found.append(f"the run of {tick.slot:%H:%M}Z says {said}, its logs say {counted}")
        shown = tuple(
            sum(accounts[number] for (status, _), accounts in told.outcomes.items() if status in kinds)
            for kinds in (("completed",), ("partial", "failed", "running"), ("skipped",))
        )
        if shown != counted[1:]:
            found.append(f"the table of {tick.slot:%H:%M}Z shows {shown}, the logs say {counted[1:]}")
    return found


async def _counts(db: Database, told: Told) -> list[str]:
    """The layers against the logs and against each other, and the calls against what the provider received."""
    row = await db.fetchrow(SQL.recount)
    assert row is not None  # noqa: S101 - a SELECT without FROM always has a row
    figures = told.figures
    pairs = (
        ("posts", figures["posts"], row["posts"]),
        ("snapshots and what the logs say was written", figures["snapshots"], row["snapshots_logged"]),
        ("snapshots of accounts and completed insights", figures["account_snapshots"], row["insights_logged"]),
        ("differences and snapshots", figures["deltas"], row["snapshots"]),
        ("differences and snapshots of accounts", figures["account_deltas"], row["account_snapshots"]),
        ("newest values and posts with a snapshot", figures["current"], row["posts_with_snapshot"]),
        (
            "newest values of accounts and accounts with a snapshot",
            figures["accounts_current"],
            row["accounts_with_snapshot"],
        ),
        ("calls received and calls logged", sum(told.api_calls.values()), row["calls_logged"]),
        ("log rows left open", 0, row["left_open"]),
        ("newest values that differ from the newest snapshot", 0, row["stale"]),
    )
    return [f"{what}: {said} is not {counted}" for what, said, counted in pairs if said != counted]


async def harvest_problems(company: Company, harvest: Harvest) -> list[str]:
    """The company's records against the file that its tap read; and whether only the first run wrote any."""
    rows = company.weather.rows
    stored = await company.stage.app.db.fetch(SQL.company_records, company.id, company.connector)
    # A fire of the schedule that comes while a run is open is skipped.
    runs = [run for run in harvest.runs if run.reason != "overlap"]
    found = [f"a run of the tap is {run.told(len(rows))}" for run in runs if run.status != "completed"]
    if len(runs) < 2 or runs[0].finished_at is None:
        return [*found, f"the tap ran {len(runs)} times"]
    first, *later = runs
    fields = rows[0].keys()
    pairs = (
        ("records and rows of the file", len(stored), len(rows)),
        ("records told and stored", harvest.records, len(stored)),
        ("new records of the first run and rows of the file", first.added, len(rows)),
        ("records written by later runs", sum(run.added + run.changed for run in later), 0),
        ("records touched since the first run", sum(row["last_seen_at"] > first.finished_at for row in stored), 0),
        ("content of records and file", digest((row["data"] for row in stored), fields), digest(rows, fields)),
    )
    found += [f"{what}: {said} is not {counted}" for what, said, counted in pairs if said != counted]
    return found if harvest.cursor else [*found, "the tap has left no cursor"]
