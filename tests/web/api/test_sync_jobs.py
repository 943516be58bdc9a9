from __future__ import annotations

from uuid import uuid4

import pytest

from tests.web.api.world import MEMBER, Client, Company
from tidemill.postgres import Database


def new_job(company: Company, **changed: object) -> dict[str, object]:
    return {"connector_id": str(company.connector), "job_type": "sync", "name": "Hourly", **changed}


async def test_an_admin_makes_changes_and_deletes_a_job(admin: Client, company: Company, db: Database) -> None:
    schedule = {"cron": "0 9 * * mon-fri", "timezone": "Asia/Taipei"}
    made = await admin("POST", "/sync-jobs", new_job(company, schedule=schedule, priority=5))
    assert (made.status, made.body["status"], made.body["priority"]) == (201, "idle", 5)
    path = made.headers["Location"].removeprefix("/api/v1")
    assert (await admin("GET", path)).body == made.body
    change = {"schedule": {"every": "15m"}, "payload": {"streams": ["orders"]}}
    changed = await admin("PATCH", path, change, headers={"If-Match": made.headers["ETag"]})
    assert (changed.status, changed.body["version"]) == (200, 2)
    assert {key: changed.body[key] for key in change} == change
    assert changed.body["name"] == "Hourly"
    assert (await admin("DELETE", path, headers={"If-Match": '"2"'})).status == 204
    assert (await admin("GET", path)).code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"connector_id": str(uuid4())}, "connector_id"),
        ({"connector_id": "7"}, "connector_id"),
        ({"job_type": "No Type"}, "job_type"),
        ({"job_type": "counting"}, "payload.upto"),
        ({"job_type": "counting", "payload": {"upto": "x"}}, "payload.upto"),
        ({"schedule": {"cron": "61 * * * *"}}, "schedule.cron"),
        ({"schedule": {"cron": "0 0 30 feb *"}}, "schedule.cron"),
        ({"schedule": {"cron": 5}}, "schedule.cron"),
        ({"schedule": {"rrule": "FREQ=NEVER"}}, "schedule.rrule"),
        ({"schedule": {"every": "soon"}}, "schedule.every"),
        ({"schedule": {"every": "15m", "timezone": "Mars/Olympus"}}, "schedule.timezone"),
        ({"schedule": {"cron": "* * * * *", "overlap": "maybe"}}, "schedule.overlap"),
        ({"schedule": {"evry": "15m"}}, "schedule.evry"),
        ({"schedule": {"cron": "* * * * *", "every": "1m"}}, "schedule.every"),
        ({"schedule": []}, "schedule"),
        ({"payload": {"a": ["b", {"c": "\0"}]}}, "payload.a.c"),
        ({"priority": 1001}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"next_run_at": "2026-01-01T00:00:00Z"}, "next_run_at"),
        ({"status": "running"}, "status"),
    ],
)
async def test_a_field_that_cannot_be_taken_is_named(
    admin: Client, company: Company, changed: dict[str, object], field: str
) -> None:
    made = await admin("POST", "/sync-jobs", new_job(company, **changed))
    assert (made.status, made.code, made.fields) == (422, "INVALID_FIELD", [field])
    edited = await admin("PATCH", f"/sync-jobs/{company.job}", changed, headers={"If-Match": "*"})
    assert (edited.status, edited.code, edited.fields) == (422, "INVALID_FIELD", [field])


async def test_what_is_too_large_for_the_table_is_refused_by_name(admin: Client, company: Company) -> None:
    # Postgres writes a space after each comma, so what fits the door may not fit the column.
    payload = {"numbers": [1] * 32_000}
    reply = await admin("POST", "/sync-jobs", new_job(company, payload=payload))
    assert (reply.code, reply.fields) == ("INVALID_FIELD", ["payload"])
    schedule = {"rrule": "FREQ=DAILY", "start": "2026-01-01T00:00:00" + " " * 9000}
    assert (await admin("POST", "/sync-jobs", new_job(company, schedule=schedule))).code == "INVALID_FIELD"


async def test_a_job_cannot_point_at_another_companys_connector(
    admin: Client, company: Company, neighbour: Company
) -> None:
    foreign = await admin("POST", "/sync-jobs", new_job(company, connector_id=str(neighbour.connector)))
    unknown = await admin("POST", "/sync-jobs", new_job(company, connector_id=str(uuid4())))
    moved = await admin(
        "PATCH",
        f"/sync-jobs/{company.job}",
        {"connector_id": str(neighbour.connector)},
        headers={"If-Match": "*"},
    )
    assert foreign.body["errors"] == unknown.body["errors"] == moved.body["errors"]
    assert foreign.fields == ["connector_id"]


async def test_a_run_is_asked_for_once_and_shows_among_the_runs(admin: Client, company: Company) -> None:
    path = f"/sync-jobs/{company.job}"
    first = await admin("POST", f"{path}/run")
    again = await admin("POST", f"{path}/run", {})
    assert (first.status, first.body["status"], first.body["already"]) == (202, "queued", False)
    assert (again.body["run_id"], again.body["already"]) == (first.body["run_id"], True)
    run = await admin("GET", first.headers["Location"].removeprefix("/api/v1"))
    assert (run.body["status"], run.body["requested_by"]) == ("pending", str(company.admin))
    cancelled = await admin("POST", f"{path}/cancel")
    assert (cancelled.status, cancelled.body["status"]) == (202, "idle")
    run = await admin("GET", f"/runs/{first.body['run_id']}")
    assert (run.body["status"], run.body["reason"]) == ("skipped", "cancelled")


async def test_a_job_is_paused_and_resumed(admin: Client, company: Company) -> None:
    path = f"/sync-jobs/{company.job}"
    for action, status, already in (
        ("pause", "paused", False),
        ("pause", "paused", True),
        ("resume", "idle", False),
        ("resume", "idle", True),
    ):
        reply = await admin("POST", f"{path}/{action}")
        assert reply.body == {"status": status, "run_id": None, "already": already}
        assert (await admin("GET", path)).body["status"] == status


async def test_a_disabled_job_runs_once_it_was_resumed(admin: Client, company: Company, db: Database) -> None:
    await db.execute("update public.sync_jobs set disabled_reason = 'failed', failures = 10 where id = $1", company.job)
    path = f"/sync-jobs/{company.job}"
    refused = await admin("POST", f"{path}/run")
    assert (refused.status, refused.code, refused.fields) == (409, "CONFLICT", ["status"])
    assert (await admin("POST", f"{path}/resume")).body["status"] == "idle"
    assert (await admin("POST", f"{path}/run")).status == 202


async def test_members_see_jobs_and_change_none(admin: Client, company: Company) -> None:
    member = admin.as_(company.token(MEMBER))
    path = f"/sync-jobs/{company.job}"
    before = await member("GET", path)
    assert before.status == 200
    for method, below, body in (
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        *(("POST", f"/{action}", None) for action in ("run", "pause", "resume", "cancel")),
    ):
        reply = await member(method, path + below, body, headers={"If-Match": "*"})
        assert (reply.status, reply.code) == (403, "FORBIDDEN")
    assert (await member("POST", "/sync-jobs", new_job(company))).code == "FORBIDDEN"
    assert (await member("GET", path)).body == before.body


async def test_jobs_are_listed_by_connector_and_status(admin: Client, company: Company) -> None:
    connector = (await admin("POST", "/connectors", {"provider": "shop", "config": {"shop": "b"}})).body["id"]
    other = (await admin("POST", "/sync-jobs", new_job(company, connector_id=connector))).body["id"]
    await admin("POST", f"/sync-jobs/{other}/pause")

    async def listed(query: str) -> set[str]:
        return {job["id"] for job in (await admin("GET", f"/sync-jobs?{query}")).body["items"]}

    assert await listed("") == {str(company.job), other}
    assert await listed(f"connector_id={connector}") == {other}
    assert await listed("status=paused") == {other}
    assert await listed(f"status=idle&connector_id={connector}") == set()
    reply = await admin("GET", "/sync-jobs?status=asleep")
    assert (reply.code, reply.fields) == ("INVALID_FIELD", ["status"])
